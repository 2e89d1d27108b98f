"""What is typed and what is asked, mesh by mesh: installation, restarts, checks, queries. Everything that comes from a document is quoted for the shell.

Commands are those of the meshes' own pages: linkerd.io (install, `linkerd check`, `linkerd upgrade --values`), istio.io (install with Helm, ambient, `istioctl
analyze`), docs.cilium.io (installation with Helm, `cilium status`, `cilium connectivity test`, and what Cilium needs beside a sidecar mesh).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from meshport.ir.world import Workload
from meshport.mapping.owners import SIDECARS
from meshport.mapping.table import version_key
from meshport.migrate.interim import WORKLOADS, group_of
from meshport.report.audited import AccessRow
from meshport.report.planned import Check, Command

Obj = dict[str, Any]
GATEWAY_API = {"1.2": "1.2.1", "1.4": "1.4.1", "1.5": "1.5.1", "1.6": "1.6.1"}
"""The release of the CRDs to install for a minor release of the Gateway API; others are their first."""
RESTARTED = ("Deployment", "StatefulSet", "DaemonSet")
SYSTEM = {"istio": "istio-system", "linkerd": "linkerd", "cilium": "kube-system"}


def q(text: str) -> str:
    """A word for the shell."""
    return shlex.quote(text)


def label(text: str) -> str:
    """A label's value in PromQL."""
    return json.dumps(text, ensure_ascii=False)


def resource(obj: Mapping[str, Any]) -> str:
    """How kubectl is told a kind so that no other API's comes instead: `server.policy.linkerd.io`."""
    group = group_of(obj)
    return q(f"{str(obj['kind']).lower()}.{group}" if group else str(obj["kind"]).lower())


def shell(run: str, expect: str) -> Check:
    return Check(kind="shell", run=run, expect=expect)


def query(run: str, expect: str) -> Check:
    return Check(kind="query", run=run, expect=expect)


# -- objects


def removed(before: Obj, after: Obj) -> list[Command]:
    """The commands that take away what `after` has no more: `kubectl apply` leaves a key alone that it did not write itself."""
    where = f" -n {q(before['metadata']['namespace'])}" if before["metadata"].get("namespace") else ""
    name = f"{resource(before)} {q(before['metadata']['name'])}{where}"
    found, rest = [], _nulls(before, after)
    metadata = rest.get("metadata") or {}
    for what, verb in (("labels", "label"), ("annotations", "annotate")):
        gone = metadata.pop(what, None)
        if isinstance(gone, dict):
            found.append(Command(run=f"kubectl {verb} {name} {' '.join(q(f'{each}-') for each in sorted(gone))}"))
        elif gone is None and what in (before.get("metadata") or {}) and what not in (after.get("metadata") or {}):
            keys = before["metadata"][what] or {}
            found += [Command(run=f"kubectl {verb} {name} {' '.join(q(f'{each}-') for each in sorted(keys))}")] if keys else []
    rest = {what: value for what, value in rest.items() if value != {}}
    if rest:
        found.append(Command(run=f"kubectl patch {name} --type=merge -p {q(json.dumps(rest, ensure_ascii=False))}"))
    return found


def _nulls(before: Obj, after: Obj) -> Obj:
    """A merge patch (RFC 7396) that removes the members of `before` that `after` has not; lists are replaced whole by apply."""
    found: Obj = {}
    for name, value in before.items():
        if name not in after:
            if name not in ("labels", "annotations") or not isinstance(value, dict):
                found[name] = None
            else:
                found[name] = dict.fromkeys(value)
        elif isinstance(value, dict) and isinstance(after[name], dict):
            inner = _nulls(value, after[name])
            if inner:
                found[name] = inner
    return found


def restart(workloads: Sequence[Workload], namespace: str) -> list[Command]:
    """New pods, one workload after the other: labels and annotations act on new pods alone."""
    if not workloads:
        return [
            Command(
                run=f"kubectl rollout restart deployment,statefulset,daemonset -n {q(namespace)}",
                note="The input shows no workload of this namespace: restart all, and wait for each with kubectl rollout status.",
            )
        ]
    found = []
    for workload in workloads:
        name, home = q(workload.ref.name), q(workload.ref.namespace)
        if workload.kind in RESTARTED:
            target = f"{workload.kind.lower()}/{name} -n {home}"
            found.append(Command(run=f"kubectl rollout restart {target}"))
            found.append(Command(run=f"kubectl rollout status {target} --timeout=10m"))
        elif workload.kind == "Rollout":
            found.append(Command(run=f"kubectl argo rollouts restart {name} -n {home}"))
            found.append(Command(run=f"kubectl argo rollouts status {name} -n {home} --timeout 10m"))
        elif workload.kind == "CronJob":
            found.append(Command(run=f"kubectl get cronjob {name} -n {home}", note="Its next run has the new proxy; nothing to restart."))
        elif workload.kind in WORKLOADS:
            found.append(
                Command(
                    run=f"kubectl get {q(workload.kind.lower())} {name} -n {home} -o yaml",
                    note=f"A {workload.kind} is not restarted by kubectl: let its owner make it anew, and look that it is.",
                )
            )
    return found


def settled(workloads: Sequence[Workload]) -> list[Check]:
    return [
        shell(
            f"kubectl rollout status {workload.kind.lower()}/{q(workload.ref.name)} -n {q(workload.ref.namespace)} --timeout=5m",
            "successfully rolled out",
        )
        for workload in workloads
        if workload.kind in RESTARTED
    ] + [
        shell(f"kubectl argo rollouts status {q(workload.ref.name)} -n {q(workload.ref.namespace)} --timeout 5m", "Healthy")
        for workload in workloads
        if workload.kind == "Rollout"
    ]


# -- installation


def crds(release: str, channel: str) -> tuple[Check, Command]:
    """What is installed of the Gateway API's CRDs, and the line that installs them."""
    full = GATEWAY_API.get(release, f"{release}.0")
    asked = "kubectl get crd httproutes.gateway.networking.k8s.io --ignore-not-found -o jsonpath='{.metadata.annotations.gateway\\.networking\\.k8s\\.io/bundle-version}'"
    return (
        shell(
            asked,
            f"nothing, or a release before v{full}. With v{full} or later leave out the line that applies the CRDs: never go back to older ones",
        ),
        Command(
            run=f"kubectl apply --server-side -f https://github.com/kubernetes-sigs/gateway-api/releases/download/v{full}/{channel}-install.yaml",
            note=f"The Gateway API's CRDs, channel {channel}.",
        ),
    )


def install(mesh: str, version: str, folder: str, charts: Sequence[str], *, ambient: bool, present: bool) -> list[Command]:
    """The target mesh, with the values of the folder; `present`: it is there already and is upgraded."""

    def values(chart: str) -> str:
        return f" -f {folder}/helm/{chart}.yaml" if chart in charts else ""

    if mesh == "linkerd":
        file = f" --values {folder}/helm/linkerd-control-plane.yaml" if "linkerd-control-plane" in charts else ""
        verb = "upgrade" if present else "install"
        scraped = Command(
            run="",
            note="The queries of this plan need a Prometheus that scrapes the proxies: linkerd viz install | kubectl apply -f -, or your own.",
        )
        return [
            *([] if present else [scraped]),
            Command(
                run="linkerd version --client --short", note=f"The CLI has to be of release {version} (or the edge release that became it)."
            ),
            Command(run=f"linkerd {verb} --crds | kubectl apply -f -"),
            Command(
                run=f"linkerd {verb}{file} | kubectl apply -f -",
                note="With identity certificates that the CLI makes, valid for a year; give your own with --identity-*.",
            ),
        ]
    if mesh == "istio":
        found = [
            Command(run="helm repo add istio https://istio-release.storage.googleapis.com/charts --force-update"),
            Command(
                run=f"helm upgrade --install istio-base istio/base -n istio-system --create-namespace --version {q(f'~{version}.0')}{values('istio-base')} --wait"
            ),
        ]
        keep = " --reset-then-reuse-values" if present else ""
        found.append(
            Command(
                run=f"helm upgrade --install istiod istio/istiod -n istio-system --version {q(f'~{version}.0')}{keep}{values('istiod')} --wait"
            )
        )
        if ambient:
            for chart, name in (("istio-cni", "cni"), ("ztunnel", "ztunnel")):
                found.append(
                    Command(
                        run=f"helm upgrade --install {chart} istio/{name} -n istio-system --version {q(f'~{version}.0')}{values(chart)} --wait"
                    )
                )
        return found
    if mesh == "cilium":
        return [
            Command(
                run="cilium status --wait",
                note="Cilium has to be this cluster's network already. Where it is not, stop: plan with --strategy cluster, onto a cluster that has it.",
            ),
            Command(run="helm repo add cilium https://helm.cilium.io/ --force-update"),
            Command(
                run=f"helm upgrade cilium cilium/cilium -n kube-system --version {q(f'~{version}.0')} --reset-then-reuse-values{values('cilium')} --wait",
                note=f"The nodes have to run {version} before; upgrade one minor release at a time.",
            ),
            Command(run="kubectl -n kube-system rollout restart deployment/cilium-operator daemonset/cilium"),
            Command(run="kubectl -n kube-system rollout status daemonset/cilium --timeout=15m"),
        ]
    return []


def installed(mesh: str, *, ambient: bool) -> list[Check]:
    """What says that the control plane is well."""
    if mesh == "linkerd":
        return [shell("linkerd check", "every line √, Status check results are √")]
    if mesh == "istio":
        found = [
            shell("kubectl rollout status deployment/istiod -n istio-system --timeout=5m", "successfully rolled out"),
            shell("istioctl version", "control plane version is the one planned"),
        ]
        if ambient:
            found += [
                shell(f"kubectl rollout status daemonset/{name} -n istio-system --timeout=10m", "successfully rolled out")
                for name in ("istio-cni-node", "ztunnel")
            ]
        return found
    if mesh == "cilium":
        return [shell("cilium status --wait", "Cilium: OK, Operator: OK"), shell("cilium connectivity test", "All tests successful")]
    return []


def uninstall(mesh: str, *, ambient: bool) -> list[Command]:
    """The way back of an installation that nothing uses yet, and the end of the old mesh."""
    if mesh == "linkerd":
        return [Command(run="linkerd uninstall | kubectl delete -f -", note="Refuses while a pod still has its proxy.")]
    if mesh == "istio":
        found = (
            [Command(run="helm uninstall ztunnel -n istio-system"), Command(run="helm uninstall istio-cni -n istio-system")]
            if ambient
            else []
        )
        return [
            *found,
            Command(run="helm uninstall istiod -n istio-system", note="Installed with istioctl: istioctl uninstall --purge"),
            Command(run="helm uninstall istio-base -n istio-system"),
        ]
    return []


def coexistence(source: str, mesh: str) -> list[Command]:
    """What Cilium as the cluster's network, and so as the mesh left behind, has to leave to a mesh beside it."""
    if source != "cilium" or mesh not in ("istio", "linkerd"):
        return []
    return [
        Command(
            run="cilium config set bpf-lb-sock-hostns-only true",
            note="socketLB.hostNamespaceOnly: a proxy has to see the Service's address. Restarts the agents; write it into Cilium's Helm values too.",
        ),
        Command(run="cilium config set cni-exclusive false", note="cni.exclusive: otherwise Cilium puts the CNI plugin of the mesh aside."),
    ]


def coexisting(source: str, mesh: str) -> list[Check]:
    if mesh not in ("istio", "linkerd"):
        return []
    asked = "kubectl -n kube-system get configmap cilium-config --ignore-not-found -o jsonpath='{.data.bpf-lb-sock-hostns-only} {.data.cni-exclusive}'"
    if source == "cilium":
        return [shell(asked, "true false"), shell("cilium status --wait", "Cilium: OK")]
    return [
        shell(
            asked,
            "nothing, where the cluster's network is not Cilium; else true false: cilium config set bpf-lb-sock-hostns-only true, and cni-exclusive false",
        )
    ]


def port(mesh: str, version: str, *, ambient: bool) -> int | None:
    """The port that traffic between two pods of the mesh arrives at, which network policies have to let in beside the application's."""
    if mesh == "linkerd" and version_key(version) >= version_key("2.18"):
        return 4143
    return 15008 if mesh == "istio" and ambient else None


# -- after a namespace has moved


def proxies(namespace: str, expect: str) -> Check:
    columns = "POD:.metadata.name,INIT:.spec.initContainers[*].name,CONTAINERS:.spec.containers[*].name"
    return shell(f"kubectl get pods -n {q(namespace)} -o custom-columns={q(columns)}", expect)


def moved(mesh: str, source: str, namespace: str, *, ambient: bool) -> list[Check]:
    """Whether the pods of a namespace are in the target mesh and in no other, and serve."""
    own, old = SIDECARS.get(mesh), SIDECARS.get(source)
    if ambient or own is None:
        own = None
    says = f"every pod that is to be in the mesh has {own}" if own else "no pod has a proxy of its own"
    says += f", none has {old}" if old and old != own else ""
    found = [proxies(namespace, says)]
    if mesh == "linkerd":
        found.append(shell(f"linkerd check --proxy -n {q(namespace)}", "every line √"))
    if mesh == "istio":
        found.append(shell(f"istioctl analyze -n {q(namespace)}", "No validation issues found"))
        found.append(
            shell(f"istioctl ztunnel-config workloads --workload-namespace {q(namespace)}", "PROTOCOL is HBONE for every workload")
            if ambient
            else shell("istioctl proxy-status", f"every proxy of {namespace} is SYNCED")
        )
    if mesh == "cilium":
        found.append(shell("cilium status --wait", "Cilium: OK, no errors"))
    return [*found, *served(mesh, namespace)]


def served(mesh: str, namespace: str) -> list[Check]:
    """The share of requests that succeed, as the target mesh counts them."""
    home = label(namespace)
    if mesh == "linkerd":
        each = f'response_total{{namespace={home}, direction="inbound"'
        return [
            query(
                f'sum(rate({each}, classification="success"}}[5m])) / sum(rate({each}}}[5m]))',
                "not lower than the source mesh said before the step",
            )
        ]
    if mesh == "istio":
        each = f'istio_requests_total{{reporter=~"destination|waypoint", destination_workload_namespace={home}'
        return [
            query(
                f'sum(rate({each}, response_code!~"5.."}}[5m])) / sum(rate({each}}}[5m]))',
                "not lower than the source mesh said before the step",
            )
        ]
    if mesh == "cilium":
        return [
            query(
                f"sum by (reason) (rate(hubble_drop_total{{destination_namespace={home}}}[5m]))",
                "no result, or no more than before the step (needs labelsContext=destination_namespace on Hubble's metric drop)",
            )
        ]
    return []


def counted(mesh: str) -> list[Check]:
    """Whether Prometheus has what the translated queries ask."""
    metric = {"linkerd": "response_total", "istio": "istio_requests_total", "cilium": "hubble_http_requests_total"}.get(mesh)
    return [query(f"count({metric})", "a number: Prometheus scrapes the target")] if metric is not None else []


def plaintext(mesh: str, namespace: str) -> list[Check]:
    """Requests that still come without a certificate: nothing may be left of them before plaintext is refused."""
    home = label(namespace)
    if mesh == "linkerd":
        return [
            query(
                f'sum by (client_id, target_addr) (rate(response_total{{namespace={home}, direction="inbound", tls!="true"}}[15m]))',
                "no result but the kubelet's probes",
            )
        ]
    if mesh == "istio":
        return [
            query(
                f'sum by (source_workload, destination_workload) (rate({metric}{{reporter="destination", destination_workload_namespace={home}, connection_security_policy!="mutual_tls"}}[15m]))',
                "no result: whoever appears here would be refused",
            )
            for metric in (
                "istio_requests_total",
                "istio_tcp_connections_opened_total",
            )  # the second is ztunnel's too; waypoints do not know
        ]
    return []


def audited(namespace: str) -> Check:
    """Requests that an auditing Server let in although no policy does: enforcing refuses them."""
    return query(
        f'sum by (srv_name, client_id) (increase(inbound_http_authz_allow_total{{namespace={label(namespace)}, authz_name="audit"}}[1h]))',
        "no result: whoever appears here is refused from the next step on. Settle it first",
    )


def refused(mesh: str, namespace: str) -> list[Check]:
    """Requests that are refused now."""
    home = label(namespace)
    if mesh == "linkerd":
        return [
            query(
                f"sum by (srv_name, client_id) (rate(inbound_http_authz_deny_total{{namespace={home}}}[5m]))",
                "no result but callers that the source refused as well",
            )
        ]
    if mesh == "istio":
        return [
            query(
                f'sum by (source_principal, destination_workload) (rate(istio_requests_total{{reporter=~"destination|waypoint", destination_workload_namespace={home}, response_code="403"}}[5m]))',
                "no result but callers that the source refused as well",
            )
        ]
    if mesh == "cilium":
        return [
            query(
                f"sum by (reason) (rate(hubble_drop_total{{destination_namespace={home}}}[5m]))",
                "no rise but for callers that the source refused as well",
            )
        ]
    return []


MOST_TRIED = 20


def tried(namespace: str, rows: Sequence[AccessRow]) -> list[Command]:
    """Who may call what in the end, port by port, for somebody to try: a call that is let in, and one that is not named."""
    found = []
    for row in rows:
        doors = [door for door in row.doors if door.namespace == namespace and door.port is not None]
        if not doors or row.after is None:
            continue
        names = ", ".join(f"{door.workload}:{door.port}" for door in doors[:5]) + (" and more" if len(doors) > 5 else "")
        who = "; ".join(f"{peer}: {', '.join(f'{method} {paths}' for method, paths in asked.items())}" for peer, asked in row.after.items())
        found.append(Command(run="", note=f"Try one call that is let in and one that is not: {names} lets in {who or 'nobody'}."))
    more = (
        [Command(run="", note=f"And {len(found) - MOST_TRIED} more ports: meshport audit lists them.")] if len(found) > MOST_TRIED else []
    )
    return [*found[:MOST_TRIED], *more]


def accepted(objects: Sequence[Obj]) -> list[Check]:
    """Whether the routes' controller has taken them; those of Gateways belong to the gateways."""
    groups: dict[tuple[str, str], list[str]] = {}
    for obj in objects:
        if obj["kind"] in ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"):
            groups.setdefault((resource(obj), obj["metadata"]["namespace"]), []).append(obj["metadata"]["name"])
    condition = "'{.status.parents[0].conditions[?(@.type==\"Accepted\")].status}'"
    return [
        shell(
            f"kubectl wait {' '.join(f'{kind}/{q(name)}' for name in names)} -n {q(namespace)} --for=jsonpath={condition}=True --timeout=60s",
            f"condition met, {len(names)} time{'s' if len(names) != 1 else ''}",
        )
        for (kind, namespace), names in sorted(groups.items())
    ]
