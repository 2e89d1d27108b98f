"""Regular expressions that no proxy takes: the webhook or the agent refuses the object, whatever else stands in it, and what an engine takes is no mistake."""

from __future__ import annotations

import pytest
from lint_helper import lint
from test_istio_rows import TO, virtual
from test_istio_rows import WORLD as OF_ISTIO
from test_linkerd_rows import WORLD as OF_LINKERD
from test_linkerd_rows import route

import meshport

AHEAD = "/(?!admin).*"
AT_PATH = "{matches: [{path: {type: RegularExpression, value: '%s'}}], backendRefs: [{name: %s, port: 80}]}"


def _match(condition: str, more: str = "") -> str:
    return virtual(f"{{match: [{{{condition}}}]{more}, {TO}}}, {{{TO}}}") + OF_ISTIO


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (_match(f"uri: {{regex: '{AHEAD}'}}"), "spec.http[0].match[0].uri.regex"),
        (_match("headers: {x-user: {regex: '[a'}}"), "spec.http[0].match[0].headers.x-user.regex"),
        (_match("queryParams: {id: {regex: '(a)\\1'}}"), "spec.http[0].match[0].queryParams.id.regex"),
        (
            _match("uri: {prefix: /}", ", corsPolicy: {allowOrigins: [{regex: 'https://(a'}]}"),
            "spec.http[0].corsPolicy.allowOrigins[0].regex",
        ),
        (
            _match("uri: {prefix: /}", ", rewrite: {uriRegexRewrite: {match: '(a', rewrite: b}}"),
            "spec.http[0].rewrite.uriRegexRewrite.match",
        ),
        (_match(f"uri: {{regex: '/{'a' * 1100}'}}"), "spec.http[0].match[0].uri.regex"),
    ],
    ids=["look-ahead", "half a class", "back reference", "an origin", "a rewrite", "too long"],
)
def test_istiods_webhook_refuses_the_whole_object(text: str, path: str) -> None:
    (found,) = [item for item in lint(text, "istio") if item.code == "MP072"]
    assert (found.severity, found.path) == ("error", path)
    for target in ("linkerd", "cilium"):
        result = meshport.convert(meshport.load_text(text), source="istio", target=target)
        assert [item.object["kind"] for item in result.manifests if item.object["kind"] in ("HTTPRoute", "CiliumEnvoyConfig")] == []


@pytest.mark.parametrize("pattern", ["/a\\b.*", "/(?m)a$|/b", "/\\p{Greek}+", "(?i)/a", "/\\Qa.b\\E", "^*/a", "/a{2}"])
def test_what_re2_takes_is_no_mistake(pattern: str) -> None:
    assert [item.code for item in lint(_match(f"uri: {{regex: '{pattern}'}}"), "istio") if item.severity != "info"] == []


@pytest.mark.parametrize(
    ("mesh", "pattern", "refused"),
    [
        ("linkerd", AHEAD, True),
        ("linkerd", "/a{b}", True),
        ("istio", "/a{b}", False),
        ("cilium", AHEAD, True),
        ("linkerd", "/a\\b.*", False),
    ],
)
def test_a_route_is_held_against_the_engine_of_its_mesh(mesh: str, pattern: str, refused: bool) -> None:
    name, world = ("users", OF_LINKERD) if mesh == "linkerd" else ("reviews", OF_ISTIO)
    text = route(AT_PATH % (pattern, name), f"[{{group: '', kind: Service, name: {name}, port: 80}}]") + world
    assert ("MP072" in {item.code for item in lint(text, mesh)}) == refused


def test_an_expression_that_only_this_program_cannot_read_is_carried_over() -> None:
    text = _match("uri: {regex: '/a\\b.*'}")
    result = meshport.convert(meshport.load_text(text), source="istio", target="linkerd")
    (written,) = [item.object for item in result.manifests if item.object["kind"] == "HTTPRoute"]
    assert written["spec"]["rules"][0]["matches"] == [{"path": {"type": "RegularExpression", "value": "^/a\\b.*$"}}]
    assert [item.code for item in result.findings if item.severity == "error"] == []


def test_a_service_whose_every_rule_is_left_out_answers_404_as_its_route_did_for_the_rest() -> None:
    text = route(AT_PATH % ("/(a|ab)", "users")) + OF_LINKERD
    result = meshport.convert(meshport.load_text(text), source="linkerd", target="istio")
    (written,) = [item.object for item in result.manifests if item.object["kind"] == "VirtualService"]
    assert [rule["directResponse"] for rule in written["spec"]["http"]] == [{"status": 404}]
    assert "MP900" not in {item.code for item in result.findings}
