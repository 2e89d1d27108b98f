"""What the API server or a webhook refuses is an error, at its place, and does nothing: neither for access nor for routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from lint_helper import lint

import meshport

SHARED = Path(__file__).parents[3] / "shared"
INVALID = sorted((SHARED / "corpus" / "istio").glob("**/testdata/**/*-invalid.yaml"))


def _documents() -> list[tuple[str, dict[str, Any], str]]:
    found = []
    for path in INVALID:
        for number, document in enumerate(yaml.safe_load_all(path.read_text(encoding="utf-8"))):
            if isinstance(document, dict) and "_err" in document:
                found.append(
                    (f"{path.stem}-{number}", {key: value for key, value in document.items() if key != "_err"}, str(document["_err"]))
                )
    return found


def test_the_corpus_has_refused_objects() -> None:
    if not SHARED.is_dir():
        pytest.skip(f"needs the corpus at {SHARED}, which is absent")
    assert len(_documents()) >= 5


@pytest.mark.parametrize(("document", "why"), [item[1:] for item in _documents()], ids=[item[0] for item in _documents()])
def test_an_object_that_istio_refuses_is_an_error_and_grants_nothing(document: dict[str, Any], why: str) -> None:
    bundle = meshport.load_objects([document])
    assert [item for item in meshport.lint(bundle, source="istio") if item.severity == "error"], why
    result = meshport.convert(bundle, source="istio", target="linkerd")
    assert [item.object["kind"] for item in result.manifests] == []
    assert result.ledger.counts["translated"] == 0


REFUSED = [
    ("portLevelMtls needs a selector", "spec.portLevelMtls.8080.mode",
     "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a, namespace: s}, spec: {portLevelMtls: {8080: {mode: STRICT}}}}"),
    ("no port from 1 to 65535", "spec.portLevelMtls.0.mode",
     "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a, namespace: s}, spec: {selector: {matchLabels: {a: b}}, portLevelMtls: {'0': {mode: STRICT}}}}"),
    ("has a wildcard, and none is read here", None,
     "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a, namespace: s}, spec: {selector: {matchLabels: {a: 'b*'}}}}"),
    ("selector and targetRefs stand together", None,
     "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a, namespace: s}, spec: {selector: {matchLabels: {a: b}}, targetRefs: [{kind: Service, group: '', name: a}]}}"),
    ("host is missing", None, "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: a, namespace: s}, spec: {trafficPolicy: {tls: {mode: SIMPLE}}}}"),
    ("resolution NONE takes no endpoints", "spec.endpoints[0].address",
     "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: a, namespace: s}, spec: {hosts: [a.b], ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 1.1.1.1}]}}"),
    ("has blanks", "spec.http[0].retries.retryOn",
     "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a, namespace: s}, spec: {hosts: [a], http: [{route: [{destination: {host: a}}], retries: {attempts: 2, retryOn: '5xx, reset'}}]}}"),
    ("none has a weight above 0", "spec.http[0].route[0].weight",
     "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a, namespace: s}, spec: {hosts: [a], http: [{route: [{destination: {host: a}, weight: 0}, {destination: {host: b}}]}]}}"),
    ("a second filter RequestHeaderModifier", None,
     "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: a, namespace: s}, spec: {parentRefs: [{name: g}], rules: [{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [a]}}, {type: RequestHeaderModifier, requestHeaderModifier: {remove: [b]}}]}]}}"),
    ("has none of uri, authority, scheme, port and derivePort", None,
     "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a, namespace: s}, spec: {hosts: [a], http: [{redirect: {redirectCode: 302}}]}}"),
    ("200 is no code of a redirect", "spec.http[0].redirect.redirectCode",
     "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a, namespace: s}, spec: {hosts: [a], http: [{redirect: {uri: /b, redirectCode: 200}}]}}"),
    ("is no scheme of a redirect", "spec.http[0].redirect.scheme",
     "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a, namespace: s}, spec: {hosts: [a], http: [{redirect: {scheme: ftp}}]}}"),
    ("no absolute path", "spec.rules[0].matches[0].path.value",
     "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: a, namespace: s}, spec: {parentRefs: [{name: g}], rules: [{matches: [{path: {type: Exact, value: /a/../b}}]}]}}"),
    ("without its port", None,
     "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: a, namespace: s}, spec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: b}]}]}}"),
    ("is above 65535", "spec.listeners[0].port",
     "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: a, namespace: s}, spec: {gatewayClassName: istio, listeners: [{name: h, port: 70000, protocol: HTTP}]}}"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "path", "text"), REFUSED, ids=[item[0] for item in REFUSED])
def test_what_is_demanded_of_values(why: str, path: str | None, text: str) -> None:
    (found,) = [item for item in lint(text, "istio") if item.code == "MP072"]
    assert why in found.message
    assert found.severity == "error"
    assert path is None or found.path == path


def test_a_refused_policy_neither_closes_nor_opens() -> None:
    world = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: a, namespace: s}
spec: {template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, ports: [{containerPort: 80}]}]}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed, namespace: s}
spec: {}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: open, namespace: s}
spec: {selector: {matchLabels: {app: "a*"}}, rules: [{}]}
"""
    result = meshport.convert(meshport.load_text(world), source="istio", target="linkerd")
    assert "MP072" in {item.code for item in result.findings}
    assert not [item for item in result.manifests if item.object["kind"] == "AuthorizationPolicy"]


def test_durations_from_before_the_schema_are_still_read() -> None:
    text = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a, namespace: s}, spec: {hosts: [a], http: [{route: [{destination: {host: a}}], timeout: 0s}]}}"
    assert "MP072" not in {item.code for item in lint(text, "istio")}
