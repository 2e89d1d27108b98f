"""Every label and annotation that the meshes document has a row: a feature and whom it concerns, or a reason why it decides nothing.

The lists are those of the meshes' own references (istio/api label/labels.yaml and annotation/annotations.yaml; linkerd2 pkg/k8s/labels.go and the proxy
configuration's page; Cilium's pkg/annotation), and not those of the table.
"""

from __future__ import annotations

import pytest

from meshport.mapping.table import builtin

ISTIO_LABELS = """
istio-injection istio.io/rev istio.io/tag sidecar.istio.io/inject istio.io/dataplane-mode istio.io/use-waypoint istio.io/use-waypoint-namespace
istio.io/use-waypoint-canary istio.io/use-waypoint-canary-namespace istio.io/ingress-use-waypoint istio.io/waypoint-for istio.io/global
istio.io/persistent-session istio.io/persistent-session-header security.istio.io/tlsMode service.istio.io/canonical-name
service.istio.io/canonical-revision service.istio.io/workload-name topology.istio.io/network topology.istio.io/cluster topology.istio.io/subzone
topology.istio.io/locality istio-locality networking.istio.io/gatewayPort networking.istio.io/enable-autoallocate-ip networking.istio.io/tunnel
gateway.istio.io/managed gateway.networking.k8s.io/gateway-name gateway.networking.k8s.io/gateway-class-name istio.io/gateway-name istio/multiCluster
operator.istio.io/component operator.istio.io/managed operator.istio.io/version istio.io/config
"""
ISTIO_ANNOTATIONS = """
ambient.istio.io/bypass-inbound-capture ambient.istio.io/dns-capture ambient.istio.io/redirection ambient.istio.io/waypoint-inbound-binding
ambient.istio.io/xfcc-include-client-identity galley.istio.io/analyze-suppress gateway.istio.io/controller-version gateway.istio.io/name-override
gateway.istio.io/service-account inject.istio.io/templates istio.io/connect-strategy istio.io/dry-run istio.io/ignore-policy-attachment istio.io/rev
istio.io/reroute-virtual-interfaces istio.io/use-waypoint-canary-weight networking.istio.io/exportTo networking.istio.io/service-type
networking.istio.io/traffic-distribution prometheus.istio.io/merge-metrics proxy.istio.io/config proxy.istio.io/overrides
readiness.status.sidecar.istio.io/applicationPorts readiness.status.sidecar.istio.io/failureThreshold
readiness.status.sidecar.istio.io/initialDelaySeconds readiness.status.sidecar.istio.io/periodSeconds sidecar.istio.io/agentLogLevel
sidecar.istio.io/bootstrapOverride sidecar.istio.io/componentLogLevel sidecar.istio.io/controlPlaneAuthPolicy sidecar.istio.io/discoveryAddress
sidecar.istio.io/enableCoreDump sidecar.istio.io/extraStatTags sidecar.istio.io/inject sidecar.istio.io/interceptionMode sidecar.istio.io/logLevel
sidecar.istio.io/nativeSidecar sidecar.istio.io/proxyCPU sidecar.istio.io/proxyCPULimit sidecar.istio.io/proxyImage sidecar.istio.io/proxyImageType
sidecar.istio.io/proxyMemory sidecar.istio.io/proxyMemoryLimit sidecar.istio.io/rewriteAppHTTPProbers sidecar.istio.io/statsCompression
sidecar.istio.io/statsEvictionInterval sidecar.istio.io/statsHistogramBuckets sidecar.istio.io/statsInclusionPrefixes
sidecar.istio.io/statsInclusionRegexps sidecar.istio.io/statsInclusionSuffixes sidecar.istio.io/status sidecar.istio.io/userVolume
sidecar.istio.io/userVolumeMount status.sidecar.istio.io/port topology.istio.io/controlPlaneClusters
traffic.sidecar.istio.io/excludeInboundPorts traffic.sidecar.istio.io/excludeInterfaces traffic.sidecar.istio.io/excludeOutboundIPRanges
traffic.sidecar.istio.io/excludeOutboundPorts traffic.sidecar.istio.io/includeInboundPorts traffic.sidecar.istio.io/includeOutboundIPRanges
traffic.sidecar.istio.io/includeOutboundPorts traffic.sidecar.istio.io/kubevirtInterfaces istio.io/autoRegistrationGroup istio.io/workloadController
istio.io/connectedAt istio.io/disconnectedAt alpha.istio.io/identity alpha.istio.io/canonical-serviceaccounts
alpha.istio.io/kubernetes-serviceaccounts install.operator.istio.io/chart-owner install.operator.istio.io/owner-generation
install.operator.istio.io/version internal.istio.io/parents internal.istio.io/route-semantics
"""
LINKERD_LABELS = """
config.linkerd.io/admission-webhooks mirror.linkerd.io/exported mirror.linkerd.io/federated mirror.linkerd.io/mirrored-service
mirror.linkerd.io/cluster-name mirror.linkerd.io/headless-mirror-svc-name mirror.linkerd.io/mirrored-gateway multicluster.linkerd.io/remote-discovery
multicluster.linkerd.io/local-discovery linkerd.io/extension linkerd.io/control-plane-ns linkerd.io/control-plane-component linkerd.io/workload-ns
linkerd.io/proxy-deployment linkerd.io/proxy-statefulset linkerd.io/proxy-daemonset linkerd.io/proxy-job linkerd.io/proxy-cronjob
"""
LINKERD_ANNOTATIONS = """
linkerd.io/inject linkerd.io/created-by linkerd.io/proxy-version config.linkerd.io/default-inbound-policy config.linkerd.io/opaque-ports
config.linkerd.io/skip-inbound-ports config.linkerd.io/skip-outbound-ports config.linkerd.io/skip-subnets
config.linkerd.io/proxy-require-identity-inbound-ports config.linkerd.io/pod-inbound-ports config.linkerd.io/enable-gateway
config.linkerd.io/enable-external-profiles config.linkerd.io/proxy-outbound-connect-timeout config.linkerd.io/proxy-inbound-connect-timeout
config.linkerd.io/proxy-outbound-discovery-cache-unused-timeout config.linkerd.io/proxy-inbound-discovery-cache-unused-timeout
config.linkerd.io/proxy-disable-outbound-protocol-detect-timeout config.linkerd.io/proxy-disable-inbound-protocol-detect-timeout
config.linkerd.io/proxy-enable-native-sidecar config.beta.linkerd.io/proxy-enable-native-sidecar config.alpha.linkerd.io/proxy-enable-native-sidecar
config.alpha.linkerd.io/proxy-wait-before-exit-seconds config.linkerd.io/shutdown-grace-period config.linkerd.io/proxy-await
config.linkerd.io/proxy-admin-shutdown config.linkerd.io/access-log config.linkerd.io/proxy-additional-env config.linkerd.io/proxy-cpu-request
config.linkerd.io/proxy-cpu-limit config.linkerd.io/proxy-cpu-ratio-limit config.linkerd.io/proxy-memory-request config.linkerd.io/proxy-memory-limit
config.linkerd.io/proxy-ephemeral-storage-request config.linkerd.io/proxy-ephemeral-storage-limit config.linkerd.io/proxy-image
config.linkerd.io/image-pull-policy config.linkerd.io/proxy-version config.linkerd.io/proxy-log-level config.linkerd.io/proxy-log-format
config.linkerd.io/proxy-log-http-headers config.linkerd.io/proxy-uid config.linkerd.io/proxy-gid config.linkerd.io/control-port
config.linkerd.io/inbound-port config.linkerd.io/outbound-port config.linkerd.io/admin-port config.linkerd.io/close-wait-timeout
config.linkerd.io/enable-debug-sidecar config.linkerd.io/debug-image config.linkerd.io/debug-image-version config.linkerd.io/debug-image-pull-policy
config.linkerd.io/proxy-metrics-hostname-labels retry.linkerd.io/http retry.linkerd.io/grpc retry.linkerd.io/limit retry.linkerd.io/timeout
timeout.linkerd.io/request timeout.linkerd.io/response timeout.linkerd.io/idle balancer.linkerd.io/failure-accrual
balancer.linkerd.io/failure-accrual-consecutive-max-failures balancer.linkerd.io/failure-accrual-consecutive-min-penalty
balancer.linkerd.io/failure-accrual-consecutive-max-penalty balancer.linkerd.io/failure-accrual-consecutive-jitter-ratio
balancer.alpha.linkerd.io/failure-accrual-success-rate-threshold balancer.alpha.linkerd.io/failure-accrual-success-rate-window
balancer.alpha.linkerd.io/failure-accrual-success-rate-min-requests balancer.alpha.linkerd.io/failure-accrual-honor-retry-after
balancer.alpha.linkerd.io/penalize-failures balancer.alpha.linkerd.io/load-biaser-penalty balancer.alpha.linkerd.io/load-biaser-max-retry-after
service.kubernetes.io/topology-aware-hints service.kubernetes.io/topology-mode mirror.linkerd.io/remote-svc-fq-name
mirror.linkerd.io/remote-gateway-identity mirror.linkerd.io/remote-resource-version mirror.linkerd.io/gateway-identity mirror.linkerd.io/probe-path
mirror.linkerd.io/probe-period mirror.linkerd.io/probe-failure-threshold mirror.linkerd.io/probe-timeout multicluster.linkerd.io/remote-discovery
multicluster.linkerd.io/remote-service multicluster.linkerd.io/local-discovery
"""
CILIUM_ANNOTATIONS = """
service.cilium.io/global service.cilium.io/shared service.cilium.io/affinity service.cilium.io/global-sync-endpoint-slices service.cilium.io/lb-l7
service.cilium.io/lb-l7-algorithm service.cilium.io/lb-algorithm service.cilium.io/forwarding-mode service.cilium.io/type
service.cilium.io/src-ranges-policy service.cilium.io/node service.cilium.io/node-selector service.cilium.io/proxy-delegation service.cilium.io/weight
io.cilium/global-service io.cilium/shared-service io.cilium/service-affinity clustermesh.cilium.io/global policy.cilium.io/proxy-visibility
ingress.cilium.io/loadbalancer-mode ingress.cilium.io/loadbalancer-class ingress.cilium.io/service-type
ingress.cilium.io/service-external-traffic-policy ingress.cilium.io/insecure-node-port ingress.cilium.io/secure-node-port
ingress.cilium.io/host-listener-port ingress.cilium.io/tls-passthrough ingress.cilium.io/force-https cec.cilium.io/use-original-source-address
cec.cilium.io/is-l7lb cec.cilium.io/inject-cilium-filters policy.cilium.io/no-track-port lbipam.cilium.io/ips
"""
LATER = {
    ("istio", "labels", "istio.io/use-waypoint-canary"): "1.31",
    ("istio", "labels", "topology.istio.io/locality"): "1.29",
    ("istio", "annotations", "istio.io/use-waypoint-canary-weight"): "1.31",
    ("istio", "annotations", "istio.io/connect-strategy"): "1.30",
    ("istio", "annotations", "istio.io/ignore-policy-attachment"): "1.30",
    ("istio", "annotations", "ambient.istio.io/xfcc-include-client-identity"): "1.30",
    ("linkerd", "annotations", "retry.linkerd.io/http"): "2.16",
    ("linkerd", "annotations", "timeout.linkerd.io/request"): "2.16",
    ("linkerd", "annotations", "balancer.linkerd.io/failure-accrual"): "2.13",
    ("linkerd", "annotations", "balancer.alpha.linkerd.io/penalize-failures"): "2.20",
    ("linkerd", "annotations", "config.linkerd.io/proxy-enable-native-sidecar"): "2.20",
    ("linkerd", "annotations", "config.beta.linkerd.io/proxy-enable-native-sidecar"): "2.19",
    ("linkerd", "annotations", "config.linkerd.io/proxy-additional-env"): "2.20",
    ("linkerd", "annotations", "config.linkerd.io/proxy-cpu-ratio-limit"): "2.18",
    ("linkerd", "labels", "mirror.linkerd.io/federated"): "2.17",
    ("cilium", "annotations", "service.cilium.io/lb-algorithm"): "1.17",
    ("cilium", "annotations", "service.cilium.io/proxy-delegation"): "1.18",
    ("cilium", "annotations", "service.cilium.io/weight"): "1.20",
    ("cilium", "annotations", "clustermesh.cilium.io/global"): "1.19",
}


@pytest.mark.parametrize(
    ("mesh", "what", "listed"),
    [
        ("istio", "labels", ISTIO_LABELS),
        ("istio", "annotations", ISTIO_ANNOTATIONS),
        ("linkerd", "labels", LINKERD_LABELS),
        ("linkerd", "annotations", LINKERD_ANNOTATIONS),
        ("cilium", "annotations", CILIUM_ANNOTATIONS),
    ],
    ids=["istio-labels", "istio-annotations", "linkerd-labels", "linkerd-annotations", "cilium-annotations"],
)
def test_every_documented_mark_has_a_row(mesh: str, what: str, listed: str) -> None:
    table = builtin()
    assert [key for key in listed.split() if mesh not in table.key_bindings(what, key)] == []
    rows = {key: table.key_bindings(what, key)[mesh] for key in listed.split()}
    assert [key for key, row in rows.items() if not row.irrelevant and table.feature(row.feature) is None] == []


def test_marks_that_came_later_say_since_when() -> None:
    table = builtin()
    wrong = {}
    for (mesh, what, key), since in LATER.items():
        row = table.key_bindings(what, key)[mesh]
        if row.since != since and not row.irrelevant:
            wrong[key] = (row.since, since)
    assert wrong == {}
