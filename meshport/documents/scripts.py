"""Shell scripts as documents: what they set of a mesh's installation, and what they write on objects.

Each command that sets something is a document of its own, numbered in the order of the script. `helm`, `istioctl`, `linkerd` and `cilium` give values of a
chart, as a values file holds them; `kubectl label` and `kubectl annotate` give an object that has nothing but these labels and annotations. What only the
shell can compute is no value, and every other line is left alone.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from meshport.documents import kubectl
from meshport.documents.command import AGENT, Computed, Found, Leaf, options, unsaid
from meshport.documents.model import Document
from meshport.values.helm_set import Assignment, assignments, of_json, of_literal, typed
from meshport.values.install_script import Here, Word, commands, statements
from meshport.values.problems import ValueProblem

PROGRAMS = frozenset(("helm", "istioctl", "linkerd", "cilium", "kubectl", "oc"))

_EXPANSION = re.compile(r"\$\{[^}]*\}|\$\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)|`[^`]*`")
_HIDDEN = 0xF0000  # the first character of a plane that no script writes
_SETS = ("--set-json", "--set", "--set-string", "--set-file", "--set-literal")
"""In the order in which Helm takes them, wherever they stand (pkg/cli/values, MergeValues)."""
_VALUES = ("-f", "--values")

_INJECTING = (("linkerd", "inject"), ("istioctl", "kube-inject"))
_PATCHING = ("-p", "--patch", "--patch-file", "--type", "--subresource")
_KINDS = (
    r"(?:vs|dr|se|gw|gtw|pa|ra|ap|sp|srv|saz|cnp|ccnp)(?:/|$)|(?:virtualservice|destinationrule|serviceentr|sidecar|envoyfilter|peerauth|requestauth|"
    r"authorizationpolic|serviceprofile|server|httproute|grpcroute|meshtls|networkauth|trafficsplit|telemetr|gateway|ciliumnetworkpolic|ciliumclusterwidenetworkpolic)"
)
_KIND_OF_A_MESH = re.compile(_KINDS, re.IGNORECASE)
OF_A_MESH = re.compile(rf"istio|linkerd|cilium|^(?:{_KINDS})", re.IGNORECASE)
"""What a patch is of, or says, where it is of a mesh: its kinds as kubectl takes them, its keys and values."""
_HELM_CHARTS = {
    "istiod": "istiod",
    "istio-discovery": "istiod",
    "linkerd-control-plane": "linkerd-control-plane",
    "linkerd2": "linkerd-control-plane",
    "cilium": "cilium",
}
_ARCHIVE = re.compile(r"(?:[-_:]v?[0-9]+(?:\.[0-9A-Za-z+_-]+)*)?(?:\.tgz|\.tar\.gz)?")
_TELLING = {
    "meshConfig": "istiod", "sidecarInjectorWebhook": "istiod", "policyEnforcementMode": "cilium", "kubeProxyReplacement": "cilium", "l7Proxy": "cilium",
    "identityTrustDomain": "linkerd-control-plane", "identityTrustAnchorsPEM": "linkerd-control-plane", "proxyInit": "linkerd-control-plane",
}  # fmt: skip
"""Keys that the values of no other chart have: what somebody's own chart is a copy of."""
_HINTED = {"istio": "istiod", "linkerd": "linkerd-control-plane", "cilium": "cilium"}
_HINTS = re.compile("|".join(_HINTED))  # in the name of a release or its namespace, where only the shell knows the chart
_HELM_VALUED = {*_SETS, *_VALUES, "-n", "--namespace", "--version", "--repo", "--timeout", "--kube-context", "--kubeconfig", "--description", "--post-renderer",
                "--post-renderer-args", "--history-max", "--username", "--password", "--ca-file", "--cert-file", "--key-file", "--keyring", "--name-template",
                "-l", "--labels", "-o", "--output", "-s", "--show-only", "-a", "--api-versions", "--kube-version", "--output-dir", "--kube-apiserver",
                "--kube-token", "--kube-ca-file", "--kube-as-user", "--kube-as-group", "--registry-config", "--repository-cache", "--repository-config"}  # fmt: skip
_ISTIOCTL_VALUED = {"--set", "-s", "-f", "--filename", "--revision", "-r", "-d", "--manifests", "--charts", "-i", "--istioNamespace", "-n", "--namespace", "-c",
                    "--kubeconfig", "--context", "--readiness-timeout", "-m", "--log_output_level", "-o", "--output"}  # fmt: skip
_LINKERD_FLAGS = {
    "--default-inbound-policy": "proxy.defaultInboundPolicy", "--identity-trust-domain": "identityTrustDomain", "--cluster-domain": "clusterDomain",
    "--skip-inbound-ports": "proxyInit.ignoreInboundPorts", "--skip-outbound-ports": "proxyInit.ignoreOutboundPorts",
    "--proxy-cpu-request": "proxy.resources.cpu.request", "--proxy-cpu-limit": "proxy.resources.cpu.limit", "--proxy-cpu": "proxy.resources.cpu.request",
    "--proxy-memory-request": "proxy.resources.memory.request", "--proxy-memory-limit": "proxy.resources.memory.limit",
    "--proxy-memory": "proxy.resources.memory.request",
}  # fmt: skip
"""Flags of `linkerd install` that stand for a value (linkerd.io/2/reference/cli/install)."""
_LINKERD_SWITCHES = {
    "--enable-external-profiles": "proxy.enableExternalProfiles", "--linkerd-cni-enabled": "cniEnabled", "--identity-external-ca": "identity.externalCA",
}  # fmt: skip
_HIGHLY_AVAILABLE = {
    "proxy.resources.cpu.request": "100m",
    "proxy.resources.memory.request": "20Mi",
    "proxy.resources.memory.limit": "250Mi",
}
"""What `linkerd install --ha` gives the proxies, where nothing else says what they get (charts/linkerd-control-plane, values-ha.yaml)."""
_LINKERD_VALUED = {*_SETS[1:4], *_VALUES, *_LINKERD_FLAGS, "-L", "--linkerd-namespace", "--cni-namespace", "--context", "--kubeconfig", "--as", "--api-addr", "-o",
                   "--output", "--controller-log-level", "--controller-replicas", "--controller-uid", "--controller-gid", "--identity-issuance-lifetime",
                   "--identity-clock-skew-allowance", "--identity-issuer-certificate-file", "--identity-issuer-key-file", "--identity-trust-anchors-file",
                   "--proxy-image", "--image-pull-policy", "--inbound-port", "--outbound-port", "--control-port", "--admin-port", "--proxy-uid", "--proxy-gid",
                   "--proxy-log-level", "-v", "--proxy-version", "--registry"}  # fmt: skip
_CILIUM_SWITCHES = {
    ("hubble", "enable"): ("hubble.enabled", "hubble.relay.enabled"),
    ("clustermesh", "enable"): ("clustermesh.useAPIServer",),
}
_CILIUM_FLAGS = {
    "--cluster-name": "cluster.name",
    "--cluster-id": "cluster.id",
    "--kube-proxy-replacement": "kubeProxyReplacement",
    "--encryption": "encryption.type",
}
"""Flags of `cilium install` before it took Helm's values (cilium-cli 0.14)."""
_CILIUM_VALUED = {*_SETS[1:4], *_VALUES, *_CILIUM_FLAGS, "--config", "-n", "--namespace", "--version", "--context", "--kubeconfig", "--chart-directory",
                  "--datapath-mode", "--wait-duration", "--repository", "--nodes-without-cilium", "--ipam", "--ipv4-native-routing-cidr"}  # fmt: skip


def read_script(
    text: str, file: str | None, lines: array[int], columns: array[int], first_index: int = 0, *, ahead: bool = False
) -> list[Document]:
    """The documents of a script, numbered from `first_index`; the places of their leaves are appended to `lines` and `columns`. Those that its files of values
    stand above are given `ahead` of them."""
    starts = [0]
    for row in text.split("\n"):
        starts.append(starts[-1] + len(row) + 1)
    documents: list[Document] = []
    for words in commands(text, PROGRAMS):
        for found in settings(words):
            if not found.tree or found.ahead is not ahead:
                continue
            first = len(lines)
            value, shadow = _numbered(found.tree, starts, lines, columns)
            line = bisect_right(starts, found.place)
            documents.append(
                Document(file, first_index + len(documents), None, value, shadow, line, None, first, len(lines) - first, found.chart)
            )
    return documents


@dataclass(frozen=True, slots=True)
class Applied:
    """Manifests that a script gives to kubectl itself. `namespace` is the one that the command names."""

    here: Here
    namespace: Word | None

    @property
    def unknown(self) -> str:
        """What only the shell knows of them."""
        return self.here.unknown or (self.namespace.text if self.namespace is not None and self.namespace.computed else "")


def applied(text: str) -> Iterator[Applied]:
    """What `kubectl apply -f -` and its like take of a script's here-documents and of what it prints, and the files that it writes and then applies."""
    written: dict[str, Here] = {}
    for statement in statements(text, PROGRAMS):
        targets = [namespace for words in statement.ours for namespace in kubectl.takes_input(words)]
        for here in statement.given:
            if here.file:
                written[here.file] = here
            if targets or not here.file:  # `tee` hands on what it writes
                yield from (Applied(here, namespace) for namespace in targets)
        for name, namespace in [taken for words in statement.ours for taken in kubectl.takes_files(words)]:
            path = name.removeprefix("./")
            for file in [file for file in written if file == path or file.startswith(f"{path.rstrip('/')}/") or path in (".", "")]:
                yield Applied(written.pop(file), namespace)


def unread(text: str) -> Iterator[Word]:
    """The commands that change a mesh and say nothing that could be read: what they are, with its place."""
    for words in commands(text, PROGRAMS):
        plain, given = options(words[1:], {*kubectl.VALUED, *_PATCHING})
        program, verb = words[0].text.rpartition("/")[2], plain[0].text if plain else ""
        dry = any(name == "--dry-run" and word.text != "none" for name, word in given)
        patched = [*plain[1:2], *(word for name, word in given if name in ("-p", "--patch"))] if verb == "patch" and not dry else []
        deleted = [] if dry or verb != "delete" else [one for word in plain[1:2] for one in word.text.split(",")]
        of_a_mesh = any(OF_A_MESH.search(word.text) for word in patched) or any(_KIND_OF_A_MESH.match(one) for one in deleted)
        of_a_mesh = of_a_mesh and program in ("kubectl", "oc")
        if (program, verb) in _INJECTING or of_a_mesh:  # what options hold may be secret
            yield Word(" ".join(word.text for word in (words[0], *plain)), words[0].places[:1])


def values_files(text: str) -> Iterator[tuple[str, str, int]]:
    """The files of values that the commands of a script name, in their order: the chart, the name as it stands there, its offset."""
    for words in commands(text, PROGRAMS):
        for found in settings(words):
            for word in found.files:
                for name in word.text.split(","):
                    if name:
                        yield found.chart, "standard input" if name == "-" else name, word.places[0]


def _numbered(tree: Any, starts: list[int], lines: array[int], columns: array[int]) -> tuple[Any, Any]:
    if isinstance(tree, Leaf):
        line = bisect_right(starts, tree.at)
        lines.append(line)
        columns.append(tree.at - starts[line - 1] + 1)
        return tree.value, len(lines) - 1
    if isinstance(tree, list):
        pairs = [_numbered(item, starts, lines, columns) for item in tree]
        return [value for value, _ in pairs], [shadow for _, shadow in pairs]
    made = {key: _numbered(item, starts, lines, columns) for key, item in tree.items()}
    return {key: value for key, (value, _) in made.items()}, {key: shadow for key, (_, shadow) in made.items()}


def settings(words: list[Word]) -> Iterator[Found]:
    """What a command sets, chart by chart or object by object."""
    program = words[0].text.rpartition("/")[2]
    rest = words[1:]
    if program == "helm":
        yield from _helm(rest)
    elif program == "istioctl":
        yield from _istioctl(rest)
    elif program == "linkerd":
        yield from _linkerd(rest)
    elif program == "cilium":
        yield from _cilium(rest)
    elif program in ("kubectl", "oc"):
        yield from kubectl.read(rest)


def _set(found: Found, name: str, word: Word, strip: str = "") -> None:
    """Take the assignments of one `--set` or its like; those that only the shell knows are marked."""
    spelled: dict[str, str] = {}

    def hide(found: re.Match[str]) -> str:
        """Helm sees what the shell made of it: its braces, commas and dots divide nothing."""
        sign = chr(_HIDDEN + len(spelled))
        spelled[sign] = found[0]
        return sign * len(found[0])

    def show(value: Any) -> Any:
        if isinstance(value, dict):
            return {show(key): show(item) for key, item in value.items()}
        if isinstance(value, list):
            return [show(item) for item in value]
        return re.sub(r"(.)\1*", lambda found: spelled.get(found[1], found[0]), value, flags=re.DOTALL) if isinstance(value, str) else value

    try:
        listed = _assigned(name, _EXPANSION.sub(hide, word.text) if word.computed else word.text)
    except ValueProblem:
        unsaid(found, [word])
        return
    for one in listed:
        path = tuple(map(show, one.path[1:] if strip and one.path[0] == strip else one.path))
        if word.computed and any("$" in str(step) or "`" in str(step) for step in path):  # which setting it is, only the shell knows
            unsaid(found, [word])
            continue
        value = show(one.value)
        if name == "--set-file" and path:
            found.put(path, Computed(f"the text of {value}"), word.places[min(one.at, len(word.places) - 1)])
            continue
        if word.computed and ("$" in str(value) or "`" in str(value)):
            value = Computed(",".join(map(str, value)) if isinstance(value, list) else str(value))
            one = replace(one, at=one.at[0] if isinstance(one.at, list) else one.at)
        at = [word.places[place] for place in one.at] if isinstance(one.at, list) else word.places[min(one.at, len(word.places) - 1)]
        if path:
            found.put(path, value, at)


def _assigned(name: str, text: str) -> list[Assignment]:
    if name == "--set-json":
        return of_json(text)
    return of_literal(text) if name == "--set-literal" else assignments(text, strings=name in ("--set-string", "--set-file"))


def _sets(found: Found, given: list[tuple[str, Word]], strip: str = "") -> None:
    """Take all that stands behind `--set` and its like, in the order in which Helm does."""
    for wanted in _SETS:
        for name, word in given:
            if name == wanted:
                _set(found, name, word, strip)
    found.files.extend(word for name, word in given if name in _VALUES)


def _flag(found: Found, path: str, word: Word) -> None:
    value = Computed(word.text) if word.computed else typed(word.text) if word.text else True
    found.put(tuple(path.split(".")), value, word.places[0])


def _helm(words: list[Word]) -> Iterator[Found]:
    plain, given = options(words, _HELM_VALUED)
    if not plain or plain[0].text not in ("install", "upgrade", "template"):
        return
    found = _release(plain)
    _sets(found, given)
    if found.chart:
        yield found
        return
    for name, below in list(found.tree.items()):  # a chart of charts has the values of each below its name
        if name in _HELM_CHARTS and isinstance(below, dict):
            yield Found(_HELM_CHARTS[name], below, found.place)
    told = {chart for key, chart in _TELLING.items() if key in found.tree}
    if not told and plain[-1].computed:
        told = set(_HINTS.findall(" ".join(word.text.lower() for word in (*plain, *(word for _, word in given)))))
    if len(told) == 1:
        (name,) = told
        found.chart = _HINTED.get(name, name)
        yield found


def _release(plain: list[Word]) -> Found:
    """What `helm install NAME CHART` begins with; without a chart where it is none of a mesh, or only the shell knows."""
    numbers = [number for number, word in enumerate(plain) if number and _chart(word.text)]
    found = Found(_chart(plain[numbers[-1]].text) if numbers else "", place=plain[0].places[0])
    if numbers:
        before = plain[1 : numbers[-1]]  # the name of the release, and what a variable may hold beside it
        unsaid(found, [word for word in (before if len(before) > 1 else []) + plain[numbers[-1] + 1 :] if word.computed])
    return found


def _chart(text: str) -> str:
    """The chart of a mesh that is called so: in a repository, a folder, an archive or a registry; "" where it is none."""
    name = text.rstrip("/").rpartition("/")[2]
    return next((chart for known, chart in _HELM_CHARTS.items() if name.startswith(known) and _ARCHIVE.fullmatch(name, len(known))), "")


def _istioctl(words: list[Word]) -> Iterator[Found]:
    plain, given = options(words, _ISTIOCTL_VALUED)
    verb = [word.text for word in plain[:2]]
    if verb[:1] not in (["install"], ["upgrade"]) and verb not in (
        ["manifest", "apply"],
        ["manifest", "generate"],
        ["manifest", "install"],
    ):
        return
    found = Found("istiod", place=plain[0].places[0])
    for name, word in given:
        if name in ("--set", "-s"):
            _set(found, "--set", word, "values")
        elif name in ("--revision", "-r"):
            _flag(found, "revision", word)
        elif name in ("-f", "--filename"):
            found.files.append(word)
    unsaid(found, [word for word in plain[1:] if word.computed])
    yield found


def _linkerd(words: list[Word]) -> Iterator[Found]:
    plain, given = options(words, _LINKERD_VALUED)
    if not plain or plain[0].text not in ("install", "upgrade"):
        return
    found = Found("linkerd-control-plane", place=plain[0].places[0])
    ahead = Found(found.chart, place=found.place, ahead=True) if any(name in _VALUES for name, _ in given) else found
    for name, word in given:
        if name == "--ha" and word.text != "false":
            for path, amount in _HIGHLY_AVAILABLE.items():
                ahead.put(tuple(path.split(".")), amount, word.places[0])
    if ahead is not found:
        yield ahead
    for name, word in given:
        if name in _LINKERD_FLAGS or name in _LINKERD_SWITCHES:
            _flag(found, _LINKERD_FLAGS.get(name) or _LINKERD_SWITCHES[name], word)
        elif name == "--disable-h2-upgrade":
            found.put(("enableH2Upgrade",), Computed(word.text) if word.computed else word.text == "false", word.places[0])
    _sets(found, given)  # over what flags say
    unsaid(found, [word for word in plain[1:] if word.computed])
    yield found


def _cilium(words: list[Word]) -> Iterator[Found]:
    plain, given = options([_named_anew(word) for word in words], _CILIUM_VALUED)
    verb = tuple(word.text for word in plain[:2])
    if verb == ("config", "set") and len(plain) >= 4:
        yield _agent(plain[2], plain[3])
    elif verb in _CILIUM_SWITCHES:
        found = Found("cilium", place=plain[0].places[0])
        for path in _CILIUM_SWITCHES[verb]:
            found.put(tuple(path.split(".")), True, plain[1].places[0])
        for name, word in given:
            if verb[0] == "hubble" and name in ("--ui", "--relay") and not word.computed:
                found.put(("hubble", name[2:], "enabled"), word.text != "false", word.places[0])
        yield found
    elif verb[:1] in (("install",), ("upgrade",)):
        found = Found("cilium", place=plain[0].places[0])
        for name, word in given:
            if name in _CILIUM_FLAGS and not (name == "--encryption" and word.text == "disabled"):
                _flag(found, _CILIUM_FLAGS[name], word)
                if name == "--encryption":
                    found.put(("encryption", "enabled"), True, word.places[0])
        _sets(found, given)
        unsaid(found, [word for word in plain[1:] if word.computed])
        yield found
        for name, word in given:
            if name == "--config" and "=" in word.text:
                cut = word.text.index("=")
                yield _agent(word.part(0, cut), word.part(cut + 1))


def _named_anew(word: Word) -> Word:
    """A word of cilium's, with the name that its option of Helm's has since: `--helm-set` is `--set`."""
    return Word("--" + word.text[7:], word.places[5:], word.computed) if word.text.startswith("--helm-") else word


def _agent(key: Word, value: Word) -> Found:
    """A key of Cilium's ConfigMap."""
    found = Found(AGENT, place=key.places[0])
    found.put((key.text,), Computed(value.text) if value.computed else value.text, value.places[0])
    return found
