"""HTTPRouteGroups and TCPRoutes: what traffic looks like, for TrafficTargets and TrafficSplits to refer to, in every version of the specification.

v1alpha1 and v1alpha2 have their fields beside `metadata`, later ones under `spec`. A regular expression is read as one for the whole path or header: the
specification anchors it at the beginning alone, implementations at both ends, and the narrower reading lets nobody in who was kept out.
https://github.com/servicemeshinterface/smi-spec/blob/main/apis/traffic-specs/v1alpha4/traffic-specs.md
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshport.dialects.cursor import Cursor
from meshport.ir.authorization import Pattern
from meshport.ir.base import NOWHERE, Fact, Ref, Src, sources
from meshport.ir.model import IR, Loss

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.mapping.bound import Bound

GROUP = "specs.smi-spec.io"
_LITERAL = re.compile(r"(?:[-A-Za-z0-9/_~%!@:,;=&' ]|\\[-.+*?()\[\]{}|^$/])*")


@dataclass(frozen=True, slots=True)
class HttpMatch:
    """One match of a group. What is None or empty is not asked for."""

    name: str
    path: Fact[Pattern] | None
    methods: tuple[Fact[str], ...]
    headers: tuple[tuple[str, Fact[Pattern]], ...]
    src: Src
    spare: Src  # the leaves of methods beside one that is all of them
    named: Src  # the leaves that name the match
    group: Src  # the leaves that name its group
    own: Src  # the leaves of the match alone

    @property
    def everything(self) -> bool:
        return not (self.path or self.methods or self.headers)


@dataclass(frozen=True, slots=True)
class TcpPorts:
    """The ports of a TCPRoute; none are all ports."""

    ports: tuple[Fact[int], ...]
    src: Src


def body(root: Cursor) -> Cursor:
    """Where the fields of an SMI object stand."""
    return root.at("spec") if root.at("spec") else root


def pattern(text: str) -> Pattern | None:
    """A regular expression as a pattern for the whole of a value; None where it takes every value."""
    regex = text.removeprefix("^").removesuffix("$")
    if regex in (".*", "/.*", "*"):
        return None
    if _LITERAL.fullmatch(regex):
        return Pattern("exact", regex.replace("\\", ""))
    if regex.endswith(".*") and _LITERAL.fullmatch(regex[:-2]):
        return Pattern("prefix", regex[:-2].replace("\\", ""))
    return Pattern("regex", regex)


class Specs:
    """The HTTPRouteGroups and TCPRoutes of a bundle by name, and which of them something refers to."""

    def __init__(self, bound: Bound, options: Options) -> None:
        self.http: dict[Ref, tuple[HttpMatch, ...]] = {}
        self.tcp: dict[Ref, TcpPorts] = {}
        self.udp: set[Ref] = set()
        self._documents: dict[tuple[str, Ref], int] = {}
        self._used: set[tuple[str, Ref]] = set()
        self._taken: set[int] = set()  # the matches that something refers to, by identity
        self._bound = bound
        for number, document in enumerate(bound.bundle.documents):
            if document.group != GROUP or number in bound.broken:
                continue
            ref = Ref(document.namespace or options.default_namespace, document.name)
            root = Cursor.root(bound, number)
            self._documents[document.kind, ref] = number
            if document.kind == "HTTPRouteGroup":
                self.http[ref] = tuple(_match(item, root.ref().src) for item in body(root).each("matches"))
            elif document.kind == "TCPRoute":
                place = body(root).at("matches")
                ports = tuple(fact for item in place.each("ports") if (fact := item.fact(int)) is not None)
                self.tcp[ref] = TcpPorts(ports, root.ref().src | place.src)
            elif document.kind == "UDPRoute":
                self.udp.add(ref)
                self._used.add((document.kind, ref))

    def group(self, ref: Ref, wanted: Collection[str] = ()) -> tuple[HttpMatch, ...] | None:
        """The matches of a group, or those that are wanted by name; None where the bundle has no such group."""
        self._used.add(("HTTPRouteGroup", ref))
        found = self.http.get(ref)
        if found is None:
            return None
        chosen = tuple(match for match in found if not wanted or match.name in wanted)
        self._taken.update(id(match) for match in chosen)
        return chosen

    def ports(self, ref: Ref) -> TcpPorts | None:
        """The ports of a TCPRoute; None where the bundle has no such route."""
        self._used.add(("TCPRoute", ref))
        return self.tcp.get(ref)

    def unused(self, ir: IR) -> None:
        """Say which of them nothing refers to."""
        for (kind, ref), number in sorted(self._documents.items()):
            left = [match for match in self.http.get(ref, ()) if id(match) not in self._taken] if kind == "HTTPRouteGroup" else []
            if (kind, ref) not in self._used:
                facts = tuple(fact for _, fact in body(Cursor.root(self._bound, number)).at("matches").leaves())
                ir.losses.append(Loss("MP336", facts, number, {"why": "nothing refers to it"}))
            elif left:
                why = f"nothing refers to its matches {', '.join(match.name for match in left)}"
                ir.losses.append(Loss("MP336", tuple(Fact(None, match.own) for match in left), number, {"why": why}))
        for match in (match for group in self.http.values() for match in group if match.spare and id(match) in self._taken):
            ir.redundant.append(Fact("another value of the same match takes as much", match.spare))


def _match(place: Cursor, group: Src) -> HttpMatch:
    name = place.text("name")
    path = place.text("pathRegex")
    methods = tuple(fact for fact in place.strings("methods") if fact.value != "*")
    every = any(fact.value == "*" for fact in place.strings("methods"))
    spare = sources(*methods) if every else NOWHERE
    headers: dict[str, Fact[Pattern]] = {}
    for holder in (place.at("headers"), *place.each("headers")):
        for key, item in holder.items():
            fact = item.fact(str)
            if fact is not None:
                headers[key.lower()] = fact.holding(pattern(fact.value) or Pattern("regex", ".*"))
    wanted = pattern(path.value) if path is not None else None
    named = name.src if name is not None else NOWHERE
    return HttpMatch(
        name.value if name is not None else "",
        path.holding(wanted) if path is not None and wanted is not None else None,
        () if every else methods,
        tuple(sorted(headers.items(), key=lambda entry: entry[0])),
        (place.src - named - spare) | group,
        spare,
        named,
        group,
        place.src,
    )
