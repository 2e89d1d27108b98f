"""Settings of an installation, read from where people keep them: values of a chart, a HelmRelease of Flux, an Application of Argo CD, an
IstioOperator, commands of a script, and the ConfigMaps that the installers write.

Which settings there are and what they mean are rows of `mappings/bindings/install`; what has no row is not read, for a chart has hundreds of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meshport.documents.command import AGENT, KUBECTL, UNKNOWN, Computed
from meshport.documents.forms import CHARTS as OF_CHARTS
from meshport.documents.forms import charts_within
from meshport.documents.segments import plain
from meshport.errors import InputError
from meshport.findings import Affected
from meshport.ir.authorization import PATH
from meshport.ir.base import Fact
from meshport.ir.install import Setting
from meshport.mapping.paths import dotted, leaves_below
from meshport.values.durations import parse_linkerd
from meshport.values.problems import ValueProblem

if TYPE_CHECKING:
    from meshport.dialects.output import Output
    from meshport.documents import Bundle, Document
    from meshport.ir.model import IR
    from meshport.ir.world import World
    from meshport.mapping.bound import Bound
    from meshport.mapping.table import Binding, Node

CHARTS = {"istio": "istiod", "linkerd": "linkerd-control-plane", "cilium": "cilium"}
"""The chart whose values decide what a mesh does."""
_RELEASES = {("helm.toolkit.fluxcd.io", "HelmRelease"), ("argoproj.io", "Application"), ("install.istio.io", "IstioOperator")}
_KINDS = {"ConfigMap", *(kind for _, kind in _RELEASES)}
_AGENT: dict[str, str] = {
    "enable-policy": "policyEnforcementMode", "enable-wireguard": "encryption.enabled", "enable-ipsec": "encryption.enabled",
    "enable-hubble": "hubble.enabled", "enable-l7-proxy": "l7Proxy", "cluster-name": "cluster.name", "cluster-id": "cluster.id",
    "encrypt-node": "encryption.nodeEncryption", "policy-audit-mode": "policyAuditMode", "policy-cidr-match-mode": "policyCIDRMatchMode",
    "enable-non-default-deny-policies": "enableNonDefaultDenyPolicies", "enable-host-firewall": "hostFirewall.enabled",
    "enable-gateway-api": "gatewayAPI.enabled", "enable-envoy-config": "envoyConfig.enabled", "kube-proxy-replacement": "kubeProxyReplacement",
    "mesh-auth-enabled": "authentication.enabled", "policy-default-local-cluster": "clustermesh.policyDefaultLocalCluster",
}  # fmt: skip
"""Keys of the ConfigMap `cilium-config` as values of Cilium's chart."""
_NAMES = {"linkerd2": "linkerd-control-plane"}


@dataclass(frozen=True, slots=True)
class Place:
    """Values of one chart as one document holds them; every leaf of a text of YAML has the number of the text."""

    document: int
    value: dict[str, Any]
    leaves: dict[str, Any]

    def at(self, path: str) -> tuple[Any, Any] | None:
        """The value at a dotted path, and its leaves."""
        value: Any = self.value
        leaves: Any = self.leaves
        for step in path.split("."):
            if not isinstance(value, dict) or step not in value:
                return None
            value, leaves = value[step], leaves[step]
        return value, leaves


def settings(bound: Bound, world: World, chart: str, wanted: dict[str, str]) -> list[Setting]:
    """The values of a chart at the paths `wanted` (path -> feature), in the order of the documents. What is read counts as read."""
    found = []
    for place in places(bound.bundle, chart, bound.broken):
        for path, feature in wanted.items():
            here = place.at(path)
            if here is None or here[0] is None:
                continue
            value = here[0]
            if _computed(value):
                binding = _row(bound.table.chart(chart), tuple(path.split("."))) if bound.unknowns == "strictest" else None
                if binding is None or not binding.strictest:
                    continue
                value = binding.strictest
            src = frozenset(leaf for leaf, _ in leaves_below(here[1], ()))
            world.read |= src
            found.append(Setting(chart, path, Fact(_plain(value), src, feature), place.document))
    return found


def setting(found: list[Setting], path: str) -> Fact[Any] | None:
    """The last value at a path; None where nobody sets it."""
    return next((item.value for item in reversed(found) if item.path == path), None)


def said(bundle: Bundle, mesh: str, path: str) -> Any:
    """The last value at a path of the mesh's chart, for the choices of a run; None where nobody sets it."""
    found = None
    for place in places(bundle, CHARTS.get(mesh, "")):
        here = place.at(path)
        found = _plain(here[0]) if here is not None and here[0] is not None and not _computed(here[0]) else found
    return found


def _computed(value: Any) -> bool:
    """Whether only the shell knows a value, or part of it."""
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, Computed) or any(map(_computed, below))


def lift(bound: Bound, ir: IR, lifted: Mapping[str, str]) -> None:
    """Every setting that has a row, leaf by leaf; and marks of commands on objects that the bundle has not, or whose value only the shell knows.

    What stands at `lifted` or below it is in the IR already: "" where a fact of the IR came from it, else why all the rest was read by it.
    """
    chart = CHARTS[ir.mesh]
    rows = bound.table.chart(chart)
    apart: dict[tuple[str | int, ...], str] = {tuple(path.split(".")): holds for path, holds in lifted.items()}
    for place in places(bound.bundle, chart, bound.broken):
        for leaf, path in leaves_below(place.leaves, ()):
            if path[0] == UNKNOWN and bound.bundle.documents[place.document].chart == chart:
                ir.world.read.add(leaf)
                bound.features.setdefault(leaf, "installation.flag")
                fact = Fact(place.value[UNKNOWN][path[1]], frozenset((leaf,)), "installation.flag")
                ir.settings.append(Setting(chart, UNKNOWN, fact, place.document))
                continue
            binding = _row(rows, path)
            if binding is None:
                continue
            value: Any = place.value
            for step in path:
                value = value[step]
            bound.features.setdefault(leaf, binding.feature_of(value))
            ir.world.read.add(leaf)
            reason = "it is set to nothing" if value in (None, [], {}) else binding.reason_for(value)
            holds = next((apart[path[:size]] for size in range(1, len(path) + 1) if path[:size] in apart), None)
            if holds == "" and not reason and not isinstance(value, Computed):
                continue
            fact = Fact(value, frozenset((leaf,)), binding.feature_of(value))
            off = value is False and all(listed != "true" for listed, _ in binding.irrelevant_values)
            decides = binding.decides if bound.unknowns and isinstance(value, Computed) else ""
            strictest = binding.strictest if decides and bound.unknowns == "strictest" else ""
            ir.settings.append(Setting(chart, dotted(path), fact, place.document, reason, off, holds or "", decides, strictest))
    for number, document in enumerate(bound.bundle.documents):
        if document.chart == KUBECTL:
            _marks(bound, ir, number, document.value["metadata"], document.leaves["metadata"])
        if document.chart.startswith(KUBECTL) or document.commanded:
            _marks(bound, ir, number, document.value.get(UNKNOWN) or {}, document.leaves.get(UNKNOWN) or {})


def _marks(bound: Bound, ir: IR, number: int, holder: dict[str, Any], leaves: dict[str, Any]) -> None:
    for what in ("labels", "annotations"):
        for key, value in (holder.get(what) or {}).items():
            binding = bound.table.key_bindings(what, str(key)).get(ir.mesh)
            if isinstance(value, Computed) and value == key:  # which of them it is, only the shell knows
                leaf = leaves[what][key]
                ir.world.read.add(leaf)
                bound.features.setdefault(leaf, "installation.flag")
                ir.settings.append(Setting(KUBECTL, f"{UNKNOWN} {what}", Fact(value, frozenset((leaf,)), "installation.flag"), number))
            elif binding is not None and value is not None:
                leaf = leaves[what][key]
                ir.world.read.add(leaf)
                bound.features.setdefault(leaf, binding.feature)
                fact = Fact(value, frozenset((leaf,)), binding.feature)
                decides = binding.decides if bound.unknowns and isinstance(value, Computed) else ""
                strictest = binding.strictest if decides and bound.unknowns == "strictest" else ""
                ir.settings.append(
                    Setting(KUBECTL, f"{what} {key}", fact, number, binding.reason_for(value), decides=decides, strictest=strictest)
                )


def unknown_annotations(bound: Bound, key: str) -> Iterator[tuple[str, Fact[str]]]:
    """The namespaces on which a command writes an annotation of a value that only the shell knows, with the value that it counts as."""
    for document in bound.bundle.documents if bound.unknowns == "strictest" else ():
        if document.kind == "Namespace" and (document.chart.startswith(KUBECTL) or document.commanded):
            said = (document.value.get(UNKNOWN) or {}).get("annotations") or {}
            binding = bound.table.key_bindings("annotations", key).get("linkerd")
            if key in said and binding is not None and binding.strictest:
                yield document.name, Fact(binding.strictest, frozenset((document.leaves[UNKNOWN]["annotations"][key],)), binding.feature)


def _row(rows: Node, path: tuple[str | int, ...]) -> Binding | None:
    """The row of a value: its own, or the nearest above that stands for everything below it."""
    node: Node | None = rows
    above: Binding | None = None
    for step in path:
        if node is None:
            return above
        if node.binding is not None and node.binding.type == "object":
            return node.binding
        star = node.star.binding if node.star is not None else None
        above = star if star is not None and star.type == "object" else above
        node = node.item if isinstance(step, int) else node.child(step)
    return node.binding if node is not None and node.binding is not None else above


# -- what becomes of them


def _seconds(value: Any) -> str:
    """A time of Linkerd's chart as Istio's mesh configuration takes it, which knows seconds alone."""
    try:
        return parse_linkerd(str(value)).protobuf()
    except ValueProblem:
        return str(value)


SAME: dict[tuple[str, str], dict[str, tuple[str, Callable[[Any], Any]]]] = {
    ("istio", "linkerd"): {
        "meshConfig.trustDomain": ("identityTrustDomain", str),
        "global.proxy.clusterDomain": ("clusterDomain", str),
        "global.proxy.resources.requests.cpu": ("proxy.resources.cpu.request", str),
        "global.proxy.resources.requests.memory": ("proxy.resources.memory.request", str),
        "global.proxy.resources.limits.cpu": ("proxy.resources.cpu.limit", str),
        "global.proxy.resources.limits.memory": ("proxy.resources.memory.limit", str),
        "global.proxy.holdApplicationUntilProxyStarts": ("proxy.await", bool),
        "meshConfig.defaultConfig.holdApplicationUntilProxyStarts": ("proxy.await", bool),
        "meshConfig.defaultConfig.terminationDrainDuration": ("proxy.shutdownGracePeriod", str),
        "meshConfig.connectTimeout": ("proxy.outboundConnectTimeout", str),
        "pilot.env.ENABLE_NATIVE_SIDECARS": ("proxy.nativeSidecar", lambda value: str(value).lower() == "true"),
    },
    ("linkerd", "istio"): {
        "identityTrustDomain": ("meshConfig.trustDomain", str),
        "clusterDomain": ("global.proxy.clusterDomain", str),
        "proxy.resources.cpu.request": ("global.proxy.resources.requests.cpu", str),
        "proxy.resources.memory.request": ("global.proxy.resources.requests.memory", str),
        "proxy.resources.cpu.limit": ("global.proxy.resources.limits.cpu", str),
        "proxy.resources.memory.limit": ("global.proxy.resources.limits.memory", str),
        "proxy.await": ("global.proxy.holdApplicationUntilProxyStarts", bool),
        "proxy.shutdownGracePeriod": ("meshConfig.defaultConfig.terminationDrainDuration", _seconds),
        "proxy.outboundConnectTimeout": ("meshConfig.connectTimeout", _seconds),
        "proxy.nativeSidecar": ("pilot.env.ENABLE_NATIVE_SIDECARS", lambda value: str(value).lower()),
    },
}
"""Values of the source's chart that one of the target's chart says as well."""


def lower(ir: IR, out: Output) -> None:
    """What becomes of settings of the source's installation, as the table says; those that decide access were lifted into it."""
    told: dict[tuple[str, int, str], list[Setting]] = {}
    same = SAME.get((ir.mesh, out.target), {})
    for item in ir.settings:
        if item.reason:
            out.ignore(item.reason, item.value)
        elif isinstance(item.value.value, Computed):
            _unknown(item, ir, out)
        elif item.chart == KUBECTL:
            _on_nothing(item, out)
        elif ir.mesh == out.target:
            out.passing.update(item.value.src)  # with the document that it stands in
        elif item.path == "meshConfig.pathNormalization.normalization":
            _normalised(item, ir, out)
        elif item.value.feature == "transport.auto-mtls" and out.supports("transport.auto-mtls"):
            out.ignore("the target encrypts between its pods whatever clients are told", item.value)
        elif item.off and item.path not in same:
            out.ignore("off, as it is where nobody says anything", item.value)
        elif item.holds and item.path not in same:
            out.imply(item.holds, item.value)
        elif item.path in ACCESS_LOG and (form := _access_log(ir)) and ir.mesh == "istio" and out.target == "linkerd":
            out.install("linkerd-control-plane", "proxy.accessLog", form, item.value)
        elif item.path == "proxy.accessLog" and out.target == "istio":
            out.install("istiod", ACCESS_LOG[0], "/dev/stdout", item.value)
            if str(item.value.value) == "json":
                out.install("istiod", ACCESS_LOG[1], "JSON", item.value)
        elif item.path in same and out.table.support(item.value.feature, out.target, out.target_version).support != "none":
            path, convert = same[item.path]
            out.install(CHARTS[out.target], path, convert(item.value.value), item.value)
        else:  # once a feature and document, however many values speak of it
            told.setdefault((item.value.feature, item.document, item.chart), []).append(item)
    for (feature, document, _), items in told.items():
        fact = items[0].value.also(*(item.value for item in items))
        if out.table.support(feature, out.target, out.target_version).support != "native":
            out.lost(fact, document=document)
            continue
        names = ", ".join(item.path for item in items)
        known = out.table.feature(feature)
        out.finding(
            "MP970", fact, document=document, disposition="manual", setting=names, value=fact.value, what=known.title if known else feature
        )
    if ir.mesh == "cilium" and out.target != "cilium" and out.target != "gateway-api":
        _beneath(ir, out)


def _unknown(item: Setting, ir: IR, out: Output) -> None:
    """A value that only the shell knows. Where access or encryption depends on it, the target's may be another than the source's, whatever it was read as."""
    decides = ir.depends(item)
    named = out.bundle.documents[item.document]
    spaces = (
        {named.name if named.kind == "Namespace" else named.namespace}
        if item.chart == KUBECTL
        else {*ir.world.namespaces, *(one.ref.namespace for one in ir.world.workloads)}
    )
    out.finding(
        "MP972", item.value, document=item.document, disposition="manual",
        severity="error" if decides else None, effect=("narrows" if item.strictest else "widens") if decides else None,
        affects=tuple(Affected(one) for one in sorted(filter(None, spaces))) if decides else (),
        setting=_called(item, out), value=item.value.value,
        reading=f"as {item.strictest}, by which least is let in" if item.strictest else "as if it were not set",
        consequence=f", and {decides} depends on it" if decides else "",
    )  # fmt: skip


def _called(item: Setting, out: Output) -> str:
    """What a setting is called where only the shell knows its value; its name may be the shell's too."""
    if item.path == UNKNOWN:
        return "A setting of the installation"
    if item.path.startswith(f"{UNKNOWN} "):
        return f"{'A label' if item.name == 'labels' else 'An annotation'} of {_object(item, out)}"
    return item.name


ACCESS_LOG = ("meshConfig.accessLogFile", "meshConfig.accessLogEncoding")


def _access_log(ir: IR) -> str:
    """Linkerd's word for Istio's access log where it goes to the proxy's own output, which is where Linkerd's goes; else ""."""
    said = {item.path: str(item.value.value) for item in ir.settings if item.path in ACCESS_LOG}
    if said.get(ACCESS_LOG[0]) not in ("/dev/stdout", "/dev/stderr"):
        return ""
    return "json" if said.get(ACCESS_LOG[1], "").upper() == "JSON" else "apache"


_NORMALISED = {
    "NONE": "dot segments are resolved before paths are compared, where Istio compared them as sent",
    "MERGE_SLASHES": "what is refused is refused with any number of slashes; what is allowed is allowed as it is spelt, where Istio took doubled slashes for one",
    "DECODE_AND_MERGE_SLASHES": "what is refused is refused with any number of slashes, and a path with %2 or %5 (of an escaped slash, or a space) wherever a rule asks for a path; what is allowed is allowed as it is spelt, where Istio took all for the same",
}


def _normalised(item: Setting, ir: IR, out: Output) -> None:
    """Paths that Istio compares after another normalisation: its refusals were read with all spellings, so that only requests are lost."""
    value = str(item.value.value)
    pathed = [policy for policy in ir.policies if any(one.attribute == PATH for rule in policy.rules for one in rule.conditions)]
    out.finding(
        "MP973", item.value, document=item.document, disposition="approximated", effect=None if value == "NONE" else "narrows", value=value,
        consequence=_NORMALISED.get(value, "paths are compared otherwise"),
        affects=tuple(
            dict.fromkeys(Affected(one.ref.namespace, one.ref.name) for policy in pathed for one in ir.world.selected(policy.subject.value))
        ),
    )  # fmt: skip


def _on_nothing(item: Setting, out: Output) -> None:
    """A mark that a command writes on an object which the bundle has not: what it does there nobody can tell."""
    out.finding(
        "MP971", item.value, document=item.document, disposition="manual", object=_object(item, out), mark=item.path.partition(" ")[2]
    )


def _object(item: Setting, out: Output) -> str:
    """What a command marks, as it is typed."""
    order = out.bundle.documents[item.document].value
    namespace = order["metadata"].get("namespace")
    return f"{order['kind'].lower()} {order['metadata']['name']}" + (f" -n {namespace}" if namespace else "")


def _beneath(ir: IR, out: Output) -> None:
    """What Cilium needs as the network beneath another mesh: room for its CNI plugin, and Service addresses left for the proxies to see
    (docs.cilium.io, network/servicemesh/istio)."""
    enrolled = [namespace.meshed for _, namespace in sorted(ir.world.namespaces.items()) if namespace.meshed is not None]
    if enrolled:
        out.install("cilium", "cni.exclusive", False, *enrolled)
        out.install("cilium", "socketLB.hostNamespaceOnly", True, *enrolled)


def _plain(value: Any) -> Any:
    """A value as Helm's templates see it: the texts of a ConfigMap are booleans where they say so."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


# -- where they stand


def places(bundle: Bundle, chart: str, broken: set[int] | frozenset[int] = frozenset()) -> Iterator[Place]:
    """Every place of a bundle that gives values to a chart, in the order of the documents."""
    for number, document in enumerate(bundle.documents):
        if number not in broken:
            yield from of_document(number, document, chart)


def of_document(number: int, document: Document, chart: str) -> Iterator[Place]:
    """The places of one document that give values to a chart."""
    if document.chart == chart:
        yield Place(number, document.value, document.leaves)
    elif document.chart == OF_CHARTS and chart in charts_within(document.value):
        yield Place(number, document.value[chart], document.leaves[chart])
    elif document.chart == AGENT and chart == "cilium":
        yield _agent(number, document.value, document.leaves)
    elif document.chart or (kind := document.kind) not in _KINDS:
        return
    elif (document.group, kind) in _RELEASES:
        yield from _release(number, kind, document.value, document.leaves, chart)
    elif (document.group, kind) == ("", "ConfigMap"):
        yield from _config_map(number, document.name, document.value.get("data"), document.leaves.get("data"), chart)


def _config_map(number: int, name: str, data: Any, leaves: Any, chart: str) -> Iterator[Place]:
    """Cilium's keys, and what Istio's and Linkerd's installers keep as a text of YAML."""
    if not isinstance(data, dict) or not isinstance(leaves, dict):
        return
    if chart == "cilium" and name == "cilium-config":
        yield _agent(number, data, leaves)
    elif chart == "istiod" and (name == "istio" or name.startswith("istio-")) and isinstance(data.get("mesh"), str):
        found = _text(number, data["mesh"], leaves["mesh"])
        if found is not None:
            yield Place(number, {"meshConfig": found.value}, {"meshConfig": found.leaves})
    elif chart == "linkerd-control-plane" and name == "linkerd-config" and isinstance(data.get("values"), str):
        found = _text(number, data["values"], leaves["values"])
        if found is not None:
            yield found


def _agent(number: int, data: dict[str, Any], leaves: dict[str, Any]) -> Place:
    value: dict[str, Any] = {}
    below: dict[str, Any] = {}
    for key, path in _AGENT.items():
        if key in data and (
            data[key] != "false" or path != "encryption.enabled"
        ):  # one of two ways to encrypt is off where the other is on
            _put(value, path, data[key])
            _put(below, path, leaves[key])
    return Place(number, value, below)


def _put(holder: dict[str, Any], path: str, value: Any) -> None:
    *steps, last = path.split(".")
    for step in steps:
        holder = holder.setdefault(step, {})
    holder[last] = value


def _text(number: int, text: str, leaf: int) -> Place | None:
    """A text of YAML as values."""
    try:
        value = plain(text)
    except InputError:
        return None
    return Place(number, value, _spread(value, leaf)) if isinstance(value, dict) else None


def _spread(value: Any, leaf: int) -> Any:
    if isinstance(value, dict) and value:
        return {key: _spread(item, leaf) for key, item in value.items()}
    if isinstance(value, list) and value:
        return [_spread(item, leaf) for item in value]
    return leaf


def _release(number: int, kind: str, value: Any, leaves: Any, chart: str) -> Iterator[Place]:
    """The values that a release gives to a chart."""
    spec, below = value.get("spec"), leaves.get("spec")
    if not isinstance(spec, dict) or not isinstance(below, dict):
        return
    if kind == "IstioOperator":
        if chart == "istiod":
            if isinstance(spec.get("values"), dict) and isinstance(below["values"], dict):
                yield Place(number, spec["values"], below["values"])
            yield Place(
                number, {key: item for key, item in spec.items() if key != "values"}, {key: below[key] for key in below if key != "values"}
            )
        return
    if kind == "HelmRelease":
        named = _step(_step(spec, "chart"), "spec")
        if _is_chart(_step(named, "chart"), chart) and isinstance(spec.get("values"), dict) and isinstance(below.get("values"), dict):
            yield Place(number, spec["values"], below["values"])
        return
    sources = [(spec.get("source"), below.get("source"))]
    if isinstance(spec.get("sources"), list) and isinstance(below.get("sources"), list):
        sources += zip(spec["sources"], below["sources"], strict=True)
    for source, shadow in sources:
        if not _is_chart(_step(source, "chart"), chart):
            continue
        helm, under = _step(source, "helm"), _step(shadow, "helm")
        if isinstance(_step(helm, "values"), str) and (found := _text(number, helm["values"], under["values"])) is not None:
            yield found
        if isinstance(_step(helm, "valuesObject"), dict) and isinstance(under["valuesObject"], dict):
            yield Place(number, helm["valuesObject"], under["valuesObject"])
        if isinstance(_step(helm, "parameters"), list) and isinstance(under["parameters"], list):
            yield _parameters(number, helm["parameters"], under["parameters"])


def _parameters(number: int, listed: list[Any], leaves: list[Any]) -> Place:
    """Argo CD's parameters: a path and a value each, as behind `--set`."""
    value: dict[str, Any] = {}
    below: dict[str, Any] = {}
    for item, shadow in zip(listed, leaves, strict=True):
        path = _step(item, "name")
        if isinstance(path, str) and path and "[" not in path and isinstance(_step(shadow, "value"), int):
            try:
                _put(value, path, _plain(item["value"]))
                _put(below, path, shadow["value"])
            except (AttributeError, TypeError):  # a path below one that holds a scalar
                continue
    return Place(number, value, below)


def _step(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _is_chart(name: Any, chart: str) -> bool:
    return isinstance(name, str) and (_NAMES.get(name, name)) == chart
