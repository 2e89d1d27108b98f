"""The namespace of an object that names none: `kubectl apply` puts it into the one of its context, and all names in it are read from there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshport.documents import Bundle

OF_THE_CLUSTER = frozenset({
    "Namespace", "Node", "PersistentVolume", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "APIService", "StorageClass", "PriorityClass",
    "IngressClass", "RuntimeClass", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding", "ClusterTrustBundle", "GatewayClass", "XMesh", "CiliumBGPAdvertisement", "CiliumBGPClusterConfig",
    "CiliumBGPNodeConfig", "CiliumBGPNodeConfigOverride", "CiliumBGPPeerConfig", "CiliumBGPPeeringPolicy", "CiliumCIDRGroup",
    "CiliumClusterwideEnvoyConfig", "CiliumClusterwideNetworkPolicy", "CiliumClusterWideNetworkPolicy", "CiliumDatapathPlugin",
    "CiliumEgressGatewayPolicy", "CiliumEndpointSlice", "CiliumExternalWorkload", "CiliumIdentity", "CiliumL2AnnouncementPolicy",
    "CiliumLoadBalancerIPPool", "CiliumNetworkDriverClusterConfig", "CiliumNetworkDriverNodeConfig", "CiliumNode", "CiliumPodIPPool", "CiliumVTEPConfig",
})  # fmt: skip
"""Kinds that have no namespace to name, and one that people write for such a kind."""


def at_home(bundle: Bundle, namespace: str) -> Bundle:
    """The bundle with the objects that name no namespace in this one; those of the cluster stay in none. What is written of them stays as it is."""
    documents = [
        replace(document, home=namespace)
        if document.named_namespace is None and not document.chart and not document.form and document.kind not in OF_THE_CLUSTER
        else document
        for document in bundle.documents
    ]
    return bundle.holding(documents)
