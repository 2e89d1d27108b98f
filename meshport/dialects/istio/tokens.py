"""RequestAuthentications (Istio reference 2.2): whose tokens are checked at which pods, and those that check none: without a rule no filter is made for
them, and nobody loses a check with them."""

from __future__ import annotations

from meshport.dialects.base import Options
from meshport.dialects.cursor import Cursor
from meshport.dialects.istio.settled import targets_of
from meshport.dialects.istio.waypoints import Waypoints
from meshport.effective import subjects
from meshport.ir.authorization import Issuer
from meshport.ir.base import Fact, PodSet, Ref
from meshport.ir.model import IR
from meshport.mapping.bound import Bound


def lift(bound: Bound, numbers: list[int], ir: IR, root_namespace: str, stood: Waypoints) -> None:
    """The issuers of tokens by the pods where they are checked, or in front of which; what objects without rules say, as what does nothing."""
    for number in numbers:
        spec = Cursor.root(bound, number).at("spec")
        namespace = bound.bundle.documents[number].namespace or ""
        issuers = [rule.value.get("issuer") for rule in spec.each("jwtRules") if isinstance(rule.value, dict)]
        names = [issuer for issuer in issuers if isinstance(issuer, str) and issuer]
        if targets_of(spec) is None:
            pods = PodSet("" if namespace == root_namespace else namespace, spec.selector("selector").value)
            ir.issuers += [Issuer(pods, name) for name in names]
        else:
            ir.issuers += [Issuer(pods, name, at_waypoint=True) for pods in _behind(spec, namespace, ir, stood) for name in names]
        if not spec.each("jwtRules"):
            ir.idle.append(Fact("without jwtRules no token is checked", spec.src, "jwt.rule"))


def _behind(spec: Cursor, namespace: str, ir: IR, stood: Waypoints) -> list[PodSet]:
    """The pods behind the waypoints that an object hangs on, or behind Services that have one."""
    found: list[Ref] = []
    for target in targets_of(spec) or ():
        ref = Ref(namespace, target.name)
        if target.kind == "Service" and target.group in ("", "core"):
            found += [ref] if ref in stood.behind else []
        elif target.kind == "Gateway":
            found += stood.using(ref)
    services = [ir.world.services[ref] for ref in dict.fromkeys(found) if ref in ir.world.services]
    return [service.pods for service in services if service.pods is not None]


def explains(bound: Bound, number: int, ir: IR, options: Options) -> frozenset[tuple[str, str]]:
    """The differences that a finding about a document answers for: checks at the pods that it selects, or of its namespace where it hangs on something; of
    others than RequestAuthentications none."""
    document = bound.bundle.documents[number]
    if document.kind != "RequestAuthentication":
        return frozenset()
    home = document.namespace or options.default_namespace
    pods = PodSet("" if home == options.root_namespace else home, Cursor.root(bound, number).at("spec").selector("selector").value)
    return frozenset((subjects.tokens(workload.ref), "issuers") for workload in ir.world.selected(pods))
