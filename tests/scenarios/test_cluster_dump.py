"""What `kubectl get ... -A -o yaml` gives beside what people write: pods that other objects make, operators' workloads, and the meshes' own parts."""

from __future__ import annotations

from typing import Any

import pytest

import meshport
from meshport.pipeline import Result

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {sidecar.istio.io/proxyCPU: 50m}}
    spec: {serviceAccountName: web, containers: [{name: web, ports: [{containerPort: 8080}]}]}
---
"""
REPLICAS = """
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-6d4c, namespace: shop, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: d}]}
spec:
  selector: {matchLabels: {app: web, pod-template-hash: 6d4c}}
  template:
    metadata: {labels: {app: web, pod-template-hash: 6d4c}, annotations: {sidecar.istio.io/proxyCPU: 50m}}
    spec: {serviceAccountName: web, containers: [{name: web, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: web-6d4c-x1
  namespace: shop
  labels: {app: web, pod-template-hash: 6d4c, security.istio.io/tlsMode: istio, service.istio.io/canonical-name: web}
  annotations: {sidecar.istio.io/status: "{}", istio.io/rev: default, sidecar.istio.io/proxyCPU: 50m}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-6d4c, uid: r}]
spec: {serviceAccountName: web, containers: [{name: web, ports: [{containerPort: 8080}]}, {name: istio-proxy, ports: [{containerPort: 15090}]}]}
---
"""


def convert(text: str, source: str = "istio", target: str = "linkerd") -> Result:
    result = meshport.convert(meshport.load_text(text), source=source, target=target)
    assert not {"MP900", "MP901", "MP902"} & {finding.code for finding in result.findings}
    return result


def written(result: Result) -> list[dict[str, Any]]:
    return [item.object for item in result.manifests]


@pytest.mark.parametrize("target", ["linkerd", "cilium", "istio"])
def test_replica_sets_and_pods_beside_their_deployment_change_nothing(target: str) -> None:
    alone, dump = convert(WORLD, target=target), convert(WORLD + REPLICAS, target=target)
    assert written(dump) == written(alone)
    assert [(item.code, item.message) for item in dump.findings] == [(item.code, item.message) for item in alone.findings]
    lines = [line for line in dump.ledger if line.document in (2, 3)]
    if target != "istio":
        assert {(line.disposition, line.reason) for line in lines} == {
            ("irrelevant", "Deployment web makes the object, and its template is what counts"),
            ("irrelevant", "ReplicaSet web-6d4c makes the object, and its template is what counts"),
        }


POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/front]}}]}]}
---
"""


@pytest.mark.parametrize(
    "owner",
    ["{apiVersion: flagger.app/v1beta1, kind: Canary, name: web, uid: c}", "{apiVersion: x/v1, kind: Elasticsearch, name: web, uid: c}"],
)
def test_workloads_of_an_operator_are_workloads(owner: str) -> None:
    owned = WORLD.replace("{name: web, namespace: shop}", f"{{name: web, namespace: shop, ownerReferences: [{owner}]}}")
    result = convert(owned + POLICY)
    servers = [obj for obj in written(result) if obj["kind"] == "Server"]
    assert [(obj["spec"]["podSelector"], obj["spec"]["port"]) for obj in servers] == [({"matchLabels": {"app": "web"}}, 8080)]
    assert ["Deployment shop/web gets" in item.message for item in result.findings if item.code == "MP965"] == [True]
    unmarked = owned.replace(", annotations: {sidecar.istio.io/proxyCPU: 50m}", "")
    assert "MP965" not in {item.code for item in convert(unmarked).findings}  # its namespace takes it into the mesh


def test_pods_alone_are_workloads_without_the_ports_of_their_proxies() -> None:
    namespace = WORLD.partition("---")[0] + "---\n"
    pod = REPLICAS.partition("---")[2]
    servers = [obj for obj in written(convert(namespace + pod + POLICY)) if obj["kind"] == "Server"]
    assert [obj["spec"]["port"] for obj in servers] == [8080]


def test_a_rollout_of_argo_has_pods() -> None:
    rollout = WORLD.replace("apps/v1\nkind: Deployment", "argoproj.io/v1alpha1\nkind: Rollout")
    result = convert(rollout + POLICY)
    servers = [obj for obj in written(result) if obj["kind"] == "Server"]
    assert [(obj["spec"]["podSelector"], obj["spec"]["port"]) for obj in servers] == [({"matchLabels": {"app": "web"}}, 8080)]
    restart = "kubectl argo rollouts restart web -n shop"
    assert [restart in item.remedy for item in result.findings if item.code == "MP101"] == [True]
    plan = meshport.plan(meshport.load_text(rollout + POLICY), source="istio", target="linkerd")
    assert restart in [command.run for step in plan.steps for command in step.commands]


ISTIOD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: istiod, namespace: istio-system, labels: {app: istiod, istio.io/rev: default, operator.istio.io/component: Pilot}}
spec:
  selector: {matchLabels: {app: istiod}}
  template:
    metadata: {labels: {app: istiod, sidecar.istio.io/inject: "false"}, annotations: {prometheus.io/port: "15014", prometheus.io/scrape: "true"}}
    spec: {serviceAccountName: istiod, containers: [{name: discovery, ports: [{containerPort: 15012}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ingress, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingress}}
  template:
    metadata: {labels: {istio: ingress, sidecar.istio.io/inject: "true"}, annotations: {inject.istio.io/templates: gateway}}
    spec: {serviceAccountName: ingress, containers: [{name: istio-proxy, image: auto, ports: [{containerPort: 8080}]}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: istiod, labels: {istio.io/rev: default, app.kubernetes.io/part-of: istio}}
---
"""
DESTINATION = """
apiVersion: v1
kind: Namespace
metadata: {name: linkerd, labels: {linkerd.io/is-control-plane: "true", config.linkerd.io/admission-webhooks: disabled}, annotations: {linkerd.io/inject: disabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: linkerd-destination, namespace: linkerd, labels: {app.kubernetes.io/part-of: Linkerd, linkerd.io/control-plane-component: destination}}
spec:
  selector: {matchLabels: {linkerd.io/control-plane-component: destination}}
  template:
    metadata:
      labels: {linkerd.io/control-plane-component: destination, linkerd.io/workload-ns: linkerd}
      annotations: {linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: all-unauthenticated}
    spec: {serviceAccountName: linkerd-destination, containers: [{name: destination, ports: [{containerPort: 8086}]}]}
---
"""


@pytest.mark.parametrize(("source", "parts"), [("istio", ISTIOD), ("linkerd", DESTINATION)])
def test_the_parts_of_a_mesh_itself_are_left_to_go_with_it(source: str, parts: str) -> None:
    for target in {"istio", "linkerd", "cilium"} - {source}:
        result = convert(parts, source, target)
        assert not written(result)
        assert not [finding for finding in result.findings if finding.leaves]
        assert {line.disposition for line in result.ledger} <= {"irrelevant", "passed_through"}


JOB = """
apiVersion: batch/v1
kind: CronJob
metadata: {name: report, namespace: shop}
spec:
  schedule: "0 1 * * *"
  jobTemplate:
    spec:
      template:
        metadata: {labels: {app: report}}
        spec: {restartPolicy: Never, containers: [{name: report, command: [sh, -c, "COMMAND"]}]}
---
"""
SCALER = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: 3
  metrics: [{type: ContainerResource, containerResource: {name: cpu, container: CONTAINER, target: {type: Utilization, averageUtilization: 60}}}]
---
"""
LINKERD = WORLD.replace("labels: {istio-injection: enabled}", "annotations: {linkerd.io/inject: enabled}").replace(
    "sidecar.istio.io/proxyCPU", "config.linkerd.io/proxy-cpu-request"
)


@pytest.mark.parametrize(
    ("source", "target", "command", "called", "instead"),
    [
        (
            "istio",
            "linkerd",
            "/work; curl -X POST http://localhost:15020/quitquitquit",
            "localhost:15020/quitquitquit",
            "localhost:4191/shutdown",
        ),
        ("linkerd", "istio", "/work; curl -X POST 127.0.0.1:4191/shutdown", "127.0.0.1:4191/shutdown", "localhost:15020/quitquitquit"),
        ("linkerd", "cilium", "linkerd-await --shutdown -- /work", "linkerd-await", "Take it out"),
    ],
)
def test_commands_to_the_proxy_that_leaves_are_named_with_what_the_target_has(
    source: str, target: str, command: str, called: str, instead: str
) -> None:
    world = (WORLD if source == "istio" else LINKERD) + JOB.replace("COMMAND", command)
    (finding,) = [item for item in convert(world, source, target).findings if item.code == "MP964"]
    assert finding.severity == "warning"
    assert f"CronJob shop/report calls {called}," in finding.message
    assert instead in finding.remedy
    assert [(item.namespace, item.workload) for item in finding.affects] == [("shop", "report")]


def test_an_autoscaler_that_measures_the_proxy_is_named_and_one_of_the_application_is_not() -> None:
    def said(text: str) -> list[str]:
        return [item.message for item in convert(WORLD + text).findings if item.code == "MP964"]

    assert said(SCALER.replace("CONTAINER", "istio-proxy")) == [
        "HorizontalPodAutoscaler shop/web measures the container istio-proxy, and the proxy leaves with the source mesh"
    ]
    assert not said(SCALER.replace("CONTAINER", "web"))
    assert not said(JOB.replace("COMMAND", "curl localhost:8080/done"))


INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop, annotations: {NOTE}}
spec: {CLASS rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
---
"""
CLASSES = """
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: public, annotations: {ingressclass.kubernetes.io/is-default-class: "true"}}
spec: {controller: istio.io/ingress-controller}
---
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (INGRESS.replace("NOTE", "").replace("CLASS", "ingressClassName: istio,"), "the class istio"),
        (INGRESS.replace("NOTE", "kubernetes.io/ingress.class: istio").replace("CLASS", ""), "the class istio"),
        (CLASSES + INGRESS.replace("NOTE", "").replace("CLASS", "ingressClassName: public,"), "the class public"),
        (CLASSES + INGRESS.replace("NOTE", "").replace("CLASS", ""), "the default class"),
        (CLASSES + INGRESS.replace("NOTE", "").replace("CLASS", "ingressClassName: nginx,"), ""),
        (INGRESS.replace("NOTE", "").replace("CLASS", ""), ""),
    ],
)
@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_an_ingress_that_goes_with_istios_gateway_is_an_error(text: str, said: str, target: str) -> None:
    found = [item.message for item in convert(WORLD + text, target=target).findings if item.code == "MP745"]
    assert found == (
        [f"Ingress shop/web is of {said}, which Istio's own ingress serves and takes with it; it is not carried over"] if said else []
    )


@pytest.mark.parametrize(
    ("source", "target", "proxy"),
    [("istio", "linkerd", "istio-proxy"), ("linkerd", "istio", "linkerd-proxy"), ("istio", "cilium", "istio-proxy")],
)
def test_a_proxy_that_a_command_put_into_the_manifest_makes_a_workload_of_the_mesh_and_has_to_go(
    source: str, target: str, proxy: str
) -> None:
    world = WORLD.replace(", labels: {istio-injection: enabled}", "").replace(", annotations: {sidecar.istio.io/proxyCPU: 50m}", "")
    text = world.replace(
        "ports: [{containerPort: 8080}]}]", f"ports: [{{containerPort: 8080}}]}}, {{name: {proxy}, ports: [{{containerPort: 4191}}]}}]"
    )
    result = convert(text, source, target)
    (finding,) = [item for item in result.findings if item.code == "MP966"]
    assert (finding.severity, finding.message.partition(",")[0]) == ("error", f"Deployment shop/web holds the container {proxy} itself")
    marks = {"linkerd": ("annotations", "linkerd.io/inject", "enabled"), "istio": ("labels", "sidecar.istio.io/inject", "true")}
    if target in marks:
        (made,) = [obj for obj in written(result) if obj["kind"] == "Deployment"]
        what, key, value = marks[target]
        assert made["spec"]["template"]["metadata"][what][key] == value
    assert "MP966" not in {item.code for item in convert(world, source, target).findings}


@pytest.mark.parametrize("level", ["baseline", "restricted", "privileged"])
def test_a_namespace_that_refuses_the_proxys_init_container_needs_the_cni_plugin(level: str) -> None:
    text = WORLD.replace("{istio-injection: enabled}", f"{{istio-injection: enabled, pod-security.kubernetes.io/enforce: {level}}}")
    found = [item for item in convert(text).findings if item.code == "MP979"]
    assert [item.affects[0].namespace for item in found] == ["shop"] * (level != "privileged")
    assert all("cniEnabled=true" in item.remedy for item in found)
    for target, plane in (("cilium", None), ("istio", "ambient")):  # no init container there
        result = meshport.convert(meshport.load_text(text), source="istio", target=target, data_plane=plane)
        assert "MP979" not in {item.code for item in result.findings}
