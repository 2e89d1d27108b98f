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
from meshport.dialects.cilium.specs import specs
from meshport.dialects.cursor import Cursor
from meshport.dialects.output import Output, Path
from meshport.effective.subjects import access as access_subject
from meshport.findings import Affected
from meshport.ir.base import Ref, Src
from meshport.ir.model import IR
from meshport.mapping.bound import Bound
from meshport.mapping.table import version_key

GROUP = "cilium.io"
POLICIES = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")
DIRECTIONS = ("ingress", "egress", "ingressDeny", "egressDeny")
_KINDS = ("Endpoints", "CIDR", "CIDRSet", "Entities", "Nodes", "Groups")
PEERS = (*(f"{way}{kind}" for way in ("from", "to") for kind in _KINDS), "toServices", "toFQDNs")
GONE = ("kafka", "l7proto", "l7")


def lower(ir: IR, out: Output, options: Options, reads: tuple[str, ...]) -> None:
    """What the wanted release does not read as the source's does, in words that it does."""
    bound = Bound(out.bundle, out.table, reads, {options.source: options.source_version})
    for number, document in enumerate(out.bundle.documents):
        if not bound.mesh[number] or number in bound.broken or document.group != GROUP:
            continue
        if bound.kinds.get(number, document.kind) in POLICIES:
            Policy(ir, out, options, bound, number).write()
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
    gone: set[int] = field(default_factory=set)  # the leaves of rules that the release does not read

    @property
    def name(self) -> str:
        document = self.bound.bundle.documents[self.number]
        return f"{document.kind} {Ref(document.namespace or '', document.name)}"

    def write(self) -> None:
        release, source = version_key(self.options.target_version), version_key(self.options.source_version)
        for base, place in specs(Cursor.root(self.bound, self.number)):
            for direction in DIRECTIONS:
                rules = place.each(direction)
                if not rules:
                    continue
                kept = [copy.deepcopy(rule.value) for rule in rules]
                left: list[Any] = []
                for rule, value in zip(rules, kept, strict=True):
                    if not isinstance(value, dict):
                        left.append(value)
                        continue
                    if source < (1, 16) <= release:
                        self._empty_peers(value)
                    if release >= (1, 19):
                        self._folded(value, place.each(direction), direction)
                    if release < (1, 20) or self._without_protocols(rule, value):
                        left.append(value)
                if left != [rule.value for rule in rules]:
                    self._replace((*base, direction), left or [{}], place.at(direction).src)
        self._said()
        self._authentication()

    def _replace(self, path: Path, value: list[Any], src: Src) -> None:
        """Another list of rules. An empty one would be refused; `[{}]` allows nobody, as a rule taken away does."""
        obj = self.out.change(self.number, group=self.bound.bundle.documents[self.number].name, rank=50)
        obj.set(path, value, src - self.gone)

    # -- what changed its meaning

    def _empty_peers(self, rule: dict[str, Any]) -> None:
        for key in PEERS:
            if rule.get(key) == []:
                del rule[key]

    def _folded(self, rule: dict[str, Any], rules: list[Cursor], direction: str) -> None:
        """Requirements hold for every peer of the direction: each selector gets them."""
        word = "fromRequires" if direction.startswith("ingress") else "toRequires"
        peers = "fromEndpoints" if direction.startswith("ingress") else "toEndpoints"
        required = [item for other in rules for item in (other.at(word).value if isinstance(other.at(word).value, list) else [])]
        rule.pop(word, None)
        selectors = rule.get(peers)
        if required and isinstance(selectors, list):
            rule[peers] = [_both(selector, required) for selector in selectors]

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
                            if isinstance(text, str | int) and str(text).isdigit():
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


def _both(selector: Any, required: list[Any]) -> dict[str, Any]:
    """A selector with the demands of others; a label that both name otherwise cannot be met, which `In` with no common value would say too."""
    found: dict[str, Any] = copy.deepcopy(selector) if isinstance(selector, dict) else {}
    for item in required:
        labels = item.get("matchLabels") if isinstance(item, dict) else None
        for key, value in labels.items() if isinstance(labels, dict) else ():
            own = found.setdefault("matchLabels", {})
            if own.get(key, value) != value:
                found.setdefault("matchExpressions", []).append({"key": key, "operator": "In", "values": [value]})
            else:
                own[key] = value
        more = item.get("matchExpressions") if isinstance(item, dict) else None
        if isinstance(more, list):
            found.setdefault("matchExpressions", []).extend(copy.deepcopy(more))
    return found
