"""Istio's ambient data plane written anew for sidecars: the labels, the waypoints, and the policies, each where the pods' own proxies enforce it.

What hangs on a Service becomes a policy of the pods behind it, on the container ports that the Service sends to. A rule for ztunnel that admits the waypoint
stood for what the waypoint lets through: it leaves, and with it the policy that held nothing else. Routes on Services stay, for a client's sidecar reads
them. https://istio.io/latest/docs/ambient/usage/waypoint/ and /setup/additional-setup/sidecar-injection/
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

from meshport.dialects import enrolment, naming
from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.istio import authorization, ports, reworded, taking_effect, unproxied, waypoints, waypoints_alone
from meshport.dialects.istio.ambient_written import SECURITY
from meshport.dialects.istio.rules import qualified
from meshport.dialects.istio.settled import Settled
from meshport.dialects.istio.waypoints import Waypoints, targets
from meshport.dialects.output import Output
from meshport.effective import subjects
from meshport.effective.access import Access, ports_of
from meshport.findings import Affected
from meshport.ir.authorization import PORT, Condition, Rule
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Src, sources
from meshport.ir.model import IR
from meshport.ir.world import Service
from meshport.mapping.bound import Bound

_WAYPOINT = "membership.waypoint"


@dataclass(slots=True)
class Placed:
    """A policy of pods to be: where it stands, which pods it takes, and its rules."""

    pods: PodSet
    rules: list[dict[str, Any]]
    service: Ref | None  # None for what a waypoint judges at the address of a workload
    name: str  # of the Service, or the workload


def lower(bound: Bound, ir: IR, out: Output, options: Options, stood: Waypoints) -> None:
    """Sidecars for ztunnel and the waypoints of a bundle."""
    _enrol(bound, ir, out)
    _modes(bound, ir, out)
    _own_modes(ir, out)
    policies(bound, ir, out, options, stood)
    _gates(bound, ir, out, options, stood)
    taking_effect.report(bound, ir, out, options, stood)
    unproxied.awake(ir, out)


def policies(bound: Bound, ir: IR, out: Output, options: Options, stood: Waypoints) -> None:
    """Every AuthorizationPolicy as one of pods, in the names of those who call."""
    _Policies(bound, ir, out, options, stood).write()


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


def _own_modes(ir: IR, out: Output) -> None:
    """PERMISSIVE for pods whose ztunnel took DISABLE for that, where the DISABLE is for pods with a sidecar too and stays one for these."""
    told = Access(replace(ir, tunnelled=frozenset()), Fact("all-unauthenticated"))
    access = Access(ir, Fact("all-unauthenticated"))
    for workload in (one for one in ir.world.workloads if one.ref in ir.tunnelled):
        modes, rules = access.of(workload).transport, told.ranked(workload.ref.namespace, workload.labels)
        if told.of(workload).transport == modes or not workload.own_labels or any(rule.level == "workload" for rule in rules):
            continue
        src = sources(*modes.values(), *(rule.mode for rule in rules))
        free = out.free(SECURITY, "PeerAuthentication", workload.ref.namespace, workload.ref.name)
        made = out.object(SECURITY, "PeerAuthentication", Ref(workload.ref.namespace, free), owner=rules[-1].document, rank=39, because=src)
        made.set(("spec", "selector", "matchLabels"), workload.own_labels, src)
        made.set(("spec", "mtls", "mode"), modes[None].value.upper(), src)
        made.note("ztunnel took encrypted connections and plaintext here, whatever DISABLE says")


# -- policies


class _Policies:
    def __init__(self, bound: Bound, ir: IR, out: Output, options: Options, stood: Waypoints) -> None:
        self.bound, self.ir, self.out, self.options, self.stood = bound, ir, out, options, stood
        scratch = IR("istio", ir.world, transport=list(ir.transport), tunnelled=ir.tunnelled)
        numbers = [
            number
            for number, document in enumerate(bound.bundle.documents)
            if bound.mesh[number]
            and number not in bound.broken
            and (document.group, bound.kinds.get(number, document.kind)) == ("security.istio.io", "AuthorizationPolicy")
        ]
        self.settled = authorization.lift(bound, numbers, options, scratch, stood)
        self.unenforced = {loss.document for loss in scratch.losses if loss.code == "MP240"}
        self.alone = scratch.at_waypoints
        self.hung: dict[int, list[Settled]] = {}
        for item in self.settled:
            if item.service is not None or item.addressed is not None:
                self.hung.setdefault(item.read.policy.document, []).append(item)

    def write(self) -> None:
        """Every policy where sidecars enforce it."""
        closed = {
            workload.ref
            for item in self.settled
            for policy in (item.made if item.service is not None or item.addressed is not None else item.through)
            if policy.action.value == "allow"
            for workload in self.ir.world.selected(policy.subject.value)
        }
        for number, items in sorted(self.hung.items()):
            self._place(number, [self._on_pods(item) for item in items])
        for number, services in sorted(self.alone.items()):
            if self.options.data_plane == "ambient":
                self._stays(number, services)
            elif number not in self.hung:
                self.out.remove(number, "its waypoint alone enforced it, and the pods have no proxy")
        for number in sorted(self.unenforced - self.hung.keys() - self.alone.keys()):
            self.out.remove(number, "no waypoint enforces it, and no sidecar will")
            target = self._src(number, "targetRefs") | self._src(number, "targetRef")  # another one may be enforced
            self.out.imply("nothing enforces it in ambient, and nothing does with sidecars", target)
            self.out.ignore("nothing enforces it in ambient, and nothing does with sidecars", self._src(number) - target)
        for item in self.settled:
            if item.service is None and item.addressed is None:
                self._by_selector(item, closed)

    def _spec(self, number: int) -> dict[str, Any]:
        spec = self.bound.bundle.documents[number].value.get("spec")
        return spec if isinstance(spec, dict) else {}

    def _src(self, number: int, *path: str) -> Src:
        return Cursor.root(self.bound, number).at("spec", *path).src

    def _rules(self, number: int) -> list[dict[str, Any]]:
        return [rule if isinstance(rule, dict) else {} for rule in self._spec(number).get("rules") or ()]

    # -- what hangs on a Service

    def _on_pods(self, item: Settled) -> Placed:
        """A policy of a waypoint as one of the pods behind one of its Services, or of those whose address it stands before."""
        policy = item.made[0]
        if item.addressed is not None:
            rules = reworded.rules(list(policy.rules), item.read.policy.rules, self._rules(policy.document))
            return Placed(item.addressed.pods, rules, None, item.addressed.ref.name)
        assert item.service is not None
        service = self.ir.world.services[item.service]
        held = list(policy.rules)
        if policy.action.value == "allow" and item.guarded:
            held = self._alike(item, service, held)
        self._left_open(item, service)
        rules = reworded.rules(held, item.read.policy.rules, self._rules(policy.document))
        self._addressed(item, rules)
        assert service.pods is not None
        return Placed(service.pods, rules, item.service, item.service.name)

    def _alike(self, item: Settled, service: Service, rules: list[Rule]) -> list[Rule]:
        """The rules on ports of the pods that the Service reaches at each of them: a named port is another at pods that declare it otherwise, and none at those
        that do not, while the policy is one for all of them."""
        members = self.ir.world.selected(service.pods) if service.pods is not None else []
        world, tcp = self.ir.world, [port for port in service.ports if port.protocol == "TCP"]
        own = [{world.target_number(workload, port) for port in tcp} for workload in members]
        every = set[int]().union(*(reached for reached, _ in targets(service, world).values())) - item.refused
        uneven = {number for number in every if not all(number in numbers for numbers in own)}
        concerned = [workload for workload, numbers in zip(members, own, strict=True) if uneven & numbers]
        if not uneven or not concerned:
            return rules
        ports = ", ".join(map(str, sorted(uneven)))
        self.out.finding(
            "MP244", document=item.read.policy.document, disposition=None, feature="authorization.rule",
            affects=tuple(Affected(workload.ref.namespace, workload.ref.name, port) for workload in concerned for port in sorted(uneven)),
            explains=frozenset((subjects.access(workload.ref, port), "allow") for workload in members for port in uneven),
            object=f"AuthorizationPolicy {item.read.policy.ref.value}",
            reason=f"Service {service.ref} reaches port {ports} at {', '.join(str(workload.ref) for workload in concerned)} alone of its pods",
            outcome="what it admits there is left out",
        )  # fmt: skip
        left = Condition(PORT, None, tuple(Fact((port, port), service.pods_src) for port in sorted(uneven)))
        return [replace(rule, conditions=(*rule.conditions, left)) for rule in rules]

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
        if self._spec(number).get("action", "ALLOW") != "ALLOW":  # without a rule it says nothing, and Istio takes no such policy
            wanted = [one for one in wanted if one.rules]
            if not wanted and not (number in self.alone and self.options.data_plane == "ambient"):
                self.out.remove(number, "what it is about comes to no pod behind its waypoint")
                self.out.ignore("what it is about comes to no pod behind its waypoint", src)
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
            name = naming.name(document.name, one.name)
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
            whose = f"of Service {one.service}" if one.service is not None else f"of {Ref(space, one.name)}"
            made.note(f"what {document.kind} {Ref(home, document.name)} says, for the pods {whose}")
        if instead is None and distinct:
            self.out.remove(number, "the pods behind its waypoint have policies of their own now")

    def _stays(self, number: int, services: frozenset[Ref]) -> None:
        """A policy for Services whose waypoint alone enforces it, where that remains: as it is, or apart from what it is for other Services."""
        document, src = self.bound.bundle.documents[number], self._src(number)
        if number not in self.hung:
            self.out.imply("stays as it is: the waypoint goes on enforcing it", src)
            return
        home = document.namespace or self.options.default_namespace
        own = sorted(ref.name for ref in services if ref.namespace == home)
        if len(own) < len(services):
            self.out.finding(
                waypoints_alone.CODE, document=number, disposition=None, feature="authorization.target",
                object=f"AuthorizationPolicy {Ref(home, document.name)}", pods="what they send to has",
                services=", ".join(map(str, sorted(ref for ref in services if ref.namespace != home))),
            )  # fmt: skip
        if not own:
            return
        name = self.out.free(SECURITY, document.kind, home, naming.name(document.name, own[0]))
        made = self.out.object(SECURITY, document.kind, Ref(home, name), owner=number, rank=41, because=src)
        made.set(("spec", "targetRefs"), [{"group": "", "kind": "Service", "name": one} for one in own], src)
        for key in ("action", "provider", "rules"):
            if key in self._spec(number):
                made.set(("spec", key), copy.deepcopy(self._spec(number)[key]), src)
        made.note(f"what {document.kind} {Ref(home, document.name)} says, where the waypoint alone enforces it")

    # -- what goes by selector

    def _by_selector(self, item: Settled, closed: set[Ref]) -> None:
        """A policy of ztunnel: without the waypoint's account, and without what ztunnel does not enforce."""
        policy = item.read.policy
        number, own = policy.document, policy.subject.value
        by_pods: dict[PodSet, list[Rule]] = {}
        for one in (*item.made, *item.through):
            held = by_pods.setdefault(one.subject.value, [])
            held += [rule for rule in one.rules if rule not in held]
        if by_pods == {own: list(policy.rules)}:
            return
        said, src = self._rules(number), self._src(number)
        whole = by_pods.pop(own, None)
        if whole is None and policy.action.value == "allow":  # it goes on closing the pods that are not shown
            whole = [rule for rule in item.made[0].rules if all(rule in one.rules for one in item.made)]
            by_pods = {pods: [rule for rule in held if rule not in whole] for pods, held in by_pods.items()}
        rules = reworded.rules(whole or [], policy.rules, said)
        self._beside(item, {pods: held for pods, held in by_pods.items() if held})
        members = [workload for workload in self.ir.world.selected(own) if self.ir.world.meshed(workload) is not False]
        shown = bool(own.namespace) and self.ir.world.shows(own)  # else it goes on closing the others
        if not rules and members and shown and all(workload.ref in closed for workload in members):
            self.out.remove(number, "it admitted the waypoint, which is gone; other policies close these pods")
            self.out.imply("what comes through the waypoint is what the policies of the pods say", src)
        elif not rules and policy.action.value != "allow":
            self.out.remove(number, "of the pods that it is for as a whole it holds for none, and a policy that refuses needs rules")
            self.out.imply("ztunnel refuses nothing by it", src)
        elif rules == said:
            self.out.imply("stays as it is", src)
        else:
            obj = self.out.change(number, rank=41)
            if "rules" in obj.value["spec"]:
                obj.drop(("spec", "rules"), src)
            if rules:
                obj.set(("spec", "rules"), rules, src)

    def _beside(self, item: Settled, by_pods: dict[PodSet, list[Rule]]) -> None:
        """A policy once more for some of its pods, or for those behind a Service, who are told by labels: by no label in particular some cannot be."""
        policy = item.read.policy
        number, said = policy.document, self._rules(policy.document)
        document = self.bound.bundle.documents[number]
        home = document.namespace or self.options.default_namespace
        for pods, held in by_pods.items():
            service = self._service(pods)
            if pods.selector.expressions:
                self._untold(item, pods)
                continue
            rules = reworded.rules(held, policy.rules, said)
            if not rules:
                continue
            src = self._src(number) | (self.ir.world.services[service].src if service is not None else NOWHERE)
            labels = dict(pods.selector.labels)
            own = service.name if service is not None else labels.get("app", "pods") if pods.namespace == home else ""
            name = naming.name(document.name, own) if own else document.name
            free = self.out.free(SECURITY, document.kind, pods.namespace, name)
            made = self.out.object(SECURITY, document.kind, Ref(pods.namespace, free), owner=number, rank=42, because=src)
            if labels:
                made.set(("spec", "selector", "matchLabels"), labels, src)
            for key in ("action", "provider"):
                if key in self._spec(number):
                    made.set(("spec", key), copy.deepcopy(self._spec(number)[key]), src)
            made.set(("spec", "rules"), [qualified(rule, home) for rule in rules] if pods.namespace != home else rules, src)
            made.note(f"what {document.kind} {Ref(home, document.name)} says for these of its pods")

    def _untold(self, item: Settled, pods: PodSet) -> None:
        """Say which pods get no more than others of a policy, whose labels they have all of."""
        policy = item.read.policy
        members = self.ir.world.selected(pods)
        access = Access(self.ir, Fact("all-unauthenticated"))
        numbers = (None, *ports_of([access.of(workload) for workload in members], self.ir.world))
        self.out.finding(
            "MP244", document=policy.document, feature="authorization.rule", object=f"AuthorizationPolicy {policy.ref.value}",
            affects=tuple(Affected(workload.ref.namespace, workload.ref.name) for workload in members),
            explains=frozenset((subjects.access(workload.ref, port), "allow") for workload in members for port in numbers),
            reason="it holds for pods with a sidecar and for others with ztunnel, and no label tells them apart",
            outcome="all of them get what ztunnel made of it",
        )  # fmt: skip

    def _service(self, pods: PodSet) -> Ref | None:
        return next((ref for ref, service in sorted(self.ir.world.services.items()) if service.pods == pods), None)
