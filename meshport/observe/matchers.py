"""A selector of the source as one of the target: its metric, and its matchers where they stood."""

from __future__ import annotations

from meshport.observe import values
from meshport.observe.edits import Edits
from meshport.observe.metrics import SIDES, Label
from meshport.observe.tokens import quoted
from meshport.observe.tree import Matcher, Selector
from meshport.observe.units import FACTORS
from meshport.observe.work import KEPT, SCRAPED, SIDE_LABELS, Found, Refused, Work


def write(work: Work, one: Found, edits: Edits) -> None:
    selector, written = one.selector, one.written
    assert written is not None
    name = written.metric + (one.suffix if work.table.inventory[work.target][written.metric].type == "histogram" else "")
    if selector.name is not None:
        edits.replace(selector.name.start, selector.name.end, name)
    kept: list[str] = []
    dropped: list[Matcher] = []
    sided = False
    for number, matcher in enumerate(selector.matchers):
        if matcher.whole:
            kept.append(work.parsed.text[matcher.start : matcher.end])
            if not matcher.label.name.startswith("<<."):  # prometheus-adapter's, by the labels of its resources
                work.say("MP822", name=matcher.label.name)
        elif matcher.label.name == "__name__":
            kept.append(_written(work, matcher, [("__name__", matcher.op, name)]))
        elif matcher.label.name == work.side_label():
            sided = True
            kept += [_written(work, matcher, _sided(work, matcher, one))]
        elif number in one.pins or work.drops(matcher):
            if matcher.label.name in SCRAPED[work.source]:
                work.say("MP814", label=matcher.label.name)
            dropped.append(matcher)
        elif matcher.label.name in KEPT or matcher.label.dynamic:
            kept.append(work.parsed.text[matcher.start : matcher.end])
        else:
            kept.append(_written(work, matcher, _rewritten(work, matcher, one)))
    added = [(label, "=", value) for label, value in written.pins]
    if work.target == "linkerd":
        added = [*_linkerd(work, one, kept), *added]
    if not sided and one.chosen != "both" and not written.unsided:
        added.insert(0, (SIDE_LABELS[work.target], "=", values.SIDE_VALUES[work.target][one.chosen]))
    _braces(work, selector, kept, [f"{label}{op}{quoted(value)}" for label, op, value in added], bool(dropped), edits)


def _linkerd(work: Work, one: Found, kept: list[str]) -> list[tuple[str, str, str]]:
    """Where a client's proxy measures, requests to no Service are counted too; where a server's does, the kubelet's probes."""
    metric = one.written.metric if one.written is not None else ""
    if metric == "inbound_http_authz_allow_total":
        return [("authz_name", "!=", "probe")]
    if metric not in ("response_total", "response_latency_ms"):
        return []
    if one.chosen == "client" and any(label.name.startswith("service.") for label in work.used(one)) and work.group_by == "service":
        return [] if any(text.startswith(("dst_service=", "dst_service!=")) for text in kept) else [("dst_service", "!=", "")]
    return [("route_name", "!=", "probe")] if one.chosen == "server" else []


def _braces(work: Work, selector: Selector, kept: list[str], added: list[str], dropped: bool, edits: Edits) -> None:
    """Write the matchers: in place where each old one has its own, so that blanks and comments stay, else anew. New ones stand behind the one that says
    who measures."""
    olds = list(selector.matchers)
    first = next((number + 1 for number, old in enumerate(olds) if old.label.name == work.side_label()), 0)
    if selector.braces is None:
        if added:
            edits.insert(selector.end, "{" + ",".join(added) + "}")
        return
    if dropped or not olds or len(kept) != len(olds) or not all(kept):
        stay = [text for text in kept if text]
        at = min(first, len(stay))
        texts = [*stay[:at], *added, *stay[at:]]
        edits.replace(*selector.braces, "{" + ",".join(texts) + "}" if texts else "")
        return
    for old, text in zip(olds, kept, strict=True):
        edits.replace(old.start, old.end, text)
    if added and first:
        edits.insert(olds[first - 1].end, "," + ",".join(added))
    elif added:
        edits.insert(olds[0].start, ",".join(added) + ",")


def _written(work: Work, old: Matcher, made: list[tuple[str, str, str]]) -> str:
    like = work.parsed.text[old.value_start] if old.value_end > old.value_start else '"'
    before = work.parsed.text[old.start : old.value_start]
    spaced = before[len(before.rstrip("=!~ \t\n")) :]
    texts = []
    for label, op, value in made:
        between = spaced.replace(old.op, op) if old.op and old.op in spaced else op
        texts.append(f"{label}{between}{_quoted(work, value, like, old)}")
    return ",".join(texts)


def _quoted(work: Work, value: str, like: str, old: Matcher) -> str:
    token = work.parsed.text[old.value_start : old.value_end]
    if old.value == value and token[:1] in "\"'`":
        return token
    return quoted(value, like if like in "\"'`" else '"')


def _sided(work: Work, matcher: Matcher, one: Found) -> list[tuple[str, str, str]]:
    label, words = SIDE_LABELS[work.target], values.SIDE_VALUES[work.target]
    if one.written is not None and one.written.unsided:
        return []
    if matcher.dynamic and one.chosen == "both":
        work.say("MP815", label=label, holds=" or ".join(sorted(words.values())))
        own = values.SIDE_VALUES[work.source]
        work.values[label] = {own[side]: word for side, word in words.items()} | (
            {"waypoint": words["client"]} if work.source == "istio" else {}
        )
        return [(label, matcher.op, matcher.value)]
    if one.chosen == "both":
        return [(label, "=~", "|".join(words[side] for side in SIDES))] if matcher.op in ("=", "=~") else []
    return [(label, "=", words[one.chosen])]


def _rewritten(work: Work, matcher: Matcher, one: Found) -> list[tuple[str, str, str]]:
    label = work.label(matcher.label, one)
    assert label is not None
    try:
        if label.name == "outcome":
            return _outcome(work, matcher)
        if label.name == "protocol":
            return _protocol(work, matcher)
        said = label.of(work.target, one.chosen, work.group_by)
        if said is None:
            raise work.no_label(matcher.label.name)
        names, near = said
        work.say_near(near, matcher.label.name, names)
        return _valued(work, matcher, label, names, one)
    except values.Unsaid as unsaid:
        raise Refused("MP823", label=matcher.label.name, why=str(unsaid)) from None


def _valued(work: Work, matcher: Matcher, label: Label, names: tuple[str, ...], one: Found) -> list[tuple[str, str, str]]:
    if label.value == "tls":
        return values.tls(matcher, work.source, work.target, names[0]).matchers
    if label.value == "identity":
        return values.identity(matcher, work.source, work.target, names[0]).matchers
    if label.value == "bucket":
        return _bound(work, matcher, one)
    if label.value == "host":
        return _host(work, matcher, names, [work.label(other.label, one) for other in one.selector.matchers if not other.whole])
    if len(names) > 1:
        raise values.Unsaid("several labels stand for it")
    if label.name == "destination.cluster" and matcher.value in ("", ".+", ".*") and not matcher.dynamic:
        if any(
            other is not matcher and other.label.name == matcher.label.name and other.op in ("=", "=~") for other in one.selector.matchers
        ):
            return []  # the other matcher says it
        raise values.Unsaid("every cluster but the own one: what that is called is not known")
    if label.name == "grpc.status":
        return [(names[0], matcher.op, _grpc(matcher))]
    return values.peer(matcher, work.source, work.target, names[0]).matchers if label.of_peer else [(names[0], matcher.op, matcher.value)]


def _host(work: Work, matcher: Matcher, names: tuple[str, ...], named: list[Label | None]) -> list[tuple[str, str, str]]:
    if matcher.label.name in ("authority", "dst"):
        work.say("MP828", label=matcher.label.name)
        matcher = values.without_port(matcher)
    if len(names) == 1:
        if matcher.dynamic and matcher.label.name in ("authority", "dst"):
            work.say("MP815", label=names[0], holds="the host without the port")
        return values.peer(matcher, work.source, work.target, names[0]).matchers
    found = values.host(matcher, (names[0], names[1]))
    for code in found.near:
        work.say(code, label=names[0], holds=found.variable["holds"])
        if work.target == "linkerd" and not any(one is not None and one.name in _NAMESPACES for one in named):
            work.say("MP856", label=names[0])
    return found.matchers


def _grpc(matcher: Matcher) -> str:
    """gRPC statuses by number, as Istio and Linkerd's older metrics have them; Linkerd's newer ones say them by name."""
    words = [matcher.value] if matcher.op in ("=", "!=") else values.alternatives(matcher.value)
    if words is None or not any(word in _GRPC for word in words):
        return matcher.value
    return "|".join(str(_GRPC.index(word)) if word in _GRPC else word for word in words)


def _outcome(work: Work, matcher: Matcher) -> list[tuple[str, str, str]]:
    """Linkerd's verdict on a response: failures are 5xx and failed gRPC calls."""
    words = [matcher.value] if matcher.op in ("=", "!=") else values.alternatives(matcher.value)
    if matcher.dynamic or not words or len(words) != 1 or words[0] not in ("success", "failure"):
        raise values.Unsaid(f"{matcher.value!r} of classification")
    good = (words[0] == "success") == (matcher.op in ("=", "=~"))
    status = {"istio": "response_code", "cilium": "status"}[work.target]
    work.say("MP810", before="classification", after=status)
    return [(status, "!~" if good else "=~", "5.*")]


def _protocol(work: Work, matcher: Matcher) -> list[tuple[str, str, str]]:
    """Linkerd tells gRPC by its status; Hubble's protocol is the version of HTTP."""
    if work.source == "istio" and work.target == "linkerd" and not matcher.dynamic and matcher.op in ("=", "!="):
        if matcher.value in ("grpc", "http"):
            grpc = (matcher.value == "grpc") == (matcher.op == "=")
            return [("grpc_status", "!=" if grpc else "=", "")]
        if matcher.value == "tcp":
            raise values.Unsaid("TCP is counted by metrics of its own")
    raise work.no_label(matcher.label.name)


def _bound(work: Work, matcher: Matcher, one: Found) -> list[tuple[str, str, str]]:
    assert one.written is not None
    factor = FACTORS.get((one.saying.unit, one.written.unit), 1.0)
    if factor == 1.0 and one.saying.buckets == one.written.buckets:
        return [("le", matcher.op, matcher.value)]
    found, missed = values.bound(matcher, factor, one.written.buckets, "le")
    if missed is not None:
        wanted, below, above = missed
        work.say("MP818", wanted=f"{wanted:g}", below=f"{below:g}", above=f"{above:g}", metric=one.written.metric)
    return found.matchers


_NAMESPACES = ("service.namespace", "destination.namespace")
"""What tells Services of one name apart; workloads of a Service are in its namespace."""
_GRPC = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
