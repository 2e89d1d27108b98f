"""Ports that went past the proxy of their pods, in ambient, where none goes past ztunnel: they are open to everybody by a policy of their own.

An ALLOW adds to those that close the pods, so that it opens these ports and nothing else: what refuses by DENY or by STRICT would hold there all the same. So it
is written for pods that an ALLOW closes, and that their labels tell from others; of the rest MP732 says that policies hold on these ports.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshport.dialects import naming
from meshport.dialects.istio import ports
from meshport.dialects.istio.ambient_entries import REFUSE, Entry
from meshport.dialects.istio.ambient_written import SECURITY, say_spec
from meshport.dialects.istio.rules import speaks_of
from meshport.dialects.istio.waypoints import is_gateway, targets
from meshport.dialects.output import Output
from meshport.effective.access import Effective
from meshport.ir.base import Ref
from meshport.ir.model import IR
from meshport.ir.transport import PortSetting
from meshport.ir.world import Workload

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
