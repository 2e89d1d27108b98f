"""A cutover plan reads like what a person would do: servers before callers, strictness last, removals after the sign-off, and a way back from each step."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

import meshport
from meshport.cli.run import run
from meshport.observe.metrics import metrics
from meshport.observe.promql import parse_promql
from meshport.report.planned import Plan, Step
from meshport.report.schemas import plan as schema

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "corpus"


def planned(folder: str, target: str, **options: Any) -> Plan:
    return meshport.plan(meshport.load(str(CORPUS / folder)), target=target, **options)


def step(plan: Plan, words: str) -> Step:
    return next(one for one in plan.steps if words in one.title)


def typed(one: Step) -> list[str]:
    return [command.run for command in one.commands if command.run]


def workload(name: str, calls: str = "", *, namespace: str = "shop") -> str:
    rule = f"""
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  rules: [{{from: [{{source: {{principals: [{calls}]}}}}]}}]
"""
    return f"""
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{serviceAccountName: {name}, containers: [{{name: main, ports: [{{containerPort: 8080}}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
{rule if calls else ""}"""


def namespace(name: str) -> str:
    return f"---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{istio-injection: enabled}}}}\n"


STRICT = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
"""
CHAIN = (
    namespace("shop") + namespace("money") + workload("web")
    + workload("pay", "cluster.local/ns/shop/sa/web", namespace="money") + STRICT
)  # fmt: skip
CIRCLE = (
    namespace("shop") + namespace("money") + workload("web", "cluster.local/ns/money/sa/pay")
    + workload("pay", "cluster.local/ns/shop/sa/web", namespace="money") + STRICT
)  # fmt: skip


def of(text: str, target: str = "linkerd", **options: Any) -> Plan:
    return meshport.plan(meshport.load_text(text), source="istio", target=target, **options)


# -- the example


@pytest.fixture(scope="module")
def shop() -> Plan:
    return planned("ecommerce/istio", "linkerd")


def test_phases_come_in_their_order(shop: Plan) -> None:
    phases = [one.phase for one in shop.steps]
    assert phases == ["prepare", "install", "overlap", "move", "move", "enforce", "strict", "sign-off", "clean-up", "clean-up", "clean-up"]


def test_servers_restart_before_their_callers(shop: Plan) -> None:
    restarts = [line for line in typed(step(shop, "move to linkerd")) if "rollout restart" in line]
    at = {
        name: next(number for number, line in enumerate(restarts) if f"/{name} " in line) for name in ("payment", "checkout-v1", "frontend")
    }
    assert at["payment"] < at["checkout-v1"] < at["frontend"]


def test_servers_admit_and_log_until_their_callers_are_there(shop: Plan) -> None:
    policies = {
        one.title: item.object["spec"]["accessPolicy"] for one in shop.steps for item in one.manifests if item.object["kind"] == "Server"
    }
    assert list(policies.values()) == ["audit", "deny"]
    enforce = step(shop, "rules in force")
    assert 'authz_name="audit"' in enforce.first[0].run


def test_clients_do_not_insist_on_mutual_tls_towards_the_other_mesh(shop: Plan) -> None:
    changed = {item.object["kind"]: item.object["spec"] for item in step(shop, "callers of both meshes").manifests}
    assert changed["DestinationRule"] == {"host": "*.production.svc.cluster.local"}
    assert changed["PeerAuthentication"] == {"mtls": {"mode": "PERMISSIVE"}}


def test_the_windows_name_the_edges_and_their_end(shop: Plan) -> None:
    move = step(shop, "move to linkerd")
    open_rules = next(window for window in move.windows if window.what == "rules not enforced")
    assert [(edge.destination, edge.port) for edge in open_rules.edges] == [
        ("production/checkout-v1", 8080), ("production/checkout-v2", 8080), ("production/payment", 8080),
    ]  # fmt: skip
    assert open_rules.until == step(shop, "rules in force").number


def test_states_say_what_was_found(shop: Plan) -> None:
    def verdicts(words: str) -> list[tuple[str, str]]:
        state = step(shop, words).state
        assert state is not None
        return [(half.mesh, half.verdict) for half in state.halves]

    assert verdicts("callers of both meshes") == [("istio", "equivalent")]
    assert verdicts("move to linkerd") == [("linkerd", "changed")]  # audit lets everybody in, other ports are closed
    assert verdicts("rules in force") == [("linkerd", "narrowed")]
    assert step(shop, "Sign off").state is None


def test_errors_are_decided_first(shop: Plan) -> None:
    assert [item.code for item in shop.decisions] == ["MP214", "MP704"]
    assert "production/shop have to be handed" in step(shop, "Uninstall istio").why


def test_a_gateway_of_the_source_gets_no_second_proxy(shop: Plan) -> None:
    gateway = next(item.object for item in step(shop, "move to linkerd").manifests if item.object["kind"] == "Gateway")
    assert gateway["spec"]["infrastructure"] == {"annotations": {"linkerd.io/inject": "disabled"}}


def test_policies_that_guard_a_gateway_of_the_source_stay_as_long_as_it(shop: Plan) -> None:
    gone = {one.title: {item.object["metadata"]["name"] for item in one.manifests} for one in shop.steps if one.phase == "clean-up"}
    assert "deny-all" not in gone["Remove what istio leaves in production"]
    assert "deny-all" in gone["Remove the rest of what istio leaves"]


def test_the_sign_off_says_which_calls_to_try(shop: Plan) -> None:
    notes = [command.note for command in step(shop, "Sign off production").commands]
    assert any("payment:8080 lets in" in note and 'sa/checkout: POST exact "/charge"' in note for note in notes)


def test_the_example_is_as_reviewed(shop: Plan) -> None:
    import os

    folder = CORPUS / "ecommerce" / "plan-linkerd"
    files = shop.files()
    if os.environ.get("UPDATE_EXPECTED") == "1":
        shop.write(str(folder), force=True)
    there = {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file() and path.name != ".meshport"
    }
    assert there == files, "read the change as if you were to follow it, then UPDATE_EXPECTED=1"


def test_the_json_follows_its_schema(shop: Plan) -> None:
    jsonschema_rs.validator_for(schema()).validate(json.loads(shop.files()["plan.json"]))


# -- order and exceptions


def test_the_server_s_namespace_moves_before_its_callers() -> None:
    found = of(CHAIN)
    assert step(found, "money: move").number < step(found, "shop: move").number < step(found, "money: rules in force").number


def test_while_one_end_has_moved_the_call_is_plaintext() -> None:
    found = of(CHAIN)
    window = next(one for one in step(found, "money: move").windows if one.what == "plaintext sent")
    assert [(edge.source, edge.destination, edge.port) for edge in window.edges] == [("shop/web", "money/pay", 8080)]
    assert window.until == step(found, "shop: move").number


def test_calls_in_a_circle_get_an_exception_that_ends_with_the_server_s_move() -> None:
    found = of(CIRCLE, pod_cidr="10.244.0.0/16")
    overlap, last = step(found, "callers of both meshes"), step(found, "shop: move")
    made = next(item.object for item in overlap.manifests if item.object["metadata"]["name"] == "meshport-overlap-web-8080")
    assert made["spec"]["rules"] == [{"from": [{"source": {"ipBlocks": ["10.244.0.0/16"]}}], "to": [{"operation": {"ports": ["8080"]}}]}]
    assert [item.object["metadata"]["name"] for item in last.manifests if item.change == "delete"] == ["meshport-overlap-web-8080"]
    window = next(one for one in overlap.windows if one.what == "exception")
    assert (window.edges[0].destination, window.edges[0].port, window.until) == ("shop/web", 8080, last.number)


def test_service_by_service_pods_say_it_themselves_until_the_namespace_does() -> None:
    found = planned("ecommerce/istio", "linkerd", strategy="service")
    template = step(found, "production/payment: move").manifests[0].object["spec"]["template"]["metadata"]
    assert template["annotations"]["linkerd.io/inject"] == "enabled"
    assert template["labels"]["sidecar.istio.io/inject"] == "false"
    whole = step(found, "the namespace as a whole")
    again = next(item.object for item in whole.manifests if item.object["metadata"]["name"] == "payment")
    assert "annotations" not in again["spec"]["template"]["metadata"]
    state = step(found, "production/payment: move").state
    assert state is not None
    assert [(half.mesh, half.workloads) for half in state.halves] == [("istio", 3), ("linkerd", 4)]


def test_a_new_cluster_has_no_windows_and_the_traffic_comes_last() -> None:
    found = planned("ecommerce/istio", "linkerd", strategy="cluster")
    assert [window for one in found.steps for window in one.windows] == []
    assert not any(item.object["kind"] in ("VirtualService", "PeerAuthentication") for one in found.steps for item in one.manifests)
    assert [one.title[:3] for one in found.steps if "new cluster" in one.title and one.phase == "enforce"] == ["10 ", "50 ", "100"]


# -- pairs


def test_ambient_waypoints_are_there_before_the_pods_and_callers_move_first() -> None:
    found = planned("ecommerce/istio", "istio", data_plane="ambient")
    waypoint, move = step(found, "a waypoint"), step(found, "from sidecars to ambient")
    assert waypoint.number < move.number
    restarts = [line for line in typed(move) if "rollout restart" in line]
    assert next(n for n, line in enumerate(restarts) if "/frontend " in line) < next(
        n for n, line in enumerate(restarts) if "/payment " in line
    )
    copies = {item.object["metadata"]["name"] for item in move.manifests if item.interim}
    assert copies == {"allow-checkout-to-payment-overlap", "allow-frontend-to-checkout-overlap"}
    assert {item.object["metadata"]["name"] for item in step(found, "form of the rules goes").manifests} == copies


def test_cilium_enforces_as_soon_as_the_sidecars_are_gone() -> None:
    found = planned("ecommerce/istio", "cilium")
    assert step(found, "rules in force").number == step(found, "move to cilium").number + 1
    assert "cilium connectivity test" in [check.run for check in step(found, "Install cilium").checks]


def test_cilium_s_rules_by_label_and_port_hold_before_the_sidecars_go() -> None:
    found = planned("ecommerce/istio", "cilium")
    early = {item.object["metadata"]["name"]: item for item in step(found, "before any of its pods").manifests if item.interim}
    assert set(early) == {"deny-all", "allow-checkout-to-payment", "allow-frontend-to-checkout"}
    assert "rules" not in early["allow-checkout-to-payment"].object["spec"]["ingress"][0]["toPorts"][0]
    moved = step(found, "move to cilium").state
    assert moved is not None
    assert all("outside the mesh" not in text for half in moved.halves for text in half.differences)


def test_cilium_leaves_room_for_a_mesh_beside_it() -> None:
    found = planned("real-time-analytics/cilium", "linkerd")
    assert "cilium config set cni-exclusive false" in typed(found.steps[0])
    assert "cilium config set bpf-lb-sock-hostns-only true" in typed(found.steps[0])


def test_deleting_a_service_profile_is_the_switch_and_comes_after_the_sign_off() -> None:
    found = planned("saas-api/linkerd", "linkerd")
    gone = next(
        one for one in found.steps if any(item.change == "delete" and item.object["kind"] == "ServiceProfile" for item in one.manifests)
    )
    assert gone.number > step(found, "Sign off").number
    assert "This is the switch" in gone.why
    assert any(run.startswith("kubectl apply -f rollback/") for run in (command.run for command in gone.back))


def test_without_namespaces_the_conversion_s_commands_are_steps() -> None:
    found = planned("ecommerce/istio-as-published", "linkerd")
    move = step(found, "production: move")
    assert any(line.startswith("kubectl annotate namespace production linkerd.io/inject=enabled") for line in typed(move))
    assert any(command.run.startswith("kubectl annotate namespace production linkerd.io/inject-") for command in move.back)
    assert "shows no workload" in (move.state.says if move.state else "")


# -- words


def test_what_is_no_name_is_in_no_command() -> None:
    found = of(CHAIN.replace("name: pay,", 'name: "pay; rm -rf ~ `id` <b>|x",'))
    for one in found.steps:
        for command in [*one.commands, *one.back]:
            lexer = shlex.shlex(command.run, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            assert ";" not in list(lexer), command.run
    assert not any("rm -rf" in run for one in found.steps for run in typed(one))
    assert "<b>" not in found.markdown()
    assert all(part not in ("..", "") and "/" not in part for name in found.files() for part in name.split("/"))


@pytest.mark.parametrize(
    ("folder", "target"), [("ecommerce/istio", "linkerd"), ("saas-api/linkerd", "istio"), ("ecommerce/istio", "cilium")]
)
def test_queries_are_promql_over_metrics_that_a_mesh_exports(folder: str, target: str) -> None:
    queries = {check.run for one in planned(folder, target).steps for check in (*one.checks, *one.first) if check.kind == "query"}
    assert queries
    known = {name for mesh in ("istio", "linkerd", "cilium") for name in metrics().inventory[mesh]}
    for text in queries:
        assert set(parse_promql(text).metrics) <= known, text


# -- the command


def test_the_command_writes_a_folder_that_is_followed_file_by_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "plan"
    assert run(["plan", str(CORPUS / "ecommerce" / "istio"), "--to", "linkerd", "-o", str(out)]) == 1  # two errors to decide about
    named = {
        word
        for line in (out / "plan.md").read_text().splitlines()
        if line.startswith("kubectl")
        for word in shlex.split(line)
        if word.endswith(".yaml")
    }
    assert named
    assert [name for name in named if not name.startswith("http") and not (out / name).is_file()] == []
    capsys.readouterr()
    assert run(["plan", str(CORPUS / "ecommerce" / "istio"), "--to", "linkerd", "-o", str(out), "--fail-on", "never"]) == 0


def test_json_is_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    run(["plan", str(CORPUS / "minimal-mtls" / "istio"), "--to", "linkerd", "--format", "json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema"] == "meshport/plan/v1"
    assert [one["number"] for one in printed["steps"]] == list(range(1, len(printed["steps"]) + 1))


def test_stopped_there_are_no_steps(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", str(CORPUS / "ecommerce" / "istio"), "--to", "linkerd", "--on-loss", "stop"]) == 1
    assert "## Step" not in capsys.readouterr().out


def test_an_unknown_strategy_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", str(CORPUS / "ecommerce" / "istio"), "--to", "linkerd", "--strategy", "pod"]) == 2
    assert "namespace, service, cluster" in capsys.readouterr().err


LINKERD = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, annotations: {linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: all-authenticated}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 8080}]}]}
"""


def test_linkerd_s_authenticated_default_is_opened_by_new_pods_and_istio_is_strict_last() -> None:
    found = meshport.plan(meshport.load_text(LINKERD + workload("web")), source="linkerd", target="istio")
    overlap, strict = step(found, "callers of both meshes"), step(found, "Strict again")
    assert overlap.manifests[0].object["metadata"]["annotations"]["config.linkerd.io/default-inbound-policy"] == "all-unauthenticated"
    assert "kubectl rollout restart deployment/web -n shop" in typed(overlap)
    assert [item.object["spec"]["mtls"]["mode"] for item in strict.manifests if item.object["kind"] == "PeerAuthentication"] == ["STRICT"]
    assert strict.number > step(found, "shop: move").number
    moved = next(window for window in step(found, "shop: move").windows if window.what == "plaintext accepted")
    assert moved.until == strict.number


def test_network_policies_that_may_shut_the_mesh_s_own_port_are_looked_at() -> None:
    found = of(CHAIN + LINKERD.partition("---")[2])
    asked = next(check for check in found.steps[0].checks if "networkpolicy" in check.run)
    assert "closed -n shop" in asked.run
    assert "TCP 4143" in asked.expect


def test_what_no_cluster_takes_is_in_no_folder_of_the_plan() -> None:
    text = (CORPUS / "saas-api/linkerd-as-published/mesh.yaml").read_text(encoding="utf-8")
    assert "policy.linkerd.io/v1beta2\nkind: ServerAuthorization" in text  # served by no release: read as v1beta1
    refused = "\n---\napiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: no-port, namespace: saas-api}\nspec: {podSelector: {}}\n"
    found = meshport.plan(meshport.load_text(text + refused), source="linkerd", target="istio")
    objects = [manifest.object for step in found.steps for manifest in (*step.manifests, *step.previous)]
    assert {item["apiVersion"] for item in objects if item["kind"] == "ServerAuthorization"} == {"policy.linkerd.io/v1beta1"}
    assert "no-port" not in {item["metadata"]["name"] for item in objects}


def test_objects_of_the_cluster_name_no_namespace_in_a_new_cluster() -> None:
    text = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
"""
    found = meshport.plan(meshport.load_text(text), strategy="cluster", source="istio", target="linkerd")
    roles = [item.object["metadata"] for step in found.steps for item in step.manifests if item.object["kind"] == "ClusterRole"]
    assert roles == [{"name": "reader"}]


ASSETS = """
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: errors, namespace: shop}
spec:
  groups:
  - name: a
    rules:
    - {alert: Errors, expr: 'sum(rate(istio_requests_total{reporter="destination",response_code=~"5.."}[5m])) > 1'}
---
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: web, namespace: shop}
spec: {provider: istio, targetRef: {kind: Deployment, name: web}, analysis: {metrics: [{name: request-success-rate}]}}
"""


@pytest.mark.parametrize("target", ["linkerd", "cilium"])
def test_what_asks_metrics_goes_over_when_all_has_moved_and_before_the_source_goes(target: str) -> None:
    made = meshport.plan(meshport.load_text(CHAIN + ASSETS), target=target)
    asks = step(made, "Alerts, dashboards and gates")
    kinds = {each.object["kind"] for each in asks.manifests}
    assert kinds == {"PrometheusRule", "Canary", "MetricTemplate"}
    assert not any(
        each.object["kind"] in kinds for one in made.steps if one is not asks for each in one.manifests if each.change != "delete"
    )
    assert max(one.number for one in made.steps if ": move to" in one.title) < asks.number < step(made, "Sign off").number
    assert asks.first and asks.first[0].kind == "query"
    before = [each.object["kind"] for each in asks.previous]
    assert sorted(before) == ["Canary", "PrometheusRule"]
