"""Values of Linkerd's objects that are read otherwise than they look, or not at all (Linkerd reference 1.2, 1.15 and 3, and its gotchas)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from meshport.dialects.gateway_api.patterns import top_level
from meshport.lints.inventory import Inventory
from meshport.lints.manifests import Manifest, Path, Review, names
from meshport.values.durations import parse_linkerd
from meshport.values.identities import IdentityGlob
from meshport.values.identities import parse_linkerd as parse_identity
from meshport.values.ports import parse_ports
from meshport.values.problems import ValueProblem
from meshport.values.retry import linkerd_reads

_BREAKER = "balancer.linkerd.io/failure-accrual"
_CONDITIONS = ("retry.linkerd.io/http", "retry.linkerd.io/grpc")
_BOUND = ("retry.linkerd.io/limit", "retry.linkerd.io/timeout")
_SKIPPED = ("config.linkerd.io/skip-inbound-ports", "config.linkerd.io/skip-outbound-ports")


def review(review: Review, known: Inventory) -> None:
    """Conditions and names of profiles, identities, and settings in annotations."""
    for profile in review.of("ServiceProfile", group="linkerd.io"):
        _profile(review, profile)
    for holder in (("MeshTLSAuthentication", ("spec", "identities")), ("ServerAuthorization", ("spec", "client", "meshTLS", "identities"))):
        for manifest in review.of(holder[0], group="policy.linkerd.io"):
            _identities(review, manifest, holder[1])
    for manifest in review.of("Service", "HTTPRoute", "GRPCRoute", "EgressNetwork"):
        _retries(review, manifest)
        if manifest.kind in ("Service", "EgressNetwork"):  # nobody reads it elsewhere
            _breaker(review, manifest)
    for pod in known.world.workloads:
        _skipped(review, review.manifests[pod.document], (*pod.template, "metadata", "annotations"))
    for manifest in review.of("Namespace"):
        _skipped(review, manifest, ("metadata", "annotations"))


# -- profiles


def _profile(review: Review, profile: Manifest) -> None:
    name = profile.document.name
    if "." not in name:
        what = f"its name {name} is the host of nothing: clients look for {name}.{profile.namespace}.svc.{review.options.cluster_domain}"
        review.say(
            "MP098",
            profile,
            ("metadata", "name"),
            what=what,
            remedy=f"Call it {name}.{profile.namespace}.svc.{review.options.cluster_domain}.",
        )
    if profile.get("spec", "opaquePorts") is not None:
        what = "opaquePorts is not read: the Service's annotation takes its place"
        remedy = "Annotate the Service with config.linkerd.io/opaque-ports."
        review.say("MP098", profile, ("spec", "opaquePorts"), what=what, remedy=remedy)
    _budget(review, profile)
    for path, item in profile.each("spec", "routes"):
        if not isinstance(item, dict):
            continue
        condition = item.get("condition")
        if isinstance(condition, dict) and "not" in condition:
            what = "`not` at the top of a condition is taken in no form: the CRD wants a list there and the webhook a mapping"
            remedy = "Write condition: {all: [{not: {...}}]}."
            review.say("MP098", profile, (*path, "condition", "not"), severity="error", what=what, remedy=remedy)
        for place, one in _conditions(condition, (*path, "condition")):
            _condition(review, profile, place, one)
        for at, entry in profile.each(*path, "responseClasses"):
            for place, one in _conditions(entry.get("condition") if isinstance(entry, dict) else None, (*at, "condition")):
                _status(review, profile, (*place, "status"), one.get("status"))


def _conditions(condition: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A condition and those within it."""
    if not isinstance(condition, dict):
        return
    yield path, condition
    for key in ("all", "any"):
        for index, item in enumerate(condition[key] if isinstance(condition.get(key), list) else ()):
            yield from _conditions(item, (*path, key, index))
    yield from _conditions(condition.get("not"), (*path, "not"))


def _condition(review: Review, profile: Manifest, path: Path, condition: dict[str, Any]) -> None:
    if not condition:
        what = "an empty condition matches nothing, and the webhook refuses the profile"
        review.say("MP098", profile, path, severity="error", what=what, remedy="Write pathRegex: /.* for every request.")
    pattern = condition.get("pathRegex")
    if not isinstance(pattern, str):
        return
    parts = top_level(pattern.strip())
    if len(parts) > 1:
        what = f"{pattern!r} is read as ^{pattern}$: a path that begins with {parts[0]}, or one that ends with {parts[-1]}"
        review.say("MP098", profile, (*path, "pathRegex"), what=what, remedy=f"Write ({pattern}).")


def _status(review: Review, profile: Manifest, path: Path, status: Any) -> None:
    if not isinstance(status, dict) or not status:
        return
    low, high = status.get("min"), status.get("max")
    if isinstance(low, int) and isinstance(high, int) and low > high:
        what = f"the range of statuses {low} to {high} is none, and the webhook refuses the profile"
        review.say("MP098", profile, path, severity="error", what=what, remedy="Write the lower status as min.")


def _budget(review: Review, profile: Manifest) -> None:
    ttl = profile.get("spec", "retryBudget", "ttl")
    try:
        seconds = parse_linkerd(ttl).seconds if isinstance(ttl, str) else None
    except ValueProblem:
        return
    if seconds is not None and not 1 <= seconds <= 60:
        what = f"a retry budget lasts 1s to 60s, and with {ttl} the proxy retries nothing"
        review.say("MP098", profile, ("spec", "retryBudget", "ttl"), what=what, remedy="Write a ttl from 1s to 60s.")


# -- identities and annotations


def _identities(review: Review, manifest: Manifest, path: Path) -> None:
    """A name that is no account's is nobody's: Linkerd gives workloads of the cluster names of their accounts alone."""
    for place, text in manifest.each(*path):
        try:
            found = parse_identity(text) if isinstance(text, str) else None
        except ValueProblem:
            continue
        if (
            isinstance(found, IdentityGlob)
            and not text.startswith("spiffe:")
            and ".serviceaccount.identity." not in f".{text}"
            and "*" not in text
        ):
            what = (
                f"{text} is nobody's name: an account's is NAME.NAMESPACE.serviceaccount.identity.linkerd.{review.options.cluster_domain}"
            )
            review.say("MP098", manifest, place, what=what, remedy="Write the whole name, or refer to the ServiceAccount.")


def _retries(review: Review, manifest: Manifest) -> None:
    notes = manifest.mapping("metadata", "annotations")
    for key in _CONDITIONS:
        text = notes.get(key)
        if isinstance(text, str) and not linkerd_reads(key.rpartition("/")[2], text):
            what = f"{key}: {text!r} is no list of " + ("statuses such as 5xx,429" if key.endswith("http") else "statuses of gRPC")
            remedy = "Write them with commas alone." if " " in text else "Mend the value."
            review.say("MP098", manifest, ("metadata", "annotations", key), what=f"{what}; nothing is retried then", remedy=remedy)
    idle = [key for key in _BOUND if key in notes]
    if idle and not any(key in notes for key in _CONDITIONS):
        what = f"{names(idle)} says how to retry, and nothing says what: no request is retried"
        places = [("metadata", "annotations", key) for key in idle]
        review.say("MP099", manifest, *places, what=what, remedy="Add retry.linkerd.io/http or retry.linkerd.io/grpc.")


def _breaker(review: Review, manifest: Manifest) -> None:
    notes = manifest.mapping("metadata", "annotations")
    idle = [str(key) for key in notes if str(key).startswith(f"{_BREAKER}-")]
    if idle and _BREAKER not in notes:
        what = f"{names(idle)} says how the breaker works, and without {_BREAKER} there is none"
        places = [("metadata", "annotations", key) for key in idle]
        review.say("MP099", manifest, *places, what=what, remedy=f"Add {_BREAKER}: consecutive.")
    for key, most in ((f"{_BREAKER}-consecutive-jitter-ratio", 100.0), (f"{_BREAKER}-consecutive-max-failures", float(2**32 - 1))):
        text = notes.get(key)
        if isinstance(text, str) and (not re.fullmatch(r"\d+(?:\.\d+)?", text) or float(text) > most):
            what = f"{key}: {text!r} is no number from 0 to {most:.0f}, and Linkerd then runs without a breaker"
            review.say("MP098", manifest, ("metadata", "annotations", key), what=what, remedy="Mend the value.")


def _skipped(review: Review, manifest: Manifest, holder: Path) -> None:
    """Ports to skip go to the init container as they stand, which knows numbers and ranges alone."""
    notes = manifest.mapping(*holder)
    for key in _SKIPPED:
        try:
            parse_ports(str(notes.get(key, "")))
        except ValueProblem as error:
            what = f"{key}: {error}; the pods' init container gets it as it stands, and knows nothing else"
            review.say("MP098", manifest, (*holder, key), what=what, remedy="List numbers and ranges alone.")
