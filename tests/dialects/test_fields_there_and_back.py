"""Single fields of routing and resilience: what does nothing is no loss, and what a target refuses is not written."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decisions.decision_helper import convert, namespace, said, service, shop, spec, thing, workload, written

OTHERS = ("linkerd", "cilium", "gateway-api")
MIRROR = "mirror: {host: old}, mirrorPercentage: {value: 0}"
FAULTS = ("fault: {abort: {httpStatus: 503, percentage: {value: 0}}}", "fault: {delay: {fixedDelay: 2s}}", MIRROR)
ALL = "route: [{destination: {host: users}}]"


def virtual_service(*rules: str) -> str:
    text = namespace() + service() + workload() + service("old") + workload("old")
    return text + thing("networking.istio.io/v1", "VirtualService", f"{{hosts: [users], http: [{', '.join(rules)}]}}", "users")


def ledger(result: Any, path: str) -> list[str]:
    return [line.disposition for line in result.ledger if line.path.endswith(path)]


@pytest.mark.parametrize("target", OTHERS)
@pytest.mark.parametrize("idle", FAULTS)
def test_what_happens_to_no_request_is_no_loss(target: str, idle: str) -> None:
    """A copy and a failure of 0 %, and a delay without a share, which is 0 % to Istio. The share decides; with 0 % the rest decides nothing."""
    result = convert(virtual_service(f"{{{idle}, {ALL}}}"), "istio", target)
    assert not {"MP354", "MP355"} & {item.code for item in result.findings}
    assert "RequestMirror" not in result.text()
    assert ledger(result, ".percentage.value") + ledger(result, "mirrorPercentage.value") in ([], ["translated"])
    assert {*ledger(result, "httpStatus"), *ledger(result, "fixedDelay"), *ledger(result, "mirror.host")} == {"irrelevant"}


@pytest.mark.parametrize("target", OTHERS)
def test_a_share_that_stands_keeps_its_finding(target: str) -> None:
    fault = "fault: {delay: {fixedDelay: 2s}, abort: {httpStatus: 503, percentage: {value: 0.5}}}"
    result = convert(virtual_service(f"{{{fault}, {ALL}}}"), "istio", target)
    found = [finding.message for finding in said(result, "MP355")]
    assert ["503 for 0.5 %" in text for text in found] == ([True] if target != "cilium" else [])  # whose route tables say it
    assert ledger(result, "fixedDelay") == ["irrelevant"]


@pytest.mark.parametrize("target", OTHERS)
def test_the_port_of_the_protocol_is_what_a_redirect_goes_to_anyway(target: str) -> None:
    redirect = "redirect: {scheme: https, derivePort: FROM_PROTOCOL_DEFAULT}"
    result = convert(virtual_service(f"{{match: [{{uri: {{exact: /a}}}}], {redirect}}}", f"{{{ALL}}}"), "istio", target)
    assert not said(result, "MP359")
    (rule, _) = spec(result, "HTTPRoute", "users")["rules"]
    assert rule["filters"][0]["requestRedirect"] == {"scheme": "https", "statusCode": 301}


@pytest.mark.parametrize("target", OTHERS)
def test_a_redirect_of_a_prefix_is_one_rule_for_each_match(target: str) -> None:
    """The API server refuses a rule that replaces a prefix and has more than one match."""
    matches = "match: [{uri: {prefix: /a/}}, {uri: {prefix: /c/}}, {headers: {x-old: {exact: '1'}}, uri: {prefix: /}}]"
    result = convert(virtual_service(f"{{{matches}, redirect: {{prefixRewrite: /b/}}}}", f"{{{ALL}}}"), "istio", target)
    rules = spec(result, "HTTPRoute", "users")["rules"]
    replacing = [rule for rule in rules if "filters" in rule]
    assert len(replacing) == 3
    assert all(len(rule["matches"]) == 1 for rule in replacing)


def test_a_rewrite_with_a_new_host_is_one_loss() -> None:
    """The rule is left out as a whole: nothing is said of requests that keep their host."""
    result = convert(
        virtual_service(f"{{match: [{{uri: {{prefix: /a}}}}], rewrite: {{uri: /b, authority: b.example}}, {ALL}}}"), "istio", "linkerd"
    )
    (finding,) = said(result, "MP351")
    assert finding.severity == "error"
    assert ledger(result, "rewrite.authority") == ["dropped"]


def test_a_new_path_by_an_expression_is_one_loss() -> None:
    rewrite = "rewrite: {uriRegexRewrite: {match: '/n/([0-9]+)', rewrite: '/m/\\1'}}"
    for target in OTHERS:
        result = convert(virtual_service(f"{{match: [{{uri: {{prefix: /n}}}}], {rewrite}, {ALL}}}"), "istio", target)
        assert len(said(result, "MP363" if target == "cilium" else "MP362")) == 1


TCP = "{parentRefs: [{group: core, kind: Service, name: users, port: 80}], rules: [{backendRefs: [{name: users, port: 80, weight: 1}, {name: old, port: 80, weight: 3}]}]}"


@pytest.mark.parametrize(
    ("name", "match"),
    [("http", None), ("https", None), ("tcp", [None]), ("''", [[{"port": 80}]])],
)
def test_a_tcproute_is_written_where_istio_would_ask_it(name: str, match: Any) -> None:
    """Istio asks `tcp` rules on ports that carry bytes by their name, and on one without a name where the rule says the port."""
    ports = "[{port: 80, targetPort: 8080}]" if name == "''" else f"[{{name: {name}, port: 80, targetPort: 8080}}]"
    text = namespace(mesh="linkerd") + service(ports=ports) + workload() + service("old", ports=ports) + workload("old")
    result = convert(text + thing("gateway.networking.k8s.io/v1alpha2", "TCPRoute", TCP, "users"), "linkerd", "istio")
    made = written(result, "VirtualService")
    if match is None:
        (finding,) = said(result, "MP306")
        assert "takes port 80 for HTTP or TLS" in finding.message
        assert not made
    else:
        assert not said(result, "MP306")
        assert [rule.get("match") for rule in made["users"]["spec"]["tcp"]] == match


def route(rules: str, notes: str = "{}") -> str:
    body = f"{{parentRefs: [{{group: core, kind: Service, name: users, port: 80}}], rules: {rules}}}"
    return thing("gateway.networking.k8s.io/v1", "HTTPRoute", body, "users", metadata=f", annotations: {notes}")


@pytest.mark.parametrize("target", ["istio", "cilium", "gateway-api"])
def test_annotations_of_a_route_that_linkerd_ignores_are_invalid_with_it(target: str) -> None:
    mirror = (
        "[{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: users, port: 80}}}], backendRefs: [{name: users, port: 80}]}]"
    )
    result = convert(shop("linkerd") + route(mirror, "{retry.linkerd.io/http: 5xx, timeout.linkerd.io/request: 2s}"), "linkerd", target)
    assert said(result, "MP315")
    assert ledger(result, '["retry.linkerd.io/http"]') + ledger(result, '["timeout.linkerd.io/request"]') == ["invalid", "invalid"]


@pytest.mark.parametrize("target", ["istio", "cilium", "gateway-api"])
def test_a_timeout_of_a_rule_that_answers_by_itself_is_none(target: str) -> None:
    rules = "[{matches: [{path: {type: Exact, value: /a}}], backendRefs: [{name: users, port: 80, weight: 0}]}, {backendRefs: [{name: users, port: 80}]}]"
    convert(shop("linkerd", notes="{timeout.linkerd.io/request: 3s}") + route(rules), "linkerd", target)


def test_a_profile_with_a_condition_that_is_turned_round_does_the_same_in_routes() -> None:
    """What is not /x is every other path, and the `*` of OPTIONS, which no route can ask for."""
    profile = "{routes: [{name: other, condition: {all: [{method: POST}, {not: {pathRegex: /x}}]}}]}"
    text = shop("linkerd") + thing("linkerd.io/v1alpha2", "ServiceProfile", profile, "users.shop.svc.cluster.local")
    for target in ("gateway-api", "istio"):
        convert(text, "linkerd", target)


def test_an_annotation_that_linkerd_does_not_know_is_no_setting() -> None:
    notes = "{balancer.alpha.linkerd.io/load-bias: 'true', balancer.example.com/size: 'small'}"
    assert not said(convert(shop("linkerd", notes=notes), "linkerd", "istio"), "MP949")
    convert(shop("istio", notes=notes), "istio", "linkerd")


def test_a_port_of_a_service_is_one_objects_in_cilium() -> None:
    from tests.dialects.test_cilium_envoy_routes import WORLD, config

    taken = thing(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        "{parentRefs: [{group: '', kind: Service, name: web}], rules: [{backendRefs: [{name: web-v2, port: 80}]}]}",
        "web",
    )
    text = WORLD + config("[{match: {prefix: /}, route: {cluster: shop/web, timeout: 3s}}]")
    assert not said(convert(text, "cilium", "istio"), "MP399")
    for target in ("istio", "linkerd"):
        (finding,) = said(convert(text + taken, "cilium", target), "MP399")
        assert (finding.severity, finding.disposition) == ("error", "invalid")


@pytest.mark.parametrize(("release", "more"), [("1.30", ""), ("1.30", "hostname: b.example, "), ("1.31", "")])
def test_a_redirect_that_istio_would_refuse_is_not_written(release: str, more: str) -> None:
    """Before 1.31 a VirtualService replaces no prefix; a redirect that is about nothing else has nowhere to lead to."""
    redirect = f"{{{more}path: {{type: ReplacePrefixMatch, replacePrefixMatch: /z}}}}"
    rules = f"[{{matches: [{{path: {{type: PathPrefix, value: /a}}}}], filters: [{{type: RequestRedirect, requestRedirect: {redirect}}}]}}, {{backendRefs: [{{name: users, port: 80}}]}}]"
    result = convert(shop("linkerd") + route(rules), "linkerd", "istio", target_version=release)
    redirects = [rule["redirect"] for rule in spec(result, "VirtualService", "users")["http"] if "redirect" in rule]
    assert all({"uri", "prefixRewrite", "authority"} & set(redirect) for redirect in redirects)
    assert [item.severity for item in said(result, "MP325")] == ([] if release == "1.31" else ["warning"] if more else ["error"])
