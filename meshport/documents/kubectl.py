"""What `kubectl label` and `kubectl annotate` write on objects: read from a command, and put on the objects of a bundle that it means.

https://kubernetes.io/docs/reference/kubectl/generated/kubectl_label/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from meshport.documents.command import KUBECTL, UNKNOWN, Computed, Found, options
from meshport.documents.model import Bundle, Document
from meshport.values.install_script import Word

VALUED = {"-n", "--namespace", "-l", "--selector", "-f", "--filename", "--context", "--kubeconfig", "--cluster", "--user", "-o", "--output", "--as", "-s", "--server",
           "--token", "--request-timeout", "--field-manager", "--field-selector", "--resource-version", "-k", "--kustomize"}  # fmt: skip
_KINDS = {
    "Namespace": ("v1", "namespace namespaces ns"), "Service": ("v1", "service services svc"), "Pod": ("v1", "pod pods po"),
    "ServiceAccount": ("v1", "serviceaccount serviceaccounts sa"), "Deployment": ("apps/v1", "deployment deployments deploy deployment.apps deployments.apps"),
    "StatefulSet": ("apps/v1", "statefulset statefulsets sts statefulset.apps statefulsets.apps"),
    "DaemonSet": ("apps/v1", "daemonset daemonsets ds daemonset.apps daemonsets.apps"),
}  # fmt: skip
_SHORT = {
    "vs": "virtualservice", "dr": "destinationrule", "se": "serviceentry", "gw": "gateway", "gtw": "gateway", "pa": "peerauthentication", "ra": "requestauthentication",
    "cnp": "ciliumnetworkpolicy", "ccnp": "ciliumclusterwidenetworkpolicy", "sp": "serviceprofile", "srv": "server", "saz": "serverauthorization",
    "cm": "configmap", "cj": "cronjob", "rs": "replicaset",
}  # fmt: skip
OF_THE_CLUSTER = frozenset({
    "Namespace", "Node", "PersistentVolume", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "APIService", "StorageClass", "PriorityClass",
    "IngressClass", "RuntimeClass", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding", "ClusterTrustBundle", "GatewayClass", "XMesh", "CiliumBGPAdvertisement", "CiliumBGPClusterConfig",
    "CiliumBGPNodeConfig", "CiliumBGPNodeConfigOverride", "CiliumBGPPeerConfig", "CiliumBGPPeeringPolicy", "CiliumCIDRGroup",
    "CiliumClusterwideEnvoyConfig", "CiliumClusterwideNetworkPolicy", "CiliumClusterWideNetworkPolicy", "CiliumDatapathPlugin",
    "CiliumEgressGatewayPolicy", "CiliumEndpointSlice", "CiliumExternalWorkload", "CiliumIdentity", "CiliumL2AnnouncementPolicy",
    "CiliumLoadBalancerIPPool", "CiliumNetworkDriverClusterConfig", "CiliumNetworkDriverNodeConfig", "CiliumNode", "CiliumPodIPPool", "CiliumVTEPConfig",
})  # fmt: skip
"""Kinds that have no namespace to name, and one that people write for such a kind."""
_SOMETHING = "object"  # where only the shell knows the kind
EVERYWHERE = " -A"
"""Behind what chooses objects in every namespace."""
_RESOURCES = {word: (kind, api) for kind, (api, words) in _KINDS.items() for word in words.split()}
_DEMAND = re.compile(
    r"\s*(?:(?P<not>!)?(?P<alone>[A-Za-z0-9_./-]+)(?=\s*(?:,|$))|(?P<key>[A-Za-z0-9_./-]+)\s*(?:(?P<sign>==?|!=)\s*(?P<value>[A-Za-z0-9_.-]*)"
    r"|\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\)))\s*(?:,|$)"
)


def read(words: list[Word]) -> Iterator[Found]:
    """What a command marks, object by object. Those that it does not name (`--all`, `-l`, `-f`) have as their name what it says instead."""
    plain, given = options(words, VALUED)
    asked = [name for name, word in given if not (name == "--dry-run" and word.text == "none")]
    if len(plain) < 2 or plain[0].text not in ("label", "annotate") or {"--dry-run", "--local", "--list"} & set(asked):
        return
    what = "labels" if plain[0].text == "label" else "annotations"
    namespace = next((word for name, word in given if name in ("-n", "--namespace")), None)
    everywhere = EVERYWHERE if {"-A", "--all-namespaces"} & set(asked) else ""
    chosen = [_chosen(name, word, everywhere) for name, word in given if name in ("--all", "-l", "--selector", "-f", "--filename")]
    named, marks = _named(plain[1:], bool(chosen))
    if chosen:
        named = [(of, chosen[0]) for of, _ in named]
    for of, name in named:
        kind, api = _RESOURCES.get(of.text.lower(), (of.text, "v1"))
        if not name.text or not kind:
            continue
        found = Found(KUBECTL, place=plain[0].places[0])
        found.put(("apiVersion",), api, of.places[0])
        found.put(("kind",), kind, of.places[0])
        found.put(("metadata", "name"), Computed(name.text) if name.computed else name.text, name.places[0])
        if namespace is not None and kind != "Namespace":
            found.put(("metadata", "namespace"), Computed(namespace.text) if namespace.computed else namespace.text, namespace.places[0])
        for mark in marks:
            _mark(found, what, mark, kind in _KINDS or kind == _SOMETHING)
        if what in found.tree["metadata"] or UNKNOWN in found.tree:
            yield found


def takes_input(words: list[Word]) -> list[Word | None]:
    """The namespace that a command names which takes manifests from its standard input; nothing for any other command."""
    return [namespace for name, namespace in _applies(words) if name in ("-", "/dev/stdin")]


def takes_files(words: list[Word]) -> list[tuple[str, Word | None]]:
    """The files and folders of manifests that a command applies, with the namespace that it names."""
    return [(name, namespace) for name, namespace in _applies(words) if name not in ("-", "/dev/stdin")]


def builds(words: list[Word]) -> list[str]:
    """The folders that a command applies the kustomization of (`-k`)."""
    given = options(words[1:], VALUED)[1] if _applying(words) else []
    return [word.text for name, word in given if name in ("-k", "--kustomize")]


def _applying(words: list[Word]) -> bool:
    if words[0].text.rpartition("/")[2] not in ("kubectl", "oc"):
        return False
    plain, given = options(words[1:], VALUED)
    dry = any(name == "--dry-run" and word.text != "none" for name, word in given)
    return not dry and bool(plain) and plain[0].text in ("apply", "create", "replace")


def _applies(words: list[Word]) -> list[tuple[str, Word | None]]:
    if not _applying(words):
        return []
    given = options(words[1:], VALUED)[1]
    namespace = next((word for name, word in given if name in ("-n", "--namespace")), None)
    files = [word.text for name, word in given if name in ("-f", "--filename")]
    listed = [one for text in files for one in ([text] if text.startswith("<(") else text.split(","))]
    return [(one, namespace) for one in dict.fromkeys(listed)]


def _chosen(name: str, word: Word, everywhere: str) -> Word:
    """What a command says instead of a name, as it would be spelled."""
    option = {"--selector": "-l", "--filename": "-f"}.get(name, name)
    text = (option if option == "--all" else f"{option} {word.text}") + everywhere
    return Word(text, (word.places[0],) * (len(text) + 1), word.computed)


def _named(words: list[Word], chosen: bool) -> tuple[list[tuple[Word, Word]], list[Word]]:
    """The objects that the words name, as kind and name, and the marks: all that has a `=`, takes one away (`key-`), or follows them and is the shell's own."""
    named: list[tuple[Word, Word]] = []
    marks: list[Word] = []
    kind: Word | None = None
    for word in words:
        pair = word.text.split("/")
        if (
            "=" in word.text
            or (word.text.endswith("-") and (named or kind is not None))
            or (word.computed and (named or (chosen and kind is not None)))
        ):
            marks.append(word)
        elif kind is None and len(pair) == 2 and all(pair):
            named.append((word.part(0, len(pair[0])), word.part(len(pair[0]) + 1)))
        elif kind is None and word.computed:
            named.append((Word(_SOMETHING, (word.places[0],) * 7), word))
        elif kind is None:
            kind = word
        else:
            named.append((kind, word))
    if chosen and not named:
        named = [(kind or Word(_SOMETHING, (words[0].places[0],) * 7), words[0])]
    return named, marks


def _mark(found: Found, what: str, mark: Word, ours: bool) -> None:
    """One label or annotation. Where only the shell knows its key, its whole text stands for it, if a mesh reads what is `ours`."""
    key, equals, value = mark.text.partition("=")
    if mark.computed and ("$" in key or "`" in key or "{}" in key or not equals):
        if ours:
            found.put((UNKNOWN, what, mark.text), Computed(mark.text), mark.places[0])
    elif mark.computed:
        found.put((UNKNOWN, what, key), Computed(value), mark.places[len(key) + 1])
    elif equals:
        found.put(("metadata", what, key), value, mark.places[len(key) + 1])
    else:
        found.put(("metadata", what, mark.text[:-1]), None, mark.places[0])


# -- what the commands have written


def commanded(bundle: Bundle) -> Bundle:
    """The bundle as it is once the `kubectl` commands of its scripts have run: their labels and annotations stand on the objects that they name.

    A Namespace that has no object of its own gets one that holds nothing else, marked as `commanded`; other objects that the bundle has not stay unsaid.
    """
    orders = [number for number, document in enumerate(bundle.documents) if document.chart == KUBECTL]
    if not orders:
        return bundle
    documents = list(bundle.documents)
    for number in orders:
        order = bundle.documents[number]
        meant = _meant(order, documents)
        for at in meant:
            documents[at] = _marked(documents[at], order)
        kind, name = order.value["kind"], order.value["metadata"]["name"]
        if meant:
            documents[number] = replace(order, chart=f"{KUBECTL} done")
        elif kind == "Namespace" and not isinstance(name, Computed) and not name.startswith("-"):
            bare = {**order.value, "metadata": {"name": name}}
            shadow = {**order.leaves, "metadata": {"name": order.leaves["metadata"]["name"]}}
            documents[number] = _marked(replace(order, value=bare, leaves=shadow, chart="", commanded=True, stood=order), order)
    return bundle.holding(documents)


def _meant(order: Document, documents: list[Document]) -> list[int]:
    """The documents that a command marks. Without a namespace it is for the one of an object that names none, or for `default`."""
    kind, name, home = order.value["kind"], order.value["metadata"]["name"], order.namespace
    of_the_kind = [number for number, document in enumerate(documents) if not document.chart and _is(document, kind)]
    if isinstance(name, Computed):
        return []
    if not name.startswith("-"):
        found = {documents[number].namespace or "": number for number in of_the_kind if documents[number].name == name}
        at = found.get(home or "", found.get("") if home == "default" else None)
        return [] if at is None else [at]
    chosen = name.removesuffix(EVERYWHERE)
    homes = {home or "default", *([""] if home in (None, "default") else [])}
    there = [at for at in of_the_kind if chosen != name or kind == "Namespace" or (documents[at].namespace or "") in homes]
    if chosen.startswith("-f "):
        file = chosen[3:].removeprefix("./")
        return [at for at in there if f"/{documents[at].file or ''}".replace("\\", "/").endswith(f"/{file}")]
    return [at for at in there if chosen == "--all" or _selects(chosen[3:], documents[at])]


def _is(document: Document, word: str) -> bool:
    """Whether an object is of the kind that a command calls so."""
    if document.kind == word:
        return True
    asked, kind = word.lower(), document.kind.lower()
    if not kind or word in _KINDS:
        return False
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}es" if kind.endswith(("s", "x", "ch")) else f"{kind}s"
    return asked in (kind, plural, f"{kind}.{document.group}", f"{plural}.{document.group}") or _SHORT.get(asked) == kind


def _selects(selector: str, document: Document) -> bool:
    """Whether an object has the labels that `-l` asks for; one that nobody can read selects nothing."""
    metadata = document.value.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    labels = labels if isinstance(labels, dict) else {}
    at = 0
    while at < len(selector):
        found = _DEMAND.match(selector, at)
        if found is None:
            return False
        at = found.end()
        if found["alone"]:
            held = (found["alone"] in labels) is not bool(found["not"])
        else:
            value = labels.get(found["key"])
            wanted = [found["value"]] if found["sign"] else [item.strip() for item in found["values"].split(",")]
            held = (value is not None and str(value) in wanted) is ((found["sign"] or found["word"]) not in ("!=", "notin"))
        if not held:
            return False
    return True


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
