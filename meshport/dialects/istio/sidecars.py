"""Istio's ambient data plane written anew for sidecars: the labels, the waypoints, and the policies, each where the pods' own proxies enforce it.

What hangs on a Service becomes a policy of the pods behind it, on the container ports that the Service sends to. A rule for ztunnel that admits the waypoint
stood for what the waypoint lets through: it leaves, and with it the policy that held nothing else. Routes on Services stay, for a client's sidecar reads
them. https://istio.io/latest/docs/ambient/usage/waypoint/ and /setup/additional-setup/sidecar-injection/
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from meshport.dialects import enrolment, naming
from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.istio import authorization, halfway, past_waypoints, ports, taking_effect, unproxied, waypoints
from meshport.dialects.istio.ambient_written import SECURITY
from meshport.dialects.istio.by_port import identified, of_everybody, ported, rule_beside
from meshport.dialects.istio.enforcement import Settled
from meshport.dialects.istio.rules import OPERATION, qualified, speaks_of
from meshport.dialects.istio.waypoints import Waypoints, targets
from meshport.dialects.istio.ztunnel import KEYS, inner_star, negative
from meshport.dialects.output import Output
from meshport.effective import subjects
from meshport.effective.access import Access, ports_of
from meshport.findings import Affected
from meshport.ir.authorization import PORT
from meshport.ir.base import Fact, PodSet, Ref, Src
from meshport.ir.model import IR
from meshport.ir.world import Service
from meshport.mapping.bound import Bound

_WAYPOINT = "membership.waypoint"
_SOURCE = ("requestPrincipals", "remoteIpBlocks")
Ports = dict[int, tuple[set[int], Src]]
"""Container ports by the port of a Service, with the leaves that decide them."""


@dataclass(slots=True)
class Placed:
    """A policy of pods to be: where it stands, which pods it takes, and its rules."""

    pods: PodSet
    rules: list[dict[str, Any]]
    service: Ref | None


def lower(bound: Bound, ir: IR, out: Output, options: Options, stood: Waypoints) -> None:
    """Sidecars for ztunnel and the waypoints of a bundle."""
    _enrol(bound, ir, out)
    _modes(bound, ir, out)
    writer = _Policies(bound, ir, out, options, stood)
    writer.write()
    _gates(bound, ir, out, options, stood)
    taking_effect.report(bound, ir, out, options, stood)
    unproxied.awake(ir, out)


# -- membership


def _enrol(bound: Bound, ir: IR, out: Output) -> None:
    """Labels of sidecars for those of ambient; never both on one pod."""
    changed: list[str] = []
    for name, namespace in sorted(ir.world.namespaces.items()):
        if namespace.labels.get(waypoints.MODE) != "ambient" or namespace.meshed is None:
            continue
        if not waypoints.in_ambient(namespace):
            stood_aside = Cursor.root(bound, namespace.document).at("metadata", "labels", waypoints.MODE).src
            out.change(namespace.document, rank=enrolment.STAGE_NAMESPACES).drop(("metadata", "labels", waypoints.MODE), stood_aside)
            continue
        changed.append(name)
        obj = out.change(namespace.document, rank=enrolment.STAGE_NAMESPACES)
        enrolment.strip(out, obj, namespace.document, ("metadata",), namespace.meshed)
        obj.set(("metadata", "labels", "istio-injection"), "enabled", namespace.meshed)
    pods: list[str] = []
    for workload in ir.world.workloads:
        excluded = Cursor.root(bound, workload.document).at(*workload.template, "metadata", "annotations", ports.EXCLUDE_IN)
        if excluded and waypoints.ambient(ir.world, workload):  # which ztunnel took like all others
            obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=enrolment.STAGE_WORKLOADS)
            obj.drop((*workload.template, "metadata", "annotations", ports.EXCLUDE_IN), excluded.src)
        bypass = Cursor.root(bound, workload.document).at(*workload.template, "metadata", "annotations", ports.BYPASS)
        if workload.bypassed is not None and bypass.src == workload.bypassed.src:
            obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=enrolment.STAGE_WORKLOADS)
            obj.drop((*workload.template, "metadata", "annotations", ports.BYPASS), bypass.src)
            obj.set((*workload.template, "metadata", "annotations", ports.INCLUDE_IN), "", bypass.src)
        if workload.meshed is None or not ({waypoints.MODE} & workload.labels.keys() or waypoints.ambient(ir.world, workload)):
            continue
        home = ir.world.namespaces.get(workload.ref.namespace)
        inherited = home.meshed.value if home is not None and home.meshed is not None else False
        obj = out.change(workload.document, group=f"workload {workload.ref.name}", rank=enrolment.STAGE_WORKLOADS)
        enrolment.strip(out, obj, workload.document, (*workload.template, "metadata"), workload.meshed)
        if workload.meshed.value != inherited:
            said = "true" if workload.meshed.value else "false"
            obj.set((*workload.template, "metadata", "labels", "sidecar.istio.io/inject"), said, workload.meshed)
        else:
            out.imply("the namespace says the same", workload.meshed)
        if workload.meshed.value and workload.ref.namespace not in changed:
            pods.append(workload.ref.namespace)
    joined = [*changed, *sorted(set(pods))]
    if joined:
        because = [ir.world.namespaces[name].meshed for name in changed]
        out.finding(
            "MP118", *because, document=ir.world.namespaces[joined[0]].document if joined[0] in ir.world.namespaces else None,
            affects=tuple(Affected(name) for name in joined), feature="membership.inject", namespaces=", ".join(joined),
        )  # fmt: skip


def _gates(bound: Bound, ir: IR, out: Output, options: Options, stood: Waypoints) -> None:
    """Waypoints leave, and with them the labels that send requests there."""
    for number, document in enumerate(bound.bundle.documents):
        metadata = document.value.get("metadata") if isinstance(document.value, dict) else None
        if number in bound.broken or waypoints.is_waypoint(document.value) or not isinstance(metadata, dict):
            continue
        keys = [key for key in metadata.get("labels") or () if (found := enrolment.mark(out, "labels", key)) and found.feature == _WAYPOINT]
        if keys and document.kind != "Namespace":
            enrolment.strip(out, out.change(number, rank=enrolment.STAGE_SERVICES), number, ("metadata",), None, _WAYPOINT)
        elif keys:
            enrolment.strip(out, out.change(number, rank=enrolment.STAGE_NAMESPACES), number, ("metadata",), None, _WAYPOINT)
    for ref, waypoint in sorted(stood.known.items()):
        if waypoint.document is None:
            continue
        out.remove(waypoint.document, "no Service needs it once the pods have sidecars; delete it when the last of its clients has one")
        src = Cursor.root(bound, waypoint.document).src
        out.finding("MP705", src, document=waypoint.document, disposition="dropped", feature=_WAYPOINT, waypoint=str(ref))
        using = [one for one in stood.using(ref) if _judged(ir, ir.world.services[one])]
        if using:
            out.finding(
                "MP119", document=waypoint.document, feature=_WAYPOINT, affects=tuple(Affected(one.namespace, one.name) for one in using),
                services=", ".join(map(str, using)), waypoint=str(ref),
            )  # fmt: skip


def _judged(ir: IR, service: Service) -> bool:
    """Whether a policy speaks of pods behind a Service."""
    members = ir.world.selected(service.pods) if service.pods is not None else []
    return any(policy.subject.value.contains(one.ref.namespace, one.labels) for policy in ir.policies for one in members)


def _modes(bound: Bound, ir: IR, out: Output) -> None:
    """DISABLE was PERMISSIVE at ztunnel; a sidecar would take it at its word."""
    for rule in ir.transport:
        spec = Cursor.root(bound, rule.document).at("spec")
        facts: dict[tuple[str, ...], Fact[str] | None] = {("mtls", "mode"): rule.mode}
        facts.update({("portLevelMtls", str(port), "mode"): fact for port, fact in rule.ports.items()})
        for path, fact in facts.items():
            if fact is not None and fact.value == "permissive" and spec.at(*path).value == "DISABLE":
                out.change(rule.document, rank=39).set(("spec", *path), "PERMISSIVE", fact)
        for port, fact in rule.inheriting.items():
            place = ("portLevelMtls", str(port), "mode")
            if spec.at(*place).value == "DISABLE":
                out.change(rule.document, rank=39).set(("spec", *place), "UNSET", fact)


# -- policies


class _Policies:
    def __init__(self, bound: Bound, ir: IR, out: Output, options: Options, stood: Waypoints) -> None:
        self.bound, self.ir, self.out, self.options, self.stood = bound, ir, out, options, stood
        scratch = IR("istio", ir.world, transport=list(ir.transport))
        numbers = [
            number
            for number, document in enumerate(bound.bundle.documents)
            if bound.mesh[number]
            and number not in bound.broken
            and (document.group, bound.kinds.get(number, document.kind)) == ("security.istio.io", "AuthorizationPolicy")
        ]
        self.settled = authorization.lift(bound, numbers, options, scratch, stood)
        self.unenforced = {loss.document for loss in scratch.losses if loss.code == "MP240"}
        self.hung: dict[int, list[Settled]] = {}
        for item in self.settled:
            if item.service is not None:
                self.hung.setdefault(item.read.policy.document, []).append(item)

    def write(self) -> None:
        """Every policy where sidecars enforce it."""
        closed = {
            workload.ref
            for item in self.settled
            for policy in (item.made if item.service is not None else item.through)
            if policy.action.value == "allow"
            for workload in self.ir.world.selected(policy.subject.value)
        }
        for number, items in sorted(self.hung.items()):
            self._place(number, [self._on_pods(item) for item in items])
        for number in sorted(self.unenforced - self.hung.keys()):
            self.out.remove(number, "no waypoint enforces it, and no sidecar will")
            self.out.imply("nothing enforces it in ambient, and nothing does with sidecars", self._src(number))
        for item in self.settled:
            if item.service is None and (item.made != [item.read.policy] or item.through):
                self._by_selector(item, closed)

    def _spec(self, number: int) -> dict[str, Any]:
        spec = self.bound.bundle.documents[number].value.get("spec")
        return spec if isinstance(spec, dict) else {}

    def _src(self, number: int) -> Src:
        return Cursor.root(self.bound, number).at("spec").src

    def _rules(self, number: int) -> list[dict[str, Any]]:
        return [rule if isinstance(rule, dict) else {} for rule in self._spec(number).get("rules") or ()]

    # -- what hangs on a Service

    def _on_pods(self, item: Settled) -> Placed:
        """A policy of a waypoint as one of the pods behind one of its Services."""
        assert item.service is not None
        service, policy = self.ir.world.services[item.service], item.made[0]
        said = self._rules(policy.document)
        numbers = sorted({rule.number for rule in policy.rules if rule.number < len(said)}) if policy.rules else []
        every = targets(service, self.ir.world)
        known = {number: (reached - item.refused, src) for number, (reached, src) in every.items() if reached - item.refused}
        beside = sorted({number for reached, _ in known.values() for number in reached})
        if policy.action.value == "allow" and item.guarded:
            known = self._alike(item, service, known)
        self._left_open(item, service)
        rules = []
        for number in numbers:
            made = ported(said[number], known) if every else copy.deepcopy(said[number])
            if made is None:
                continue
            if item.guarded:
                made = identified(made)
            rules.append(made)
        if item.everywhere:
            rules += [rule_beside(rule, beside) for rule in said] if beside else []
        elif policy.action.value == "allow" and not item.guarded and known:
            rules.append({"to": [{"operation": {"notPorts": [str(number) for number in beside]}}]})
        self._addressed(item, rules)
        assert service.pods is not None
        return Placed(service.pods, rules, item.service)

    def _alike(self, item: Settled, service: Service, known: Ports) -> Ports:
        """The ports of the pods that the Service reaches at each of them: a named port is another at pods that declare it otherwise, and none at those that
        do not, while the policy is one for all of them."""
        members = self.ir.world.selected(service.pods) if service.pods is not None else []
        world, tcp = self.ir.world, [port for port in service.ports if port.protocol == "TCP"]
        own = [{world.target_number(workload, port) for port in tcp} for workload in members]
        every = set[int]().union(*(reached for reached, _ in known.values()))
        uneven = {number for number in every if not all(number in numbers for numbers in own)}
        concerned = [workload for workload, numbers in zip(members, own, strict=True) if uneven & numbers]
        if not uneven or not concerned:
            return known
        ports = ", ".join(map(str, sorted(uneven)))
        self.out.finding(
            "MP244", document=item.read.policy.document, disposition=None, feature="authorization.rule",
            affects=tuple(Affected(workload.ref.namespace, workload.ref.name, port) for workload in concerned for port in sorted(uneven)),
            explains=frozenset((subjects.access(workload.ref, port), "allow") for workload in members for port in uneven),
            object=f"AuthorizationPolicy {item.read.policy.ref.value}",
            reason=f"Service {service.ref} reaches port {ports} at {', '.join(str(workload.ref) for workload in concerned)} alone of its pods",
            outcome="what it admits there is left out",
        )  # fmt: skip
        return {number: (reached - uneven, src) for number, (reached, src) in known.items() if reached - uneven}

    def _left_open(self, item: Settled, service: Service) -> None:
        """Say which pods behind a Service are closed with the others: a sidecar does not tell by which way a request came."""
        if not item.left:
            return
        left = [workload for workload in self.ir.world.workloads if workload.ref in item.left]
        access = [one for one in Access(self.ir, Fact("all-unauthenticated")).workloads if one.workload.ref in item.left]
        numbers = (
            None,
            *ports_of(access, self.ir.world),
            *(port for known, _ in targets(service, self.ir.world).values() for port in known),
        )
        found = self.out.finding(
            "MP244", document=item.read.policy.document, feature="authorization.rule", severity="warning", disposition=None,
            affects=tuple(Affected(workload.ref.namespace, workload.ref.name) for workload in left),
            explains=frozenset((subjects.access(workload.ref, port), "allow") for workload in left for port in numbers),
            object=f"AuthorizationPolicy {item.read.policy.ref.value}",
            reason=f"nothing keeps callers from going past the waypoint of Service {service.ref} to {', '.join(str(one.ref) for one in left)}",
            outcome="sidecars do not tell the ways apart, and what it does not admit is refused there",
        )  # fmt: skip
        found.remedy = "Have the policy that admits the waypoint alone select them too, if nobody is meant to pass it; else give these pods a Service of their own."

    def _addressed(self, item: Settled, rules: list[dict[str, Any]]) -> None:
        """A waypoint compares `destination.ip` with the Service's address, a sidecar with the pod's: of an allow the rule leaves, of a deny the question."""
        asking = [rule for rule in rules if any(entry.get("key") == "destination.ip" for entry in rule.get("when") or ())]
        if not asking:
            return
        deny = item.made[0].action.value == "deny"
        for rule in asking:
            if not deny:
                rules.remove(rule)
                continue
            rule["when"] = [entry for entry in rule["when"] if entry.get("key") != "destination.ip"]
            if not rule["when"]:
                del rule["when"]
        members = self.ir.world.selected(item.made[0].subject.value)
        access = {id(one.workload): one for one in Access(self.ir, Fact("all-unauthenticated")).workloads}
        explains = {
            (subjects.access(workload.ref, port), aspect)
            for workload in members
            for port in (None, *ports_of([access[id(workload)]], self.ir.world))
            for aspect in ("allow", "deny")
        }
        self.out.finding(
            "MP739", document=item.read.policy.document, feature="authorization.condition", explains=frozenset(explains),
            affects=tuple(Affected(workload.ref.namespace, workload.ref.name) for workload in members),
            object=f"AuthorizationPolicy {item.read.policy.ref.value}", service=str(item.service),
            outcome="it refuses whatever the address is" if deny else "the rules that ask for it are left out",
        )  # fmt: skip

    def _place(self, number: int, wanted: list[Placed]) -> None:
        """The policies of pods that take the place of one document: the first of its namespace keeps its name."""
        document = self.bound.bundle.documents[number]
        home = document.namespace or self.options.default_namespace
        src = self._src(number)
        distinct: list[Placed] = []
        for one in wanted:
            if all((one.pods, one.rules) != (other.pods, other.rules) for other in distinct):
                distinct.append(one)
        instead = next((one for one in distinct if one.pods.namespace == home), None)
        for one in distinct:
            labels = dict(one.pods.selector.labels)
            because = src | self.ir.world.services[one.service].src if one.service is not None else src
            if one is instead:
                obj = self.out.change(number, rank=41)
                for key in ("targetRefs", "targetRef", "selector"):
                    if key in obj.value["spec"]:
                        obj.drop(("spec", key), because)
                obj.set(("spec", "selector", "matchLabels"), labels, because)
                spec = obj.value["spec"]
                obj.value["spec"] = {"selector": spec.pop("selector"), **spec}
                if one.rules != self._rules(number):
                    if "rules" in obj.value["spec"]:
                        obj.drop(("spec", "rules"), because)
                    if one.rules:
                        obj.set(("spec", "rules"), one.rules, because)
                continue
            if one.service is None:
                continue
            name = naming.name(document.name, one.service.name)
            space = one.pods.namespace
            free = self.out.free(SECURITY, document.kind, space, name)
            made = self.out.object(SECURITY, document.kind, Ref(space, free), owner=number, rank=41, because=because)
            made.set(("spec", "selector", "matchLabels"), labels, because)
            for key in ("action", "provider"):
                if key in self._spec(number):
                    made.set(("spec", key), copy.deepcopy(self._spec(number)[key]), because)
            rules = [qualified(rule, home) for rule in one.rules] if space != home else one.rules
            if rules:
                made.set(("spec", "rules"), rules, because)
            made.note(f"what {document.kind} {Ref(home, document.name)} says, for the pods of Service {one.service}")
        if instead is None and distinct:
            self.out.remove(number, "the pods behind its waypoint have policies of their own now")

    # -- what goes by selector

    def _by_selector(self, item: Settled, closed: set[Ref]) -> None:
        """A policy of ztunnel: without the waypoint's account, and without what ztunnel does not enforce."""
        policy = item.read.policy
        number, deny = policy.document, policy.action.value == "deny"
        said = self._rules(number)
        kept = {rule.number for held in ([item.opened] if item.opened is not None else item.made[:1]) for rule in held.rules}
        accounts = self._waypoints(item)
        own = policy.subject.value
        refused: set[int] = set()
        if deny:
            found = waypoints.refusing(
                policy, waypoints.subject_of(own, self.stood, self.ir)[0], self.stood, self.ir, self.options.trust_domain
            )
            refused = {rule.number for rule in found[1]}
        stood = {position: of_everybody(said[position]) if position in refused else said[position] for position in kept}
        rules = [made for position in sorted(kept) if (made := self._held(stood[position], accounts, deny=deny)) is not None]
        if item.shut:
            self._spare(number, item, {position: self._held(said[position], accounts, deny=deny) for position in kept})
            passing = past_waypoints.passing(self.stood, self.ir)
            home = self.bound.bundle.documents[number].namespace or self.options.default_namespace
            rules = [made for rule in rules for made in past_waypoints.written(rule, sorted(item.shut), passing, home)]
        beside: list[Placed] = []
        for through in item.through:
            for rule in through.rules:
                made_rule = self._through(said[rule.number], through.subject.value, accounts)
                same = next((one for one in beside if one.pods == through.subject.value), None)
                if through.subject.value == own:
                    rules.append(made_rule)
                elif same is not None:
                    same.rules.append(made_rule)
                else:
                    beside.append(Placed(through.subject.value, [made_rule], self._service(through.subject.value)))
        src = self._src(number)
        members = [workload for workload in self.ir.world.selected(own) if self.ir.world.meshed(workload) is not False]
        if beside:
            self._place_beside(number, beside)
        if item.proxied:
            src, held = self._src(number), bool(rules)
            if any(one.subject.value == own for one in item.proxied):  # a deny, and what ztunnel refuses is refused beside the rest
                rules = [*said, *(rule for rule in rules if rule not in said)]
            halfway.as_before(item, said, src, self.bound.bundle.documents[number], held, self.ir, self.out, self.options)
        if not rules and members and all(workload.ref in closed for workload in members):
            self.out.remove(number, "it admitted the waypoint, which is gone; other policies close these pods")
            self.out.imply("what comes through the waypoint is what the policies of the pods say", src)
            return
        if not rules and deny:
            self.out.remove(number, "ztunnel enforces none of it, and a DENY needs rules")
            self.out.imply("ztunnel refuses nothing by it", src)
            return
        if rules == said:
            self.out.imply("stays as it is", src)
            return
        obj = self.out.change(number, rank=41)
        if "rules" in obj.value["spec"]:
            obj.drop(("spec", "rules"), src)
        if rules:
            obj.set(("spec", "rules"), rules, src)

    def _spare(self, document_number: int, item: Settled, rules: dict[int, dict[str, Any] | None]) -> None:
        """The policy once more for pods that stand behind no waypoint on ports where others of its pods do."""
        document = self.bound.bundle.documents[document_number]
        for one in item.spared:
            pods = one.subject.value
            asked = {
                rule.number: [fact.value[0] for item in rule.conditions if item.attribute == PORT for fact in item.any_of or ()]
                for rule in one.rules
            }
            kept = [
                limited
                for number, wanted in asked.items()
                if (rule := rules[number]) is not None and (limited := past_waypoints.only(rule, wanted))
            ]
            if not kept:
                continue
            src = self._src(document_number)
            free = self.out.free(
                SECURITY, document.kind, pods.namespace, naming.name(document.name, dict(pods.selector.labels).get("app", "pods"))
            )
            made = self.out.object(SECURITY, document.kind, Ref(pods.namespace, free), owner=document_number, rank=42, because=src)
            made.set(("spec", "selector", "matchLabels"), dict(pods.selector.labels), src)
            made.set(("spec", "action"), "ALLOW", src)
            made.set(("spec", "rules"), kept, src)
            made.note("for pods that no waypoint stood before")

    def _place_beside(self, number: int, beside: list[Placed]) -> None:
        document = self.bound.bundle.documents[number]
        for one in beside:
            assert one.service is not None
            src = self._src(number) | self.ir.world.services[one.service].src
            name = naming.name(document.name, one.service.name)
            space = one.pods.namespace
            free = self.out.free(SECURITY, document.kind, space, name)
            made = self.out.object(SECURITY, document.kind, Ref(space, free), owner=number, rank=42, because=src)
            made.set(("spec", "selector", "matchLabels"), dict(one.pods.selector.labels), src)
            made.set(("spec", "action"), "ALLOW", src)
            made.set(("spec", "rules"), one.rules, src)
            made.note(f"whoever the waypoint of Service {one.service} let through")

    def _service(self, pods: PodSet) -> Ref | None:
        return next((ref for ref, service in sorted(self.ir.world.services.items()) if service.pods == pods), None)

    def _waypoints(self, item: Settled) -> list[waypoints.Waypoint]:
        members = self.ir.world.selected(item.read.policy.subject.value)
        return [waypoint for workload in members for _, waypoint, _ in self.stood.of(workload, self.ir.world)]

    def _is_gate(self, text: str, home: str, gates: list[waypoints.Waypoint]) -> bool:
        domain = self.options.trust_domain
        for gate in gates:
            ref = gate.ref
            named = (f"{domain}/ns/{ref.namespace}/sa/{ref.name}", f"*/ns/{ref.namespace}/sa/{ref.name}", f"{ref.namespace}/{ref.name}")
            if text in named or (text == ref.name and home == ref.namespace):
                return True
        return False

    def _held(self, rule: dict[str, Any], gates: list[waypoints.Waypoint], *, deny: bool) -> dict[str, Any] | None:
        """A rule as ztunnel enforces it, without the accounts of waypoints; None where nothing of it is left."""
        said = copy.deepcopy(rule)
        for part, inner, fields in (("from", "source", _SOURCE), ("to", "operation", OPERATION)):
            if not said.get(part):
                continue
            kept, anything = [], False
            for entry in said[part]:
                holder = entry.get(inner) or {}
                for key in (*fields, "trustDomains"):
                    holder.pop(key, None)
                    holder.pop(negative(key), None)
                if not holder:
                    continue
                if self._lists(holder, gates, deny=deny):
                    kept.append(entry)
                    anything = anything or not holder
            if not kept:
                return None
            said[part] = kept
            if anything:
                del said[part]
        for entry in said.get("when") or ():
            if entry.get("key") not in KEYS:
                return None
            if entry["key"] == "source.principal" and not self._values(entry, "values", gates, "principals"):
                return None
            if entry["key"] == "source.namespace" and not self._values(entry, "values", gates, "namespaces"):
                return None
        return said

    def _lists(self, holder: dict[str, Any], gates: list[waypoints.Waypoint], *, deny: bool) -> bool:
        """Take out of the lists of a source what matches nobody; False where a list that demands has nothing left."""
        for key in ("principals", "namespaces", "serviceAccounts"):
            if not self._values(holder, key, gates, key):
                return False
            excluded = negative(key)
            if excluded in holder:
                holder[excluded] = [
                    text
                    for text in holder[excluded]
                    if not self._literal(text, key) and not (deny and key == "principals" and self._is_gate(text, "", gates))
                ]
                if not holder[excluded]:
                    del holder[excluded]
        return True

    def _values(self, holder: dict[str, Any], key: str, gates: list[waypoints.Waypoint], field: str) -> bool:
        if not holder.get(key):
            return True
        holder[key] = [
            text
            for text in holder[key]
            if not self._literal(text, field) and not (field in ("principals", "serviceAccounts") and self._is_gate(text, "", gates))
        ]
        return bool(holder[key])

    def _literal(self, text: str, field: str) -> bool:
        alias = field == "principals" and self.options.trust_domain != "cluster.local" and text.startswith("cluster.local/")
        return alias or (field == "namespaces" and inner_star(text))

    def _through(self, rule: dict[str, Any], pods: PodSet, gates: list[waypoints.Waypoint]) -> dict[str, Any]:
        """What a rule that admits the waypoint lets in where nothing hangs on the Service: every identity, on the Service's ports."""
        said = copy.deepcopy(rule)
        service = self._service(pods)
        known = targets(self.ir.world.services[service], self.ir.world) if service is not None else {}
        reached = sorted({number for numbers, _ in known.values() for number in numbers})
        numbers = [str(number) for number in reached if speaks_of(rule, number)]
        said["from"] = [{"source": {"principals": ["*"]}}]
        said.pop("when", None)
        if numbers:
            said["to"] = [{"operation": {"ports": numbers}}]
        return said
