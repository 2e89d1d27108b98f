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
from dataclasses import dataclass, field, replace
from typing import Any

from meshport.documents.model import Bundle, Document
from meshport.values.helm_set import assignments, typed
from meshport.values.install_script import Word, commands
from meshport.values.problems import ValueProblem

KUBECTL = "kubectl"
"""The `chart` of a document that a kubectl command writes on an object."""
AGENT = "cilium-config"
"""The `chart` of keys of Cilium's ConfigMap, which `cilium config set` writes."""

PROGRAMS = frozenset(("helm", "istioctl", "linkerd", "cilium", "kubectl", "oc"))
UNKNOWN = "unknown"
"""The key below which such a document has marks whose value only the shell knows, and options that it alone knows or that the program refuses."""

_EXPANSION = re.compile(r"\$\{[^}]*\}|\$\((?:[^()]|\([^()]*\))*\)|`[^`]*`")
_HIDDEN = 0xF0000  # the first character of a plane that no script writes

_HELM_CHARTS = {
    "istiod": "istiod",
    "linkerd-control-plane": "linkerd-control-plane",
    "linkerd2": "linkerd-control-plane",
    "cilium": "cilium",
}
_HELM_VALUED = {"-n", "--namespace", "--version", "-f", "--values", "--set", "--set-string", "--set-json", "--set-file", "--set-literal", "--repo",
                "--timeout", "--kube-context", "--kubeconfig", "--description", "--post-renderer", "--history-max", "--username", "--password"}  # fmt: skip
_VALUES = ("-f", "--values")
_LINKERD_FLAGS = {
    "--default-inbound-policy": "proxy.defaultInboundPolicy", "--identity-trust-domain": "identityTrustDomain", "--cluster-domain": "clusterDomain",
    "--skip-inbound-ports": "proxyInit.ignoreInboundPorts", "--skip-outbound-ports": "proxyInit.ignoreOutboundPorts",
    "--proxy-cpu-request": "proxy.resources.cpu.request", "--proxy-cpu-limit": "proxy.resources.cpu.limit",
    "--proxy-memory-request": "proxy.resources.memory.request", "--proxy-memory-limit": "proxy.resources.memory.limit",
    "--enable-external-profiles": "proxy.enableExternalProfiles", "--linkerd-cni-enabled": "cniEnabled",
}  # fmt: skip
"""Flags of `linkerd install` that stand for a value (linkerd.io/2/reference/cli/install)."""
_CILIUM_SWITCHES = {
    ("hubble", "enable"): ("hubble.enabled", "hubble.relay.enabled"),
    ("clustermesh", "enable"): ("clustermesh.useAPIServer",),
}
_KUBECTL_VALUED = {"-n", "--namespace", "-l", "--selector", "-f", "--filename", "--context", "--kubeconfig", "--cluster", "--user", "-o", "--output",
                   "--field-manager", "--field-selector", "--resource-version", "-k", "--kustomize"}  # fmt: skip
_KINDS = {
    "Namespace": ("v1", "namespace namespaces ns"), "Service": ("v1", "service services svc"), "Pod": ("v1", "pod pods po"),
    "ServiceAccount": ("v1", "serviceaccount serviceaccounts sa"), "Deployment": ("apps/v1", "deployment deployments deploy deployment.apps"),
    "StatefulSet": ("apps/v1", "statefulset statefulsets sts statefulset.apps"), "DaemonSet": ("apps/v1", "daemonset daemonsets ds daemonset.apps"),
}  # fmt: skip
_RESOURCES = {word: (kind, api) for kind, (api, words) in _KINDS.items() for word in words.split()}


class Computed(str):
    """A value that only the shell knows, as the script spells it."""

    __slots__ = ()


@dataclass(slots=True)
class _Leaf:
    value: Any
    at: int  # the offset in the script


@dataclass(slots=True)
class _Found:
    """A command: the chart that it sets values of, and the values by path, each with its place."""

    chart: str
    tree: dict[str, Any] = field(default_factory=dict)
    place: int = 0
    files: list[Word] = field(default_factory=list)  # of values, as the command names them

    def put(self, path: tuple[str | int, ...], value: Any, at: Any) -> None:
        """Write a value as Helm does: what stood there is replaced, a list grows as far as is needed."""
        leaf: Any = [_Leaf(item, place) for item, place in zip(value, at, strict=True)] if isinstance(value, list) else _Leaf(value, at)
        if leaf == []:
            leaf = _Leaf([], self.place)
        holder: Any = self.tree
        for step, following in zip(path, (*path[1:], None), strict=True):
            empty: Any = leaf if following is None else [] if isinstance(following, int) else {}
            if isinstance(step, int):
                if not isinstance(holder, list) or step > 1000:
                    return
                holder.extend(_Leaf(None, self.place) for _ in range(step + 1 - len(holder)))
            elif not isinstance(holder, dict):
                return
            present = holder[step] if isinstance(step, int) else holder.get(step)
            if following is None or not isinstance(present, type(empty)):
                holder[step] = empty
            holder = holder[step]


def read_script(text: str, file: str | None, lines: array[int], columns: array[int]) -> list[Document]:
    """The documents of a script; the places of their leaves are appended to `lines` and `columns`."""
    starts = [0]
    for row in text.split("\n"):
        starts.append(starts[-1] + len(row) + 1)
    documents: list[Document] = []
    for words in commands(text, PROGRAMS):
        for found in _read(words):
            if not found.tree:
                continue
            first = len(lines)
            value, shadow = _numbered(found.tree, starts, lines, columns)
            line = bisect_right(starts, found.place)
            documents.append(Document(file, len(documents), None, value, shadow, line, None, first, len(lines) - first, found.chart))
    return documents


def values_files(text: str) -> Iterator[tuple[str, str, int]]:
    """The files of values that the commands of a script name, in their order: the chart, the name as it stands there, its offset. What a pipe gives is none."""
    for words in commands(text, PROGRAMS):
        for found in _read(words):
            for word in found.files:
                for name in word.text.split(","):
                    if name not in ("", "-"):
                        yield found.chart, name, word.places[0]


def _numbered(tree: Any, starts: list[int], lines: array[int], columns: array[int]) -> tuple[Any, Any]:
    if isinstance(tree, _Leaf):
        line = bisect_right(starts, tree.at)
        lines.append(line)
        columns.append(tree.at - starts[line - 1] + 1)
        return tree.value, len(lines) - 1
    if isinstance(tree, list):
        pairs = [_numbered(item, starts, lines, columns) for item in tree]
        return [value for value, _ in pairs], [shadow for _, shadow in pairs]
    made = {key: _numbered(item, starts, lines, columns) for key, item in tree.items()}
    return {key: value for key, (value, _) in made.items()}, {key: shadow for key, (_, shadow) in made.items()}


def _read(words: list[Word]) -> Iterator[_Found]:
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
        yield from _kubectl(rest)


def _options(words: list[Word], valued: set[str]) -> tuple[list[Word], list[tuple[str, Word]]]:
    """The words that are no options, and the options: those of `valued` with the word behind them, others with what stands behind `=`, or nothing."""
    plain: list[Word] = []
    options: list[tuple[str, Word]] = []
    number = 0
    while number < len(words):
        word = words[number]
        number += 1
        if not word.text.startswith("-") or word.text == "-":
            plain.append(word)
            continue
        name, equals, _ = word.text.partition("=")
        if equals:
            options.append((name, word.part(len(name) + 1)))
        elif name in valued and number < len(words):
            options.append((name, words[number]))
            number += 1
        else:
            options.append((name, word.part(len(word.text))))
    return plain, options


def _unsaid(found: _Found, words: list[Word]) -> None:
    """Words of which nobody can say what they set."""
    for word in words:
        said = found.tree.get(UNKNOWN, {})
        found.put((UNKNOWN, str(len(said))), Computed(word.text), word.places[0])


def _set(found: _Found, name: str, word: Word, strip: str = "") -> None:
    """Take the assignments of one `--set`; those that only the shell knows are marked."""
    spelled: dict[str, str] = {}

    def hide(found: re.Match[str]) -> str:
        """Helm sees what the shell made of it: its braces, commas and dots divide nothing."""
        sign = chr(_HIDDEN + len(spelled))
        spelled[sign] = found[0]
        return sign * len(found[0])

    def show(text: Any) -> Any:
        return re.sub(r"(.)\1*", lambda found: spelled.get(found[1], found[0]), text, flags=re.DOTALL) if isinstance(text, str) else text

    try:
        listed = assignments(_EXPANSION.sub(hide, word.text) if word.computed else word.text, strings=name == "--set-string")
    except ValueProblem:
        _unsaid(found, [word])
        return
    for one in listed:
        path = tuple(map(show, one.path[1:] if strip and one.path[0] == strip else one.path))
        if word.computed and any("$" in str(step) or "`" in str(step) for step in path):  # which setting it is, only the shell knows
            _unsaid(found, [word])
            continue
        value = list(map(show, one.value)) if isinstance(one.value, list) else show(one.value)
        texts = value if isinstance(value, list) else [value]
        if word.computed and any("$" in str(text) or "`" in str(text) for text in texts):
            value = Computed(",".join(map(str, texts)))
            one = replace(one, at=one.at[0] if isinstance(one.at, list) else one.at)
        at = [word.places[place] for place in one.at] if isinstance(value, list) else word.places[min(one.at, len(word.places) - 1)]
        if path:
            found.put(path, value, at)


def _flag(found: _Found, path: str, word: Word) -> None:
    value = Computed(word.text) if word.computed else typed(word.text) if word.text else True
    found.put(tuple(path.split(".")), value, word.places[0])


def _helm(words: list[Word]) -> Iterator[_Found]:
    plain, options = _options(words, _HELM_VALUED)
    if not plain or plain[0].text not in ("install", "upgrade", "template"):
        return
    named = [chart for word in plain[1:] if (chart := _HELM_CHARTS.get(word.text.rstrip("/").rpartition("/")[2]))]
    if named:
        found = _Found(named[-1], place=plain[0].places[0])
        for name, word in options:
            if name in ("--set", "--set-string"):
                _set(found, name, word)
            elif name in _VALUES:
                found.files.append(word)
        last = next(number for number, word in enumerate(plain) if number and _HELM_CHARTS.get(word.text.rstrip("/").rpartition("/")[2]))
        before = plain[1:last]  # the name of the release, and what a variable may hold beside it
        _unsaid(found, [word for word in (before if len(before) > 1 else []) + plain[last + 1 :] if word.computed])
        yield found


def _istioctl(words: list[Word]) -> Iterator[_Found]:
    plain, options = _options(
        words, {"--set", "-s", "-f", "--filename", "--revision", "-r", "-d", "--manifests", "-i", "--istioNamespace", "-c", "--context"}
    )
    verb = [word.text for word in plain[:2]]
    if verb[:1] not in (["install"], ["upgrade"]) and verb not in (
        ["manifest", "apply"],
        ["manifest", "generate"],
        ["manifest", "install"],
    ):
        return
    found = _Found("istiod", place=plain[0].places[0])
    for name, word in options:
        if name in ("--set", "-s"):
            _set(found, name, word, "values")
        elif name in ("--revision", "-r"):
            _flag(found, "revision", word)
        elif name in ("-f", "--filename"):
            found.files.append(word)
    _unsaid(found, [word for word in plain[1:] if word.computed])
    yield found


def _linkerd(words: list[Word]) -> Iterator[_Found]:
    plain, options = _options(words, {"--set", "--set-string", "--set-file", "-f", "--values", "-L", "--linkerd-namespace", "--context", *_LINKERD_FLAGS} - {
        "--enable-external-profiles", "--linkerd-cni-enabled"})  # fmt: skip
    if not plain or plain[0].text not in ("install", "upgrade"):
        return
    found = _Found("linkerd-control-plane", place=plain[0].places[0])
    for name, word in options:
        if name in ("--set", "--set-string"):
            _set(found, name, word)
        elif name in _LINKERD_FLAGS:
            _flag(found, _LINKERD_FLAGS[name], word)
        elif name in _VALUES:
            found.files.append(word)
    _unsaid(found, [word for word in plain[1:] if word.computed])
    yield found


def _cilium(words: list[Word]) -> Iterator[_Found]:
    plain, options = _options(
        words, {"--set", "--helm-set", "--set-string", "--helm-set-string", "-f", "--values", "-n", "--namespace", "--version", "--context"}
    )
    verb = tuple(word.text for word in plain[:2])
    if verb == ("config", "set") and len(plain) >= 4:
        found = _Found(AGENT, place=plain[0].places[0])
        found.put((plain[2].text,), _value(plain[3]), plain[3].places[0])
        yield found
    elif verb in _CILIUM_SWITCHES:
        found = _Found("cilium", place=plain[0].places[0])
        for path in _CILIUM_SWITCHES[verb]:
            found.put(tuple(path.split(".")), True, plain[1].places[0])
        for name, word in options:
            if verb[0] == "hubble" and name in ("--ui", "--relay") and not word.computed:
                found.put(("hubble", name[2:], "enabled"), word.text != "false", word.places[0])
        yield found
    elif verb[:1] in (("install",), ("upgrade",)):
        found = _Found("cilium", place=plain[0].places[0])
        for name, word in options:
            if name.endswith(("set", "set-string")):
                _set(found, "--set-string" if name.endswith("set-string") else "--set", word)
            elif name in _VALUES:
                found.files.append(word)
        _unsaid(found, [word for word in plain[1:] if word.computed])
        yield found


def _value(word: Word) -> str:
    return Computed(word.text) if word.computed else word.text


def _kubectl(words: list[Word]) -> Iterator[_Found]:
    plain, options = _options(words, _KUBECTL_VALUED)
    if len(plain) < 3 or plain[0].text not in ("label", "annotate") or any(name == "--dry-run" for name, _ in options):
        return
    what = "labels" if plain[0].text == "label" else "annotations"
    namespace = next((word for name, word in options if name in ("-n", "--namespace")), None)
    named: list[tuple[Word, Word]] = []  # kind, name
    kind: Word | None = None
    marks: list[Word] = []
    for word in plain[1:]:
        if "=" in word.text or (word.text.endswith("-") and (named or kind is not None)):
            marks.append(word)
        elif kind is None and "/" in word.text:
            cut = word.text.index("/")
            named.append((word.part(0, cut), word.part(cut + 1)))
        elif kind is None:
            kind = word
        else:
            named.append((kind, word))
    for of, name in named:
        known = _RESOURCES.get(of.text.lower())
        if known is None or not name.text:
            continue
        found = _Found(KUBECTL, place=plain[0].places[0])
        found.put(("apiVersion",), known[1], of.places[0])
        found.put(("kind",), known[0], of.places[0])
        found.put(("metadata", "name"), _value(name), name.places[0])
        if namespace is not None and known[0] != "Namespace":
            found.put(("metadata", "namespace"), _value(namespace), namespace.places[0])
        for mark in marks:
            key, equals, value = mark.text.partition("=")
            if equals and mark.computed:
                found.put((UNKNOWN, what, key), Computed(value), mark.places[len(key) + 1])
            elif equals:
                found.put(("metadata", what, key), value, mark.places[len(key) + 1])
            elif not equals:
                found.put(("metadata", what, mark.text[:-1]), None, mark.places[0])
        if what in found.tree["metadata"] or UNKNOWN in found.tree:
            yield found


# -- what the commands have written


def commanded(bundle: Bundle) -> Bundle:
    """The bundle as it is once the `kubectl` commands of its scripts have run: their labels and annotations stand on the objects that they name.

    A Namespace that has no object of its own gets one that holds nothing else, marked as `commanded`; other objects that the bundle has not stay unsaid.
    """
    orders = [number for number, document in enumerate(bundle.documents) if document.chart == KUBECTL]
    if not orders:
        return bundle
    documents = list(bundle.documents)
    places: dict[tuple[str, str, str], int] = {}
    for number, document in enumerate(documents):
        if not document.chart:
            places[document.kind, document.namespace or "", document.name] = number
    for number in orders:
        order = bundle.documents[number]
        kind, name = order.value["kind"], order.value["metadata"]["name"]
        named = (order.namespace or "", name)
        at = places.get((kind, *named), places.get((kind, "", name)) if order.namespace is None else None)
        if at is None and order.namespace == "default":
            at = places.get((kind, "", name))
        if at is not None:
            documents[at] = _marked(documents[at], order)
            documents[number] = replace(order, chart=f"{KUBECTL} done")
        elif kind == "Namespace" and not isinstance(name, Computed):
            places[kind, *named] = number
            bare = {**order.value, "metadata": {"name": name}}
            shadow = {**order.leaves, "metadata": {"name": order.leaves["metadata"]["name"]}}
            documents[number] = _marked(replace(order, value=bare, leaves=shadow, chart="", commanded=True, stood=order), order)
    return bundle.holding(documents)


def _marked(document: Document, order: Document) -> Document:
    """A document with the labels and annotations of a command; those that it takes away are gone."""
    value, leaves = dict(document.value), dict(document.leaves)
    metadata = dict(value["metadata"]) if isinstance(value.get("metadata"), dict) else {}
    shadow = dict(leaves["metadata"]) if isinstance(leaves.get("metadata"), dict) else {}
    for what in ("labels", "annotations"):
        written = order.value["metadata"].get(what)
        if written is None:
            continue
        before = metadata.get(what)
        entries = dict(before) if isinstance(before, dict) else {}
        below = dict(shadow[what]) if entries and isinstance(shadow.get(what), dict) else {}
        for key, text in written.items():
            entries.pop(key, None)
            below.pop(key, None)
            if text is not None:
                entries[key], below[key] = text, order.leaves["metadata"][what][key]
        if entries:
            metadata[what], shadow[what] = entries, below
        else:
            metadata.pop(what, None)
            shadow.pop(what, None)
    value["metadata"], leaves["metadata"] = metadata, shadow
    return replace(document, value=value, leaves=leaves, text=None, stood=document.stood or document)
