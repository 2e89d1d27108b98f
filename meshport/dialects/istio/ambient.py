"""AuthorizationPolicies for the ambient data plane: what ztunnel can hold stays with the pods, the rest goes to a waypoint (mapping decisions 3, "Ambient").

It starts from policies with selectors, those of the input or those just written. Where a rule asks for HTTP, or the Service has routes or limits, the
Service gets the namespace's waypoint and the whole policy hangs on the Service. Beside it a policy of the pods admits the waypoint's account, and whoever
may come without a word about HTTP: pod addresses, headless Services and clients with a sidecar do not pass a waypoint.
https://istio.io/latest/docs/ambient/migrate/migrate-policies/
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from meshport.dialects import naming
from meshport.dialects.base import Options
from meshport.dialects.istio import nameless
from meshport.dialects.istio.ambient_entries import (
    REFUSE,
    Entry,
    _readable,
    gateways,
    of_ambient_pods,
    of_input,
    refused,
    services_behind,
    written,
)
from meshport.dialects.istio.carried import of_the_domain, spare, trim
from meshport.dialects.istio.rules import (
    anybody,
    by_operation,
    deep,
    inert,
    on_port,
    on_ports,
    ports_of_rule,
    qualified,
    sparing,
    speaks_of,
    takes,
    trusting,
    widened,
    within,
)
from meshport.dialects.istio.waypoints import Waypoints, targets
from meshport.dialects.output import Obj, Output
from meshport.effective import subjects
from meshport.effective.access import Access, Effective, ports_of
from meshport.findings import Affected, Finding
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Selector, Src, sources
from meshport.ir.model import IR
from meshport.ir.world import Service, Workload
from meshport.values.ports import is_number

SECURITY = "security.istio.io/v1"


def lower(ir: IR, out: Output, options: Options, stood: Waypoints | None) -> None:
    """Waypoints, and the policies at their places. `stood` are the waypoints of the input where it is Istio's own."""
    entries = written(ir, out) if stood is None else of_input(ir, out, options, stood)
    access = {id(item.workload): item for item in Access(ir, Fact("all-unauthenticated")).workloads}
    named = {int(port) for entry in entries for rule in entry.rules for port in ports_of_rule(rule) if is_number(port)}
    entries = [entry for entry in entries if _named_as_before(entry, access, named, ir, out)]
    behind = services_behind(ir, options, entries, stood)
    if stood is not None:
        entries += of_ambient_pods(ir, out, options, stood, entries, behind)
    gates = gateways(ir, out, options, behind, stood)
    _idle(ir, out, options, gates)
    for entry in entries:
        entry.services = sorted(
            {service.ref: service for workload in entry.members for service in _gated(ir, workload, behind, stood)}.values(),
            key=lambda item: item.ref,
        )
    closed = {id(workload) for entry in entries if entry.action == "ALLOW" for workload in entry.members}
    denied = refused(entries)
    writer = _Writer(ir, out, options, gates, closed, denied, named, access, entries)
    for entry in entries:
        writer.write(entry)
    touched = {obj.changed for obj in out.objects.values()} | {*out.removed}
    for entry in entries:
        if entry.document is not None and entry.document in touched:
            trim(out, entry.document, entry.src, options.trust_domain)
    if stood is None:
        spare(ir, out)


def _gated(ir: IR, workload: Workload, behind: Iterable[Ref], stood: Waypoints | None) -> list[Service]:
    """The Services in front of a workload at whose waypoint its policies have to hang: for one in ambient those that get theirs now."""
    known = stood.behind if stood is not None and workload.ref in stood.ambient else ()
    return [service for service in ir.world.services_of(workload) if service.ref in behind and service.ref not in known]


def _named_as_before(entry: Entry, access: dict[int, Effective], ports: set[int], ir: IR, out: Output) -> bool:
    """Say rules as they came to where mTLS was disabled, so that nobody showed an identity; whether anything is left of the policy."""
    known = nameless.plain([access[id(workload)] for workload in entry.members])
    where = nameless.UNSURE if entry.document in ir.unnamed else known
    if where is None or not _readable(entry.spec):
        return True
    refuses = entry.action in REFUSE
    rules = nameless.rewritten(entry.rules, where, deny=refuses)
    each = {nameless.plain([access[id(workload)]]) for workload in entry.members} if known is not None and not where.exact else ()
    if any(rules != (nameless.rewritten(entry.rules, one, deny=refuses) if one is not None else entry.rules) for one in each):
        outcome = "a deny refuses them by name" if refuses else "those that ask for a name are left out for all of them"
        out.finding(
            "MP244", entry.src, document=entry.document, disposition="approximated", affects=_affects(entry.members), feature="authorization.rule",
            explains=frozenset((subjects.access(workload.ref, port), "allow") for workload in entry.members for port in (None, *access[id(workload)].transport, *ports_of([access[id(workload)]], ir.world), *ports)),
            object=entry.named, reason="mTLS is disabled on ports of some of its pods, where rules knew no caller by name", outcome=outcome,
        )  # fmt: skip
    if rules == entry.rules:
        return True
    entry.stood, entry.spec, entry.because = entry.spec, {**entry.spec, "rules": rules}, []
    if rules or not refuses or entry.document is None:
        return True
    out.remove(entry.document, "it refused callers by name, and mTLS is disabled: no caller had a name")
    out.adds_nothing("under DISABLE no caller had a name, so it refused nobody", entry.src)
    return False


def _idle(ir: IR, out: Output, options: Options, gates: dict[str, str]) -> None:
    """Policies with targetRefs that nothing enforced: a new waypoint would, so they have to go before it comes."""
    acting = {policy.document for policy in ir.policies}
    for loss in ir.losses:
        home = out.bundle.documents[loss.document].namespace or options.default_namespace
        if loss.code != "MP240" or not (home in gates or (home == options.root_namespace and gates)):
            continue
        if loss.document not in acting:
            out.remove(loss.document, "nothing enforced it; the new waypoint would")
            out.imply("nothing enforced it, and it goes before the waypoint comes that would", *loss.facts)
            continue
        hung = out.bundle.documents[loss.document].value["spec"].get("targetRefs") or []
        rest = [one for one in hung if f"{home}/{one.get('name')}" != loss.values.get("service")]
        if rest and rest != hung:
            out.change(loss.document, rank=14).set(("spec", "targetRefs"), rest, *loss.facts)


# -- what is written


class _Writer:
    def __init__(
        self,
        ir: IR,
        out: Output,
        options: Options,
        gates: dict[str, str],
        closed: set[int],
        denied: set[int],
        named: set[int],
        access: dict[int, Effective],
        entries: list[Entry],
    ) -> None:
        self.ir, self.out, self.options, self.gates, self.closed, self.denied = ir, out, options, gates, closed, denied
        self.named = named  # the ports that any policy speaks of
        self.access, self.entries = access, entries
        self.named |= {port for item in self.access.values() for port in item.transport if port is not None}

    def write(self, entry: Entry) -> None:
        """A policy at its place, or at both."""
        stood = entry.stood or entry.spec
        entry.spec = copy.deepcopy(entry.spec)
        self._trust(entry.spec)
        asks = any(map(entry.deep, entry.rules))
        if not entry.services:
            if entry.apart:
                self._stay(entry, stood)
            elif asks:
                self._at_pods(entry, "no Service stands before its pods that a waypoint could serve")
            else:
                self._stay(entry, stood)
            return
        rest = [
            workload for workload in entry.members if not any(service in entry.services for service in self.ir.world.services_of(workload))
        ]
        if asks and rest:
            self._say(entry, rest, f"{_named(rest)} have no Service that a waypoint could stand before", _outcome(entry))
        if entry.action in REFUSE:
            self._deny(entry, asks)
            if not asks:
                if entry.action == "DENY" and entry.rules:
                    entry.spec["rules"] = self._sparing(entry)
                self._stay(entry, stood)
        elif entry.rules:
            self._allow(entry)
        else:
            if entry.apart or any(id(workload) in self.denied for workload in entry.members):  # a deny lets the waypoint in at these pods
                self._attach(entry, [], replace=False)
            self._stay(entry, stood)

    def _stay(self, entry: Entry, stood: dict[str, Any]) -> None:
        """A policy that ztunnel holds as it is, but for the trust domain."""
        if entry.apart:
            if entry.action == "DENY" or any(obj.changed == entry.document for obj in self.out.objects.values()):
                self._again(entry)
            return
        if entry.spec == stood:
            return
        obj = entry.obj if entry.obj is not None else self.out.change(entry.document, rank=41) if entry.document is not None else None
        if obj is None:
            return
        obj.drop(("spec", "rules"), entry.src)
        if entry.rules:
            obj.set(("spec", "rules"), entry.rules, entry.src)

    def _again(self, entry: Entry) -> None:
        """What ztunnel holds for pods that are in ambient already, where its document is another one for those that come: one policy for each namespace, and
        of an allow one for each workload beside some that come, whom it would let in more."""
        said = {"action": entry.action, **({"rules": copy.deepcopy(entry.rules)} if entry.rules else {})}
        selector = {"selector": copy.deepcopy(entry.spec["selector"])} if entry.spec.get("selector") else {}
        coming = {
            one.ref.namespace for other in self.entries if other.document == entry.document and not other.apart for one in other.members
        }
        beside = coming if entry.action == "ALLOW" else set()
        name = naming.name(entry.ref.name, "ztunnel")
        for home in sorted({workload.ref.namespace for workload in entry.members} - beside):
            self._put(entry, name, {**selector, **copy.deepcopy(said)}, home, instead=False)
        for workload in entry.members:
            if workload.ref.namespace in beside:
                own = {"selector": {"matchLabels": workload.own_labels}, **copy.deepcopy(said)}
                self._put(entry, naming.name(name, workload.ref.name), own, workload.ref.namespace, instead=False)

    # -- an allow

    def _allow(self, entry: Entry) -> None:
        """The rules on the Services; for the pods the waypoint, and the rules that ask for no HTTP."""
        evaded = any(id(workload) in self.denied for workload in entry.members)
        shallow = [rule for rule in entry.rules if not deep(rule) and not evaded]
        open_to_all = [rule for rule in entry.rules if (deep(rule) or evaded) and anybody(rule)]
        if open_to_all and any(
            any(mode.value != "strict" for mode in self.access[id(workload)].transport.values()) for workload in entry.members
        ):
            self._finding("MP113", entry, entry.members, policy=entry.named)
        self._beside(entry, evaded)
        self._attach(entry, entry.rules, replace=True)
        self._pods(entry, naming.name(entry.ref.name, "only-by-waypoint"), shallow)

    def _beside(self, entry: Entry, evaded: bool) -> None:
        """Ports that no Service sends to are ztunnel's alone: what asks for HTTP does not hold there, so it admits nobody."""
        asking = [rule for rule in entry.rules if evaded or deep(rule)]
        if not asking:
            return
        for workload in entry.members:
            served = {
                number
                for service in self.ir.world.services_of(workload)
                for port in service.ports
                if port.protocol == "TCP" and (number := self.ir.world.target_number(workload, port)) is not None
            }
            others = {
                number
                for service in self.ir.world.services_of(workload)
                for numbers, _ in targets(service, self.ir.world).values()
                for number in numbers - served
            }
            own = self.access[id(workload)]
            known = set(ports_of([own], self.ir.world)) | {port.number for port in workload.ports if port.protocol == "TCP"}
            bare = [port for port in sorted(known - served) if any(speaks_of(rule, port) for rule in asking)]
            rest = any(speaks_of(rule, None) for rule in asking)
            spoken = [port for port in sorted((self.named | others) - served - known) if any(speaks_of(rule, port) for rule in asking)]
            if not bare and not rest and not spoken:
                continue
            numbers: list[int | None] = [*bare, *spoken, *([None] if rest else [])]
            idle = self._of_ports(entry, {*bare, *spoken})
            self.out.finding(
                "MP116", idle, disposition="dropped" if idle else None, document=entry.document, severity="warning" if bare else "info", feature="authorization.rule",
                affects=tuple(Affected(workload.ref.namespace, workload.ref.name, port) for port in numbers),
                explains=frozenset((subjects.access(workload.ref, port), "allow") for port in numbers),
                object=entry.named, workload=str(workload.ref), ports="ports " + ", ".join(map(str, bare)) if bare else "other ports",
            )  # fmt: skip

    def _of_ports(self, entry: Entry, ports: set[int]) -> Src:
        """The leaves of a policy that name some of these ports, where none of its pods has a Service that sends to them."""
        world = self.ir.world
        for service in (service for workload in entry.members for service in world.services_of(workload)):
            for numbers, _ in targets(service, world).values():
                ports = ports - numbers
        if entry.document is None or not ports:
            return NOWHERE
        leaves = self.out.bundle.walk(self.out.bundle.documents[entry.document])
        return frozenset(leaf for leaf, path, value in leaves if path[-3:-1] == ("operation", "ports") and value in map(str, ports))

    # -- a deny

    def _deny(self, entry: Entry, asks: bool) -> None:
        """At the waypoint in the callers' names; at the pods as well where ztunnel can hold it, and else by closing the way past the waypoint."""
        self._attach(entry, entry.rules, replace=asks)
        if not asks:
            return
        homes = {service.ref.namespace for service in entry.services}
        loose = [workload for workload in entry.members if id(workload) not in self.closed and workload.ref.namespace in homes]
        if not loose:
            return
        # allows add up, so that what one deny leaves open none of the others may need closed
        members = {id(workload) for workload in entry.members}
        beside = [
            one
            for one in self.entries
            if one.action in REFUSE and one.services and any(map(one.deep, one.rules)) and any(id(item) in members for item in one.members)
        ]
        ports: set[int] = {int(port) for one in beside for rule in one.rules for port in ports_of_rule(rule) if is_number(port)}
        for service in (service for one in beside for service in one.services):
            for numbers, _ in targets(service, self.ir.world).values():
                ports |= numbers
        rules: list[dict[str, Any]] = []
        elsewhere = any(
            one.deep(rule) and speaks_of(rule, None) for one in beside for rule in one.rules
        )  # where nothing would hold the deny
        # members that are closed are so on these ports by their own policies, which a rule for the rest would open
        if ports and not elsewhere and not any(id(workload) in self.closed for workload in entry.members):
            rules.append({"to": [{"operation": {"notPorts": [str(port) for port in sorted(ports)]}}]})
            held = [rule for rule in self._sparing(entry) if not entry.deep(rule) and not inert(rule) and speaks_of(rule, None)]
            selector = {"selector": copy.deepcopy(entry.spec["selector"])} if entry.spec.get("selector") else {}
            for home in sorted(homes) if held else ():
                denying = {**selector, "action": entry.action, "rules": copy.deepcopy(held)}
                self._put(entry, naming.name(entry.ref.name, "other-ports"), denying, home, instead=False)
        self._pods(entry, naming.name(entry.ref.name, "only-by-waypoint"), rules)
        self._finding("MP245", entry, loose, object=entry.named, workloads=_named(loose))

    # -- objects

    def _attach(self, entry: Entry, rules: list[dict[str, Any]], *, replace: bool) -> None:
        """The rules on the Services, one object for those that need the same ones. The first takes the place of the policy where it is replaced.

        What hangs on a Service stands in its namespace, so a policy of the root namespace keeps what ztunnel can hold of it."""
        groups: list[tuple[str, list[dict[str, Any]], list[Service], list[Src]]] = []
        for service in entry.services:
            made = [(one, entry.src_of(rule)) for rule in rules if (one := self._for_service(entry, rule, service)) is not None]
            said = [one for one, _ in made]
            if entry.action == "ALLOW":
                said = self._of_all(entry, said, service)
            if entry.action in REFUSE and not said:
                continue
            self._strangers(entry, said, service)
            home = service.ref.namespace
            because = [sources(*(src for one, src in made if one == rule)) or entry.src for rule in said]
            known = next((one for one in groups if one[:2] == (home, said)), None)
            if known is not None:
                known[2].append(service)
                known[3][:] = [sources(*both) for both in zip(known[3], because, strict=True)]
            else:
                groups.append((home, said, [service], because))
        instead = replace and not entry.apart and bool(groups) and all(group[0] == entry.ref.namespace for group in groups)
        if replace and not instead:
            self._remainder(entry)
        for home, said, services, because in groups:
            alone = sum(group[0] == home for group in groups) == 1
            name = entry.ref.name if instead else naming.name(entry.ref.name, "waypoint" if alone else services[0].ref.name)
            refs = [{"group": "", "kind": "Service", "name": service.ref.name} for service in services]
            spec: dict[str, Any] = {"targetRefs": refs}
            if entry.spec.get("action"):
                spec["action"] = entry.action
            if "provider" in entry.spec:
                spec["provider"] = copy.deepcopy(entry.spec["provider"])
            if said:
                spec["rules"] = said
            self._put(entry, name, spec, home, because, instead=instead)
            instead = False

    def _strangers(self, entry: Entry, rules: list[dict[str, Any]], service: Service) -> None:
        """Say which pods behind a Service lose by a policy that is for others of its pods: nothing else closed these, or it refuses."""
        mine = {id(workload) for workload in entry.members}
        members = self.ir.world.selected(service.pods) if service.pods is not None else []
        others = [one for one in members if id(one) not in mine and (entry.action in REFUSE or id(one) not in self.closed)]
        if not others or (entry.action == "ALLOW" and {} in rules):
            return
        found = self._finding(
            "MP244", entry, others, object=entry.named, severity="warning",
            reason=f"Service {service.ref} sends to {_named(others)} as well, which it is not for, and a waypoint does not tell pods apart",
            outcome="what it refuses is refused there too",
        )  # fmt: skip
        found.remedy = "Put a Service of their own before the pods that it is for, and let the clients call that."

    def _remainder(self, entry: Entry) -> None:
        """What stays of a policy that goes elsewhere: an allow with the rules that ask for no HTTP, so that it closes what it closed; of a deny nothing."""
        if entry.document is None or entry.apart:
            return
        literal = entry.spec == self.out.bundle.documents[entry.document].value.get("spec")  # no alias of the trust domain in it
        if entry.action in REFUSE:
            self._close(entry)
            if literal and entry.action == "DENY" and all(inert(rule) or not deep(rule) for rule in entry.rules):
                spared = self._sparing(entry)
                if spared == entry.rules:
                    self.out.imply("holds for gateways as before; ztunnel takes from it what asks for no HTTP", entry.src)
                    return
                obj = self.out.change(entry.document, rank=41)
                obj.drop(("spec", "rules"), entry.src)
                obj.set(("spec", "rules"), spared, entry.src)
                return
            self.out.remove(
                entry.document, "it hangs on the Services behind waypoints now; a gateway that the bundle does not have needs a copy first"
            )
            self._for_gateways(entry)
            return
        evaded = any(id(workload) in self.denied for workload in entry.members)
        if literal and not evaded and not any(map(trusting, entry.rules)):
            self.out.imply("ztunnel leaves out of it what asks for HTTP, and gateways read it as before", entry.src)
            return
        self._for_gateways(entry)
        rules = [rule for rule in entry.rules if not deep(rule) and not evaded]
        obj = self.out.change(entry.document, rank=41)
        obj.drop(("spec", "rules"), entry.src)
        if rules:
            obj.set(("spec", "rules"), rules, entry.src)

    def _pods(self, entry: Entry, name: str, rules: list[dict[str, Any]]) -> None:
        """An allow of the pods that ztunnel holds, which begins with the waypoint of their namespace."""
        for home in sorted({service.ref.namespace for service in entry.services}):
            waypoint = {"from": [{"source": {"principals": [self._principal(home)]}}]}
            said = {"action": "ALLOW", "rules": [waypoint, *copy.deepcopy(rules)]}
            because = [entry.src, *(entry.src_of(rule) for rule in rules)]
            if home not in {gateway.ref.namespace for gateway in entry.gateways} | {ref.namespace for ref in entry.entrances}:
                selector = {"selector": copy.deepcopy(entry.spec["selector"])} if entry.spec.get("selector") else {}
                self._put(entry, name, {**selector, **said}, home, because, instead=False)
                continue
            for workload in entry.members:  # beside a gateway, which it would close, one for each
                if workload.ref.namespace == home:
                    selector = {"selector": {"matchLabels": workload.own_labels}}
                    self._put(
                        entry, naming.name(name, workload.ref.name), {**selector, **copy.deepcopy(said)}, home, because, instead=False
                    )

    def _sparing(self, entry: Entry) -> list[dict[str, Any]]:
        """The rules of a deny for ztunnel, which do not refuse the waypoints before its pods: these refuse by the same rules themselves."""
        gates = [self._principal(home) for home in sorted({service.ref.namespace for service in entry.services})]
        return [rule if inert(rule) else sparing(rule, gates) for rule in entry.rules]

    def _close(self, entry: Entry) -> None:
        """A deny of the root namespace in each namespace where no waypoint holds it: it refuses more there, and nowhere else."""
        for home in sorted({workload.ref.namespace for workload in entry.members} - {service.ref.namespace for service in entry.services}):
            self._put(entry, entry.ref.name, self._closed(entry), home, instead=False)

    def _for_gateways(self, entry: Entry) -> None:
        """The policy as it was, for the gateways that it selected: they have a proxy of their own."""
        whole = {key: value for key, value in (entry.stood or entry.spec).items() if key != "selector"}
        for gateway in entry.gateways:
            spec = {"selector": {"matchLabels": gateway.own_labels}, **whole}
            self._put(entry, naming.name(entry.ref.name, gateway.ref.name), copy.deepcopy(spec), gateway.ref.namespace, instead=False)
        for ref in entry.entrances:
            target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": ref.name}
            spec = {"targetRefs": [target], **whole}
            self._put(entry, naming.name(entry.ref.name, ref.name), copy.deepcopy(spec), ref.namespace, instead=False)

    @staticmethod
    def _closed(entry: Entry) -> dict[str, Any]:
        """What ztunnel can hold of a deny, which refuses more; what another would have decided is refused."""
        selector = {"selector": copy.deepcopy(entry.spec["selector"])} if entry.spec.get("selector") else {}
        return {**selector, "action": "DENY", "rules": [widened(rule) for rule in entry.rules]}

    def _put(self, entry: Entry, name: str, spec: dict[str, Any], home: str, of_rules: Sequence[Src] = (), *, instead: bool) -> None:
        """Write a policy; `of_rules` are the leaves of each of its rules, where they are not those of the whole."""
        because = entry.src
        if home != entry.ref.namespace and spec.get("rules"):
            spec["rules"] = [qualified(rule, entry.ref.namespace) for rule in spec["rules"]]
        self._trust(spec)
        if instead and entry.document is not None:
            self._for_gateways(entry)
            obj = self.out.change(entry.document, rank=41)
            obj.set(("apiVersion",), SECURITY, because)
            for key in ("selector", "rules", "action", "provider"):
                if key in obj.value["spec"]:
                    obj.drop(("spec", key), because)
            for key, value in spec.items():
                obj.set(("spec", key), value, because)
            return
        if instead and entry.obj is not None:
            entry.obj.value["spec"] = {}
            for path in [path for path in entry.obj.sources if path[0] == "spec"]:
                del entry.obj.sources[path]
            _say_spec(entry.obj, spec, because, of_rules)
            return
        owner = (
            entry.document if entry.document is not None else entry.obj.origins[0] if entry.obj is not None and entry.obj.origins else None
        )
        free = self.out.free(SECURITY, "AuthorizationPolicy", home, name)
        group = entry.obj.group if entry.obj is not None else ""
        called = (
            self.out.called(entry.document)
            if entry.document is not None
            else entry.obj.sources.get(("metadata", "name"))
            if entry.obj
            else None
        )
        made = self.out.object(
            SECURITY, "AuthorizationPolicy", Ref(home, free), owner=owner, group=group, rank=42, because=sources(because, called)
        )
        _say_spec(made, spec, because, of_rules)
        made.note(f"beside AuthorizationPolicy {entry.ref}" if "targetRefs" not in spec else f"what {entry.named} says, at the waypoint")

    def _principal(self, namespace: str) -> str:
        return f"{self.options.trust_domain}/ns/{namespace}/sa/{self.gates[namespace]}"

    def _trust(self, spec: dict[str, Any]) -> None:
        """ztunnel knows no aliases: the trust domain of the cluster stands in every principal."""
        domain = self.options.trust_domain
        if domain == "cluster.local":
            return
        for rule in spec.get("rules") or ():
            lists = [(item.get("source", {}), ("principals", "notPrincipals")) for item in rule.get("from") or ()]
            lists += [(item, ("values", "notValues")) for item in rule.get("when") or () if item.get("key") == "source.principal"]
            for holder, keys in lists:
                for key in keys:
                    if key in holder:
                        holder[key] = [of_the_domain(text, domain) for text in holder[key]]

    # -- a Service in front of pods that do not admit the same

    def _of_all(self, entry: Entry, rules: list[dict[str, Any]], service: Service) -> list[dict[str, Any]]:
        """What every pod behind a Service admits of the rules of a policy: the waypoint does not tell pods apart, and would let the requests in at each."""
        mine = {id(workload) for workload in entry.members}
        members = self.ir.world.selected(service.pods) if service.pods is not None else []
        others = {id(workload): workload for workload in members if id(workload) in self.closed and id(workload) not in mine}
        admitted = {key: found for key in others if (found := self._admitted(key, service)) is not None}
        ports = [port.number for port in service.ports if port.protocol == "TCP"]
        kept, refused = [], set[int]()
        for rule in rules:
            own = {port: said for port in ports if (said := on_port(qualified(rule, entry.ref.namespace), port)) is not None}
            missing = {
                port: {
                    key
                    for key, theirs in admitted.items()
                    if not any((one := on_port(another, port)) is not None and within(said, one) for another in theirs)
                }
                for port, said in own.items()
            }
            refused |= {key for keys in missing.values() for key in keys}
            held = sorted(port for port, keys in missing.items() if not keys)
            if len(held) == len(own):
                kept.append(rule)
            elif held and (said := by_operation({**rule, "when": [*(rule.get("when") or ()), on_ports(held)]})) is not None:
                kept.append(said)
        if refused:
            rest = _named(sorted((others[key] for key in refused), key=lambda item: item.ref))
            reason = f"Service {service.ref} sends to {rest} as well, which refuse some of it, and a waypoint does not tell pods apart"
            self._say(entry, entry.members, reason, "what they refuse is left out for all of them")
        return kept

    def _admitted(self, key: int, service: Service) -> list[dict[str, Any]] | None:
        """What a pod that is closed admits, as rules on a Service; None where its ztunnel does not let the waypoint in."""
        policies = [one for one in self.entries if one.action == "ALLOW" and any(id(workload) == key for workload in one.members)]
        if key not in self.denied and not any(one.rules for one in policies):
            return None
        found = [(one, self._for_service(one, rule, service, aloud=False)) for one in policies for rule in one.rules]
        return [qualified(said, one.ref.namespace) for one, said in found if said is not None]

    # -- ports of a Service

    def _for_service(self, entry: Entry, rule: dict[str, Any], service: Service, *, aloud: bool = True) -> dict[str, Any] | None:
        """A rule about container ports as one about the Service's; None where it speaks of no port of the Service. `aloud` to say what it loses."""
        said = by_operation(rule)
        if said is None:
            return None
        if any(item.get("key") == "destination.ip" for item in said.get("when") or ()):
            outcome = _outcome(entry) if entry.action == "ALLOW" else "it refuses at any address"
            if aloud:
                self._say(entry, entry.members, "a waypoint sees the Service's address, and `when` asks for the pod's", outcome)
            if entry.action == "ALLOW":
                return None
            when = [item for item in said.pop("when") if item.get("key") != "destination.ip"]
            said = {**said, "when": when} if when else said
        if not any((item.get("operation") or {}).get(key) for item in said.get("to") or () for key in ("ports", "notPorts")):
            return said
        known = targets(service, self.ir.world)
        entries = []
        for item in said["to"]:
            operation = item["operation"]
            inside, outside = operation.pop("ports", None), operation.pop("notPorts", None)
            taken = {number: [takes(inside, outside, target) for target in reached] for number, (reached, _) in known.items()}
            mixed = {number for number, answers in taken.items() if any(answers) and not all(answers)}
            if mixed and aloud:
                outcome = _outcome(entry) if entry.action == "ALLOW" else "it refuses on each of them"
                self._say(entry, entry.members, f"Service {service.ref} sends to different ports of its pods", outcome)
            chosen = {number for number, answers in taken.items() if all(answers)} | (mixed if entry.action in REFUSE else set())
            if not chosen:
                continue
            every = chosen == {port.number for port in service.ports if port.protocol == "TCP"}
            if not every or deep(rule):  # on ports for TCP a rule that asks for HTTP in any part is void, and stays so
                others = {target for number, (reached, _) in known.items() if number not in chosen for target in reached}
                if chosen & others and entry.action == "ALLOW":
                    if aloud:
                        reason = f"ports of Service {service.ref} are the targets of others, so a port may mean either"
                        self._say(entry, entry.members, reason, _outcome(entry))
                    continue
                operation["ports"] = [str(number) for number in sorted(chosen)]
            entries.append(item if operation else None)
        if not entries:
            return None
        if any(item is None for item in entries):
            said.pop("to")
        else:
            said["to"] = entries
        return said

    # -- what ztunnel holds alone

    def _at_pods(self, entry: Entry, reason: str) -> None:
        """Nothing but ztunnel can hold the policy: an allow loses the rules that ask for HTTP, a deny the questions about HTTP."""
        self._say(entry, entry.members, reason, _outcome(entry))
        if entry.document is not None and entry.members and entry.ref.namespace == self.options.root_namespace:
            self._remainder(entry)
            return
        self._for_gateways(entry)
        kept = [rule for rule in entry.rules if not deep(rule)]
        rules = kept if entry.action == "ALLOW" else [widened(rule) for rule in entry.rules]
        src = entry.src
        obj = entry.obj if entry.obj is not None else self.out.change(entry.document, rank=41) if entry.document is not None else None
        if obj is None:
            return
        if entry.action == "CUSTOM":
            obj.set(("spec", "action"), "DENY", src)
            obj.drop(("spec", "provider"), src)
        obj.drop(("spec", "rules"), src)
        for path in [path for path in obj.sources if path[:2] == ("spec", "rules") and len(path) > 2]:
            del obj.sources[path]
        if rules:
            _say_spec(obj, {"rules": rules}, src, [entry.src_of(rule) for rule in kept] if entry.action == "ALLOW" else ())

    # -- findings

    def _say(self, entry: Entry, members: list[Workload], reason: str, outcome: str) -> None:
        self._finding("MP244", entry, members, disposition="approximated", object=entry.named, reason=reason, outcome=outcome)

    def _finding(self, code: str, entry: Entry, members: list[Workload], disposition: str | None = None, **values: Any) -> Finding:
        because = (entry.src,) if disposition is not None else ()
        return self.out.finding(
            code, *because, document=entry.document, disposition=disposition, affects=_affects(members) or self._unseen(entry), explains=self._explains(members),
            feature="authorization.rule", **values,
        )  # fmt: skip

    def _unseen(self, entry: Entry) -> tuple[Affected, ...]:
        """The pods of a policy that the bundle shows none of."""
        home = entry.ref.namespace
        labels = (entry.spec.get("selector") or {}).get("matchLabels") or {}
        pods = PodSet("" if home == self.options.root_namespace else home, Selector.of(labels))
        return () if self.ir.world.selected(pods) or entry.gateways or entry.entrances else (subjects.unseen(pods),)

    def _explains(self, members: Iterable[Workload]) -> frozenset[tuple[str, str]]:
        found = set()
        members = list(members)
        known = [own for workload in members if (own := self.access.get(id(workload))) is not None]
        every = ports_of(known, self.ir.world)  # one policy for all of them names the ports of each
        for workload in members:
            numbers: set[int | None] = {None, *self.named, *every}
            for service in self.ir.world.services_of(workload):  # also those that only others of its pods have
                numbers |= {number for known, _ in targets(service, self.ir.world).values() for number in known}
            found |= {(subjects.access(workload.ref, port), "allow") for port in numbers}
        return frozenset(found)


def _say_spec(obj: Obj, spec: dict[str, Any], because: Src, of_rules: Sequence[Src]) -> None:
    for key, value in spec.items():
        if key == "rules" and of_rules:
            for number, (rule, src) in enumerate(zip(value, of_rules, strict=True)):
                obj.set(("spec", "rules", number), rule, src)
        else:
            obj.set(("spec", key), value, because)


def _affects(members: Iterable[Workload]) -> tuple[Affected, ...]:
    return tuple(Affected(workload.ref.namespace, workload.ref.name) for workload in members)


def _named(members: Iterable[Workload]) -> str:
    return ", ".join(str(workload.ref) for workload in members)


def _outcome(entry: Entry) -> str:
    return (
        "the rules that ask for it are left out"
        if entry.action == "ALLOW"
        else "it refuses whatever else the rule says, by any method and path"
    )
