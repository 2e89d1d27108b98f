"""AuthorizationPolicies in the words of a release that does not know newer fields of a source: `serviceAccounts` (1.25) and `trustDomains` (1.30).

A release passes over a field that it does not know, so that the rule would be about everybody. What the fields say is a principal in each of them
(https://istio.io/latest/docs/reference/config/security/authorization-policy/#Source).
"""

from __future__ import annotations

from typing import Any

from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.output import Obj, Output
from meshport.ir.base import sources
from meshport.mapping.bound import Bound
from meshport.mapping.releases import unknown_leaves

_FIELDS = ("serviceAccounts", "notServiceAccounts", "trustDomains", "notTrustDomains")


def lower(bound: Bound, out: Output, options: Options) -> None:
    """Say the fields that the target's release does not know as principals. What cannot be said so stays, and is taken out with its rule as unknown."""
    for number, document in enumerate(out.bundle.documents):
        kind = bound.table.kind(document.group, document.kind)
        if (
            kind is None
            or document.kind != "AuthorizationPolicy"
            or not bound.mesh[number]
            or number in bound.broken
            or number in out.removed
        ):
            continue
        if any(_field(path) for path, _, _ in unknown_leaves(out.table, document.value, kind, options.target_version)):
            out.change(number, rank=50)
    for obj in list(out.in_order()):
        kind = bound.table.kind(str(obj.value.get("apiVersion", "")).rpartition("/")[0], obj.kind)
        if kind is None or obj.kind != "AuthorizationPolicy":
            continue
        unknown = {name for path, _, _ in unknown_leaves(out.table, obj.value, kind, options.target_version) if (name := _field(path))}
        if unknown:
            _rewrite(bound, obj, unknown, options)


def _field(path: tuple[str | int, ...]) -> str | None:
    return next((str(step) for step in path if step in _FIELDS), None)


def _rewrite(bound: Bound, obj: Obj, unknown: set[str], options: Options) -> None:
    home = obj.ref.namespace or options.default_namespace
    for position, rule in enumerate(obj.value["spec"].get("rules") or ()):
        for place, entry in enumerate(rule.get("from") or ()):
            source = entry.get("source") or {}
            if not unknown & source.keys():
                continue
            path = ("spec", "rules", position, "from", place, "source")
            said = said_by_principals(source, unknown, home, options.trust_domain)
            written = [src for known, src in obj.sources.items() if known[: len(path)] == path or path[: len(known)] == known]
            because = sources(*written)
            if obj.changed is not None and not because:
                written_rule = list(Cursor.root(bound, obj.changed).at("spec").each("rules"))[position]
                because = list(written_rule.each("from"))[place].at("source").src
            if said is None:  # written as it stands, so that the release is asked about it
                obj.set(path, source, because)
                continue
            for name in source.keys() - said.keys():
                obj.drop((*path, name), because)
                obj.sources = {known: src for known, src in obj.sources.items() if known[: len(path) + 1] != (*path, name)}
            for name, value in said.items():
                if value != source.get(name):
                    obj.set((*path, name), value, because)


def said_by_principals(source: dict[str, Any], unknown: set[str], home: str, trust_domain: str) -> dict[str, Any] | None:
    """A source without the fields `unknown`, of a policy in the namespace `home`; None where no principals say it."""
    said = {key: value for key, value in source.items() if key not in unknown}
    domains = [str(text) for text in source.get("trustDomains") or ()] if "trustDomains" in unknown else []
    accounts = source.get("serviceAccounts") if "serviceAccounts" in unknown or domains else None
    refused = [_named(text, home, "*") for text in source.get("notServiceAccounts") or () if "notServiceAccounts" in unknown]
    without = [str(text) for text in source.get("notTrustDomains") or () if "notTrustDomains" in unknown]
    if any("*" in text.removesuffix("*") or (text == "cluster.local" != trust_domain) for text in (*domains, *without)):
        return None
    refused += [_all_of(text) for text in without]
    if accounts:
        if any(text.endswith("*") and text != "*" for text in domains):
            return None
        said.pop("serviceAccounts", None)
        said["principals"] = [_named(text, home, domain) for domain in domains or ["*"] for text in accounts]
    elif domains and source.get("principals"):
        return None
    elif domains:
        said["principals"] = [_all_of(text) for text in domains]
    if refused:
        said["notPrincipals"] = [*(source.get("notPrincipals") or ()), *refused]
    return said


def _named(account: str, home: str, domain: str) -> str:
    namespace, _, name = account.rpartition("/")
    return f"{domain}/ns/{namespace or home}/sa/{name}"


def _all_of(domain: str) -> str:
    return domain if domain.endswith("*") else f"{domain}/*"
