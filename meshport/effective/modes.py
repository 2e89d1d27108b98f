"""For which pods and ports it matters whether plaintext is accepted: where policies close a port whatever its mode, no mode decides anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from meshport.effective.access import Access, Effective, ports_of
from meshport.effective.pieces import Piece, Unsayable, nameless, of_rule
from meshport.ir.authorization import Rule
from meshport.ir.base import Selector
from meshport.ir.transport import TransportRule

Place = tuple[int, int | None]
"""The document of a rule, and the port that it gives a mode; None is every port that it does not name."""


def deciding(
    access: Access, *, shut: Callable[[str, Selector], bool], defaults: bool, asked: Callable[[Effective, int | None], bool] | None = None
) -> set[Place]:
    """The places in rules where another mode would let other callers in; or of the ports that are `asked` for.

    `shut` says of pods that the bundle does not show whether they are closed whatever their mode; with `defaults` the target writes a
    namespace's mode also where the bundle shows all its pods.
    """
    found: set[Place] = set()
    for item in access.workloads:
        if item.meshed is not False and not access.gateway(item.workload):
            rules = access.ranked(item.workload.ref.namespace, item.workload.labels)
            named = {port for rule in rules for port in (*rule.ports, *rule.inheriting)} | ports_of([item], access.world).keys()
            for port in (None, *named):
                if (asked or _matters)(item, port):
                    found.update(_said(rules, port))
    for namespace in sorted({*access.world.namespaces, *(rule.subject.value.namespace for rule in access.ir.transport)} - {""}):
        unseen = [rule for rule in access.unseen(namespace) if not shut(namespace, rule.subject.value.selector)]
        found.update((rule.document, port) for rule in unseen for port in (None, *rule.ports, *rule.inheriting))
        if (defaults or unseen or not access.world.of_namespace(namespace)) and not shut(namespace, Selector()):
            found.update(_said([rule for rule in access.ranked(namespace, {}) if rule.level != "workload"], None))
    return found


def _said(rules: list[TransportRule], port: int | None) -> Iterator[Place]:
    """Where the mode of a port may stand, the most specific place first, down to the one that says it."""
    for rule in reversed(rules):
        for place in dict.fromkeys((port, None)) if rule.level == "workload" else (None,):
            yield rule.document, place
            if (rule.mode if place is None else rule.ports.get(place)) is not None:
                return


def admits(item: Effective, port: int | None) -> bool:
    """Whether anybody is let in."""
    return not item.at(port) or any(_pieces(rule, port) != [] for policy in item.at(port) for rule in policy.rules)


def _pieces(rule: Rule, port: int | None) -> list[Piece] | None:
    try:
        return of_rule(rule, port=port)
    except (Unsayable, ValueError):
        return None


def _matters(item: Effective, port: int | None) -> bool:
    policies = item.at(port)
    return not policies or any(_by_mode(rule, port) for policy in policies for rule in policy.rules)


def _by_mode(rule: Rule, port: int | None) -> bool:
    untold = _pieces(rule, port)
    if untold is None:
        return False
    told = of_rule(rule, port=port, strict=True)
    return [piece.who for piece in told] != [piece.who for piece in untold] or nameless(untold) != untold
