"""Values of labels as one mesh and another write them: who measures, mutual TLS, identities, host names, bounds of histogram buckets.

A rewrite takes a matcher's operator and value and gives the matchers that mean the same on the target's labels, or says why it cannot. What a template will put
in is unknown: it goes through only where the values themselves stay the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from meshport.observe import identities
from meshport.observe.tree import Matcher

SIDE_VALUES = {
    "istio": {"server": "destination", "client": "source"},
    "linkerd": {"server": "inbound", "client": "outbound"},
    "cilium": {"server": "server", "client": "client"},
}
"""What the label of the measuring side says (Istio's waypoints measure for the client, as its dashboards take them)."""


class Unsaid(Exception):
    """A value that the target has no words for; the text says why."""


@dataclass(slots=True)
class Rewritten:
    """Matchers as (label, op, value) in place of one; `near` are findings that the rewrite needs, `variable`: a template has to carry other values."""

    matchers: list[tuple[str, str, str]] = field(default_factory=list)
    near: list[str] = field(default_factory=list)
    variable: dict[str, str] = field(default_factory=dict)


_LITERALS = re.compile(r"\(?(?:\?:)?([A-Za-z0-9_.\\-]*(?:\|[A-Za-z0-9_.\\-]*)*)\)?")


def alternatives(pattern: str) -> list[str] | None:
    """The literals of a regular expression that only lists some, such as `source|waypoint`; None where it does more."""
    found = _LITERALS.fullmatch(pattern)
    if found is None or re.search(r"(?<!\\)\.", found.group(1)) or (pattern.startswith("(") != pattern.endswith(")")):
        return None
    return [re.sub(r"\\(.)", r"\1", part) for part in found.group(1).split("|")]


def side_of(matcher: Matcher, mesh: str) -> str | None:
    """server, client or both, as a matcher of the measuring side says; None where it cannot be told."""
    known = {word: side for side, word in SIDE_VALUES[mesh].items()} | ({"waypoint": "client"} if mesh == "istio" else {})
    if matcher.dynamic:
        return None
    words = [matcher.value] if matcher.op in ("=", "!=") else alternatives(matcher.value)
    if matcher.op in ("=~", "!~") and matcher.value in (".*", ".+"):
        return "both" if matcher.op == "=~" else None
    if words is None or any(word not in known for word in words):
        return None
    sides = {known[word] for word in words}
    if matcher.op in ("!=", "!~"):
        sides = {"server", "client"} - sides
    return next(iter(sides)) if len(sides) == 1 else "both" if sides else None


def tls(matcher: Matcher, source: str, target: str, label: str) -> Rewritten:
    """Whether a request came with mutual TLS."""
    if matcher.dynamic:
        raise Unsaid("what a variable says of mutual TLS is written otherwise")
    positive = matcher.op in ("=", "=~")
    words = [matcher.value] if matcher.op in ("=", "!=") else alternatives(matcher.value)
    if words is None:
        raise Unsaid(f"the pattern {matcher.value!r} of mutual TLS")
    yes = {"istio": "mutual_tls", "linkerd": "true"}
    mutual = yes[source] in words
    if mutual and len(words) > 1:
        raise Unsaid(f"the pattern {matcher.value!r} of mutual TLS")
    if not mutual and words in (["unknown"], [""]):
        raise Unsaid(f"{matcher.value!r} says that nobody knows of mutual TLS")
    return Rewritten([(label, "=" if mutual == positive else "!=", yes[target])])


def identity(matcher: Matcher, source: str, target: str, label: str) -> Rewritten:
    """A caller's or a server's name in its certificate: SPIFFE in Istio, a DNS-like name in Linkerd."""
    if matcher.dynamic:
        raise Unsaid("a variable holds names of certificates, which are written otherwise")
    if matcher.value in ("", ".*", ".+", "unknown"):
        return peer(matcher, source, target, label)
    made = identities.renamed(matcher, source, target, label)
    if made is None:
        raise Unsaid(f"the name {matcher.value!r} is not one of a service account, nor a plain pattern of one")
    return Rewritten([made])


def peer(matcher: Matcher, source: str, target: str, label: str) -> Rewritten:
    """A name of one end of the connection. What nobody knows is `unknown` in Istio, and an empty or absent label elsewhere."""
    old, new = ("unknown" if mesh == "istio" else "" for mesh in (source, target))
    op, value = matcher.op, matcher.value
    if old == new or matcher.dynamic:
        return Rewritten([(label, op, value)])
    if op in ("=", "!="):
        return Rewritten([(label, op, new if value == old else value)])
    if value == ".+":  # of Istio that is everything, of the others what is known
        return Rewritten([(label, op, ".*")] if source == "istio" else [(label, "!=" if op == "=~" else "=", new)])
    words = alternatives(value)
    if words is not None and old in words:
        value = "|".join(new if word == old else re.escape(word).replace(r"\-", "-") for word in words)
    return Rewritten([(label, op, value)])


def without_port(matcher: Matcher) -> Matcher:
    """A matcher of host and port as one of the host. Raises Unsaid for a pattern that may be about both."""
    if matcher.dynamic:
        return matcher
    bare = re.sub(r":\d+$|:\\d\+$|:\.\*$", "", matcher.value)
    if ":" in bare or (bare == matcher.value and matcher.op in ("=~", "!~") and not bare.endswith((".*", ".+"))):
        raise Unsaid(f"the pattern {matcher.value!r} of hosts with ports")
    return replace(matcher, value=bare)


def host(matcher: Matcher, labels: tuple[str, ...], domain: str = "cluster.local") -> Rewritten:
    """A Service's host name on labels of name and namespace (two of them, in this order)."""
    name, namespace = labels
    if matcher.dynamic:
        return Rewritten([(name, matcher.op, matcher.value)], ["MP815"], {"holds": "the Service's name alone"})
    if matcher.value in ("", ".*", ".+"):
        return Rewritten([(name, matcher.op, matcher.value)])
    if matcher.value == "unknown":
        return Rewritten([(name, matcher.op, "")])
    if matcher.op in ("=", "!="):
        parts = matcher.value.split(".")
        if len(parts) < 2 or ".".join(parts[2:]) not in ("", "svc", f"svc.{domain}"):
            raise Unsaid(f"{matcher.value!r} is no Service of the cluster")
        if matcher.op == "!=":
            raise Unsaid(f"every Service but {matcher.value!r}: two labels cannot be refused together")
        return Rewritten([(name, "=", parts[0]), (namespace, "=", parts[1])])
    found = re.fullmatch(rf"({_HOST_PART})(?:\\?\.({_HOST_PART})(?:\\?\.(?:svc(?:\\?\.(?:.*))?|\.\*))?)?", matcher.value)
    if found is None or matcher.op == "!~":
        raise Unsaid(f"the pattern {matcher.value!r} of host names")
    made = [(name, *_matched(found.group(1))), *([(namespace, *_matched(found.group(2)))] if found.group(2) is not None else [])]
    return Rewritten(
        [(label, op, value) for label, op, value in made if not (op == "=~" and value in (".*", ".+"))] or [(name, "=~", ".+")]
    )


_HOST_PART = r"[A-Za-z0-9-]+|[A-Za-z0-9-]*\.\*|\.\+|\[\^\.\]\+|\([A-Za-z0-9|-]+\)"


def _matched(part: str) -> tuple[str, str]:
    if re.fullmatch(r"[A-Za-z0-9-]+", part):
        return "=", part
    return "=~", part[1:-1] if part.startswith("(") else ".+" if part.startswith("[^") else part


def bound(matcher: Matcher, factor: float, buckets: tuple[float, ...], label: str) -> tuple[Rewritten, tuple[float, float, float] | None]:
    """The bound of a histogram bucket in the target's unit; beside it (wanted, below, above) where the target has no such bucket and the next lower one is taken."""
    if matcher.dynamic or matcher.op not in ("=", "!="):
        if matcher.value in ("\\+Inf", ".*", ".+") or (factor == 1.0 and matcher.dynamic):
            return Rewritten([(label, matcher.op, matcher.value)]), None
        raise Unsaid(f"the pattern {matcher.value!r} of bucket bounds")
    if matcher.value == "+Inf":
        return Rewritten([(label, matcher.op, matcher.value)]), None
    try:
        wanted = round(float(matcher.value) * factor, 9)
    except ValueError:
        raise Unsaid(f"{matcher.value!r} is no bound of a bucket") from None
    missed = None
    if wanted not in buckets:
        below = [one for one in buckets if one < wanted]
        above = [one for one in buckets if one > wanted]
        if not below:
            raise Unsaid(f"no bucket of the target ends at {wanted:g} or below it")
        missed, wanted = (wanted, below[-1], above[0] if above else float("inf")), below[-1]
    text = f"{wanted:g}"
    if wanted == int(wanted):  # Prometheus 3 writes 1 as 1.0 when it scrapes classic buckets
        whole = str(int(wanted))
        return Rewritten([(label, "=~" if matcher.op == "=" else "!~", rf"{whole}(\.0)?")]), missed
    return Rewritten([(label, matcher.op, text)]), missed
