"""What is written as it was meant is read back as that, also where the input holds more than the source mesh reads; and what the input's own marks for the target
open is said as the input's."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from meshport.pipeline import Result


def converted(text: str, source: str, target: str, **options: Any) -> Result:
    return meshport.convert(meshport.load_text(text), source=source, target=target, **options)


def codes(result: Result) -> set[str]:
    return {finding.code for finding in result.findings}


def defects(result: Result) -> list[str]:
    return [finding.message for finding in result.findings if finding.code in ("MP900", "MP901", "MP902", "MP904")]


BESIDE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 9090}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: api, namespace: shop}
spec: {podSelector: {}, ingress: [{ports: [{port: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {template: {metadata: {labels: {app: web}}}}
"""


def test_a_finding_about_a_network_policy_is_about_ports_that_only_a_service_names() -> None:
    """No pod declares 9090; the Service sends there, and the policy closes it as every port."""
    result = converted(BESIDE, "linkerd", "cilium")
    assert defects(result) == []
    (hidden,) = [finding for finding in result.findings if finding.code == "MP186"]
    assert ("access to shop/web port 9090", "*") in hidden.explains


OPENED = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: own, namespace: shop}
spec: {endpointSelector: {}, ingress: [{fromEndpoints: [{}]}]}
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: api}
spec: {endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: '8080'}]}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pay, namespace: shop}
spec: {template: {metadata: {annotations: {config.linkerd.io/default-inbound-policy: audit}}}}
"""


def test_a_mark_for_the_target_that_opens_pods_is_the_inputs_doing() -> None:
    """The kept policy lets the request through as well; what makes the difference is the annotation, which was there all along."""
    result = converted(OPENED, "cilium", "linkerd")
    assert defects(result) == []
    said = [finding for finding in result.findings if finding.code == "MP903"]
    assert [(finding.severity, finding.effect) for finding in said] == [("error", "widens")]


STRICT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {template: {metadata: {labels: {app: web}}}}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: system, namespace: shop}
spec: {endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": kube-system}}]}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
"""


def test_what_an_object_of_the_target_refuses_beside_kept_policies_is_the_inputs_doing() -> None:
    """Pods of kube-system have no proxy: with the PeerAuthentication that stands there they get in no more. Without it nothing is different."""
    result = converted(STRICT, "cilium", "istio")
    assert defects(result) == []
    assert "MP903" in codes(result)
    alone = converted("---".join(STRICT.split("---")[:2]), "cilium", "istio")
    assert not codes(alone) & {"MP900", "MP903", "MP904"}


DENIED = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: runner, namespace: ops}
spec: {template: {metadata: {labels: {app: runner}}}}
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: never}
specs:
- endpointSelector: {}
  ingressDeny:
  - fromEndpoints:
    - matchExpressions:
      - {key: "k8s:io.kubernetes.pod.namespace", operator: NotIn, values: [legacy]}
      - {key: tier, operator: Exists}
- endpointSelector: {matchLabels: {"k8s:io.kubernetes.pod.namespace": shop}}
  ingress: [{}]
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: api}
spec: {endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: '9090'}]}]}]}
"""


def test_namespaces_that_only_commands_name_are_no_more_known_to_kept_policies() -> None:
    """A command annotates `shop`; what a selector without it means is the same before and after."""
    assert defects(converted(DENIED, "cilium", "linkerd")) == []


def test_who_has_no_identity_is_not_missing_among_those_with_one() -> None:
    """Pods of `partners`, which is in no mesh, are denied, and show no identity that a rule for every identity could hold."""
    world = DENIED + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: partners}\n"
    assert defects(converted(world, "cilium", "linkerd")) == []


SUBSET = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-v2, namespace: shop}
spec: {selector: {app: web, version: v2}, ports: [PORT]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [web], http: [{route: [{destination: {host: web.shop.svc.cluster.local, subset: v2}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec: {host: web.shop.svc.cluster.local, subsets: [{name: v2, labels: {version: v2}}]}
"""


def test_a_service_that_lacks_the_port_of_a_subset_is_not_the_subsets() -> None:
    """Requests for `web:9090` would be answered 500 where `web-v2` has the port 80 alone, and go to another port of the pods where it sends 9090 to 7000."""
    for port, used in (("{port: 80}", False), ("{port: 9090, targetPort: 7000}", False), ("{port: 9090}", True)):
        for target in ("gateway-api", "linkerd"):
            result = converted(SUBSET.replace("PORT", port), "istio", target)
            assert defects(result) == []
            sent = {
                (backend["name"], backend["port"])
                for item in result.manifests
                if item.object["kind"] == "HTTPRoute"
                for rule in item.object["spec"]["rules"]
                for backend in rule["backendRefs"]
            }
            made = {
                item.object["metadata"]["name"]: item.object["spec"]["ports"]
                for item in result.manifests
                if item.object["kind"] == "Service"
            }
            assert sent == ({("web-v2", 9090)} if used else {("web-v2-subset", 9090)})
            assert made == ({} if used else {"web-v2-subset": [{"port": 9090}]})


ROUTED = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: old, namespace: shop}
spec: {selector: {app: old}, ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec: {hosts: [web], http: [RULES]}
"""
POST = "{match: [{method: {exact: POST}, uri: {prefix: /x}}], route: [{destination: {host: TO}}], retries: {}}"
PREFIX = "{match: [{uri: {prefix: /x}}], route: [{destination: {host: TO}}]}"
REST = "{route: [{destination: {host: TO}}]}"


def test_rules_that_differ_in_retries_alone_are_no_other_routes_where_nothing_is_retried() -> None:
    for rules in ((POST, "web"), (PREFIX, "web"), (REST, "web")), ((POST, "old"), (PREFIX, "old"), (REST, "web")):
        text = ROUTED.replace("RULES", ", ".join(rule.replace("TO", to) for rule, to in rules))
        assert defects(converted(text, "istio", "linkerd")) == []


def test_rules_that_send_elsewhere_stay_apart() -> None:
    one = ROUTED.replace("RULES", ", ".join((POST.replace("TO", "web"), PREFIX.replace("TO", "old"), REST.replace("TO", "web"))))
    other = ROUTED.replace("RULES", ", ".join((PREFIX.replace("TO", "old"), REST.replace("TO", "web"))))
    found = meshport.diff(meshport.load_text(one), meshport.load_text(other), old_mesh="istio", new_mesh="istio")
    assert {change.aspect for change in found} >= {"backends"}


PROFILE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}, {name: tcp-data, port: 7000}]}
---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec: {routes: [{name: all, condition: {method: GET}, timeout: 5s}]}
"""


def test_a_port_that_linkerd_reads_as_http_is_one_whatever_it_is_called() -> None:
    """Cilium has one set of routes for all ports of a Service: of two, requests for 80 went to 7000. Without HTTP on the other port there is one."""
    result = converted(PROFILE, "linkerd", "cilium")
    assert defects(result) == []
    assert "MP363" in codes(result)
    assert [item.object["kind"] for item in result.manifests if item.object["kind"] == "HTTPRoute"] == []
    opaque = PROFILE.replace(
        "name: web, namespace: shop}", 'name: web, namespace: shop, annotations: {config.linkerd.io/opaque-ports: "7000"}}', 1
    )
    result = converted(opaque, "linkerd", "cilium")
    assert defects(result) == []
    (route,) = [item.object for item in result.manifests if item.object["kind"] == "HTTPRoute"]
    assert {backend["port"] for rule in route["spec"]["rules"] for backend in rule["backendRefs"]} == {80}


SCRAPED = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: web, ports: [{containerPort: 8080}]}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: envoy-stats, namespace: monitoring}
spec: {selector: {}, namespaceSelector: {any: true}, endpoints: [{path: /stats/prometheus, targetPort: 15090}]}
"""


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_a_port_that_only_a_monitor_of_the_source_names_is_one_of_the_others_once_it_is_gone(target: str) -> None:
    """The monitor scrapes proxies of the source mesh, and goes with them: what reached 15090 reaches it as it reaches any other port."""
    result = converted(SCRAPED, "istio", target)
    assert (defects(result), [item["name"] for item in result.removals if item["kind"] == "ServiceMonitor"]) == ([], ["envoy-stats"])


def test_anyone_but_the_world_is_the_cluster() -> None:
    """What both halves admit beside a deny of the world was read back as other callers than were meant."""
    rules = (
        'ingress: [{fromEntities: [cluster], toPorts: [{ports: [{port: "7000"}]}]}], ingressDeny: [{fromEntities: [world], toPorts: [{ports: [{port: "8080"}]}]}]',
        'ingress: [{toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: []}}]}]',
    )
    pods = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: cart, namespace: shop}\nspec: {template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}}}"
    policies = (
        f"\n---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: p{number}, namespace: shop}}\nspec: {{endpointSelector: {{}}, {said}}}"
        for number, said in enumerate(rules)
    )
    assert defects(converted(pods + "".join(policies), "cilium", "istio")) == []


CALLERS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec: {template: {metadata: {labels: {app: api}}, spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: app}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{name: http, port: 8080}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: api, namespace: shop}
spec:
  selector: {matchLabels: {app: api}}
  rules:
  - {from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}], to: [{operation: {ports: ["8080"]}}], when: [{key: "request.auth.claims[iss]", values: [x]}]}
  - {from: [{source: {principals: [cluster.local/ns/shop/sa/ACCOUNT]}}], to: [{operation: {ports: ["8080"]}}]}
  - {from: [{source: {ipBlocks: [10.1.0.0/16]}}], to: [{operation: {ports: ["8080"]}}]}
"""


@pytest.mark.parametrize(("account", "said"), [("web", ("info", "none")), ("api", ("error", "narrows"))])
def test_to_cilium_a_rule_whose_callers_another_lets_in_is_no_alarm_beside_addresses_that_are_refused(
    account: str, said: tuple[str, str]
) -> None:
    result = converted(CALLERS.replace("ACCOUNT", account), "istio", "cilium")
    told = {one.code: one for one in result.findings if one.code in ("MP201", "MP284")}
    assert (told["MP201"].severity, told["MP201"].effect) == said
    assert (told["MP201"].witness or {}).get("source", {}).get("workload") == ("web" if said[0] == "error" else None)
    assert (told["MP284"].severity, told["MP284"].witness["source"]["meshed"]) == ("error", False)
