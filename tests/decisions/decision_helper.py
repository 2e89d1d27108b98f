"""What the tests of mapping decisions share: small objects as text, and a conversion in which everything is accounted for."""

from __future__ import annotations

from typing import Any

import meshport
from meshport.findings import Finding
from meshport.pipeline import Result

MARKS = {
    "istio": ", labels: {istio-injection: enabled}",
    "linkerd": ", annotations: {linkerd.io/inject: enabled}",
    "cilium": "",
    "gateway-api": "",
    "plain": "",
}


def namespace(name: str = "shop", mesh: str = "istio", default: str = "") -> str:
    """A Namespace in a mesh; `default` is Linkerd's default inbound policy."""
    mark = MARKS[mesh]
    if default:
        mark = f", annotations: {{linkerd.io/inject: enabled, config.linkerd.io/default-inbound-policy: {default}}}"
    return f"---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}{mark}}}\n"


def service(
    name: str = "users", ports: str = "[{name: http, port: 80, targetPort: 8080}]", home: str = "shop", notes: str = "{}", more: str = ""
) -> str:
    """A Service of the workload of its name; `more` of its spec begins with a comma."""
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {home}, annotations: {notes}}}
spec: {{selector: {{app: {name}}}, ports: {ports}{more}}}
"""


def workload(
    name: str = "users", ports: str = "[{name: http, containerPort: 8080}]", home: str = "shop", account: str = "", labels: str = "", notes: str = "{}",
    container: str = "", pod: str = "", kind: str = "Deployment",
) -> str:  # fmt: skip
    """A workload with its own service account; `labels`, `container` and `pod` begin with a comma."""
    return f"""---
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, namespace: {home}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}{labels}}}, annotations: {notes}}}
    spec: {{serviceAccountName: {account or name}{pod}, containers: [{{name: app, image: "app:1", ports: {ports}{container}}}]}}
"""


def shop(mesh: str, notes: str = "{}") -> str:
    """The namespace, the Service and the Deployment `users`; `notes` are the Service's."""
    return namespace(mesh=mesh) + service(notes=notes) + workload()


def thing(api: str, kind: str, spec: str, name: str, home: str = "shop", metadata: str = "") -> str:
    return f"---\napiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {home}{metadata}}}\nspec: {spec}\n"


def mtls(spec: str, name: str = "default", home: str = "shop") -> str:
    return thing("security.istio.io/v1", "PeerAuthentication", spec, name, home)


def policy(spec: str, name: str = "users", home: str = "shop") -> str:
    return thing("security.istio.io/v1", "AuthorizationPolicy", spec, name, home)


def server(spec: str, name: str = "users", home: str = "shop") -> str:
    return thing("policy.linkerd.io/v1beta3", "Server", spec, name, home)


def grant(target: str, references: str, name: str = "users", home: str = "shop") -> str:
    spec = f"{{targetRef: {target}, requiredAuthenticationRefs: {references}}}"
    return thing("policy.linkerd.io/v1alpha1", "AuthorizationPolicy", spec, name, home)


def network_policy(spec: str, name: str = "users", home: str = "shop") -> str:
    return thing("cilium.io/v2", "CiliumNetworkPolicy", spec, name, home)


def convert(text: str, source: str, target: str, **options: Any) -> Result:
    """A conversion without a defect of its own: every leaf and every difference has its reason."""
    result = meshport.convert(meshport.load_text(text), source=source, target=target, **options)
    assert [finding.message for finding in result.findings if finding.code in ("MP900", "MP901", "MP902", "MP904")] == []
    assert result.ledger.counts["unaccounted"] == 0
    assert [change.path for change in result.diff if not change.findings] == []
    return result


def written(result: Result, kind: str) -> dict[str, dict[str, Any]]:
    """The objects of a kind that were made or changed, by name."""
    return {item.object["metadata"]["name"]: item.object for item in result.manifests if item.object["kind"] == kind}


def spec(result: Result, kind: str, name: str) -> Any:
    return written(result, kind)[name]["spec"]


def said(result: Result, code: str) -> list[Finding]:
    return [finding for finding in result.findings if finding.code == code]


def inbound_default(result: Result, kind: str, name: str) -> str | None:
    """Linkerd's default inbound policy that was written on a Namespace or a pod template; None where nothing was."""
    found = written(result, kind).get(name)
    if found is None:
        return None
    metadata = found["metadata"] if kind == "Namespace" else found["spec"]["template"]["metadata"]
    value: str | None = metadata.get("annotations", {}).get("config.linkerd.io/default-inbound-policy")
    return value
