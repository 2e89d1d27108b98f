"""What the tests of the Gateway API share: a small world, a whole conversion, and the CRDs of a release and channel."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

import meshport
from meshport.pipeline import Result

SHARED = Path(__file__).resolve().parents[3] / "shared"
CRDS = {
    "1.1": "by-version/v1.1.0/experimental",
    "1.2": "by-version/v1.2.1/experimental",
    "1.3": "by-version/v1.3.0/experimental",
    "1.4": "by-version/v1.4.1/experimental",
    "1.5": "by-version/v1.5.1/experimental",
    "1.6": "experimental",
}


def service(name: str, ports: str = "[{name: http, port: 80, targetPort: 8080}]") -> str:
    """A Service of the namespace `shop`."""
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {{app: {name}}}, ports: {ports}}}
"""


WORLD = service("app") + service("b0") + service("b1")


def virtual_service(http: str, more: str = "", hosts: str = "[app]", name: str = "app") -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: shop}}
spec:
  hosts: {hosts}
{more}  http: {http}
"""


def http_route(rules: str, parents: str = "[{group: '', kind: Service, name: app}]", name: str = "app") -> str:
    return f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: shop}}
spec:
  parentRefs: {parents}
  rules: {rules}
"""


@lru_cache(maxsize=8)
def checker(crds: str) -> Any:
    sys.path.insert(0, str(SHARED / "tools"))
    try:
        from crdcheck import Checker  # type: ignore[import-not-found]

        return Checker(istio="1.31", gateway=crds)
    finally:
        sys.path.remove(str(SHARED / "tools"))


def convert(text: str, source: str, target: str, **options: Any) -> Result:
    """A conversion in which everything is accounted for and every manifest passes the CRDs of the release that is written for."""
    result = meshport.convert(meshport.load_text(text), source=source, target=target, **options)
    assert [finding.message for finding in result.findings if finding.code in ("MP900", "MP901", "MP902", "MP904")] == []
    assert result.ledger.counts["unaccounted"] == 0
    assert [change.path for change in result.diff if not change.findings] == []
    release = str(options.get("target_version", "1.6")) if target == "gateway-api" else "1.6"
    if (SHARED / "tools" / "crdcheck.py").is_file() and release in CRDS:
        assert [problem for item in result.manifests for problem in checker(CRDS[release]).check(item.object)] == []
    return result


def objects(result: Result) -> dict[str, dict[str, Any]]:
    return {f"{item.object['kind']}/{item.object['metadata']['name']}": item.object for item in result.manifests}


def spec(result: Result, name: str) -> Any:
    return objects(result)[name]["spec"]


def codes(result: Result) -> list[str]:
    return sorted({finding.code for finding in result.findings})


def plain(text: str) -> Any:
    return yaml.safe_load(text)
