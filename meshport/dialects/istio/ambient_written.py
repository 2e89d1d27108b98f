"""Writing the policies of the ambient data plane, and what is said of them: of Istio's own input its documents in their new place, of another mesh's those just
written."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshport.dialects import naming
from meshport.dialects.base import Options
from meshport.dialects.istio.ambient_entries import Entry, labels_of, without_pods
from meshport.dialects.istio.carried import of_the_domain
from meshport.dialects.istio.rules import qualified, widened
from meshport.dialects.istio.waypoints import targets
from meshport.dialects.output import Obj, Output
from meshport.effective import subjects
from meshport.effective.access import Effective, ports_of
from meshport.findings import Affected, Finding
from meshport.ir.base import PodSet, Ref, Selector, Src, sources
from meshport.ir.model import IR
from meshport.ir.world import Service, Workload

SECURITY = "security.istio.io/v1"


@dataclass(slots=True)
class Writing:
    """What is known where a policy is written: all of them (`entries`), the waypoint of each Service behind one (`gates`), which workloads have an allow
    (`closed`) or a deny that ztunnel cannot hold (`denied`), by identity, with their access, and the ports that any policy speaks of (`ports`)."""

    ir: IR
    out: Output
    options: Options
    gates: dict[Ref, Ref]
    closed: set[int]
    denied: set[int]
    ports: set[int]
    access: dict[int, Effective]
    entries: list[Entry]
    hung: dict[Ref, list[Entry]] = field(default_factory=dict)  # the allows of shown pods behind each Service
    parted: dict[int, list[tuple[Service, dict[str, str]]]] = field(default_factory=dict)  # as `beside_shown` knows them, of each entry
    told: set[int] = field(default_factory=set)  # the entries of which it has said so

    def put(self, entry: Entry, name: str, spec: dict[str, Any], home: str, of_rules: Sequence[Src] = (), *, instead: bool) -> None:
        """Write a policy; `of_rules` are the leaves of each of its rules, where they are not those of the whole."""
        because = entry.src
        if home != entry.ref.namespace and spec.get("rules"):
            spec["rules"] = [qualified(rule, entry.ref.namespace) for rule in spec["rules"]]
        self.trust(spec)
        if instead and entry.document is not None:
            self.for_gateways(entry)
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
            say_spec(entry.obj, spec, because, of_rules)
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
        say_spec(made, spec, because, of_rules)
        made.note(f"beside AuthorizationPolicy {entry.ref}" if "targetRefs" not in spec else f"what {entry.named} says, at the waypoint")

    def for_gateways(self, entry: Entry) -> None:
        """The policy as it was, for the gateways that it selected: they have a proxy of their own."""
        whole = {key: value for key, value in (entry.stood or entry.spec).items() if key != "selector"}
        for gateway in entry.gateways:
            spec = {"selector": {"matchLabels": gateway.own_labels}, **whole}
            self.put(entry, naming.name(entry.ref.name, gateway.ref.name), copy.deepcopy(spec), gateway.ref.namespace, instead=False)
        for ref in entry.entrances:
            target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": ref.name}
            spec = {"targetRefs": [target], **whole}
            self.put(entry, naming.name(entry.ref.name, ref.name), copy.deepcopy(spec), ref.namespace, instead=False)

    def principals(self, entry: Entry, home: str | None = None) -> list[str]:
        """The accounts of the waypoints before the pods of a policy, or before those of one namespace."""
        gates = {self.gates[service.ref] for service in entry.services if home in (None, service.ref.namespace)}
        return [f"{self.options.trust_domain}/ns/{gate.namespace}/sa/{gate.name}" for gate in sorted(gates)]

    def trust(self, spec: dict[str, Any]) -> None:
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

    # -- findings

    def say(self, entry: Entry, members: list[Workload], reason: str, outcome: str) -> Finding:
        return self.finding("MP244", entry, members, disposition="approximated", object=entry.named, reason=reason, outcome=outcome)

    def finding(self, code: str, entry: Entry, members: list[Workload], disposition: str | None = None, **values: Any) -> Finding:
        because = (entry.src,) if disposition is not None else ()
        return self.out.finding(
            code, *because, document=entry.document, disposition=disposition, affects=affected(members) or (() if entry.gateways or entry.entrances else self.unshown(entry)), explains=self._explains(members),
            feature="authorization.rule", **values,
        )  # fmt: skip

    def shut(self, entry: Entry, members: list[Workload], unseen: list[PodSet]) -> None:
        """Say that the pods of a deny admit only the waypoint: members, and of the others that it selects those that the bundle does not show."""
        beside = {ref.namespace for ref in entry.entrances}
        services = [service for pods in unseen for service in without_pods(self.ir, pods)]
        others = [subjects.unseen(pods) for pods in unseen if pods.namespace not in beside]
        others += [subjects.unseen(one.pods) for one in services if one.pods is not None and one.ref.namespace in beside]
        named = [*map(str, (one.ref for one in members)), *(f"the pods of Service {one.ref}" for one in services)]
        if not members and not others:
            return
        found = self.finding(
            "MP245", entry, members, object=entry.named, severity="warning" if named else "info",
            workloads=", ".join(named) or "pods that the input does not show",
        )  # fmt: skip
        found.affects = (*affected(members), *others)

    def by_services_alone(self, entry: Entry) -> None:
        """Say what an allow that asks for HTTP admits at pods that the bundle does not show: nobody but who comes through the waypoint."""
        if unshown := self.unshown(entry):
            self.out.finding(
                "MP116", document=entry.document, disposition=None, severity="info", affects=unshown,
                feature="authorization.rule", object=entry.named, workload="pods that the input does not show", ports="ports",
            )  # fmt: skip

    def say_unshown(self, entry: Entry) -> None:
        """Say that a deny refuses more at pods that the bundle may not show."""
        found = self.finding(
            "MP244", entry, entry.members, object=entry.named, severity="info",
            reason="no waypoint stands before pods that the input does not show", outcome=outcome_of(entry),
        )  # fmt: skip
        found.affects = self.unshown(entry)

    def deny_unseen(self, entry: Entry) -> None:
        """What ztunnel can hold of a deny, for pods that the bundle does not show and that an ALLOW opens which hangs on no Service: that one stays as it is."""
        root = self.options.root_namespace
        home, labels = entry.ref.namespace, labels_of(entry.spec)
        for one in (one for one in self.entries if one.action == "ALLOW" and one.rules):
            both = {**labels, **labels_of(one.spec)}
            where = one.ref.namespace if home == root else home
            pods = PodSet("" if where == root else where, Selector.of(both))
            evaded = any(id(workload) in self.denied for workload in one.members)
            if evaded or one.ref.namespace not in (where, root) or not labels.items() <= both.items() or self.ir.world.selected(pods):
                continue
            spec = {
                **({"selector": {"matchLabels": both}} if both else {}),
                "action": "DENY",
                "rules": [widened(rule) for rule in entry.rules],
            }
            self.put(entry, naming.name(entry.ref.name, one.ref.name), spec, where, instead=False)
            reason = f"no pod of {one.named} is shown, so that no waypoint stands before it"
            self.say(entry, [], reason, outcome_of(entry)).affects = (subjects.unseen(pods),)

    def unshown(self, entry: Entry) -> tuple[Affected, ...]:
        """The pods of a policy that the bundle may not show."""
        return unshown(self.ir, self.options, entry)

    def _explains(self, members: Iterable[Workload]) -> frozenset[tuple[str, str]]:
        return explained(self.ir, list(members), self.access, self.ports)


def unshown(ir: IR, options: Options, entry: Entry) -> tuple[Affected, ...]:
    """The pods of a policy that the bundle may not show."""
    home = "" if entry.ref.namespace == options.root_namespace else entry.ref.namespace
    pods = PodSet(home, Selector.of(labels_of(entry.spec)))
    return () if home and ir.world.shows(pods) else (subjects.unseen(pods),)


def explained(ir: IR, members: list[Workload], access: dict[int, Effective], ports: set[int]) -> frozenset[tuple[str, str]]:
    """Access to workloads on every port that they, their Services or policies know."""
    found = set()
    known = [own for workload in members if (own := access.get(id(workload))) is not None]
    every = ports_of(known, ir.world)  # one policy for all of them names the ports of each
    for workload in members:
        numbers: set[int | None] = {None, *ports, *every}
        for service in ir.world.services_of(workload):  # also those that only others of its pods have
            numbers |= {number for reached, _ in targets(service, ir.world).values() for number in reached}
        found |= {(subjects.access(workload.ref, port), "allow") for port in numbers}
    return frozenset(found)


def say_spec(obj: Obj, spec: dict[str, Any], because: Src, of_rules: Sequence[Src]) -> None:
    for key, value in spec.items():
        if key == "rules" and of_rules:
            for number, (rule, src) in enumerate(zip(value, of_rules, strict=True)):
                obj.set(("spec", "rules", number), rule, src)
        else:
            obj.set(("spec", key), value, because)


def affected(members: Iterable[Workload]) -> tuple[Affected, ...]:
    return tuple(Affected(workload.ref.namespace, workload.ref.name) for workload in members)


def names_of(members: Iterable[Workload]) -> str:
    return ", ".join(str(workload.ref) for workload in members)


def outcome_of(entry: Entry) -> str:
    return (
        "the rules that ask for it are left out"
        if entry.action == "ALLOW"
        else "it refuses whatever else the rule says, by any method and path"
    )
