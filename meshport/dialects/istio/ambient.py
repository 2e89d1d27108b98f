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
from meshport.dialects.entrances import for_gateways_alone
from meshport.dialects.istio import ambient_names, at_services, beside_shown, past_ztunnel
from meshport.dialects.istio.ambient_entries import (
    REFUSE,
    Entry,
    by_principals,
    entered,
    gateways,
    labels_of,
    left_open,
    of_ambient_pods,
    of_input,
    refused,
    selected,
    services_behind,
    without_pods,
    written,
)
from meshport.dialects.istio.ambient_written import Writing, affected, names_of, outcome_of, say_spec
from meshport.dialects.istio.carried import spare, trim
from meshport.dialects.istio.rules import (
    anybody,
    deep,
    inert,
    ports_of_rule,
    sparing,
    speaks_of,
    trusting,
    widened,
)
from meshport.dialects.istio.waypoints import Waypoints, in_ambient, is_gateway, targets
from meshport.dialects.output import Output
from meshport.effective import subjects
from meshport.effective.access import Access, ports_of
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Selector, Src, sources
from meshport.ir.model import IR
from meshport.ir.transport import PortSetting
from meshport.ir.world import Service, Workload
from meshport.values.ports import is_number


def lower(ir: IR, out: Output, options: Options, stood: Waypoints | None, past: Iterable[PortSetting] = (), *, half: bool = False) -> None:
    """Waypoints, and the policies at their places. `stood` are the waypoints of the input where it is Istio's own; `past` are ports that went past the proxies;
    `half` where some of the callers went past the waypoints, and the policies are those of pods, as for sidecars."""
    entries = written(ir, out) if stood is None else of_input(ir, out, options, stood, whole=half)
    entries = _in_ambient(entries, ir, out)
    known = Access(ir, Fact("all-unauthenticated"))
    access = {id(item.workload): item for item in known.workloads}
    ports = {int(port) for entry in entries for rule in entry.rules for port in ports_of_rule(rule) if is_number(port)}
    entries = ambient_names.as_before(ir, out, options, entries, known, ports)
    if stood is None or not (stood.ambient or any(map(in_ambient, ir.world.namespaces.values()))):
        by_principals(entries)
    behind = services_behind(ir, options, entries, stood)
    if stood is not None and not half:
        entries += of_ambient_pods(ir, out, options, stood, entries, behind)
    gates = gateways(ir, out, options, behind, stood, half=half)
    if not half:
        _idle(ir, out, options, {ref.namespace for ref in gates})
    opened = past_ztunnel.lower(ir, out, past, entries, access)
    entries += opened
    past_ztunnel.outward(ir, out, options, stood, access)
    for entry in entries:
        entry.services = sorted(
            {
                service.ref: service for workload in entry.members for service in _gated(ir, workload, behind, None if half else stood)
            }.values(),
            key=lambda item: item.ref,
        )
    if not half:
        entered(ir, out, entries, stood)
    for entry in opened:
        past_ztunnel.fronting(ir, entry)
    closed = {id(workload) for entry in entries if entry.action == "ALLOW" for workload in entry.members}
    denied = refused(entries)
    ports |= {port for item in access.values() for port in item.transport if port is not None}
    writer = _Writer(ir, out, options, gates, closed, denied, ports, access, entries)
    for entry in entries:
        for service in entry.services if entry.action == "ALLOW" else ():
            writer.hung.setdefault(service.ref, []).append(entry)
    for entry in entries:
        writer.write(entry)
    touched = {obj.changed for obj in out.objects.values()} | {*out.removed}
    for entry in entries:
        if entry.document is not None and entry.document in touched:
            reached = {number for service in entry.services for numbers, _ in targets(service, ir.world).values() for number in numbers}
            trim(out, entry.document, entry.src, entry.ref.namespace, options.trust_domain, reached)
    if stood is None:
        spare(ir, out)


def _in_ambient(entries: list[Entry], ir: IR, out: Output) -> list[Entry]:
    """The entries but for those of gateways alone: gateways keep their proxies, and these their policies."""
    apart = {policy.document for policy in for_gateways_alone(ir, is_gateway)}
    for entry in entries:
        if entry.document in apart:
            out.imply("stays as it is: its pods are gateways, which keep their proxies", entry.src)
    return [entry for entry in entries if entry.document not in apart]


def _gated(ir: IR, workload: Workload, behind: Iterable[Ref], stood: Waypoints | None) -> list[Service]:
    """The Services in front of a workload at whose waypoint its policies have to hang: for one in ambient those that get theirs now."""
    known = stood.behind if stood is not None and workload.ref in stood.ambient else ()
    return [service for service in ir.world.services_of(workload) if service.ref in behind and service.ref not in known]


def _idle(ir: IR, out: Output, options: Options, gates: set[str]) -> None:
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


class _Writer(Writing):
    """Where each policy hangs: on the Services behind waypoints, with the pods, or at both."""

    def write(self, entry: Entry) -> None:
        """A policy at its place, or at both."""
        stood = entry.stood or entry.spec
        entry.spec = copy.deepcopy(entry.spec)
        self.trust(entry.spec)
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
            self.say(entry, rest, f"{names_of(rest)} have no Service that a waypoint could stand before", outcome_of(entry))
        if entry.action in REFUSE:
            self._deny(entry, asks)
            if asks:
                self._deny_without_service(entry, rest)
            if not asks:
                if entry.action == "DENY" and entry.rules:
                    entry.spec["rules"] = self._sparing(entry)
                self._stay(entry, stood)
        elif entry.rules and at_services.hangs(self, entry):
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
        entry.spec |= {"rules": beside_shown.held(self, entry, entry.rules)} if entry.rules else {}
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
            self.put(entry, name, {**selector, **copy.deepcopy(said)}, home, instead=False)
        for workload in entry.members:
            if workload.ref.namespace in beside:
                own = {"selector": {"matchLabels": workload.own_labels}, **copy.deepcopy(said)}
                self.put(entry, naming.name(name, workload.ref.name), own, workload.ref.namespace, instead=False)

    # -- an allow

    def _allow(self, entry: Entry) -> None:
        """The rules on the Services; for the pods the waypoint, and the rules that ask for no HTTP."""
        evaded = any(id(workload) in self.denied for workload in entry.members)
        shallow = [rule for rule in entry.rules if not deep(rule) and not evaded]
        open_to_all = [rule for rule in entry.rules if (deep(rule) or evaded) and anybody(rule)]
        if open_to_all and any(
            any(mode.value != "strict" for mode in self.access[id(workload)].transport.values()) for workload in entry.members
        ):
            self.finding("MP113", entry, entry.members, policy=entry.named)
        self._beside(entry, evaded)
        if evaded or any(map(deep, entry.rules)):
            self.by_services_alone(entry)
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
                if service.ref in self.gates
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
            spoken = [port for port in sorted((self.ports | others) - served - known) if any(speaks_of(rule, port) for rule in asking)]
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
        self.deny_unseen(entry)
        homes = {service.ref.namespace for service in entry.services}
        loose = [workload for workload in entry.members if id(workload) not in self.closed and workload.ref.namespace in homes]
        unseen = left_open(
            self.options, entry, self.entries, homes
        )  # a policy for all of them closes those too that the bundle does not show
        if not loose and not unseen:
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
                self.put(entry, naming.name(entry.ref.name, "other-ports"), denying, home, instead=False)
        self._pods(entry, naming.name(entry.ref.name, "only-by-waypoint"), rules)
        self._reopen(entry, homes)
        self.shut(entry, loose, unseen)

    def _reopen(self, entry: Entry, homes: set[str]) -> None:
        """Open the pods with ztunnel that a deny selects as well, and that the way past the waypoint of others would be closed for: they have no allow."""
        others = [one for one in selected(self.ir, self.options, entry) if one not in entry.members and not is_gateway(one)]
        allows = [policy.subject.value for policy in self.ir.policies if policy.action.value == "allow"]
        for workload in others if not entry.gateways and not entry.entrances else ():
            if workload.ref.namespace not in homes or any(pods.contains(workload.ref.namespace, workload.labels) for pods in allows):
                continue
            if workload.own_labels and not any(workload.pods.contains(one.ref.namespace, one.labels) for one in entry.members):
                spec = {"selector": {"matchLabels": workload.own_labels}, "action": "ALLOW", "rules": [{}]}
                self.put(entry, naming.name(entry.ref.name, workload.ref.name), spec, workload.ref.namespace, instead=False)
            else:
                self.say(entry, [workload], "no label tells it from pods that admit only the waypoint", "it admits only the waypoint too")

    def _deny_without_service(self, entry: Entry, members: list[Workload]) -> None:
        """What ztunnel can hold of a deny, for pods beside others that have a waypoint."""
        homes = {service.ref.namespace for service in entry.services}
        for workload in (one for one in members if one.ref.namespace in homes and one.own_labels):
            spec = {"selector": {"matchLabels": workload.own_labels}, "action": "DENY", "rules": [widened(rule) for rule in entry.rules]}
            self.put(entry, naming.name(entry.ref.name, workload.ref.name), spec, workload.ref.namespace, instead=False)

    # -- objects

    def _attach(self, entry: Entry, rules: list[dict[str, Any]], *, replace: bool) -> None:
        """The rules on the Services, one object for those that need the same ones. The first takes the place of the policy where it is replaced.

        What hangs on a Service stands in its namespace, so a policy of the root namespace keeps what ztunnel can hold of it."""
        groups: list[tuple[str, list[dict[str, Any]], list[Service], list[Src]]] = []
        for service in entry.services:
            made = [(one, entry.src_of(rule)) for rule in rules if (one := at_services.for_service(self, entry, rule, service)) is not None]
            said = [one for one, _ in made]
            if entry.action == "ALLOW":
                said = at_services.of_all(self, entry, said, service)
            if entry.action in REFUSE and not said:
                continue
            at_services.strangers(self, entry, said, service)
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
            self.put(entry, name, spec, home, because, instead=instead)
            instead = False

    def _remainder(self, entry: Entry) -> None:
        """What stays of a policy that goes elsewhere: an allow with the rules that ask for no HTTP, so that it closes what it closed; of a deny nothing."""
        if entry.document is None or entry.apart:
            return
        literal = entry.spec == self.out.bundle.documents[entry.document].value.get("spec")  # no alias of the trust domain in it
        if entry.action in REFUSE:
            inert_alone = literal and entry.action == "DENY" and all(inert(rule) or not deep(rule) for rule in entry.rules)
            everybody = {id(one) for one in selected(self.ir, self.options, entry)} <= {id(one) for one in entry.members}
            if everybody and not entry.entrances and not inert_alone:
                gates = self.principals(entry)
                rules = [widened(rule) for rule in entry.rules]
                self._hold(entry, [sparing(rule, gates, anybody=True) for rule in rules] if gates else rules)
                if gates:
                    self.say_unshown(entry)
                return
            self._close(entry)
            if inert_alone:
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
            self.for_gateways(entry)
            return
        evaded = any(id(workload) in self.denied for workload in entry.members)
        spared = beside_shown.held(self, entry, entry.rules)
        if literal and not evaded and not any(map(trusting, entry.rules)) and spared == entry.rules:
            self.out.imply("ztunnel leaves out of it what asks for HTTP, and gateways read it as before", entry.src)
            return
        self.for_gateways(entry)
        rules = [rule for rule in spared if not deep(rule) and not evaded]
        obj = self.out.change(entry.document, rank=41)
        obj.drop(("spec", "rules"), entry.src)
        if rules:
            obj.set(("spec", "rules"), rules, entry.src)

    def _pods(self, entry: Entry, name: str, rules: list[dict[str, Any]]) -> None:
        """An allow of the pods that ztunnel holds, which begins with the waypoint of their namespace."""
        whole = rules
        for home in sorted({service.ref.namespace for service in entry.services}):
            rules = beside_shown.for_all(self, entry, home, name, whole)
            waypoint = {"from": [{"source": {"principals": self.principals(entry, home)}}]}
            said = {"action": "ALLOW", "rules": [waypoint, *copy.deepcopy(rules)]}
            because = [entry.src, *(entry.src_of(rule) for rule in rules)]
            each = [(one.ref.name, one.own_labels) for one in entry.members if one.ref.namespace == home]
            if beside_shown.spares_gateways(self, entry, home, rules):
                selector = {"selector": copy.deepcopy(entry.spec["selector"])} if entry.spec.get("selector") else {}
                if parted := beside_shown.services(self, entry, home):
                    held = beside_shown.held(self, entry, rules)
                    closing = {"action": "ALLOW", **({"rules": held} if held else {})}
                    self.put(entry, name, {**selector, **closing}, home, because[1:], instead=False)
                    said, because = {"action": "ALLOW", "rules": [waypoint]}, [entry.src]
                    each = beside_shown.letting_in(self, entry, home, parted)
                else:
                    self.put(entry, name, {**selector, **said}, home, because, instead=False)
                    continue
            else:
                each += [
                    (one.ref.name, one.selector or {}) for one in without_pods(self.ir, PodSet(home, Selector.of(labels_of(entry.spec))))
                ]
            for called, labels in each:  # beside a gateway, which it would close, one for each
                one = {"selector": {"matchLabels": labels}, **copy.deepcopy(said)}
                self.put(entry, naming.name(name, called), one, home, because, instead=False)

    def _sparing(self, entry: Entry) -> list[dict[str, Any]]:
        """The rules of a deny for ztunnel, which do not refuse the waypoints before its pods: these refuse by the same rules themselves."""
        gates = self.principals(entry)
        return [rule if inert(rule) else sparing(rule, gates) for rule in entry.rules]

    def _close(self, entry: Entry) -> None:
        """A deny of the root namespace in each namespace where no waypoint holds it: it refuses more there, and nowhere else."""
        own = {workload.ref.namespace for workload in entry.members}
        others = {one.ref.namespace for one in selected(self.ir, self.options, entry)} | {ref.namespace for ref in entry.entrances}
        unseen = {name for name, home in self.ir.world.namespaces.items() if home.meshed is not None and home.meshed.value} - others
        for home in sorted((own | unseen) - {service.ref.namespace for service in entry.services} - {self.options.root_namespace}):
            self.put(entry, entry.ref.name, self._closed(entry), home, instead=False)
        if unseen - own:
            self.say_unshown(entry)

    @staticmethod
    def _closed(entry: Entry) -> dict[str, Any]:
        """What ztunnel can hold of a deny, which refuses more; what another would have decided is refused."""
        selector = {"selector": copy.deepcopy(entry.spec["selector"])} if entry.spec.get("selector") else {}
        return {**selector, "action": "DENY", "rules": [widened(rule) for rule in entry.rules]}

    # -- what ztunnel holds alone

    def _at_pods(self, entry: Entry, reason: str) -> None:
        """Nothing but ztunnel can hold the policy: an allow loses the rules that ask for HTTP, a deny the questions about HTTP."""
        self.say(entry, entry.members, reason, outcome_of(entry)).affects = (*affected(entry.members), *self.unshown(entry))
        if entry.document is not None and entry.members and entry.ref.namespace == self.options.root_namespace:
            self._remainder(entry)
            return
        self.for_gateways(entry)
        kept = [rule for rule in entry.rules if not deep(rule)]
        rules = beside_shown.held(self, entry, kept) if entry.action == "ALLOW" else [widened(rule) for rule in entry.rules]
        self._hold(entry, rules, [entry.src_of(rule) for rule in kept] if entry.action == "ALLOW" else ())

    def _hold(self, entry: Entry, rules: list[dict[str, Any]], of_rules: Sequence[Src] = ()) -> None:
        """The rules for ztunnel in the place of the policy; whoever else decides refuses there."""
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
            say_spec(obj, {"rules": rules}, src, of_rules)
