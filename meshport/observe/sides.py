"""Which end of the target measures what one end of the source does: the one whose series have the labels that the query uses."""

from __future__ import annotations

from meshport.observe.metrics import SIDES, Concept, Label, Saying, in_release
from meshport.observe.tree import Matcher
from meshport.observe.work import MEASURED, NAMES, PROBED, Found, Refused, Work


def choose(work: Work) -> None:
    """One side of the target for all selectors that one side of the source measures."""
    groups: dict[str, list[Found]] = {}
    for one in work.found:
        groups.setdefault(one.side, []).append(one)
    for side, members in groups.items():
        varies = side == "both" and any(one.label.name == work.side_label() for found in members for one in found.selector.matchers)
        wanted = (
            ["server", "client"]
            if all(one.saying.unsided for one in members)
            else list(dict.fromkeys([side, *(("client", "server") if side != "both" or varies else ())]))
        )
        lacking: dict[str, str] = {}
        for candidate in wanted:
            missing = _missing(work, candidate, side, members)
            if missing is None:
                if candidate != side and varies:
                    work.say("MP826", label=work.side_label(), after=MEASURED[candidate])
                elif candidate != side and not all(one.saying.unsided for one in members):
                    work.say("MP813", before=MEASURED[side], after=MEASURED[candidate])
                for one in members:
                    one.chosen = candidate
                    one.written = _saying(work, one.concept, candidate)
                break
            lacking[candidate] = missing
        else:
            if side == "both":
                apart = {one: _missing(work, one, side, members) for one in SIDES}
                if None in apart.values():
                    raise Refused(
                        "MP804", metric=members[0].metric.name, what=f"whose {lacking[wanted[0]]} is meant", label=work.side_label()
                    )
                lacking |= {one: missing for one, missing in apart.items() if missing is not None}
            missing = next((one for one in lacking.values() if not one.startswith(_METRIC)), lacking[wanted[0]])
            raise work.no_label(missing)
    for one in work.found:
        sided = any(matcher.label.name == work.side_label() for matcher in one.selector.matchers)
        if one.side == "both" and not sided and one.written is not None and not one.written.unsided and not one.saying.unsided:
            work.say("MP805", metric=one.metric.name, label=work.side_label())
        _near(work, one)


def _near(work: Work, one: Found) -> None:
    written = one.written
    assert written is not None
    seen = written.metric if work.target == "cilium" else one.metric.name
    for code in (*one.concept.read, *one.saying.read, *written.written):
        work.say(code, metric=one.metric.name, target=written.metric, hubble=seen)
    if "istio" in (work.source, work.target) and one.chosen != "server" and any(label.name == "tls" for label in work.used(one)):
        plain = next((matcher for matcher in one.selector.matchers if _plaintext(matcher)), None)
        if one.side == "server" and plain is not None:
            remedy = "Ask the servers, without labels of the caller: clients of the mesh do not count requests from outside it."
            raise Refused("MP801", remedy, label=plain.label.name, mesh=NAMES[work.target])
        work.say("MP891")
    if (
        work.source == "linkerd"
        and one.side == "server"
        and one.metric.name in PROBED
        and not any(_is_probe(one) for one in one.selector.matchers)
    ):
        work.say("MP890", metric=one.metric.name)
    if one.saying.means and written.means and one.saying.means != written.means:
        work.say("MP802", before=_MEANS[one.saying.means], after=_MEANS[written.means])
    row = work.table.inventory[work.target][written.metric]
    if not in_release(row, work.version):
        raise Refused("MP800", metric=one.metric.name, mesh=f"{NAMES[work.target]} {work.version}", why=f"{row.name} came with {row.since}")


def _plaintext(matcher: Matcher) -> bool:
    """Whether a matcher takes requests without mutual TLS: those that reach a server from outside the mesh no client of the mesh counts."""
    if matcher.whole or matcher.label.name not in ("connection_security_policy", "tls"):
        return False
    return matcher.op != "=" or matcher.value not in ("mutual_tls", "true")


def _saying(work: Work, concept: Concept, side: str) -> Saying | None:
    """How the target says a concept on a side."""
    known = work.table.concepts[concept.becomes] if concept.becomes and (work.target, "server") not in concept.says else concept
    if side != "both":
        return known.says.get((work.target, side))
    one, other = (known.says.get((work.target, name)) for name in SIDES)
    return one if one == other else None


def _missing(work: Work, candidate: str, side: str, members: list[Found]) -> str | None:
    """What the target lacks on a side: the name of a label, or of the metric; None where it lacks nothing."""
    for one in members:
        saying = _saying(work, one.concept, candidate)
        if saying is None:
            known = work.table.concepts[one.concept.becomes] if one.concept.becomes else one.concept
            if not any((work.target, name) in known.says for name in SIDES):
                raise work.nothing(one.metric.name, known.none.get(work.target, "it does not measure that"))
            return f"{_METRIC} {known.title}"
        for label in work.used(one):
            if label.name == "protocol" and work.target == "linkerd" and not _shown(work, saying, ("grpc_status",)):
                return _named(work, label, side)
            if label.name in ("side", "outcome", "protocol"):
                continue
            if label.name == "tls" and work.target == "istio" and candidate == "client":
                return "tls"  # a client's sidecar knows nothing of it
            said = label.of(work.target, candidate, work.group_by)
            if said is None or not _shown(work, saying, said[0]):
                return _named(work, label, side)
    return None


def _shown(work: Work, saying: Saying, names: tuple[str, ...]) -> bool:
    """Whether a metric's series have these labels: Hubble's durations have no status."""
    return work.table.inventory[work.target][saying.metric].labels.issuperset(name for name in names if name != "le")


def _named(work: Work, label: Label, side: str) -> str:
    names = (
        label.names.get((work.source, side if side != "both" else "server"))
        or label.names.get((work.source, "client"))
        or label.also.get((work.source, "client"))
        or (label.name,)
    )
    return names[0]


def _is_probe(matcher: Matcher) -> bool:
    return matcher.label.name in ("route_name", "authz_name")


_METRIC = "a metric of"
_MEANS = {"whole": "the whole exchange", "first": "the time to the first byte of the response"}
