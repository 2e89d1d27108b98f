"""The audit answers what platform lead and auditor ask: the work, access and encryption before and after, and who accepted what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from judge.generate_access import wide_istio_bundle, wide_linkerd_bundle
from judge.generate_cilium import random_cilium_bundle

import meshport
from meshport.cli.run import run
from meshport.report.audited import Audit
from meshport.report.schemas import report as schema

CORPUS = Path(__file__).parents[2] / "corpus"


def audit(text: str, **options: Any) -> Audit:
    return meshport.audit(meshport.load_text(text), **options).audit


WORLD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: legacy}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: main, ports: [{containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  template:
    metadata: {labels: {app: users}}
    spec: {serviceAccountName: users, containers: [{name: main, ports: [{containerPort: 8080}, {containerPort: 9090}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: batch, namespace: legacy}
spec:
  selector: {matchLabels: {app: batch}}
  template:
    metadata: {labels: {app: batch}}
    spec: {serviceAccountName: batch, containers: [{name: main, ports: [{containerPort: 8080}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: users, namespace: shop}
spec:
  selector: {matchLabels: {app: users}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
    to: [{operation: {ports: ["8080"], methods: [GET]}}]
"""
STRICT = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
"""


def states(found: Audit) -> dict[str, tuple[str, str]]:
    return {f"{item.namespace}/{item.workload}": (item.before.state, item.after.state) for item in found.encryption.workloads}


def test_a_workload_whose_rules_all_ask_for_an_identity_is_enforced_without_strict() -> None:
    found = audit(WORLD, target="linkerd")
    assert states(found) == {
        "legacy/batch": ("out of mesh", "out of mesh"),
        "shop/users": ("enforced", "enforced"),
        "shop/web": ("opportunistic", "opportunistic"),
    }
    web = next(item for item in found.encryption.workloads if item.workload == "web")
    assert web.before.reason == "nothing refuses plaintext"
    users = next(item for item in found.encryption.workloads if item.workload == "users")
    assert users.before.reason == "every rule asks for an identity"
    assert [(spot.file, spot.path) for spot in users.before.spots][-1][1].startswith("metadata.")


def test_strict_is_enforced_in_linkerd_and_only_opportunistic_with_wireguard() -> None:
    linkerd, cilium = audit(WORLD + STRICT, target="linkerd"), audit(WORLD + STRICT, target="cilium")
    assert states(linkerd)["shop/web"] == ("enforced", "enforced")
    assert linkerd.encryption.weaker == 0
    assert states(cilium)["shop/web"] == ("enforced", "opportunistic")
    web = next(item for item in cilium.encryption.workloads if item.workload == "web")
    assert web.outcome == "weaker"
    assert "WireGuard encrypts between nodes" in web.after.reason
    assert cilium.encryption.weaker == 2  # batch was never in the mesh


def test_a_bundle_without_namespaces_leaves_membership_unknown() -> None:
    text = "---".join(part for part in WORLD.split("---") if "kind: Namespace" not in part and "name: batch" not in part)
    found = audit(text, target="linkerd")
    assert states(found)["shop/web"][0] == "unknown"
    assert "no Namespace shop" in next(item for item in found.encryption.workloads if item.workload == "web").before.reason


CILIUM = """
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: users, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: users}}
  ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]
"""


def test_what_cilium_encrypts_is_unknown_until_its_installation_is_shown() -> None:
    world = WORLD[: WORLD.index("---\napiVersion: security.istio.io")] + CILIUM
    assert states(audit(world, source="cilium", target="istio"))["shop/web"][0] == "unknown"
    values = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\ndata: {enable-wireguard: 'true'}\n---"
    )
    assert states(audit(values + world, source="cilium", target="istio"))["shop/web"][0] == "opportunistic"


def test_the_matrix_says_who_may_send_what_and_which_ports_change() -> None:
    found = audit(WORLD, target="linkerd")
    row = next(row for row in found.access.rows if any(door.workload == "users" and door.port == 8080 for door in row.doors))
    assert row.outcome == "same"
    assert row.before == row.after == {"cluster.local/ns/shop/sa/web": {"GET": "any path"}}
    assert (found.access.widened, found.access.undecided) == (0, 0)
    counted = found.access.narrowed + found.access.changed + found.access.same
    assert counted == sum(len(row.doors) for row in found.access.rows)


def test_pods_that_nobody_shows_count_too() -> None:
    policy = WORLD[WORLD.index("apiVersion: security.istio.io") :]
    found = audit(policy, target="linkerd")
    rows = [(row.outcome, [(door.workload, door.port) for door in row.doors], row.reason) for row in found.access.rows]
    assert ("narrowed", [("app=another", None)], "pods that the bundle does not show") in rows
    assert "app=users" not in str(rows)  # whose port has a Server with what the policy says
    assert found.access.narrowed >= 1
    assert sum((found.access.same, found.access.widened)) == 0
    assert all(":61000" not in text for row in found.access.rows for text in row.lost)


def test_where_no_workload_is_shown_nothing_is_called_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mtls.yaml"
    file.write_text(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: shop}\nspec: {mtls: {mode: PERMISSIVE}}\n"
    )
    assert run(["audit", str(file), "--to", "linkerd", "--fail-on", "never"]) == 0
    out = capsys.readouterr().out
    assert "nothing could be compared: the bundle shows no workload" in out
    assert "not known: the bundle shows no workload" in out


def test_a_selection_is_shown_where_it_has_a_say() -> None:
    bundle = meshport.load(str(CORPUS / "ecommerce/istio"))
    found = meshport.audit(bundle, target="linkerd", select=("AuthorizationPolicy/production/allow-checkout-to-payment",)).audit.access
    assert {door.workload for row in found.rows for door in row.doors} == {"payment"}
    assert found.narrowed == 1
    routes = meshport.audit(bundle, target="linkerd", select=("VirtualService/production/checkout",)).audit.access
    assert (routes.rows, routes.edges) == ([], [])


def test_edges_are_who_may_call_whom() -> None:
    found = audit(WORLD, target="linkerd")
    to_users = {(edge.source, edge.port, edge.before, edge.after) for edge in found.access.edges if edge.destination == "shop/users"}
    assert ("shop/web", 8080, "some", "some") in to_users
    assert not [edge for edge in to_users if edge[0] == "outside the mesh"]
    to_web = {(edge.source, edge.before, edge.encrypted_before) for edge in found.access.edges if edge.destination == "shop/web"}
    assert to_web == {("outside the mesh", "all", False), ("any mesh identity", "all", True)}


def test_callers_outside_the_mesh_are_listed_with_what_they_lose() -> None:
    open_ = audit(WORLD, target="linkerd").access.strangers
    assert [(item.workload, item.before, item.after, item.lost) for item in open_] == [("legacy/batch", 1, 1, [])]  # web takes everybody
    strict = audit(WORLD + STRICT, target="linkerd").access.strangers
    assert [(item.workload, item.before, item.after) for item in strict] == [("legacy/batch", 0, 0)]


def test_an_edge_says_what_becomes_of_some_requests() -> None:
    claim = """
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
    to: [{operation: {ports: ["8080"], methods: [POST]}}]
    when: [{key: "request.auth.claims[group]", values: [staff]}]
"""
    found = audit(WORLD.rstrip() + claim, target="linkerd")
    edges = {
        (edge.source, edge.port): (edge.before, edge.after, edge.outcome) for edge in found.access.edges if edge.destination == "shop/users"
    }
    assert edges["shop/web", 8080] == ("some", "some", "narrowed")  # GET stays, POST cannot be said


def test_the_kubelets_probes_are_no_edges() -> None:
    probe = "containers: [{name: main, readinessProbe: {httpGet: {path: /ready, port: 8080}}, ports: [{containerPort: 8080}, {containerPort: 9090}]}]"
    text = WORLD.replace("containers: [{name: main, ports: [{containerPort: 8080}, {containerPort: 9090}]}]", probe)
    assert text != WORLD
    found = audit(text, target="linkerd")
    row = next(row for row in found.access.rows if any(door.workload == "users" and door.port == 8080 for door in row.doors))
    assert row.reason == "but for GET /ready, which a declared probe of the kubelet asks for"
    edges = [(edge.source, edge.outcome) for edge in found.access.edges if edge.destination == "shop/users" and edge.port == 8080]
    assert edges == [("shop/web", "same")]


def test_a_pod_on_the_hosts_network_has_no_labels_to_cilium() -> None:
    agent = """
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: shop}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {hostNetwork: true, serviceAccountName: web, containers: [{name: main}]}
"""
    found = audit(WORLD + agent, target="cilium")
    assert not [edge for edge in found.access.edges if edge.source == "shop/agent" and edge.destination == "shop/users"]


@pytest.mark.parametrize("target", ["istio", "linkerd"])
def test_a_pod_on_the_hosts_network_has_no_labels_from_cilium(target: str) -> None:
    """The audit and the plan ended with an exception."""
    text = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: shop}
spec:
  selector: {matchLabels: {app: agent}}
  template: {metadata: {labels: {app: agent}}, spec: {hostNetwork: true, containers: [{name: main, ports: [{containerPort: 9100}]}]}}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: users, namespace: shop}
spec: {endpointSelector: {matchLabels: {app: users}}, ingress: [{fromEntities: [host]}]}
---
"""
    found = audit(text + WORLD.replace("labels: {istio-injection: enabled}", "labels: {team: a}"), source="cilium", target=target)
    assert {edge.after for edge in found.access.edges if edge.source == "shop/agent" and edge.destination == "shop/users"} <= {"all"}


@pytest.mark.parametrize("on_loss", ["stricter", "looser"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("make", "source", "target"),
    [
        (wide_istio_bundle, "istio", "linkerd"),
        (wide_istio_bundle, "istio", "cilium"),
        (wide_linkerd_bundle, "linkerd", "istio"),
        (wide_linkerd_bundle, "linkerd", "cilium"),
        (random_cilium_bundle, "cilium", "istio"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_edge_is_widened_only_where_the_behavioural_check_says_so(make: Any, source: str, target: str, seed: int, on_loss: str) -> None:
    found = meshport.audit(meshport.load_objects(make(seed)), source=source, target=target, on_loss=on_loss).audit
    doors = {(f"{door.namespace}/{door.workload}", door.port): row.outcome for row in found.access.rows for door in row.doors}
    for edge in found.access.edges:
        door = doors.get((edge.destination, edge.port), "same")
        if edge.outcome in ("widened", "changed"):
            assert door in ("widened", "changed", "undecided"), edge
        if edge.outcome == "narrowed" and edge.encrypted_before:
            assert door in ("narrowed", "changed", "undecided"), edge


def test_a_widening_that_was_asked_for_stands_on_top() -> None:
    text = (
        WORLD
        + """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  action: DENY
  rules:
  - when: [{key: "request.auth.claims[group]", values: [guest]}]
"""
    )
    found = meshport.audit(meshport.load_text(text), target="linkerd", on_loss="looser")
    widened = [row for row in found.audit.access.rows if row.outcome in ("widened", "changed")]
    assert found.audit.access.widened == sum(len(row.doors) for row in widened) > 0
    assert found.audit.access.rows[0] is widened[0]
    assert widened[0].gained
    assert all(found.findings[number].severity == "error" for number in widened[0].findings)


def test_every_resource_is_counted_once() -> None:
    found = meshport.audit(meshport.load(str(CORPUS / "ecommerce/istio")), target="linkerd")
    effort = found.audit.effort
    whole = effort.automatic + effort.review + effort.manual
    assert whole == sum(item.resources for item in found.audit.namespaces)
    for item in (*found.audit.namespaces, *found.audit.patterns):
        assert item.resources == item.effort.automatic + item.effort.review + item.effort.manual
    names = {item.pattern for item in found.audit.patterns}
    assert {"authorization", "canary", "circuit-breaker", "mtls"} <= names
    assert names == set(found.readiness.by_pattern if found.readiness is not None else ())


def test_waivers_are_the_register_of_exceptions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text(
        "- {code: MP130, owner: sec@example.com, reason: nodes are trusted, expires: 2099-01-01}\n"
        "- {code: MP214, owner: net@example.com, reason: ingress moves first, expires: 2020-01-01}\n"
        "- {code: MP721, owner: net@example.com, reason: nothing here, expires: 2099-01-01}\n"
    )
    report = tmp_path / "audit.json"
    code = run(["audit", str(CORPUS / "ecommerce/istio"), "--to", "cilium", "--waivers", str(waivers), "--report", str(report)])
    assert code == 1  # an expired waiver is an error, and covers nothing
    found = json.loads(report.read_text())
    jsonschema_rs.validator_for(schema()).validate(found)
    states = {item["code"]: (item["state"], len(item["findings"])) for item in found["audit"]["exceptions"]}
    assert states == {"MP130": ("active", 1), "MP214": ("expired", 0), "MP721": ("unused", 0)}
    assert "Exceptions" in capsys.readouterr().out


def test_the_terminal_says_the_answers_first_and_writes_no_manifest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", str(CORPUS / "ecommerce/istio"), "--to", "linkerd", "--fail-on", "never"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("istio 1.")
    assert out[1].startswith("Access      widened: 0, undecided: 0; narrowed: 3")
    assert out[2] == "Encryption  enforced at 7 of 7 workloads before, at 7 after; weaker at 0"
    assert not any(line.startswith("apiVersion:") for line in out)


def test_equal_input_gives_equal_bytes_and_the_day_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def once() -> str:
        return json.dumps(meshport.audit(meshport.load(str(CORPUS / "saas-api/linkerd")), target="istio").model_dump(mode="json"))

    first = once()
    assert first == once()
    assert json.loads(first)["audit"]["provenance"]["date"] is None
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795824000")
    assert json.loads(once())["audit"]["provenance"]["date"] == "2026-11-28"
