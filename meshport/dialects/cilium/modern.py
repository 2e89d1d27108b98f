"""Cilium written anew for a newer release: what that release no longer reads, or reads otherwise, and nothing else.

Kafka rules and `l7proto` are gone from 1.20: a stored rule may come back as a plain port, which lets more in, so it has to go first. `fromRequires` must be
empty since 1.19. An empty list of peers was the same as none before 1.16, and is nobody since.
https://docs.cilium.io/en/stable/operations/upgrade/
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cilium.endpoints import WORDS, Required, free, holding, requirements, subjects
from meshport.dialects.cilium.peers import NAMESPACE, Demand, Peers
from meshport.dialects.cilium.refusals import refused
from meshport.dialects.cilium.specs import specs
from meshport.dialects.cursor import Cursor
from meshport.dialects.output import Output, Path
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.base import NOWHERE, PodSet, Ref, Requirement, Selector, Src
from meshport.ir.model import IR
from meshport.mapping.bound import Bound
from meshport.mapping.paths import leaves_below
from meshport.mapping.table import in_range, version_key
from meshport.values.ports import is_number

GROUP = "cilium.io"
POLICIES = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
DIRECTIONS = ("ingress", "egress", "ingressDeny", "egressDeny")
_KINDS = ("Endpoints", "CIDR", "CIDRSet", "Entities", "Nodes", "Groups")
PEERS = (*(f"{way}{kind}" for way in ("from", "to") for kind in _KINDS), "toServices", "toFQDNs")
GONE = ("kafka", "l7proto", "l7")


def lower(ir: IR, out: Output, options: Options, reads: tuple[str, ...]) -> None:
    """What the wanted release does not read as the source's does, in words that it does."""
    bound = Bound(out.bundle, out.table, reads, {options.source: options.source_version})
    read = [
        number
        for number, document in enumerate(out.bundle.documents)
        if bound.mesh[number] and number not in bound.broken and document.group == GROUP
    ]
    policies = [number for number in read if bound.kinds.get(number, out.bundle.documents[number].kind) in POLICIES]
    required = requirements(bound, policies, Peers(ir.world), options.default_namespace)
    for number in read:
        document = out.bundle.documents[number]
        if bound.kinds.get(number, document.kind) in POLICIES:
            Policy(ir, out, options, bound, number, required).write()
        _version(bound, out, options, number)


def _version(bound: Bound, out: Output, options: Options, number: int) -> None:
    """The newest apiVersion that the release serves, where the one that stands there is older."""
    document = bound.bundle.documents[number]
    kind = bound.table.kind(GROUP, document.kind)
    newest = kind.newest(options.target_version) if kind is not None else None
    if kind is None or newest is None or document.version not in kind.versions or document.version == newest:
        return
    if kind.versions.index(newest) < kind.versions.index(document.version):
        obj = out.change(number, group=document.name, rank=50)
        obj.set(("apiVersion",), f"{GROUP}/{newest}", Cursor.root(bound, number).at("apiVersion").src)


@dataclass(slots=True)
class Policy:
    """One network policy on its way to another release."""

    ir: IR
    out: Output
    options: Options
    bound: Bound
    number: int
    required_of: list[Required]  # of all the policies
    gone: set[int] = field(default_factory=set)  # the leaves of rules that the release does not read
    required: Src = NOWHERE  # the leaves of requirements that its peers get

    @property
    def name(self) -> str:
        document = self.bound.bundle.documents[self.number]
        return f"{document.kind} {Ref(document.namespace or '', document.name)}"

    def write(self) -> None:
        release, source = version_key(self.options.target_version), version_key(self.options.source_version)
        root = Cursor.root(self.bound, self.number)
        if any(refused(place.value, clusterwide=root.document.kind == POLICIES[1]) is not None for _, place in specs(root)):
            return  # what is put right would begin to act
        home = None if root.document.kind == POLICIES[1] else root.document.namespace or self.options.default_namespace
        for base, place in specs(root):
            pods = [fact.value for fact in subjects(place, root, home, Peers(self.ir.world)).pods] if self.required_of else []
            apart: dict[
                str, tuple[list[PodSet], list[Any]]
            ] = {}  # by direction, whom no requirement concerns, and the rules as they are for these
            for direction in DIRECTIONS:
                rules = place.each(direction)
                if not rules:
                    continue
                required = holding(self.required_of, direction, pods, self.ir.world) if self.required_of else []
                kept = [self._known(rule) for rule in rules]
                left: list[Any] = []
                for rule, value in zip(rules, kept, strict=True):
                    if not isinstance(value, dict):
                        left.append(value)
                        continue
                    if source < (1, 16) <= release:
                        self._empty_peers(value)
                    if release >= (1, 20) and not self._without_protocols(rule, value):
                        continue
                    left.append(value)
                if release >= (1, 19):
                    plain, left = left, copy.deepcopy(left)
                    for value in left:
                        self._folded(value, direction, required)
                    if required and (others := [one for subject in pods for one in free(required, direction, subject, self.ir.world)]):
                        for value in plain:
                            self._folded(value, direction, [])
                        apart[direction] = list(dict.fromkeys(others)), plain
                if left != [rule.value for rule in rules]:
                    self._replace((*base, direction), left or [{}], place.at(direction).src)
            self._apart(root, place, apart)
            closing = place.at("enableDefaultDeny")
            if closing and (known := self._known(closing)) != closing.value:
                obj = self.out.change(self.number, group=self.bound.bundle.documents[self.number].name, rank=50)
                if known:
                    obj.set((*base, "enableDefaultDeny"), known, place.src)
                else:
                    obj.drop((*base, "enableDefaultDeny"), place.src)
            rules = [item for rule in place.each("ingress") for entry in rule.each("toPorts") for item in entry.at("rules").each("http")]
            if source < (1, 18) <= release and place.at("enableDefaultDeny", "ingress").value is False and rules:
                self._opened()
        self._said()
        self._authentication()

    def _apart(self, root: Cursor, place: Cursor, apart: dict[str, tuple[list[PodSet], list[Any]]]) -> None:
        """Write rules once more as they are, for the pods that no requirement concerns: what is folded into the peers holds for all that the object selects."""
        document = root.document
        sets: dict[PodSet, dict[str, Any]] = {}
        for direction, (pods, rules) in apart.items():
            for one in pods:
                sets.setdefault(one, {})[direction] = copy.deepcopy(rules)
        if not sets:
            return
        clusterwide = document.kind == POLICIES[1]
        space = "" if clusterwide else document.namespace or self.options.default_namespace
        name = self.out.free(document.api_version, document.kind, space, f"{document.name}-rest")
        src = place.src | root.at("metadata", "name").src
        made = self.out.object(document.api_version, document.kind, Ref(space, name), owner=self.number, group=document.name, because=src)
        made.note("for the pods that no fromRequires or toRequires concerns")
        default = place.at("enableDefaultDeny")
        closing = {"enableDefaultDeny": known} if default and (known := self._known(default)) else {}
        specs_of = [
            {
                "endpointSelector": _selecting(one, clusterwide=clusterwide),
                **closing,
                **rules,
            }
            for one, rules in sets.items()
        ]
        made.set(("specs",), specs_of, src)

    def _opened(self) -> None:
        """HTTP rules of pods that no policy closes: they refused the rest of their port until 1.17 (cilium/cilium#38676), and refuse nothing since.

        Where another policy closes the pods, they hold in every release: pkg/policy/repository.go asks whether any rule of the endpoint closes it.
        """
        closed = {id(one) for policy in self.ir.policies if policy.closing for one in self.ir.world.selected(policy.subject.value)}
        mine = [policy.subject.value for policy in self.ir.policies if policy.document == self.number]
        pods = [one for subject in dict.fromkeys(mine) for one in self.ir.world.selected(subject)]
        opened = [one for one in pods if id(one) not in closed]
        if opened or not pods:
            affects = tuple(Affected(one.ref.namespace, one.ref.name) for one in opened) or self._affected()[0]
            self.out.finding(
                "MP128", document=self.number, affects=affects, effect="widens", feature="l4.ingress-default-deny", policy=self.name,
                version=self.options.target_version,
            )  # fmt: skip

    def _known(self, place: Cursor) -> Any:
        """A copy without what the source's release did not know and the wanted one does: there it would begin to act."""
        value = copy.deepcopy(place.value)
        for leaf, path in leaves_below(place.shadow, ()) if isinstance(value, dict) else ():
            binding = self.bound.bindings[leaf]
            if leaf not in self.bound.invalid or binding is None or binding.since is None:
                continue
            if in_range(self.options.target_version, binding.since, binding.until):
                holder = value
                for step in path[:-1]:
                    holder = holder[step]
                if isinstance(holder, dict):
                    del holder[path[-1]]
        return value

    def _replace(self, path: Path, value: list[Any], src: Src) -> None:
        """Another list of rules. An empty one would be refused; `[{}]` allows nobody, as a rule taken away does."""
        obj = self.out.change(self.number, group=self.bound.bundle.documents[self.number].name, rank=50)
        obj.set(path, value, (src | self.required) - self.gone)

    # -- what changed its meaning

    def _empty_peers(self, rule: dict[str, Any]) -> None:
        for key in PEERS:
            if rule.get(key) == []:
                del rule[key]

    def _folded(self, rule: dict[str, Any], section: str, required: list[Required]) -> None:
        """Requirements hold for every peer by labels: each selector gets them. A rule of nothing but a requirement admits nobody."""
        word, peers = WORDS[section], "fromEndpoints" if section.startswith("ingress") else "toEndpoints"
        if rule.pop(word, None) and not any(key.startswith(peers[:2]) and key not in ("toPorts", word) for key in rule):
            rule.clear()
        selectors = rule.get(peers)
        if required and isinstance(selectors, list):
            home = self.bound.bundle.documents[self.number].namespace
            rule[peers] = [_both(selector, required, home) for selector in selectors]
            self.required |= frozenset(leaf for item in required for leaf in item.place.src)

    def _without_protocols(self, place: Cursor, rule: dict[str, Any]) -> bool:
        """Take out the ports whose rules the release does not read; False where nothing is left of the rule, so that it must not stand there open."""
        entries = place.each("toPorts")
        unread = [entry for entry in entries if any(entry.at("rules", word) for word in GONE)]
        if not unread:
            return True
        if self.options.on_loss == "looser":
            for entry, value in zip(entries, rule["toPorts"], strict=True):
                if entry in unread:
                    value.pop("rules")
                    self.gone |= entry.at("rules").src
            return True
        kept = [value for entry, value in zip(entries, rule["toPorts"], strict=True) if entry not in unread]
        if not kept:
            self.gone |= place.src
            return False
        for entry in unread:
            self.gone |= entry.src
        rule["toPorts"] = kept
        return True

    # -- findings

    def _affected(self) -> tuple[tuple[Affected, ...], frozenset[tuple[str, str]]]:
        """The pods of the policy, and the differences in access to them."""
        subjects = [policy.subject.value for policy in self.ir.policies if policy.document == self.number]
        members = [workload for subject in dict.fromkeys(subjects) for workload in self.ir.world.selected(subject)]
        explained: set[tuple[str, str]] = set()
        for workload in members:
            services = self.ir.world.services_of(workload)
            ports = {port.number for port in workload.ports} | self._ports()
            ports |= {number for service in services for port in service.ports if (number := self.ir.world.target_number(workload, port))}
            explained |= {(access_subject(workload.ref, port), "*") for port in (*ports, None)}
        named = tuple(Affected(workload.ref.namespace, workload.ref.name) for workload in members)
        namespace = self.bound.bundle.documents[self.number].namespace
        return named or ((Affected(namespace),) if namespace else ()), frozenset(explained)

    def _ports(self) -> set[int]:
        found = set()
        for _, place in specs(Cursor.root(self.bound, self.number)):
            for direction in DIRECTIONS:
                for rule in place.each(direction):
                    for entry in rule.each("toPorts"):
                        for port in entry.each("ports"):
                            text = port.at("port").value
                            if isinstance(text, str | int) and is_number(str(text)):
                                found.add(int(text))
        return found

    def _said(self) -> None:
        if not self.gone:
            return
        affects, explained = self._affected()
        looser = self.options.on_loss == "looser"
        self.out.finding(
            "MP141" if looser else "MP140", frozenset(self.gone), document=self.number, disposition="dropped", affects=affects,
            explains=explained, feature="kafka.role", policy=self.name, version=self.options.target_version,
        )  # fmt: skip

    def _authentication(self) -> None:
        if version_key(self.options.target_version) < (1, 20):
            return
        src: set[int] = set()
        for _, place in specs(Cursor.root(self.bound, self.number)):
            for direction in DIRECTIONS:
                for rule in place.each(direction):
                    if rule.at("authentication", "mode").value == "required":
                        src |= rule.at("authentication").src
        if src:
            affects, _ = self._affected()
            self.out.finding(
                "MP142", frozenset(src), document=self.number, affects=affects, feature="l4.authentication", policy=self.name,
                version=self.options.target_version,
            )  # fmt: skip


def _selecting(pods: PodSet, *, clusterwide: bool) -> dict[str, Any]:
    """Pods of one namespace, which an object of that namespace means anyway."""
    home = [Requirement(f"k8s:{NAMESPACE}", "In", (pods.namespace,))] if clusterwide else []
    return Selector.of(dict(pods.selector.labels), [*pods.selector.expressions, *home]).manifest()


def _both(selector: Any, required: list[Required], home: str | None) -> dict[str, Any]:
    """A selector with the demands of others; a label that both name otherwise cannot be met, which `In` with no common value would say too."""
    found: dict[str, Any] = copy.deepcopy(selector) if isinstance(selector, dict) else {}
    for one in required:
        item = one.place.value
        if (namespace := Demand(one.place.selector(), one.home).bound_for(_of(selector), home)) is not None:
            _demanded(found, [{"key": f"k8s:{NAMESPACE}", "operator": "In", "values": [namespace]}])
        labels = item.get("matchLabels") if isinstance(item, dict) else None
        for key, value in labels.items() if isinstance(labels, dict) else ():
            own = found.setdefault("matchLabels", {})
            if own.get(key, value) != value:
                _demanded(found, [{"key": key, "operator": "In", "values": [value]}])
            else:
                own[key] = value
        more = item.get("matchExpressions") if isinstance(item, dict) else None
        if isinstance(more, list):
            _demanded(found, copy.deepcopy(more))
    return found


def _demanded(selector: dict[str, Any], more: list[Any]) -> None:
    listed = selector.setdefault("matchExpressions", [])
    listed.extend(item for item in more if item not in listed)


def _of(value: Any) -> Selector:
    """A selector by its labels and by the keys of its expressions, which is all that is asked here."""
    labels = value.get("matchLabels") if isinstance(value, dict) else None
    more = value.get("matchExpressions") if isinstance(value, dict) else None
    keys = [str(item.get("key")) for item in more or () if isinstance(item, dict)]
    return Selector.of({str(key): str(item) for key, item in (labels or {}).items()}, [Requirement(key, "Exists") for key in keys])
