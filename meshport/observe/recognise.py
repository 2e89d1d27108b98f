"""Which selectors of a query are the source mesh's, what they measure, and which end measured it."""

from __future__ import annotations

from meshport.observe import values
from meshport.observe.edits import Edits
from meshport.observe.metrics import Concept, Metric, Saying, in_release
from meshport.observe.promql import GRAFANA
from meshport.observe.tree import Call, Matcher, Selector, walk
from meshport.observe.work import NAMES, Found, Refused, Work


def recognise(work: Work, edits: Edits) -> bool:
    """Find the selectors of the source mesh; whether recording rules of the same assets were renamed beside them."""
    others = False
    labels = _labels_of_variables(work)
    for selector in work.parsed.selectors:
        if id(selector) in labels:
            continue
        name = selector.metric
        if name is None:
            _dynamic(work, selector)
            continue
        if name in work.renamed and selector.name is not None:
            edits.replace(selector.name.start, selector.name.end, work.renamed[name])
            others = True
            continue
        if not work.table.is_of(work.source, name):
            continue
        known = work.table.metric(work.source, name)
        readings = work.table.readings(work.source, known[0].name) if known is not None else []
        if known is None or not readings:
            if work.table.is_of(work.target, name) and known is None and not name.startswith("envoy_"):
                continue
            gone = known[0].gone if known is not None else ""
            raise work.nothing(name, f"{NAMES[work.source]} itself exports it no more ({gone})" if gone else "")
        if work.source == "istio" and any(_of_ztunnel(one) for one in selector.matchers):
            raise work.nothing(name, "it is asked of ztunnel's own pods, which have no counterpart")
        metric, suffix = known
        if metric.gone:
            work.say("MP820", metric=name, mesh=NAMES[work.source], why=metric.gone)
        if not in_release(metric, work.source_version):
            work.say("MP863", metric=name, mesh=f"{NAMES[work.source]} {work.source_version}", since=str(metric.since))
        if metric.type == "histogram" and not suffix:
            work.say("MP827", metric=name)
        work.found.append(_reading(work, selector, metric, suffix, readings))
    return others


def _labels_of_variables(work: Work) -> set[int]:
    """Selectors that are the label that a Grafana variable takes its values from, by their identity."""
    return {
        id(node.arguments[1])
        for node in walk(work.parsed.tree)
        if isinstance(node, Call) and node.function.name in GRAFANA and len(node.arguments) > 1
    }


def _dynamic(work: Work, selector: Selector) -> None:
    if selector.name is None:
        named = [one for one in selector.matchers if one.label.name == "__name__"]
        if named and any(prefix in named[0].value for prefix in ("istio", "hubble", "cilium", "response", "request_total", "bound_")):
            raise Refused("MP822", name=named[0].value)
        return
    if selector.type != "any" or any(prefix.rstrip("_") in selector.name.name for prefix in work.table.prefixes[work.source]):
        raise Refused("MP822", name=selector.name.name)


def _reading(work: Work, selector: Selector, metric: Metric, suffix: str, readings: list[tuple[Concept, str, Saying]]) -> Found:
    side = _side(work, selector)
    for concept, reads, saying in readings:
        if reads != "both" and side not in (reads, "both"):
            continue
        pins = _pinned(selector, saying)
        if pins is None:
            continue
        told = reads if reads != "both" else side
        return Found(selector, metric, suffix, concept, saying, told, pins)
    apart = {reads for _, reads, _ in readings} != {"both"} and not any(saying.unsided for _, _, saying in readings)
    if side != "both" or not apart:  # it is told who measures, and not what is counted
        kinds = [
            ", ".join(f'{label}="{value}"' for label, value in saying.pins)
            for _, reads, saying in readings
            if "both" in (side, reads) or side == reads
        ]
        raise work.nothing(metric.name, f"of it, only what has {' or '.join(dict.fromkeys(kinds))} is counted there")
    raise Refused("MP804", metric=metric.name, what="which end of the connection it counts", label=work.side_label())


def _side(work: Work, selector: Selector) -> str:
    """Who measures, as the matchers say; both where none does, or where a variable does."""
    for matcher in selector.matchers:
        if matcher.label.name == work.side_label():
            side = values.side_of(matcher, work.source)
            if side is None and not matcher.dynamic:
                raise Refused("MP823", label=matcher.label.name, why=f"the value {matcher.value!r} says nothing of who measures")
            return side or "both"
    return _told_by_labels(selector) if work.source == "linkerd" else "both"


def _told_by_labels(selector: Selector) -> str:
    """Who measures, where a matcher wants a label that Linkerd's proxies put on one side's series alone: `dst_...` on outbound ones, `srv_...` on inbound ones."""
    sides = {
        side
        for matcher in selector.matchers
        if _wants_some(matcher)
        for side, names in (("client", ("dst_", "server_id")), ("server", ("srv_", "authz_", "client_id")))
        if matcher.label.name.startswith(names)
    }
    return next(iter(sides)) if len(sides) == 1 else "both"


def _wants_some(matcher: Matcher) -> bool:
    """Whether a matcher takes no series that lacks the label."""
    if matcher.op == "=":
        return matcher.value != ""
    return (matcher.op == "!=" and matcher.value == "") or (matcher.op == "=~" and (matcher.value == ".+" or matcher.value.isalnum()))


def _of_ztunnel(matcher: Matcher) -> bool:
    return matcher.label.name in ("pod", "app") and matcher.op in ("=", "=~") and "ztunnel" in matcher.value


def _pinned(selector: Selector, saying: Saying) -> frozenset[int] | None:
    found = set()
    for label, value in saying.pins:
        at = next(
            (n for n, one in enumerate(selector.matchers) if one.label.name == label and one.op == "=" and _spelt(one) == value), None
        )
        if at is not None:
            found.add(at)
        elif label != "direction":  # a verdict of either direction is one; those of the ingress are most
            return None
    return frozenset(found)


def _spelt(matcher: Matcher) -> str:
    """A value as the tables spell it: older Hubbles said `Policy denied` where newer ones say POLICY_DENIED."""
    return matcher.value.upper().replace(" ", "_") if matcher.label.name == "reason" else matcher.value
