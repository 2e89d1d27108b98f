"""Every mistake of the published examples that the project grew from: found, with its place, what the cluster does, and the remedy.

The first part reads the examples themselves, where they are at hand; the rest says each mistake once in a few lines.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lint_helper import lint, none, only

import meshport

SEED = Path(__file__).parents[3] / "shared" / "seed" / "service-mesh-examples.md"


# -- the examples as published


def _example(number: int) -> str:
    if not SEED.is_file():
        pytest.skip("no seed: ../shared is not there")
    chapter = re.split(r"^## Example \d", SEED.read_text(encoding="utf-8"), flags=re.MULTILINE)[number]
    return "\n---\n".join(re.findall(r"```yaml\n(.*?)```", chapter.split("\n## ")[0], re.DOTALL))


ANALYTICS = {
    ("MP010", "kind"),
    ("MP020", "spec.endpointSelector"),
    ("MP060", "spec.egress[0].authentication.mode"),
    ("MP061", "spec.egress[0].toEntities[0]"),
    ("MP063", "spec.ingress[1].toPorts[0].rules.kafka[0].clientID"),
    ("MP065", "spec.endpointSelector.matchLabels.app"),
    ("MP066", "spec.ingress[0].fromEntities[0]"),
    ("MP067", "spec.ingress[0].toPorts[0].rules.http[1].headers[0]"),
    ("MP068", "spec.ingress[0].toPorts[0].rules.http[1].path"),
}


@pytest.mark.parametrize(
    ("number", "source", "version", "wanted"),
    [
        (1, "istio", None, {("MP214", "kind"), ("MP048", "spec.host")}),
        (
            2,
            "linkerd",
            None,
            {
                ("MP011", "apiVersion"),
                ("MP012", "spec.routes[0].retryBudget.retryRatio"),
                ("MP043", "apiVersion"),
                ("MP050", "spec.routes[0].retryBudget.retryRatio"),
                ("MP051", "spec.proxyProtocol"),
                ("MP052", "spec.port"),
                ("MP053", "apiVersion"),
                ("MP054", "spec.service"),
                ("MP055", "spec.routes[0].name"),
                ("MP307", "spec.backends[0].service"),
                ("MP307", "spec.backends[1].service"),
            },
        ),
        (3, "cilium", "1.16", ANALYTICS | {("MP064", "spec.ingress[0].toPorts[0].rules.kafka[0].role")}),
        (3, "cilium", "1.20", ANALYTICS | {("MP022", "spec.ingress[0].toPorts[0].rules.kafka[0].role")}),
        (
            4,
            "istio",
            None,
            {
                ("MP044", "spec.trafficPolicy.loadBalancer.localityLbSetting.failover[0].to"),
                ("MP045", "spec.hosts[0]"),
                ("MP046", "spec.endpoints[0].address"),
            },
        ),
        (5, "istio", None, {("MP047", "metadata.name")}),
    ],
)
def test_the_examples_as_published(number: int, source: str, version: str | None, wanted: set[tuple[str, str]]) -> None:
    """All that is wrong with an example, and nothing else, each at its place."""
    assert {(item.code, item.path) for item in lint(_example(number), source, version)} == wanted


# -- Istio


def _failover(to: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: inventory, namespace: shop}}
spec:
  host: inventory
  trafficPolicy:
    loadBalancer:
      localityLbSetting:
        failover:
        - {{from: us-west-2, to: {to}}}
    outlierDetection: {{consecutive5xxErrors: 3}}
"""


@pytest.mark.parametrize(("zone", "region"), [("us-central1-a", "us-central1"), ("eu-west-1b", "eu-west-1")])
def test_a_zone_in_place_of_a_region(zone: str, region: str) -> None:
    found = only("MP044", _failover(zone), "istio")
    assert (found.severity, found.line) == ("warning", 11)
    assert "never applies" in found.message and found.remedy == f"Write the region: {region}."


@pytest.mark.parametrize("region", ["us-central1", "us-west-2", "westeurope", "cn-hangzhou"])
def test_a_region_is_one(region: str) -> None:
    assert none("MP044", _failover(region), "istio")


ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: inventory, namespace: shop}
spec:
  hosts: [HOST]
  location: MESH_INTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
  endpoints:
  - address: ADDRESS
"""


def test_a_service_entry_for_a_service_of_the_cluster() -> None:
    text = ENTRY.replace("HOST", "inventory.shop.svc.cluster.local").replace("ADDRESS", "inventory.shop.svc.gcp.local")
    found = only("MP045", text, "istio")
    assert "routes nothing" in found.message and "Link the clusters" in found.remedy and found.line == 6
    address = only("MP046", text, "istio")
    assert "cannot be resolved" in address.message and address.line == 11


def test_an_outside_host_is_what_a_service_entry_is_for() -> None:
    text = ENTRY.replace("HOST", "api.example.com").replace("ADDRESS", "api.example.net")
    assert none("MP045", text, "istio") and none("MP046", text, "istio")


WAYPOINT = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop, labels: {istio.io/waypoint-for: service}}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambientUSE}}
"""


def test_a_waypoint_that_nothing_uses() -> None:
    found = only("MP047", WAYPOINT.replace("USE", ""), "istio")
    assert "no request passes the waypoint" in found.message
    assert "kubectl label namespace shop istio.io/use-waypoint=waypoint" in found.remedy
    assert none("MP047", WAYPOINT.replace("USE", ", istio.io/use-waypoint: waypoint"), "istio")


HIDDEN = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: default, namespace: shop}
spec: {host: "*.shop.svc.cluster.local", trafficPolicy: POLICY}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: pay, namespace: shop}
spec: {host: pay, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 5}}}
"""


def test_a_destination_rule_that_another_hides() -> None:
    """ISTIO_MUTUAL is what meshed callers do anyway, a limit is not."""
    tls = only("MP048", HIDDEN.replace("POLICY", "{tls: {mode: ISTIO_MUTUAL}}"), "istio")
    assert tls.severity == "info" and "costs nothing here" in tls.message
    limit = only("MP048", HIDDEN.replace("POLICY", "{connectionPool: {tcp: {maxConnections: 9}}}"), "istio")
    assert limit.severity == "warning" and "hidden by pay" in limit.message and "Repeat" in limit.remedy


CLOSED = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-all, namespace: shop}
spec: {}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow-pay, namespace: shop}
spec: {selector: {matchLabels: {app: pay}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pay, namespace: shop}
spec: {selector: {matchLabels: {app: pay}}, template: {metadata: {labels: {app: pay}}, spec: {containers: [{name: a}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: frontend, namespace: shop}
spec: {selector: {matchLabels: {app: frontend}}, template: {metadata: {labels: {app: frontend}}, spec: {containers: [{name: a}]}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: web, port: 80, protocol: HTTP}]}
"""


def test_a_default_deny_that_leaves_workloads_and_the_gateway_closed() -> None:
    found = only("MP049", CLOSED, "istio")
    assert "1 workload(s) that no policy opens: frontend" in found.message and "ALLOW" in found.remedy
    gateway = only("MP214", CLOSED, "istio")
    assert "refused by the gateway's own proxy" in gateway.message and gateway.severity == "error"


# -- Linkerd

PROFILE = """
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: users.shop.svc.cluster.local, namespace: shop}
spec:
  routes:
  - name: GET
    condition: {method: GET, pathRegex: '/api/users/[^/]+'}
"""


def test_a_retry_budget_inside_a_route() -> None:
    found = only("MP012", PROFILE + "    retryBudget: {retryRatio: 0.2, minRetriesPerSecond: 10, ttl: 10s}\n", "linkerd")
    assert (found.severity, found.path, found.line) == ("error", "spec.routes[0].retryBudget.retryRatio", 9)
    assert "drops or refuses it" in found.message and "spec.retryBudget" in found.remedy


def test_a_retry_budget_and_nothing_to_retry() -> None:
    budget = "  retryBudget: {retryRatio: 0.2, minRetriesPerSecond: 10, ttl: 10s}\n"
    found = only("MP050", PROFILE + budget, "linkerd")
    assert "nothing is retried" in found.message and "isRetryable: true" in found.remedy
    assert none("MP050", PROFILE + "    isRetryable: true\n" + budget, "linkerd")


def test_requests_that_no_route_of_a_profile_takes() -> None:
    assert "go through without timeout" in only("MP055", PROFILE, "linkerd").message
    assert none("MP055", PROFILE + "  - name: rest\n    condition: {pathRegex: '.*'}\n", "linkerd")


def test_a_server_authorization_at_a_version_that_was_never_served() -> None:
    text = """
apiVersion: policy.linkerd.io/v1beta2
kind: ServerAuthorization
metadata: {name: users, namespace: shop}
spec: {server: {name: users}, client: {unauthenticated: true}}
"""
    found = only("MP011", text, "linkerd")
    assert (found.path, found.line) == ("apiVersion", 2)
    assert "serves it at v1beta1, v1alpha1" in found.message and "policy.linkerd.io/v1beta1" in found.remedy


SERVER = """
apiVersion: policy.linkerd.io/VERSION
kind: Server
metadata: {name: users, namespace: shop}
spec: {podSelector: {matchLabels: {app: users}}, port: http, proxyProtocol: PROTOCOL}
---
apiVersion: policy.linkerd.io/v1beta1
kind: ServerAuthorization
metadata: {name: users, namespace: shop}
spec: {server: {name: users}, client: {meshTLS: {serviceAccounts: [{name: web}]}}}
"""


def test_an_older_version_of_an_api() -> None:
    old = SERVER.replace("VERSION", "v1beta2").replace("PROTOCOL", "HTTP/1")
    found = only("MP043", old, "linkerd")
    assert found.severity == "info" and "Write apiVersion: policy.linkerd.io/v1beta3" in found.remedy
    assert none("MP043", old, "linkerd", "2.15")
    assert none("MP043", old.replace("v1beta2", "v1beta3"), "linkerd")


def test_http_2_on_a_port_that_is_named_for_http_1() -> None:
    text = SERVER.replace("VERSION", "v1beta3")
    found = only("MP051", text.replace("PROTOCOL", "HTTP/2"), "linkerd")
    assert "plaintext HTTP/1.1" in found.message and "Write HTTP/1 or unknown" in found.remedy
    assert none("MP051", text.replace("PROTOCOL", "HTTP/1"), "linkerd")


def test_who_is_left_at_the_port_that_a_server_closes() -> None:
    found = only("MP052", SERVER.replace("VERSION", "v1beta3").replace("PROTOCOL", "HTTP/1"), "linkerd")
    assert found.severity == "info"
    assert "closes port http for everybody but ServiceAccount shop/web (from the cluster's networks)" in found.message


SPLIT = """
apiVersion: split.smi-spec.io/v1alpha1
kind: TrafficSplit
metadata: {name: users, namespace: shop}
spec: {service: users, backends: [{service: users-stable, weight: 900}, {service: users-canary, weight: 100}]}
---
apiVersion: v1
kind: Service
metadata: {name: users-stable, namespace: shop}
spec: {selector: {app: users}, ports: [{port: 80}]}
"""


def test_a_traffic_split_needs_an_extension() -> None:
    found = only("MP053", SPLIT, "linkerd")
    assert "unless linkerd-smi is installed" in found.message and "HTTPRoute" in found.remedy


def test_a_split_to_a_service_that_is_not_there() -> None:
    found = only("MP307", SPLIT, "linkerd")
    assert "shop/users-canary" in found.message and found.path == "spec.backends[1].service"


def test_a_profile_and_a_split_for_one_service() -> None:
    found = only("MP054", SPLIT + "---" + PROFILE, "linkerd")
    assert found.severity == "info" and "move both together" in found.message


def test_a_profile_silences_a_route() -> None:
    route = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: users, namespace: shop}
spec: {parentRefs: [{group: core, kind: Service, name: users, port: 80}], rules: [{backendRefs: [{name: users, port: 80}]}]}
"""
    found = only("MP054", route + "---" + PROFILE, "linkerd")
    assert found.severity == "warning" and "silences the route" in found.message and "delete it" in found.remedy


def test_an_ingress_that_sends_past_the_service() -> None:
    ingress = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: public, namespace: shopANNOTATIONS}
spec: {ingressClassName: nginx, rules: []}
"""
    found = only("MP056", ingress.replace("ANNOTATIONS", ""), "linkerd")
    assert "requests go to pods" in found.message and 'service-upstream: "true"' in found.remedy
    asked = ', annotations: {nginx.ingress.kubernetes.io/service-upstream: "true"}'
    assert none("MP056", ingress.replace("ANNOTATIONS", asked), "linkerd")


# -- Cilium


def policy(spec: str, kind: str = "CiliumNetworkPolicy") -> str:
    place = "{name: users, namespace: shop}" if kind == "CiliumNetworkPolicy" else "{name: users}"
    return f"\napiVersion: cilium.io/v2\nkind: {kind}\nmetadata: {place}\nspec: {spec}\n"


def test_a_kind_in_the_wrong_case() -> None:
    found = only("MP010", policy("{endpointSelector: {}, ingress: [{}]}", "CiliumClusterWideNetworkPolicy"), "cilium")
    assert (found.severity, found.path, found.line) == ("error", "kind", 3)
    assert "did you mean CiliumClusterwideNetworkPolicy?" in found.message


def test_two_selectors_in_one_policy() -> None:
    text = policy("{endpointSelector: {}, nodeSelector: {matchLabels: {}}, ingress: [{}]}", "CiliumClusterwideNetworkPolicy")
    found = only("MP020", text, "cilium")
    assert "no cluster takes the object" in found.message and "Keep one of endpointSelector and nodeSelector" in found.remedy


def test_a_policy_with_several_faults_lifts_to_nothing() -> None:
    """The case of the kind alone would be mended; beside two selectors it is not."""
    text = policy("{endpointSelector: {}, nodeSelector: {matchLabels: {}}, ingress: [{}]}", "CiliumClusterWideNetworkPolicy")
    result = meshport.convert(meshport.load_text(text), source="cilium", target="istio")
    assert result.manifests == [] and {line.disposition for line in result.ledger} == {"invalid"}


AUTHENTICATED = "{endpointSelector: {matchLabels: {app: a}}, ingress: [{fromEndpoints: [{}], authentication: {mode: MODE}}]}"


def test_authentication_is_not_encryption() -> None:
    text = policy(AUTHENTICATED.replace("MODE", "required"))
    found = only("MP060", text, "cilium")
    assert found.severity == "error" and "encrypts nothing" in found.message and "leaves with 1.21" in found.message
    assert "encryption.type=wireguard" in found.remedy
    assert "off by default since 1.19" in only("MP060", text, "cilium", "1.19").message
    assert "needs SPIRE" in only("MP060", text, "cilium", "1.16").message
    assert none("MP060", policy(AUTHENTICATED.replace("MODE", "disabled")), "cilium")


def test_a_clusterwide_policy_that_closes_the_way_out_of_every_pod() -> None:
    kind = "CiliumClusterwideNetworkPolicy"
    found = only("MP061", policy("{endpointSelector: {}, egress: [{toEntities: [cluster]}]}", kind), "cilium")
    assert "may only send to cluster" in found.message and "the Internet among it, is dropped" in found.message
    assert "enableDefaultDeny: {egress: false}" in found.remedy
    assert none("MP061", policy("{endpointSelector: {}, egress: [{toEntities: [all]}]}", kind), "cilium")
    spec = "{endpointSelector: {}, enableDefaultDeny: {egress: false}, egress: [{toEntities: [cluster]}]}"
    assert none("MP061", policy(spec, kind), "cilium")


def test_a_policy_for_the_way_out_without_dns() -> None:
    out = "{endpointSelector: {matchLabels: {app: a}}, egress: [{toCIDR: [192.0.2.0/24]}RULE]}"
    found = only("MP062", policy(out.replace("RULE", "")), "cilium")
    assert "admits no DNS query" in found.message and "kube-dns" in found.remedy
    dns = ', {toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": kube-system, k8s-app: kube-dns}}], toPorts: [{ports: [{port: "53", protocol: ANY}]}]}'
    assert none("MP062", policy(out.replace("RULE", dns)), "cilium")


KAFKA = """{endpointSelector: {matchLabels: {app: kafka}}, ingress: [{fromEndpoints: [{matchLabels: {app: PEER}}],
  toPorts: [{ports: [{port: "9092", protocol: TCP}], rules: {kafka: [{role: consume, topic: events, clientID: CLIENT}]}}]}]}"""


def kafka(peer: str = "ingest", client: str = "one") -> str:
    return policy(KAFKA.replace("PEER", peer).replace("CLIENT", f'"{client}"'))


def test_a_wildcard_in_a_kafka_rule() -> None:
    found = only("MP063", kafka(client="processor-*"), "cilium", "1.16")
    assert found.severity == "error" and "admits nobody" in found.message and found.path.endswith("kafka[0].clientID")
    assert none("MP063", kafka(), "cilium", "1.16")


def test_kafka_rules_leave_with_1_20() -> None:
    """A warning as long as the release has them, an error from then on."""
    found = only("MP064", kafka(), "cilium", "1.19")
    assert found.severity == "warning" and "may then admit the whole port" in found.message and "access control lists" in found.remedy
    assert none("MP064", kafka(), "cilium", "1.20")
    assert only("MP022", kafka(), "cilium", "1.20").severity == "error"


def test_replicas_that_cannot_reach_each_other() -> None:
    found = only("MP065", kafka(), "cilium", "1.19")
    assert "brokers cannot reach each other" in found.message and "policy's own labels" in found.remedy
    assert none("MP065", kafka(peer="kafka"), "cilium", "1.19")


WORLD = "{endpointSelector: {matchLabels: {app: api}}, ingress: [{fromEntities: [worldMORE]}]}"
PUBLIC = """
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: public, namespace: shop}
spec: {ingressClassName: cilium, defaultBackend: {service: {name: api, port: {number: 80}}}}
"""


def test_requests_of_an_ingress_are_not_of_the_world() -> None:
    """Known for a fact where the bundle has the Ingress, else worth knowing."""
    text = policy(WORLD.replace("MORE", ""))
    found = only("MP066", text + PUBLIC, "cilium")
    assert found.severity == "warning" and "what Ingress shop/public sends to these pods arrives as ingress and is dropped" in found.message
    assert only("MP066", text, "cilium").severity == "info"
    assert none("MP066", policy(WORLD.replace("MORE", ", ingress")) + PUBLIC, "cilium")


def _http(rule: str) -> str:
    return policy(
        f'{{endpointSelector: {{}}, ingress: [{{toPorts: [{{ports: [{{port: "80", protocol: TCP}}], rules: {{http: [{rule}]}}}}]}}]}}'
    )


def test_a_header_is_compared_as_a_whole() -> None:
    found = only("MP067", _http('{headers: ["Content-Type: application/json"]}'), "cilium")
    assert "such as a charset, the request is refused" in found.message
    assert none("MP067", _http('{headers: ["X-Env: prod"]}'), "cilium")


def test_a_path_is_matched_with_its_query() -> None:
    found = only("MP068", _http("{path: /api/v1/events}"), "cilium")
    assert found.severity == "info" and "no request with a query" in found.message and r"(\?.*)?" in found.remedy
    assert none("MP068", _http('{path: "/api/.*"}'), "cilium") and none("MP068", _http(r'{path: "/api(\\?.*)?"}'), "cilium")


# -- beside the seed: what the same tables say of policies in general


def test_a_header_line_without_a_blank() -> None:
    found = only("MP069", _http('{headers: ["X-Env:prod"]}'), "cilium")
    assert found.severity == "error" and "which no request has" in found.message


def test_a_deny_that_stands_alone() -> None:
    deny = "{endpointSelector: {matchLabels: {app: a}}, egressDeny: [{toCIDR: [169.254.169.254/32]}]}"
    found = only("MP070", policy(deny), "cilium")
    assert "everything is refused, not only what it names" in found.message and "enableDefaultDeny: {egress: false}" in found.remedy


def test_http_rules_want_tcp() -> None:
    text = policy('{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: "80"}], rules: {http: [{method: GET}]}}]}]}')
    found = only("MP071", text, "cilium")
    assert "the agent refuses the policy" in found.message and "protocol: TCP" in found.remedy


def test_what_is_right_is_left_alone() -> None:
    """A policy as one would write it: nothing to say but what is worth knowing."""
    text = policy(
        '{endpointSelector: {matchLabels: {app: a}}, ingress: [{fromEndpoints: [{matchLabels: {app: b}}], toPorts: [{ports: [{port: "80", protocol: TCP}], '
        'rules: {http: [{method: GET, path: "/api/.*"}]}}]}]}'
    )
    assert lint(text, "cilium") == []


# -- hostile shapes


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_any_shape_is_read_without_a_traceback(number: int) -> None:
    """Each value of the examples in turn is something else entirely."""
    source = {2: "linkerd", 3: "cilium"}.get(number, "istio")
    documents = [document.value for document in meshport.load_text(_example(number)).documents]
    for path in list(_paths(documents, ())):
        for odd in (None, 7, "x", [], {}, [1], {"a": 1}, [{}]):
            mangled = copy.deepcopy(documents)
            holder: Any = mangled
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = odd
            meshport.lint(meshport.load_objects([item for item in mangled if isinstance(item, dict)]), source=source)


def _paths(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if path and path[1:2] not in (("apiVersion",), ("kind",)) and len(path) > 1:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from _paths(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from _paths(value[index], (*path, index))
