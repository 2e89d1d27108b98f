"""Paths that Istio compares after more than it normalises by default (istio.io/latest/docs/reference/config/security/normalization).

BASE resolves dot segments. MERGE_SLASHES then takes `//` for `/`, DECODE_AND_MERGE_SLASHES takes `%2F` and `%5C` for `/` before both. The other meshes compare
paths with these as they are. So what a policy refuses is written with every number of slashes, and a path with an escaped slash, of which only Istio
knows where it leads, is admitted by no rule that asks for a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from meshport.dialects.base import Options
from meshport.dialects.istio import mesh_config
from meshport.ir.authorization import PATH, Condition, Pattern, Policy, Rule
from meshport.ir.base import Fact
from meshport.ir.model import IR
from meshport.mapping.bound import Bound
from meshport.values.spelling import escaped

SETTING = "meshConfig.pathNormalization.normalization"
MERGE, DECODE = "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"
ESCAPED_SLASH = Pattern("regex", ".*%[25].*")  # wider than %2F and %5C, so that what is left can be spelt in the length that a route has


def apply(bound: Bound, ir: IR, options: Options) -> None:
    """Give the refusals of the policies all spellings of their paths; not where Istio stays, which goes on normalising."""
    found = mesh_config.setting(bound, ir.world, SETTING, "authorization.operation.paths")
    if found is None or options.target == ir.mesh:
        return
    said: Fact[str] = found[0]
    ir.raw_paths = said.value == "NONE"
    if said.value not in (MERGE, DECODE):
        return
    for number, policy in enumerate(ir.policies):
        ir.policies[number] = replace(policy, rules=tuple(_rule(policy, rule, said) for rule in policy.rules))


def _rule(policy: Policy, rule: Rule, said: Fact[str]) -> Rule:
    return replace(rule, conditions=tuple(_condition(policy, one, said) if one.attribute == PATH else one for one in rule.conditions))


def _condition(policy: Policy, one: Condition, said: Fact[str]) -> Condition:
    escapes = (Fact(ESCAPED_SLASH, said.src, "authorization.operation.paths"),) if said.value == DECODE else ()
    if policy.action.value == "allow":
        return replace(one, none_of=(*_spelt(one.none_of, said), *escapes))
    if one.any_of is None:  # refuses all but these: a spelling that is not among them is refused
        return one
    return replace(one, any_of=(*_spelt(one.any_of, said), *escapes))


def _spelt(facts: tuple[Fact[Pattern], ...], said: Fact[str]) -> Iterator[Fact[Pattern]]:
    for fact in facts:
        yield fact.map(spelt).also(said) if "/" in fact.value.text else fact


def spelt(pattern: Pattern) -> Pattern:
    """The pattern with every slash as one or more."""
    parts = re.split(r"(\{\*\*?\})", pattern.text) if pattern.kind == "template" else [pattern.text]
    wild = {"{*}": "[^/]+", "{**}": ".*"} if pattern.kind == "template" else {}
    body = "".join(wild.get(part) or escaped(part).replace("/", "/+") for part in parts)
    if pattern.kind in ("exact", "template"):
        return Pattern("regex", body)
    return {"prefix": Pattern("regex", body + ".*"), "suffix": Pattern("regex", ".*" + body)}.get(pattern.kind, pattern)
