"""TrafficSplits as routes of their Service: with `matches` for the requests that a group describes, without them for all.

What no split takes goes to the Service itself. Of several splits of a Service those with matches go first, then the order of names decides.
https://github.com/servicemeshinterface/smi-spec/blob/main/apis/traffic-split/v1alpha4/traffic-split.md
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from meshport.dialects.cursor import Cursor
from meshport.dialects.smi import splits
from meshport.dialects.smi.specs import HttpMatch, Specs
from meshport.ir.authorization import Pattern
from meshport.ir.base import Fact, Ref, Src, sources
from meshport.ir.model import ABSENT, IR, Loss
from meshport.ir.routing import RouteMatch, RouteRule, ServiceRoutes

if TYPE_CHECKING:
    from meshport.dialects.base import Options
    from meshport.mapping.bound import Bound


def lift(bound: Bound, specs: Specs, options: Options, ir: IR) -> None:
    """The splits, those of one Service as one list of rules."""
    found: list[tuple[splits.Split, Cursor]] = []
    for number, document in enumerate(bound.bundle.documents):
        if (document.group, document.kind) == (splits.GROUP, "TrafficSplit") and number not in bound.broken:
            root = Cursor.root(bound, number)
            split = splits.read(root, options)
            if split is not None and split.backends:
                found.append((split, root))
            else:
                lacks = "no Service" if split is None else "no backend"
                ir.losses.append(Loss("MP336", tuple(fact for _, fact in root.at("spec").leaves()), number, {"why": f"it has {lacks}"}))
    found.sort(key=lambda item: (item[0].service.value, not item[0].conditional, item[0].ref.value))
    known: dict[Ref, ServiceRoutes] = {}
    for split, root in found:
        service = split.service.value
        rule = _rule(split, root, specs, options, ir)
        if rule is None:
            ir.losses.append(Loss("MP336", (Fact(None, split.src),), split.document, {"why": "no request fits its matches"}))
        before = known.get(service)
        if before is None and rule is not None:
            host = split.service.map(lambda ref: f"{ref.name}.{ref.namespace}.svc.{options.cluster_domain}")
            known[service] = ServiceRoutes(
                split.ref, "TrafficSplit", split.service, host, None, (rule,), "first", "forward", split.document,
                (split.document,), family="smi", silenced=split.silenced, src=split.src,
            )  # fmt: skip
        elif before is not None and rule is not None:
            rules = (*before.rules, rule)
            silenced = (*before.silenced, *split.silenced)
            known[service] = replace(
                before, rules=rules, documents=(*before.documents, split.document), silenced=silenced, src=before.src | split.src
            )
    ir.routes.extend(known.values())


def _rule(split: splits.Split, root: Cursor, specs: Specs, options: Options, ir: IR) -> RouteRule | None:
    backends = tuple(replace(backend, host=backend.host.also(split.service)) for backend in split.backends)
    name = split.ref.value.name
    label = (("name", Fact(name, split.ref.src, "metrics.route-label")),)
    if not split.conditional:
        return RouteRule(name, (), backends, extras=label, src=split.src)
    home = split.ref.value.namespace
    matches: list[RouteMatch] = []
    for item in root.each("spec", "matches"):
        called = item.text("name")
        if called is None:
            continue
        group = specs.group(Ref(home, called.value))
        if group is None:
            ir.losses.append(Loss("MP014", (called,), split.document, {"what": f"HTTPRouteGroup {home}/{called.value}", "lack": ABSENT}))
            continue
        matches.extend(_match(match, item.at("kind").src | called.src) for match in group)
    return RouteRule(name, tuple(matches), backends, extras=label, src=split.src) if matches else None


def _match(match: HttpMatch, referred: Src) -> RouteMatch:
    """The match of a group as one of a route; `referred` are the leaves that name the group."""
    src = match.src | referred
    method = None
    if match.methods:
        words = "|".join(fact.value for fact in match.methods)
        method = (
            match.methods[0]
            .holding(Pattern("exact" if len(match.methods) == 1 else "regex", words))
            .also(*match.methods, match.group, referred)
        )
    asked = sources(match.path, *match.methods, *(fact for _, fact in match.headers))
    every = match.src - asked - match.group  # `*` among the methods: with a method in its place the match would ask for that
    path = match.path.also(match.group, referred, every) if match.path is not None else None
    headers = tuple((name, fact.also(match.group, referred, every)) for name, fact in match.headers)
    return RouteMatch(path, method, headers, name=match.name, src=src)
