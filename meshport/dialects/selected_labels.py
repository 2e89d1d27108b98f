"""Labels of membership that network policies select by: they leave with the mesh, and what selected by them would select nobody, or everybody.

The pods keep the value under a name that no mesh reads, which the policy then asks for; a namespace is named by the label that every one has.
https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-metadata-name
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from meshport.dialects.cilium.beside import KINDS, WAYS, selector_of
from meshport.dialects.cilium.peers import NAME_OF_NAMESPACE, NAMESPACE, NAMESPACE_LABEL
from meshport.dialects.cilium.refusals import SECTIONS
from meshport.dialects.output import Output, Path
from meshport.findings import Affected
from meshport.ir.base import Ref, Src
from meshport.ir.model import IR

STANDS_IN = "was."
"""Before the name of a label that left: `was.sidecar.istio.io/inject`."""
_PREFIXES = ("k8s:", "any:")


def lower(ir: IR, out: Output) -> None:
    """Let network policies select the pods and namespaces that they did. After the rest of a lowering, for it looks at what that took off."""
    left = _left(ir, out)
    if not left.pods and not left.namespaces:
        return
    for number, document in enumerate(out.bundle.documents):
        if (document.group, document.kind) == ("networking.k8s.io", "NetworkPolicy") or (
            document.group == "cilium.io" and document.kind in KINDS
        ):
            _Policy(ir, out, left, number).settle()


@dataclass
class _Left:
    """What a lowering took off: labels by name, of pods and of namespaces, before and after."""

    pods: dict[str, list[tuple[int, Path, str]]] = field(default_factory=dict)  # the document, where its pods' labels are, the value
    namespaces: dict[str, tuple[dict[str, str], dict[str, str]]] = field(default_factory=dict)

    @cached_property
    def of_namespaces(self) -> set[str]:
        """The labels of namespaces by name."""
        return {key for before, after in self.namespaces.values() for key in before if key not in after}


def _left(ir: IR, out: Output) -> _Left:
    changed = {obj.changed: obj for obj in out.objects.values() if obj.changed is not None}
    found = _Left()
    for workload in ir.world.workloads:
        if (obj := changed.get(workload.document)) is not None and workload.document not in out.outside:
            place: Path = (*workload.template, "metadata", "labels")
            after = obj.at(place) or {}
            for key, value in workload.labels.items():
                if key not in after:
                    found.pods.setdefault(key, []).append((workload.document, place, value))
    for name, namespace in ir.world.namespaces.items():
        if (obj := changed.get(namespace.document)) is not None and namespace.document not in out.outside:
            after = {NAME_OF_NAMESPACE: name, **(obj.at(("metadata", "labels")) or {})}
            if namespace.labels.keys() - after.keys():
                found.namespaces[name] = {NAME_OF_NAMESPACE: name, **namespace.labels}, after
    return found


class _Policy:
    """One network policy."""

    def __init__(self, ir: IR, out: Output, left: _Left, number: int) -> None:
        self.ir, self.out, self.left, self.number = ir, out, left, number
        self.document = out.bundle.documents[number]
        made = out.objects.get((self.document.group, self.document.kind, self._ref()))
        self.now: Any = made.value if made is not None else self.document.value
        self.src: Src = frozenset(out.bundle.leaves_of(self.document))
        self.kept: set[str] = set()  # labels that pods keep under another name, or namespaces by theirs
        self.lost: set[str] = set()

    def _ref(self) -> Ref:
        return Ref(self.document.namespace or "", self.document.name)

    def settle(self) -> None:
        for place, selector, space in list(self._selectors()):
            self._pods(place, selector, space)
        if self.document.kind not in KINDS:
            for direction, way in WAYS.items():
                self._namespaces(direction, way)
        for code, keys in (("MP192", self.kept), ("MP193", self.lost)):
            if keys:
                self.out.finding(
                    code, document=self.number, affects=(Affected(self.document.namespace),), feature="membership.inject",
                    policy=f"{self.document.kind} {self._ref()}", labels=", ".join(sorted(keys)),
                )  # fmt: skip

    # -- pods

    def _selectors(self) -> Iterator[tuple[Path, dict[str, Any], bool]]:
        """Every selector of pods, where it stands, and whether it is for pods of other namespaces too."""
        kind = self.document.kind
        spec = self.now.get("spec")
        places: list[tuple[Path, Any]] = [(("spec",), spec)] if isinstance(spec, dict) else []
        places += [(("specs", index), one) for index, one in enumerate(_listed(self.now.get("specs")))]
        for base, one in places:
            subject = "endpointSelector" if kind in KINDS else "podSelector"
            if isinstance(one.get(subject), dict):
                yield (*base, subject), one[subject], kind == KINDS[1]
            for direction in SECTIONS:
                for index, rule in enumerate(_listed(one.get(direction))):
                    for key, peers in rule.items():
                        for number, peer in enumerate(_listed(peers)) if key in ("from", "to", "fromEndpoints", "toEndpoints") else ():
                            at: Path = (*base, direction, index, key, number)
                            if kind in KINDS:
                                yield (
                                    at,
                                    peer,
                                    kind == KINDS[1] or any(_plain(name).startswith((NAMESPACE, NAMESPACE_LABEL)) for name in _keys(peer)),
                                )
                            elif isinstance(peer.get("podSelector"), dict):
                                yield (*at, "podSelector"), peer["podSelector"], "namespaceSelector" in peer

    def _pods(self, place: Path, selector: dict[str, Any], elsewhere: bool) -> None:
        leaving = {name for name in _keys(selector) if _plain(name) in self.left.pods}
        asked = map(_plain, _keys(selector))
        self.lost |= {
            name for name in asked if name.startswith(NAMESPACE_LABEL) and name.removeprefix(NAMESPACE_LABEL) in self.left.of_namespaces
        }
        if not leaving:
            return
        if elsewhere or self.number in self.out.outside:
            self.lost |= {_plain(name) for name in leaving}
            return
        self.kept |= {_plain(name) for name in leaving}
        for name in sorted(leaving):
            for document, labels, value in self.left.pods[_plain(name)]:
                self.out.change(document).set((*labels, STANDS_IN + _plain(name)), value, self.src)
        renamed = {name: name[: len(name) - len(_plain(name))] + STANDS_IN + _plain(name) for name in leaving}
        made = dict(selector)
        if "matchLabels" in made:
            made["matchLabels"] = {renamed.get(key, key): value for key, value in made["matchLabels"].items()}
        if "matchExpressions" in made:
            made["matchExpressions"] = [{**item, "key": renamed.get(item["key"], item["key"])} for item in made["matchExpressions"]]
        self.out.change(self.number).set(place, made, self.src)

    # -- namespaces

    def _namespaces(self, direction: str, way: str) -> None:
        leaving = self.left.of_namespaces
        for index, rule in enumerate(_listed((self.now.get("spec") or {}).get(direction))):
            peers: list[dict[str, Any]] = []
            touched = set[str]()
            for peer in _listed(rule.get(way)):
                chosen = peer.get("namespaceSelector") or {}
                named = set(_keys(chosen)) & leaving
                if not named:
                    peers.append(peer)
                    continue
                touched |= named
                takes = selector_of(chosen)
                gone = [
                    name for name, (before, after) in self.left.namespaces.items() if takes.accepts(before) and not takes.accepts(after)
                ]
                new = [name for name, (before, after) in self.left.namespaces.items() if takes.accepts(after) and not takes.accepts(before)]
                more = [*(chosen.get("matchExpressions") or ()), _by_name("NotIn", new)] if new else None
                peers.append({**peer, "namespaceSelector": {**chosen, "matchExpressions": more}} if more else peer)
                if gone:
                    peers.append({**peer, "namespaceSelector": {"matchExpressions": [_by_name("In", gone)]}})
            if touched and self.number in self.out.outside:
                self.lost |= touched
            elif touched and peers != rule.get(way):
                self.kept |= touched
                self.out.change(self.number).set(("spec", direction, index, way), peers, self.src)


def _by_name(operator: str, names: Iterable[str]) -> dict[str, Any]:
    return {"key": NAME_OF_NAMESPACE, "operator": operator, "values": sorted(names)}


def _listed(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _keys(selector: dict[str, Any]) -> list[str]:
    """The labels that a selector asks for, as they stand there."""
    labels = selector.get("matchLabels")
    found = [str(key) for key in labels] if isinstance(labels, dict) else []
    return [*found, *(str(item["key"]) for item in _listed(selector.get("matchExpressions")) if "key" in item)]


def _plain(name: str) -> str:
    """The name of a label without Cilium's word for where it comes from."""
    return next((name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)), name)
