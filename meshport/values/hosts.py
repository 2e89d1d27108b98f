"""Host names as Istio reads them: short names, Kubernetes Services, wildcards."""

from __future__ import annotations


def kubernetes_service(host: str, cluster_domain: str = "cluster.local") -> tuple[str, str] | None:
    """(name, namespace) of a full Service name, None for any other host."""
    stem = host.lower().removesuffix(".").removesuffix(f".svc.{cluster_domain}")
    name, dot, namespace = stem.partition(".")
    whole = f"{stem}.svc.{cluster_domain}" == host.lower().removesuffix(".")
    return (name, namespace) if whole and dot and name and namespace and "." not in namespace and "*" not in stem else None


def host_matches(pattern: str, host: str) -> bool:
    """Whether a host is one of the pattern's: `*` is every host, `*.foo.com` any name below `foo.com` at any depth but not `foo.com`
    itself. Case does not count.

    `host` may be a wildcard too: then, whether the pattern holds all of it.
    """
    pattern, host = pattern.lower().removesuffix("."), host.lower().removesuffix(".")
    if pattern == "*":
        return True
    if not pattern.startswith("*"):
        return pattern == host
    ending = pattern[1:]
    if host.startswith("*"):
        return host[1:].endswith(ending)
    return len(host) > len(ending) and host.endswith(ending)


def narrower(one: str, other: str) -> str | None:
    """The hosts that two patterns share; None where there are none."""
    for inner, outer in ((one, other), (other, one)):
        if host_matches(outer, inner):
            return inner
    return None
