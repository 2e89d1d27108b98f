"""Who may call the pods of Istio's own gateways, on the way to another mesh: these pods go with Istio, and what takes over has other labels.

A Gateway names its pods by labels, and so do policies, often by another one of those that Istio's charts put on the same pods: `app: istio-ingressgateway` beside
`istio: ingressgateway` (manifests/charts/gateway/templates/_helpers.tpl: `istio` is `app` without the prefix `istio-`, unless values say otherwise).
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from meshport.dialects.gateway_accounts import USUAL
from meshport.ir.authorization import IDENTITY, Policy
from meshport.ir.base import Ref
from meshport.ir.model import IR, Gateway
from meshport.values.identities import Identity

_PREFIX = "istio-"


def take_out(ir: IR, own: Container[int]) -> None:
    """Move the policies that are for pods of gateways alone from `ir.policies` to `ir.entrance`: to nobody else they make a difference. `own` are the documents
    of the mesh's own parts, which leave with it."""
    gateways = [gateway for gateway in ir.gateways if gateway.kind == "networking.istio.io"]
    if not gateways:
        return
    apart = [policy for policy in ir.policies if _for_gateways_alone(policy, gateways, ir, own)]
    ir.entrance += apart
    gone = set(map(id, apart))
    ir.policies = [policy for policy in ir.policies if id(policy) not in gone]


def _for_gateways_alone(policy: Policy, gateways: list[Gateway], ir: IR, own: Container[int]) -> bool:
    subject = policy.subject.value
    if subject.selector.everything:
        return False
    shown = ir.world.selected(subject)
    if shown:
        return all(pod.document in own and any(gateway.selects(pod.labels) for gateway in gateways) for pod in shown)
    return any(_not_shown(gateway, ir) and at_unseen_pods(policy, gateway, ir) for gateway in gateways)


def judging(gateway: Gateway, ir: IR) -> list[Policy]:
    """The policies that judge requests at the pods of a Gateway in a mesh's own words: of those that the bundle shows, or of any with its labels."""
    pods = [(pod.ref.namespace, pod.labels) for pod in ir.world.workloads if gateway.selects(pod.labels)]
    return [
        policy
        for policy in (*ir.policies, *ir.entrance)
        if any(policy.subject.value.contains(*pod) for pod in pods) or (not pods and at_unseen_pods(policy, gateway, ir))
    ]


def at_unseen_pods(policy: Policy, gateway: Gateway, ir: IR) -> bool:
    """Whether a policy judges requests at the pods of a Gateway that the bundle does not show: by labels that they have, or by the namespace that they run in."""
    subject = policy.subject.value
    if subject.selector.everything:
        return not subject.namespace or subject.namespace in _homes(gateway, ir)
    return any(subject.selector.accepts(labels) for labels in _labels(gateway))


def _not_shown(gateway: Gateway, ir: IR) -> bool:
    return not any(gateway.selects(pod.labels) for pod in ir.world.workloads)


def _labels(gateway: Gateway) -> Iterator[dict[str, str]]:
    """The labels that the pods may have: those that the Gateway names, with the rest of what the charts put on such pods."""
    said = dict(pair.split("=", 1) for pair in gateway.implementation.value.split(",") if "=" in pair)
    if "app" in said:
        names = [said["app"]]
    elif "istio" in said:
        names = [_PREFIX + said["istio"], said["istio"]]
    else:
        names = []
    yield said
    for name in names:
        yield {
            "istio": name.removeprefix(_PREFIX),
            "app": name,
            "app.kubernetes.io/name": name,
            "service.istio.io/canonical-name": name,
            **said,
        }


def _homes(gateway: Gateway, ir: IR) -> set[str]:
    """The namespaces that the pods run in: where a Service selects them, and where rules name an account that gateways usually run under; else the usual ones."""
    labels = list(_labels(gateway))
    found = {
        service.ref.namespace
        for service in ir.world.services.values()
        if service.pods is not None and not service.pods.selector.everything and any(service.pods.selector.accepts(each) for each in labels)
    }
    usual = set(USUAL)
    named = (
        fact.value
        for policy in ir.policies
        for rule in policy.rules
        for condition in rule.conditions
        if condition.attribute == IDENTITY
        for fact in condition.any_of or ()
    )
    found |= {
        str(one.namespace) for one in named if isinstance(one, Identity) and Ref(one.namespace or "", one.service_account or "") in usual
    }
    return found or {ref.namespace for ref in usual}
