"""VirtualServices that hand their rules on: the rules of a delegate, inside those that name it.

A delegate has no hosts. Its matches have to lie inside those of the rule that names it, or istiod leaves them out; what it says itself goes before what that rule
says. https://istio.io/latest/docs/reference/config/networking/virtual-service/#Delegate
"""

from __future__ import annotations

from dataclasses import replace

from meshport.dialects.gateway_api.patterns import within
from meshport.ir.base import Fact, Ref, Src
from meshport.ir.routing import RouteMatch, RouteRule, ServiceRoutes, gather

DELEGATE = "delegate"


def inlined(found: list[ServiceRoutes]) -> list[ServiceRoutes]:
    """The rules with those of delegates in the place of the rules that name them; a delegate that is named is no object of its own any more."""
    known = {item.ref.value: item for item in found if not item.host.value and item.protocol == "http"}
    used: set[Ref] = set()
    out = []
    for routes in found:
        if routes.host.value and any(delegate_of(rule) is not None for rule in routes.rules):
            out.append(_with_delegates(routes, known, used))
        else:
            out.append(routes)
    return [item for item in out if item.host.value or item.ref.value not in used]


def delegate_of(rule: RouteRule) -> Fact[Ref] | None:
    """The delegate that a rule hands its requests on to."""
    return next((fact for name, fact in rule.extras if name == DELEGATE), None)


def _with_delegates(routes: ServiceRoutes, known: dict[Ref, ServiceRoutes], used: set[Ref]) -> ServiceRoutes:
    rules: list[RouteRule] = []
    named: list[ServiceRoutes] = []
    outside: list[Src] = []
    for rule in routes.rules:
        fact = delegate_of(rule)
        other = known.get(fact.value) if fact is not None else None
        if fact is None or other is None or any(delegate_of(one) is not None for one in other.rules):
            rules.append(rule)
            continue
        used.add(fact.value)
        if other not in named:
            named.append(other)
        inside = [merged for one in other.rules if (merged := _merged(rule, one, fact.also(other.ref))) is not None]
        rules += inside
        outside += [gather(one) | one.src for one in (*other.rules, *(() if inside else (rule,)))]
    reason = "who sees a delegate is who refers to it"
    return replace(
        routes,
        rules=tuple(rules),
        documents=tuple(dict.fromkeys((*routes.documents, *(item.document for item in named)))),
        silenced=(
            *routes.silenced,
            *(part for item in named for part in item.silenced),
            *(("lies outside the matches of the rule that names the delegate", src) for src in outside),
            *((reason, gather(item.exports, item.gateways)) for item in named if item.exports or item.gateways),
        ),
        warnings=(*routes.warnings, *(part for item in named for part in item.warnings)),
        src=routes.src.union(*(item.src for item in named)),
    )


def _merged(root: RouteRule, rule: RouteRule, because: Fact[Ref]) -> RouteRule | None:
    """A rule of a delegate inside the rule that names it; None where no match of it lies inside."""
    matches = rule.matches or root.matches
    if root.matches and rule.matches:
        pairs = [_inside(outer, inner) for inner in rule.matches for outer in root.matches]
        matches = tuple(match for match in pairs if match is not None)
        if not matches:
            return None
    kinds = {item.kind for item in rule.filters}
    return replace(
        rule,
        name="-".join(name for name in (root.name, rule.name) if name),
        matches=matches,
        backends=tuple(replace(backend, host=backend.host.also(because)) for backend in rule.backends),
        filters=(*rule.filters, *(item for item in root.filters if item.kind not in kinds)),
        timeout=rule.timeout or root.timeout,
        retry=rule.retry or root.retry,
        src=rule.src | (root.src if not root.matches else frozenset()) | because.src,
    )


def _inside(outer: RouteMatch, inner: RouteMatch) -> RouteMatch | None:
    """Both demands together; None where the inner one asks for what the outer one excludes."""
    if outer.path is not None and inner.path is not None and not within(inner.path.value, outer.path.value):
        return None
    if outer.method is not None and inner.method is not None and not within(inner.method.value, outer.method.value, path=False):
        return None
    if outer.port is not None and inner.port is not None and outer.port.value != inner.port.value:
        return None
    for mine, its in ((outer.headers, inner.headers), (outer.query, inner.query)):
        wanted = dict(mine)
        if any(name in wanted and not within(fact.value, wanted[name].value, path=False) for name, fact in its):
            return None
    return RouteMatch(
        inner.path.also(outer.path) if inner.path is not None and outer.path is not None else inner.path or outer.path,
        inner.method.also(outer.method) if inner.method is not None and outer.method is not None else inner.method or outer.method,
        tuple(sorted({**dict(outer.headers), **dict(inner.headers)}.items(), key=lambda item: item[0])),
        tuple(sorted({**dict(outer.query), **dict(inner.query)}.items(), key=lambda item: item[0])),
        tuple({**dict(outer.others), **dict(inner.others)}.items()),
        inner.name or outer.name,
        inner.port or outer.port,
        inner.src | outer.src,
    )
