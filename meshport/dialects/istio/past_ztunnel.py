"""Ports that went past the proxy of their pods, in ambient, where none goes past ztunnel: they are open to everybody by a policy of their own.

An ALLOW adds to those that close the pods, so that it opens these ports and nothing else: what refuses by DENY or by STRICT would hold there all the same. So it
is written for pods that an ALLOW closes, and that their labels tell from others; of the rest MP732 says that policies hold on these ports.
Nor does anything go past ztunnel on its way out: callers show their account on ports on which they showed none, and are let in where it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshport.dialects import naming
from meshport.dialects.base import Options
from meshport.dialects.enrolment import STAGE_WORKLOADS, unshown
from meshport.dialects.istio import ports
from meshport.dialects.istio.ambient_entries import REFUSE, Entry
from meshport.dialects.istio.ambient_written import SECURITY, say_spec
from meshport.dialects.istio.rules import speaks_of
from meshport.dialects.istio.waypoints import Waypoints, is_gateway, targets
from meshport.dialects.output import Output
from meshport.effective.access import Effective
from meshport.findings import Affected
from meshport.ir.authorization import IDENTITY
from meshport.ir.base import Ref
from meshport.ir.model import IR
from meshport.ir.transport import PortSetting
from meshport.ir.world import Workload
from meshport.values.identities import Identity

MOST = 64
"""Ports of one workload that a policy names; of more MP732 speaks."""


def lower(ir: IR, out: Output, settings: Iterable[PortSetting], entries: list[Entry], access: dict[int, Effective]) -> list[Entry]:
    """The policies that open ports which went past the proxy, as far as they can be opened."""
    found: list[Entry] = []
    for setting in settings:
        opened: set[tuple[Ref, int]] = set()
        for workload, numbers in ports.governed(ir, setting) if ports.few(setting) else ():
            mine = [number for number in numbers if _can_be_opened(ir, workload, number, entries, access[id(workload)])]
            if mine and len(mine) <= MOST:
                found.append(_policy(out, setting, workload, mine))
                opened |= {(workload.ref, number) for number in mine}
        ports.closed(ir, out, setting, opened)
    return found


def fronting(ir: IR, entry: Entry) -> None:
    """Leave the policy to the Services that send to its ports: at the others it would say nothing."""
    numbers = {int(port) for rule in entry.rules for item in rule["to"] for port in item["operation"]["ports"]}
    entry.services = [one for one in entry.services if any(numbers & reached for reached, _ in targets(one, ir.world).values())]


def _can_be_opened(ir: IR, workload: Workload, port: int, entries: list[Entry], own: Effective) -> bool:
    mine = [entry for entry in entries if any(one is workload for one in entry.members)]
    alone = bool(workload.own_labels) and all(one is workload for one in ir.world.selected(workload.pods))
    return (
        alone
        and not is_gateway(workload)
        and any(entry.action == "ALLOW" for entry in mine)
        and own.mode(port).value != "strict"
        and not own.default(port).endswith("-authenticated")
        and not any(entry.action in REFUSE and any(speaks_of(rule, port) for rule in entry.rules) for entry in mine)
    )


def _policy(out: Output, setting: PortSetting, workload: Workload, numbers: list[int]) -> Entry:
    home = workload.ref.namespace
    ref = Ref(home, out.free(SECURITY, "AuthorizationPolicy", home, naming.name(workload.ref.name, "open-ports")))
    spec = {
        "selector": {"matchLabels": workload.own_labels},
        "action": "ALLOW",
        "rules": [{"to": [{"operation": {"ports": [str(number) for number in numbers]}}]}],
    }
    src = setting.ranges.src
    obj = out.object(SECURITY, "AuthorizationPolicy", ref, owner=setting.document, rank=42, because=src)
    say_spec(obj, spec, src, ())
    obj.note("ports that went past the proxy are open to everybody, as before")
    return Entry(ref, spec, src, [workload], obj=obj)


def outward(ir: IR, out: Output, options: Options, stood: Waypoints | None, access: dict[int, Effective]) -> None:
    """Ports on which callers went past their proxy: at whose pods they are let in by an account that they did not show."""
    known = stood.ambient if stood is not None else ()
    for setting in (one for one in ir.ports if one.kind == "skip-outbound"):
        if setting.on == "namespace" and not ir.world.of_namespace(setting.subject.namespace):
            unshown(ir, out, setting.subject.namespace, "skip-outbound-ports", setting.ranges)
            continue
        callers = [
            one
            for one in ir.world.selected(setting.subject)
            if (one.document == setting.document or setting.on == "namespace") and one.ref not in known and not is_gateway(one)
        ]
        callers = [one for one in callers if ir.world.meshed(one) is not False]
        if not callers:
            continue
        for caller in callers:
            if ports.EXCLUDE_OUT in caller.annotations and caller.document == setting.document:
                obj = out.change(caller.document, group=f"workload {caller.ref.name}", rank=STAGE_WORKLOADS)
                obj.drop((*caller.template, "metadata", "annotations", ports.EXCLUDE_OUT), setting.ranges)
        names = [Identity(options.trust_domain, one.ref.namespace, one.account.value) for one in callers]
        reached = [
            (one, port)
            for one in ir.world.workloads
            if ir.world.meshed(one) is not False and id(one) in access
            for port in sorted(_reached(ir, one, setting))
            if any(_by_name(access[id(one)], port, name) for name in names)
        ]
        out.finding(
            "MP763", setting.ranges, document=setting.document, disposition="dropped", feature="ports.skip-outbound",
            affects=tuple(Affected(one.ref.namespace, one.ref.name, port) for one, port in reached),
            severity=None if reached else "info", effect=None if reached else "none", workload=", ".join(str(one.ref) for one in callers),
            ports=", ".join(str(low) if low == high else f"{low}-{high}" for low, high in setting.ranges.value),
        )  # fmt: skip


def _reached(ir: IR, workload: Workload, setting: PortSetting) -> set[int]:
    """The ports of a workload that are reached by ports of a setting, at its address or through a Service."""
    own = {port.number for port in workload.ports if port.protocol == "TCP"}
    found = {number for number in own if _in(setting, number)}
    for service in ir.world.services_of(workload):
        for port in service.ports:
            number = ir.world.target_number(workload, port)
            if port.protocol == "TCP" and number is not None and _in(setting, port.number):
                found.add(number)
    return found


def _in(setting: PortSetting, number: int) -> bool:
    return any(low <= number <= high for low, high in setting.ranges.value)


def _by_name(own: Effective, port: int, name: Identity) -> bool:
    """Whether an account is what lets its callers in on a port."""
    if own.workload.bypasses(port):
        return False
    asked = own.mode(port).value == "strict" or (not own.closes(port) and own.default(port).endswith("-authenticated"))
    if not own.closes(port):
        return asked
    conditions = [
        [item for item in rule.conditions if item.attribute == IDENTITY and item.any_of is not None]
        for policy in own.at(port)
        for rule in policy.rules
    ]
    return any(
        all(any(not isinstance(fact.value, Identity) or fact.value.covers(name) for fact in item.any_of or ()) for item in items)
        if items
        else asked
        for items in conditions
    )
