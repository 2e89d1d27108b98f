"""Automatic mutual TLS switched off (meshConfig.enableAutoMtls: false; istio.io/latest/docs/reference/config/istio.mesh.v1alpha1).

Sidecars then send plaintext unless a DestinationRule says ISTIO_MUTUAL, so that nobody shows an identity: what admits plaintext is as if mTLS were disabled
there. The other meshes and Istio's ztunnel encrypt between their pods whatever is said, and know every caller. Where all clients of a workload are told to
use it, nothing is otherwise; where some are, or it is not known, no rule admits anybody by name, a deny refuses all that its names may be of, and ports that
refuse plaintext refuse everybody.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from meshport.dialects import naming
from meshport.dialects.base import Options
from meshport.dialects.istio import mesh_config
from meshport.dialects.istio.told import EVERY, NONE, SOME, Clients, Told
from meshport.dialects.output import Output
from meshport.effective.access import Access, Effective
from meshport.ir.authorization import IDENTITY, PORT, Condition, Policy, Rule
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Src, sources
from meshport.ir.model import IR, Loss
from meshport.ir.transport import TransportRule
from meshport.mapping.bound import Bound

SETTING, FEATURE = "meshConfig.enableAutoMtls", "transport.auto-mtls"
KIND = "PeerAuthentication"  # of the denies for ports that refuse everybody
SECURITY = "security.istio.io/v1"


def apply(bound: Bound, ir: IR, options: Options) -> None:
    """Read every port that admits plaintext as one without mTLS, where no client is told to use it."""
    found = _off(bound, ir, options)
    if found is None or Told(bound, ir.world, options).named:
        return
    said, document = found
    ir.transport = [_plain(rule, said) for rule in ir.transport]
    if not any(rule.level == "mesh" and rule.mode is not None for rule in ir.transport):
        ref = Fact(Ref(options.root_namespace, "meshConfig"), said.src, "transport.mode")
        ir.transport.append(TransportRule(ref, "mesh", Fact(PodSet("")), said.holding("disable"), {}, document, created=""))


def close(bound: Bound, ir: IR, options: Options, ambient: set[Ref]) -> None:
    """What is left once the policies are read. Where no client uses mutual TLS, ports that refuse plaintext refuse everybody: a deny for each workload that
    has some, but for those in `ambient`, whose callers have a name whatever the setting. Where some do, each workload is read by what its clients do."""
    found = _off(bound, ir, options)
    if found is None:
        return
    said, document = found
    told = Told(bound, ir.world, options)
    items = [
        item for item in Access(ir, Fact("all-unauthenticated")).workloads if item.meshed is not False and item.workload.ref not in ambient
    ]
    nobody = Clients({}, NONE, NOWHERE, NOWHERE)
    clients = {item.workload.ref: told.clients(item.workload) if told.named else nobody for item in items}
    if told.named:
        spoken = [clients[item.workload.ref].asked for item in items if _judged(item)]
        spoken.append(told.hosts([item.workload for item in items if _judged(item)]))
        ir.deciding.append(Fact("DestinationRules tell clients what they send", sources(said, *spoken), FEATURE))
        for item in items:
            if not _without(ir, item, items, clients, ambient, said, document):
                clients[item.workload.ref] = clients[item.workload.ref].where(NONE, SOME)
    unsure = {ref for ref, one in clients.items() if SOME in (one.rest, *one.ports.values())}
    if unsure and options.on_loss == "looser":
        ir.losses.append(Loss("MP299", (said,), document, {"why": f"{', '.join(told.named)} lets some clients use it"}))
        clients = {ref: one.where(SOME, EVERY) for ref, one in clients.items()}
    elif told.named:
        _by_nobody(ir, unsure, ambient, said.src)
    for item in items:
        _refuse(ir, item, items, clients, said, document)


def _judged(item: Effective) -> bool:
    """Whether anything asks what the clients of a workload send."""
    return bool(item.allows or item.denies or item.customs) or any(mode.value == "strict" for mode in item.transport.values())


def _without(
    ir: IR, item: Effective, items: list[Effective], clients: dict[Ref, Clients], ambient: set[Ref], said: Fact[Any], document: int
) -> bool:
    """Read the ports of one workload that admit plaintext, and whose clients send nothing else, as without mTLS; whether its labels tell it from those
    that are read otherwise."""
    own = clients[item.workload.ref]
    pods = item.workload.pods
    modes, said = _modes(item, own), said.also(own.src)
    if any(one.ref in ambient for one in ir.world.selected(pods)):
        return False
    if any(_modes(other, clients[other.workload.ref]) != modes for other in _selected(pods, items)):
        return False
    if ("permissive", NONE) in modes.values():
        read = {
            port: said.holding("disable").also(item.mode(port)) if one == ("permissive", NONE) else item.mode(port)
            for port, one in modes.items()
        }
        ref = Fact(Ref(pods.namespace, naming.name(item.workload.ref.name, "plaintext")), said.src, "transport.mode")
        ports = {port: mode for port, mode in read.items() if port is not None}
        ir.transport.append(TransportRule(ref, "workload", Fact(pods, said.src), read[None], ports, document, created=""))
    return True


def _modes(item: Effective, clients: Clients) -> dict[int | None, tuple[str, str]]:
    """What each port takes, and which of its clients use mutual TLS."""
    return {port: (item.mode(port).value, clients.of(port)) for port in (*item.transport, *clients.ports)}


def _selected(pods: PodSet, items: list[Effective]) -> list[Effective]:
    return [item for item in items if pods.contains(item.workload.ref.namespace, item.workload.labels)]


def _closed(item: Effective, clients: dict[Ref, Clients]) -> dict[int | None, bool]:
    """The ports that refuse plaintext where not every client sends anything else."""
    modes = _modes(item, clients[item.workload.ref])
    return {port: mode == "strict" and who != EVERY for port, (mode, who) in modes.items()}


def _refuse(ir: IR, item: Effective, items: list[Effective], clients: dict[Ref, Clients], said: Fact[Any], document: int) -> None:
    """A deny for such ports of a workload."""
    closed = _closed(item, clients)
    if True not in closed.values():
        return
    rest = closed[None]
    apart = sorted(port for port, refused in closed.items() if port is not None and refused != rest)
    named = tuple(Fact((port, port), item.mode(port).src) for port in apart)
    ports = (Condition(PORT, None, named) if rest else Condition(PORT, named),) if named else ()
    own = item.workload
    src = said.src | clients[own.ref].src | item.transport[None].src
    subject = own.pods
    ir.policies.append(
        Policy(
            Fact(Ref(own.ref.namespace, naming.name(own.ref.name, "refuses-plaintext")), src), Fact("deny", src, "authorization.action"),
            Fact(subject, src, "authorization.subject"), (Rule(ports, src=src),), document, KIND,
        )
    )  # fmt: skip
    for_whom = _selected(subject, items)
    unsure = any(refused and clients[own.ref].of(port) == SOME for port, refused in closed.items())
    if unsure or any(_closed(one, clients) != closed for one in for_whom):
        ir.losses.append(Loss("MP167", (), document, {"workload": str(own.ref)}, tuple(one.workload.ref for one in for_whom)))


def _by_nobody(ir: IR, unsure: set[Ref], ambient: set[Ref], src: Src) -> None:
    """Policies of workloads of which it is not known who shows a name: an allow by name admits nobody, a deny makes no exceptions by name."""
    for place, policy in enumerate(ir.policies):
        selected = ir.world.selected(policy.subject.value)
        members = [one for one in selected if ir.world.meshed(one) is not False and one.ref not in ambient]
        if policy.kind != "AuthorizationPolicy" or not (any(one.ref in unsure for one in members) or not selected):
            continue
        allows = policy.action.value == "allow"
        asked = [item for rule in policy.rules for item in rule.conditions if item.attribute == IDENTITY]
        if not asked:
            continue
        rules = tuple(made for rule in policy.rules if (made := _without_names(rule, allows)) is not None)
        ir.unnamed.add(policy.document)
        ir.policies[place] = replace(policy, action=policy.action.also(src), rules=rules)
        lost = [item for rule in policy.rules if _without_names(rule, allows) is None for item in rule.conditions]
        facts = tuple(fact for item in (lost or asked) for fact in (*(item.any_of or ()), *item.none_of, Fact(None, item.src)))
        ir.losses.append(Loss("MP166" if allows else "MP168", facts, policy.document, {}, tuple(one.ref for one in members)))


def _without_names(rule: Rule, allows: bool) -> Rule | None:
    """A rule that lets in no more and refuses no fewer, whoever shows a name; None where it lets nobody in."""
    if any(item.attribute == IDENTITY and item.any_of is not None for item in rule.conditions):
        return None if allows else rule  # who is spared of those that it names was never refused
    return rule if allows else replace(rule, conditions=tuple(item for item in rule.conditions if item.attribute != IDENTITY))


def _off(bound: Bound, ir: IR, options: Options) -> tuple[Fact[Any], int] | None:
    """The setting where it switches automatic mutual TLS off, and the target's proxies are others than the sidecars that go by it: the Gateway API
    leaves the policies with those."""
    found = mesh_config.setting(bound, ir.world, SETTING, FEATURE)
    stays = options.target in (ir.mesh, "gateway-api") and options.data_plane != "ambient"
    return found if found is not None and found[0].value is False and not stays else None


def lower(ir: IR, out: Output) -> None:
    """The same for ztunnel, which would let in whoever shows a name."""
    for policy in ir.policies:
        if policy.kind != KIND:
            continue
        src, (rule,) = policy.action.src, policy.rules
        ref = policy.ref.value
        name = out.free(SECURITY, "AuthorizationPolicy", ref.namespace, ref.name)
        obj = out.object(SECURITY, "AuthorizationPolicy", Ref(ref.namespace, name), owner=None, rank=42, because=src)
        obj.set(("spec", "selector", "matchLabels"), dict(policy.subject.value.selector.labels), src)
        obj.set(("spec", "action"), "DENY", src)
        ports: dict[str, list[str]] = {}
        for condition in rule.conditions:
            key, values = ("ports", condition.any_of) if condition.any_of is not None else ("notPorts", condition.none_of)
            ports[key] = [str(fact.value[0]) for fact in values]
        obj.set(("spec", "rules"), [{"to": [{"operation": ports}]}] if ports else [{}], src)
        obj.note("no client sent mutual TLS, and its ports refused plaintext")


def _plain(rule: TransportRule, said: Fact[Any]) -> TransportRule:
    return replace(
        rule,
        mode=_read(rule.mode, said) if rule.mode is not None else None,
        ports={port: _read(mode, said) for port, mode in rule.ports.items()},
    )


def _read(mode: Fact[str], said: Fact[Any]) -> Fact[str]:
    return said.holding("disable").also(mode) if mode.value == "permissive" else mode
