"""Policies of Istio for pods that the bundle does not show, to Cilium: who is denied stays so, and what accounts and ports say is written."""

from __future__ import annotations

from typing import Any

import pytest

import meshport

WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  template: {metadata: {labels: {app: cart}}, spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}}
"""


def convert(text: str, source: str, target: str) -> meshport.Result:
    return meshport.convert(meshport.load_text(text), source=source, target=target)


def one(result: meshport.Result, kind: str) -> dict[str, Any]:
    return next(item.object for item in result.manifests if item.object["kind"] == kind)


ADMITS = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ghost, namespace: shop}
spec:
  selector: {matchLabels: {app: ghost}}
  rules:
  - {from: [{source: {principals: [cluster.local/ns/shop/sa/web, cluster.local/ns/eu/sa/web]}}], to: [{operation: {ports: ["8080", "9090"]}}]}
  - {from: [{source: {principals: [cluster.local/ns/shop/sa/admin]}}]}
"""
DENIES = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec: {action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/admin]}}]}]}
"""


def account(namespace: str, name: str) -> dict[str, Any]:
    return {"matchLabels": {"k8s:io.kubernetes.pod.namespace": namespace, "k8s:io.cilium.k8s.policy.serviceaccount": name}}


def test_who_may_call_which_ports_needs_no_pods_to_be_said_by_labels() -> None:
    """A team's repository of policies alone: a CiliumNetworkPolicy selects pods and names ports as the policy of Istio does."""
    result = convert(WORLD + ADMITS, "istio", "cilium")
    assert one(result, "CiliumNetworkPolicy")["spec"] == {
        "endpointSelector": {"matchLabels": {"app": "ghost"}},
        "ingress": [
            {
                "fromEndpoints": [account("eu", "web"), account("shop", "web")],
                "toPorts": [{"ports": [{"port": "8080", "protocol": "TCP"}, {"port": "9090", "protocol": "TCP"}]}],
            },
            {"fromEndpoints": [account("shop", "admin")]},
        ],
    }
    assert not {"MP286", "MP900", "MP904"} & {item.code for item in result.findings}
    own = [line.disposition for line in result.ledger if line.document == 2 and line.path.startswith("spec")]
    assert own == ["translated"] * 6


def ports(*numbers: str | tuple[int, int]) -> dict[str, Any]:
    listed = [{"port": str(one[0]), "endPort": one[1]} if isinstance(one, tuple) else {"port": one} for one in numbers]
    return {"toPorts": [{"ports": [{**one, "protocol": "TCP"} for one in listed]}]}


OF_WEB = {"fromEndpoints": [account("eu", "web"), account("shop", "web")]}
OF_ADMIN = {"fromEndpoints": [account("shop", "admin")]}


@pytest.mark.parametrize(
    ("text", "let_in", "said"),
    [
        (
            ADMITS
            + DENIES.replace("{action", "{selector: {matchLabels: {app: ghost}}, action").replace(
                "admin]}}]", "admin]}}], to: [{operation: {methods: [GET]}}]"
            ),
            [{**OF_WEB, **ports("8080", "9090")}],
            "MP286",  # what is no GET of the admin
        ),
        (ADMITS.replace('"9090"]}}]}', '"9090"], methods: [GET]}}]}'), [OF_ADMIN], "MP286"),  # where the port speaks no HTTP it admits nobody
        (
            ADMITS.replace("principals: [cluster.local/ns/shop/sa/admin]", "ipBlocks: [10.0.0.0/8]"),
            [{**OF_WEB, **ports("8080", "9090")}, {"fromCIDRSet": [{"cidr": "10.0.0.0/8"}]}],
            "MP286",  # pods with such addresses
        ),
        (
            ADMITS.replace("principals: [cluster.local/ns/shop/sa/admin]", 'principals: ["*"]'),
            [{**OF_WEB, **ports("8080", "9090")}, {"fromEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "shop"}}]}],
            "MP281",
        ),
        (ADMITS.replace('ports: ["8080", "9090"]', 'notPorts: ["8080"]'), [OF_ADMIN, {**OF_WEB, **ports((1, 8079), (8081, 65535))}], ""),
        (
            ADMITS.replace("from: [{source: {principals: [cluster.local/ns/shop/sa/admin]}}]", 'to: [{operation: {ports: ["1"]}}]'),
            [ports("1"), {**OF_WEB, **ports("8080", "9090")}],
            "",
        ),
    ],
)  # fmt: skip
def test_what_needs_no_more_than_callers_and_ports_is_written_for_pods_that_are_not_known(text: str, let_in: list[Any], said: str) -> None:
    """And what does need more, of an HTTP request or of an address of a pod, is left out and said."""
    result = convert(WORLD + text, "istio", "cilium")
    assert {item.code for item in result.findings} & {"MP286", "MP281", "MP900", "MP901", "MP904"} == ({said} if said else set())
    written = [item.object["spec"] for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"]
    ghost = [spec["ingress"] for spec in written if spec["endpointSelector"] == {"matchLabels": {"app": "ghost"}}]
    assert [rule for rules in ghost for rule in rules if rule] == let_in


OF_GHOST = "{selector: {matchLabels: {app: ghost}}, action"


def test_a_deny_of_accounts_and_ports_needs_no_pods_either() -> None:
    denies = DENIES.replace("{action", OF_GHOST).replace("admin]}}]}", 'admin]}}], to: [{operation: {ports: ["9090"]}}]}')
    result = convert(WORLD + ADMITS + denies, "istio", "cilium")
    written = {
        item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"
    }
    assert written["no-admin"] == {
        "endpointSelector": {"matchLabels": {"app": "ghost"}},
        "enableDefaultDeny": {"ingress": False},
        "ingressDeny": [{"fromEndpoints": [account("shop", "admin")], "toPorts": [{"ports": [{"port": "9090", "protocol": "TCP"}]}]}],
    }
    assert len(written["ghost"]["ingress"]) == 2
    assert "MP286" not in {item.code for item in result.findings}


@pytest.mark.parametrize("action", ["DENY", "CUSTOM, provider: {name: opa}"])
def test_what_else_refuses_requests_to_pods_that_are_not_known_closes_them_to_whom_it_names(action: str) -> None:
    """Left out, it would open them to whom it refuses. All others keep what they had: it names nobody else."""
    reads = DENIES.replace("{action: DENY", OF_GHOST + f": {action}").replace(
        "admin]}}]}", "admin]}}], to: [{operation: {methods: [GET]}}]}"
    )
    result = convert(WORLD + reads, "istio", "cilium")
    spec = one(result, "CiliumNetworkPolicy")["spec"]
    elsewhere = [{"key": "k8s:io.kubernetes.pod.namespace", "operator": "Exists"}, {"key": "k8s:io.kubernetes.pod.namespace", "operator": "NotIn", "values": ["shop"]}]  # fmt: skip
    others = {"matchExpressions": [{"key": "k8s:io.cilium.k8s.policy.serviceaccount", "operator": "NotIn", "values": ["admin"]}], "matchLabels": {"k8s:io.kubernetes.pod.namespace": "shop"}}  # fmt: skip
    assert spec["endpointSelector"] == {"matchLabels": {"app": "ghost"}}
    assert spec["ingress"][:2] == [
        {"fromEndpoints": [{"matchExpressions": elsewhere}, others], **ports("0")},
        {"fromEntities": ["world", "host", "remote-node", "kube-apiserver", "ingress"], **ports("0")},
    ]
    assert {"MP286", "MP292"} & {item.code for item in result.findings} == {"MP286"}
    looser = meshport.convert(meshport.load_text(WORLD + reads), source="istio", target="cilium", on_loss="looser")
    assert "CiliumNetworkPolicy" not in {item.object["kind"] for item in looser.manifests}
    (finding,) = [item for item in looser.findings if item.code == "MP219"]
    assert (finding.severity, finding.effect) == ("error", "widens")


@pytest.mark.parametrize("change", [("DENY", "AUDIT"), ("name: no-admin", 'name: no-admin, annotations: {istio.io/dry-run: "true"}')])
def test_what_refuses_nobody_closes_nothing(change: tuple[str, str]) -> None:
    result = convert(WORLD + DENIES.replace("{action", OF_GHOST).replace(*change), "istio", "cilium")
    assert "CiliumNetworkPolicy" not in {item.object["kind"] for item in result.manifests}


EMPTY = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ops, labels: {istio-injection: enabled}}\n"


def of_mesh(spec: str) -> str:
    return f"---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: whole, namespace: istio-system}}\nspec: {spec}\n"


@pytest.mark.parametrize(
    "spec", ["{}", "{rules: [{to: [{operation: {methods: [GET]}}]}]}", "{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}"]
)
def test_a_policy_of_the_mesh_closes_namespaces_of_which_the_bundle_shows_no_pod(spec: str) -> None:
    """Pods of another namespace are shown, which says nothing of those."""
    result = convert(WORLD + EMPTY + of_mesh(spec), "istio", "cilium")
    specs = [item.object["spec"] for item in result.manifests if item.object["metadata"].get("namespace") == "ops"]
    assert specs == [{"endpointSelector": {}, "ingress": [{}]}]
    said = [(item.severity, item.effect, item.affects[0].namespace) for item in result.findings if item.code == "MP286"]
    assert said == ([] if spec == "{}" else [("warning", "narrows", "ops")])


def test_strict_opens_no_pods_that_a_deny_closes() -> None:
    strict = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: ops}\nspec: {mtls: {mode: STRICT}}\n"
    reads = (
        DENIES.replace("{action", OF_GHOST)
        .replace("admin]}}]}", "admin]}}], to: [{operation: {methods: [GET]}}]}")
        .replace("shop}", "ops}")
    )
    result = convert(WORLD + EMPTY + strict + reads, "istio", "cilium")
    written = {
        item.object["metadata"]["name"]: item.object["spec"] for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"
    }
    assert written["strict-mtls"]["endpointSelector"] == {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["ghost"]}]}
    assert written["no-admin"]["endpointSelector"] == {"matchLabels": {"app": "ghost"}}
    peers = [
        {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "ops"}},
        account("shop", "default"),
    ]  # whom the mesh knows, but for the admin
    assert written["no-admin"]["ingress"][0] == {"fromEndpoints": peers, **ports("0")}


def pod(name: str, labels: str = "", notes: str = "") -> str:
    """A workload beside WORLD's."""
    made = WORLD.split("---")[1].replace("cart", name).replace(f"labels: {{app: {name}}}", f"labels: {{app: {name}{labels}}}")
    made = made.replace("spec: {containers", f"spec: {{serviceAccountName: {name}, containers")
    return "---" + made.replace("metadata: {labels", f"metadata: {{annotations: {{{notes}}}, labels")


def selected(result: meshport.Result, namespace: str = "shop") -> list[tuple[Any, Any]]:
    """The selectors of a namespace's policies, with whether they let anybody in."""
    specs = [item.object["spec"] for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"]
    homes = [item.object["metadata"]["namespace"] for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"]
    return [(spec["endpointSelector"], spec["ingress"] != [{}]) for spec, home in zip(specs, homes, strict=True) if home == namespace]


STRICT = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}\n"


NOBODY = [
    {"fromEndpoints": [{"matchExpressions": [{"key": "k8s:io.kubernetes.pod.namespace", "operator": "Exists"}]}]},
    {
        "fromEntities": ["world", "remote-node", "kube-apiserver", "ingress", "init", "unmanaged"]
    },  # and not the node, whose kubelet probes the pods
]


def but(*names: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": list(names)}]}


def test_strict_holds_for_pods_that_are_not_known_beside_those_that_are_outside_the_mesh() -> None:
    outside = pod("old", ', sidecar.istio.io/inject: "false"')
    assert selected(convert(WORLD + outside + STRICT, "istio", "cilium")) == [(but("old"), True)]
    alone = WORLD.replace("labels: {app: cart}", 'labels: {app: cart, sidecar.istio.io/inject: "false"}')
    assert selected(convert(alone + STRICT, "istio", "cilium")) == [(but("cart"), True)]


def test_a_port_past_one_pods_proxy_is_not_open_at_pods_that_are_not_known() -> None:
    past = pod("old", notes='traffic.sidecar.istio.io/excludeInboundPorts: "9090"')
    assert sorted(map(str, selected(convert(WORLD + past + STRICT, "istio", "cilium")))) == sorted(
        map(str, [({"matchLabels": {"app": "old"}}, True), (but("old"), True)])
    )


def test_a_deny_of_everything_closes_pods_that_are_not_known_whoever_lets_them_be_called() -> None:
    refuses = DENIES.replace(
        "{action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/admin]}}]}]}",
        "{selector: {matchLabels: {app: cart, v: old}}, action: DENY, rules: [{}]}",
    )
    result = convert(WORLD + refuses, "istio", "cilium")
    assert selected(result) == [({"matchLabels": {"app": "cart", "v": "old"}}, False)]
    made = convert(WORLD + pod("x", ", v: old") + STRICT + refuses, "istio", "cilium")  # no one label keeps them apart from both
    closed = next(item.object["spec"] for item in made.manifests if item.object["metadata"]["name"] == "no-admin")
    assert closed["ingressDeny"] == NOBODY


def test_a_policy_of_the_mesh_holds_where_the_bundle_shows_other_pods_alone() -> None:
    other = pod("front").replace("namespace: shop", "namespace: ops")
    admits = "{selector: {matchLabels: {app: cart}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}"
    result = convert(WORLD + EMPTY + other + STRICT + of_mesh(admits), "istio", "cilium")
    assert sorted(selected(result, "ops"), key=str) == [(but("cart"), True), ({"matchLabels": {"app": "cart"}}, True)]
    assert not [
        item for item in meshport.lint(meshport.load_objects([item.object for item in result.manifests])) if item.severity != "info"
    ]


def test_what_closes_pods_of_several_ports_closes_those_that_are_not_known() -> None:
    """Two workloads whose ports speak otherwise get a policy each, by their labels."""
    service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: NAME, namespace: shop}\nspec: {selector: {app: NAME}, ports: [{name: KIND, port: 80, targetPort: 8080}]}\n"
    speak = service.replace("NAME", "cart").replace("KIND", "http") + service.replace("NAME", "queue").replace("KIND", "tcp")
    reads = of_mesh("{rules: [{to: [{operation: {methods: [GET]}}]}]}").replace("istio-system", "shop")
    found = selected(convert(WORLD + pod("queue") + speak + reads, "istio", "cilium"))
    assert (but("cart", "queue"), False) in found


def test_under_disable_nobody_has_a_name_to_be_let_in_by() -> None:
    """`web` refuses everybody: its sidecar takes plaintext alone. A policy for unknown pods of the namespace must not let anybody in there."""
    pods = WORLD.replace("app: cart}}, spec", "app: cart, v: v2}}, spec") + "---" + WORLD.split("---")[1].replace("cart", "web")
    modes = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: mesh, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: cart, namespace: shop}
spec: {selector: {matchLabels: {app: cart}}, mtls: {mode: PERMISSIVE}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: by-name, namespace: shop}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}
"""
    result = convert(pods + modes, "istio", "cilium")
    assert result.verification.verdict == "equivalent" and not {"MP900", "MP904"} & {finding.code for finding in result.findings}


def test_a_deny_of_which_ztunnel_holds_nothing_is_accounted_for_where_no_pods_are_shown() -> None:
    ambient = WORLD.replace("istio-injection: enabled", "istio.io/dataplane-mode: ambient")
    deny = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ghost, namespace: shop}
spec: {selector: {matchLabels: {app: ghost}}, action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}
"""
    result = convert(ambient + deny, "istio", "cilium")
    assert "MP242" in {finding.code for finding in result.findings} and "MP901" not in {finding.code for finding in result.findings}


def test_the_other_ports_of_pods_stay_closed_where_the_one_of_a_server_is_known_by_its_name_alone() -> None:
    """Any port that is let in whole might be the one that the name stands for: policies add up, and the Server's callers would be everybody."""
    text = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: cluster-unauthenticated}}
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: ghost, namespace: shop}
spec: {podSelector: {matchLabels: {app: ghost}}, port: http}
---
apiVersion: policy.linkerd.io/v1alpha1
kind: AuthorizationPolicy
metadata: {name: ghost, namespace: shop}
spec:
  targetRef: {group: policy.linkerd.io, kind: Server, name: ghost}
  requiredAuthenticationRefs: [{kind: ServiceAccount, name: web}]
"""
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="cilium", target_version="1.15")
    policies = [item.object for item in result.manifests if item.object["kind"] == "CiliumNetworkPolicy"]
    chosen = [item["spec"] for item in policies if item["spec"]["endpointSelector"] == {"matchLabels": {"app": "ghost"}}]
    opened = {port["port"] for spec in chosen for rule in spec["ingress"] for entry in rule.get("toPorts", ()) for port in entry["ports"]}
    assert opened == {"http"}
    assert [place.workload for item in result.findings if item.code == "MP291" for place in item.affects] == ["app=ghost"]


CLOSED = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed, namespace: shop}
spec: {}
"""


@pytest.mark.parametrize("others", ["", CLOSED])
def test_who_is_named_where_mtls_is_disabled_is_said_to_add_nothing(others: str) -> None:
    """Nobody shows a name there: the pods are closed, by an object of their own or by the namespace's, and no leaf is lost unsaid."""
    plain = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: plain, namespace: shop}
spec: {mtls: {mode: DISABLE}}
"""
    policy = ADMITS.split("  - {from")[0] + "  - {from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}\n"
    result = convert(WORLD + plain + policy + others, "istio", "cilium")
    codes = {finding.code for finding in result.findings}
    assert "MP200" in codes and not {"MP900", "MP901", "MP904"} & codes
    name = "closed" if others else "ghost"
    assert [item.object["spec"]["ingress"] for item in result.manifests if item.object["metadata"]["name"] == name] == [[{}]]
