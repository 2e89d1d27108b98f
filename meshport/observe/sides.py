"""Which end of the target measures what one end of the source does: the one whose series have the labels that the query uses."""

from __future__ import annotations

from collections.abc import Iterable

from meshport.observe.metrics import SIDES, Concept, Label, Saying, in_release
from meshport.observe.work import MEASURED, NAMES, Found, Refused, Work


def choose(work: Work) -> None:
    """One side of the target for all selectors that one side of the source measures."""
    groups: dict[str, list[Found]] = {}
    for one in work.found:
        groups.setdefault(one.side, []).append(one)
    for side, members in groups.items():
        used = {label.name: label for one in members for label in work.used(one)}
        varies = side == "both" and any(one.label.name == work.side_label() for found in members for one in found.selector.matchers)
        wanted = list(dict.fromkeys([side, *(("client", "server") if side != "both" or varies else ())]))
        lacking: dict[str, str] = {}
        for candidate in wanted:
            missing = _missing(work, candidate, side, members, used.values())
            if missing is None:
                if candidate != side and varies:
                    work.say("MP826", label=work.side_label(), after=MEASURED[candidate])
                elif candidate != side:
                    work.say("MP813", before=MEASURED[side], after=MEASURED[candidate])
                for one in members:
                    one.chosen = candidate
                    one.written = _saying(work, one.concept, candidate)
                break
            lacking[candidate] = missing
        else:
            missing = lacking[wanted[0]]
            if side == "both" and any(_missing(work, one, side, members, used.values()) is None for one in SIDES):
                raise Refused("MP804", metric=members[0].metric.name, what=f"whose {missing} is meant", label=work.side_label())
            raise Refused("MP801", label=missing, mesh=NAMES[work.target])
    for one in work.found:
        sided = any(matcher.label.name == work.side_label() for matcher in one.selector.matchers)
        if one.side == "both" and not sided and one.written is not None and not one.written.unsided and not one.saying.unsided:
            work.say("MP805", metric=one.metric.name, label=work.side_label())
        _near(work, one)


def _near(work: Work, one: Found) -> None:
    written = one.written
    assert written is not None
    for code in (*one.concept.read, *one.saying.read, *written.written):
        work.say(code, metric=one.metric.name, target=written.metric)
    if one.saying.means and written.means and one.saying.means != written.means:
        work.say("MP802", before=_MEANS[one.saying.means], after=_MEANS[written.means])
    row = work.table.inventory[work.target][written.metric]
    if not in_release(row, work.version):
        raise Refused("MP800", metric=one.metric.name, mesh=f"{NAMES[work.target]} {work.version}", why=f"{row.name} came with {row.since}")


def _saying(work: Work, concept: Concept, side: str) -> Saying | None:
    """How the target says a concept on a side."""
    known = work.table.concepts[concept.becomes] if concept.becomes and (work.target, "server") not in concept.says else concept
    if side != "both":
        return known.says.get((work.target, side))
    one, other = (known.says.get((work.target, name)) for name in SIDES)
    return one if one == other else None


def _missing(work: Work, candidate: str, side: str, members: list[Found], used: Iterable[Label]) -> str | None:
    """What the target lacks on a side: the name of a label, or of the metric; None where it lacks nothing."""
    for one in members:
        if _saying(work, one.concept, candidate) is None:
            known = work.table.concepts[one.concept.becomes] if one.concept.becomes else one.concept
            if not any((work.target, name) in known.says for name in SIDES):
                raise Refused(
                    "MP800",
                    metric=one.metric.name,
                    mesh=NAMES[work.target],
                    why=known.none.get(work.target, "it does not measure that"),
                )
            return f"metric of {known.title}"
    for label in used:
        if label.name in ("side", "outcome", "protocol"):
            continue
        if label.name == "tls" and work.target == "istio" and candidate == "client":
            return "connection_security_policy"  # a client's proxy knows nothing of it
        if label.of(work.target, candidate, work.group_by) is None:
            return _named(work, label, side)
    return None


def _named(work: Work, label: Label, side: str) -> str:
    names = (
        label.names.get((work.source, side if side != "both" else "server")) or label.names.get((work.source, "client")) or (label.name,)
    )
    return names[0]


_MEANS = {"whole": "the whole exchange", "first": "the time to the first byte of the response"}
