"""Which leaves of a policy are in what was written because of it, where its rules are written whole: those of rules left out are in nothing."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

from meshport.dialects.istio.rules import of_account, speaks_of
from meshport.dialects.istio.waypoints import USE
from meshport.dialects.output import Obj, Output, Path
from meshport.ir.base import Src, sources
from meshport.ir.model import IR

_PORTS = ("ports", "notPorts")  # a Service's stand for the pods', so that the numbers may be others
Value = tuple[str, str]
"""A member of a rule, and one of its values."""
_ALIAS = "cluster.local/"
ONLY_BY = "-only-by-waypoint"
LEFT_OUT = "stands in a rule, or in a part of one, that no pod or Service here needs"


def of_the_domain(text: str, trust_domain: str) -> str:
    """A principal as ztunnel reads it, which knows no aliases: `cluster.local` stands for the trust domain of the cluster, whatever that is."""
    return f"{trust_domain}/{text[len(_ALIAS) :]}" if text.startswith(_ALIAS) else text


def trim(out: Output, document: int, src: Src, home: str, trust_domain: str, served: Container[int] = ()) -> None:
    """Take the leaves of a document in a namespace, `src`, that no object carries out of the reasons that objects were written for. `served` are the ports of
    the policy's pods that the Services at whose waypoints it hangs send to."""
    holders = [obj for obj in out.objects.values() if any(leaves & src for leaves in obj.sources.values())]
    places = {leaf: (path, value) for leaf, path, value in out.bundle.walk(out.bundle.documents[document]) if leaf in src}
    written = {(_key(path), str(value)) for obj in holders for path, value in _leaves(obj.value.get("spec") or {}, ())}
    carried = _carried([(path, _said(path, value, home, trust_domain)) for path, value in places.values()], holders)
    kept = {
        leaf
        for leaf, (path, value) in places.items()
        if _key(path) not in _PORTS and (len(path) < 2 or _said(path, value, home, trust_domain) & carried.get(_rule(path), written))
    }
    whole = {_rule(places[leaf][0]) for leaf in kept}  # rules of which something is written
    parts = {_rule(path) for path, _ in places.values() if _key(path) not in _PORTS}
    shown = any(key in _PORTS for key, _ in written)
    rules = out.bundle.documents[document].value["spec"].get("rules") or []
    kept |= {
        leaf
        for leaf, (path, value) in places.items()
        if _key(path) in _PORTS
        and shown
        and (_rule(path) in whole or _rule(path) not in parts)
        and ((_key(path), str(value)) in written or _decides(rules, path, str(value), served))
    }
    gone = src - kept
    for obj in holders if gone else ():
        for path, leaves in obj.sources.items():
            obj.sources[path] = leaves - gone
    said = {leaf for finding in out.findings if finding.disposition is not None for leaf in finding.leaves}
    out.adds_nothing(LEFT_OUT, gone - said - out.implied.keys())


def _rule(path: Path) -> Path:
    """Where the rule of a policy stands that a leaf is of."""
    return path[:3]


def _said(path: Path, value: Any, home: str, trust_domain: str) -> set[Value]:
    """A value as it stands, and as it is said for ztunnel."""
    key, text = _key(path), str(value)
    said = {(key, text), (key, of_the_domain(text, trust_domain))}
    if "when" in path:
        said.add((key, "source.principal") if text == "source.serviceAccount" else (key, of_account(text, home)))
    return said


def _carried(said: list[tuple[Path, set[Value]]], holders: Iterable[Obj]) -> dict[Path, set[Value]]:
    """What is written of each rule, without its ports: of the rule, or rules, that it says the most of; what holds more than any rule says, of all of them."""
    own: dict[Path, set[Value]] = {}
    for path, values in said:
        if path[:2] == ("spec", "rules") and len(path) > 3 and _key(path) not in _PORTS:
            own.setdefault(_rule(path), set()).update(values)
    found: dict[Path, set[Value]] = {rule: set() for rule in own}
    for rule in (one for obj in holders for one in (obj.value.get("spec") or {}).get("rules") or () if one):
        held = {(_key(path), str(value)) for path, value in _leaves(rule, ()) if _key(path) not in _PORTS}
        among = {place: len(values) for place, values in own.items() if held <= values}
        for place in found if not among else (one for one, size in among.items() if size == min(among.values())):
            found[place] |= held
    return found


def _decides(rules: list[Any], path: Path, port: str, served: Container[int]) -> bool:
    """Whether a Service sends to a port that a rule names, if the rule speaks of it, so that it decides which ports of the Service are written."""
    if not port.isdigit() or len(path) < 3 or int(port) not in served:
        return not port.isdigit()
    return _key(path) != "ports" or speaks_of(rules[int(path[2])], int(port))


def spare(ir: IR, out: Output) -> None:
    """Take what rules ask out of the reasons for waypoints, and for policies without them, where no policy carries it."""
    asked = {leaf for policy in ir.policies for rule in policy.rules for leaf in rule.sources} - {
        leaf for policy in ir.policies for leaf in sources(policy.action, policy.subject, policy.ref, policy.port)
    }
    frame: list[tuple[Obj, Path]] = []
    carried: set[int] = set()
    for obj in out.objects.values():
        beside = obj.ref.name.endswith(ONLY_BY)  # whose first rule admits the waypoint
        for path, src in obj.sources.items():
            ruled = obj.kind != "AuthorizationPolicy" or (path[:2] == ("spec", "rules") and len(path) > 2)
            entrance = obj.kind == "Gateway" or (beside and path[:3] == ("spec", "rules", 0))
            if entrance or not ruled or path == ("metadata", "labels", USE):
                frame.append((obj, path))
            else:
                carried |= src
            if path == ("metadata", "name"):  # what an object is called after names it, whatever becomes of it
                carried |= {leaf for leaf in src & asked if out.bundle.parts(leaf) == path and out.bundle.value(leaf) == obj.ref.name}
    gone = {leaf for obj, path in frame for leaf in obj.sources[path]} & asked - carried
    for obj, path in frame:
        obj.sources[path] = obj.sources[path] - gone
    out.adds_nothing(LEFT_OUT, frozenset(gone))


def _key(path: Path) -> str:
    """The member that a leaf is of: for an item of a list, the list's."""
    return next(str(step) for step in reversed(path) if isinstance(step, str))


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    items: Iterable[tuple[str | int, Any]] = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    if not isinstance(value, dict | list) or not value:
        yield path or ("",), value
    for step, below in items:
        yield from _leaves(below, (*path, step))
