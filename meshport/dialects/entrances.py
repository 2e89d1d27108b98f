"""Who may call the pods of Istio's own gateways, on the way to another mesh: these pods go with Istio, and what takes over has other labels.

A Gateway names its pods by labels, and so do policies, often by another one of those that Istio's charts put on the same pods: `app: istio-ingressgateway` beside
`istio: ingressgateway` (manifests/charts/gateway/templates/_helpers.tpl: `istio` is `app` without the prefix `istio-`, unless values say otherwise).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import replace

from meshport.dialects.gateway_accounts import PREFIX, USUAL, releases
from meshport.ir.authorization import IDENTITY, Policy
from meshport.ir.base import Fact, PodSet, Ref, Selector, Src, sources
from meshport.ir.model import IR, Gateway
from meshport.ir.world import Workload
from meshport.values.identities import Identity

GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
_EGRESS = {"istio=egressgateway", "app=istio-egressgateway"}


def take_out(ir: IR, own: Container[int]) -> None:
    """Move the policies that are for pods of gateways alone from `ir.policies` to `ir.entrance`, for to nobody else they make a difference, and note the gateways
    that are no entrances. `own` are the documents of the mesh's own parts, which leave with it."""
    apart = for_gateways_alone(ir, lambda pod: pod.document in own)
    ir.ways_out = {gateway.ref.value for gateway in ir.gateways if _leads_out(gateway, ir)}
    gone = set(map(id, apart))
    ir.policies = [policy for policy in ir.policies if id(policy) not in gone]
    ir.entrance += apart
    for refs, policy, src in _attached(ir):
        for ref in sorted(refs):
            pods = PodSet(ref.namespace, Selector.of({GATEWAY_NAME: ref.name}))
            ir.entrance.append(replace(policy, subject=Fact(pods, src, policy.subject.feature)))


def _leads_out(gateway: Gateway, ir: IR) -> bool:
    """Whether the hosts of a Gateway in Istio's words are names outside, or its pods those of the egress gateway that Istio's installation makes."""
    outside = {fact.value for item in ir.outside if not item.services for fact in item.hosts}
    hosts = {fact.value.rpartition("/")[2] for item in gateway.listeners for fact in item.hosts}
    labels = set(gateway.implementation.value.split(","))
    return gateway.kind == "networking.istio.io" and bool(labels & _EGRESS or (hosts and hosts <= outside))


def staying(ir: IR) -> Iterator[Src]:
    """What policies say that hang on gateways, in the mesh that goes on serving these."""
    return (src for _, _, src in _attached(ir))


def _attached(ir: IR) -> list[tuple[frozenset[Ref], Policy, Src]]:
    """The policies that hang on Gateways of the input for which Istio makes the pods, with what they say; they are no losses."""
    gateways = {gateway.ref.value for gateway in ir.gateways if _by_class(gateway)}
    found = [(refs, policy) for refs, policy in ir.attached if refs <= gateways]
    documents = {policy.document for _, policy in found}
    said = {loss.document: sources(*loss.facts) for loss in ir.losses if loss.code == "MP217" and loss.document in documents}
    ir.losses = [loss for loss in ir.losses if loss.code != "MP217" or loss.document not in documents]
    return [(refs, policy, said.get(policy.document, policy.sources)) for refs, policy in found]


def _by_class(gateway: Gateway) -> bool:
    """Whether Istio makes the pods of a Gateway of the Gateway API."""
    return gateway.kind.startswith("gateway.networking") and (gateway.implementation.value or "istio").startswith("istio")


def for_gateways_alone(ir: IR, proxies: Callable[[Workload], bool] = lambda pod: pod.alone) -> list[Policy]:
    """The policies that are for pods of Istio's own gateways and for no others, as far as labels tell. `proxies` says of pods whether they are nothing else."""
    named = Pods(ir, proxies)
    return [policy for policy in ir.policies if named.are(policy.subject.value)]


class Pods:
    """The pods of Istio's own gateways: those that the bundle shows, and by their labels those that it does not."""

    def __init__(self, ir: IR, proxies: Callable[[Workload], bool] = lambda pod: pod.alone) -> None:
        self._ir, self._proxies = ir, proxies
        self._gateways = [gateway for gateway in ir.gateways if gateway.kind == "networking.istio.io"]
        self._unseen = [labels for gateway in self._gateways if not gateway.pods(ir.world) for labels in _labels(gateway)]

    def are(self, pods: PodSet) -> bool:
        """Whether a set of pods, by labels, is of these alone."""
        if pods.selector.everything or not self._gateways:
            return False
        shown = self._ir.world.selected(pods)
        if shown:
            return all(self._proxies(pod) and any(gateway.selects(pod.labels) for gateway in self._gateways) for pod in shown)
        return any(map(pods.selector.accepts, self._unseen))


def judging(gateway: Gateway, ir: IR) -> list[Policy]:
    """The policies that judge requests at the pods of a Gateway in a mesh's own words: of those that the bundle shows; else of any that have its labels, or the
    others that the charts put on such pods, or run in the namespaces where these are."""
    pods = gateway.pods(ir.world)
    labels, homes = ([], set()) if pods else (list(_labels(gateway)), {"", *_homes(gateway, ir)})
    found = []
    for policy in (*ir.policies, *ir.entrance):
        subject = policy.subject.value
        if subject.selector.everything:
            unseen = subject.namespace in homes and not (_by_class(gateway) and _holds_behind(gateway, subject.namespace, ir))
        else:
            unseen = any(map(subject.selector.accepts, labels))
        if unseen or any(subject.contains(pod.ref.namespace, pod.labels) for pod in pods):
            found.append(policy)
    return found


def _holds_behind(gateway: Gateway, namespace: str, ir: IR) -> bool:
    """Whether a policy of a whole namespace, or with "" of the mesh, holds for everything that a Gateway of the Gateway API sends to: whom it refuses at the gateway
    it goes on refusing there (mapping decisions 11, default-deny and gateways)."""
    names = {str(gateway.ref.value), gateway.ref.value.name}
    backends = (
        backend.service.value.namespace
        for routes in ir.routes
        if any(fact.value in names for fact in routes.gateways)
        for rule in routes.rules
        for backend in rule.backends
        if backend.service is not None
    )
    return not namespace or all(one == namespace for one in backends)


def _labels(gateway: Gateway) -> Iterator[dict[str, str]]:
    """The labels that the pods may have: those that the Gateway names, with the rest of what the charts, or the controller for its class, put on such pods."""
    if _by_class(gateway):
        name = gateway.ref.value.name
        class_ = gateway.implementation.value or "istio"
        yield {GATEWAY_NAME: name, "istio.io/gateway-name": name, "service.istio.io/canonical-name": f"{name}-{class_}"}
        return
    said = gateway.labels
    yield said
    for name in releases(gateway):
        yield {
            "istio": name.removeprefix(PREFIX),
            "app": name,
            "app.kubernetes.io/name": name,
            "service.istio.io/canonical-name": name,
            **said,
        }


def _homes(gateway: Gateway, ir: IR) -> set[str]:
    """The namespaces that the pods run in: where a Service selects them, and where rules name an account that gateways usually run under; else the usual ones."""
    if _by_class(gateway):
        return {gateway.ref.value.namespace}
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
