"""A bundle under the table: for each leaf its binding, and what is wrong with the documents as resources.

A binding row is the schema: a leaf without a row is an unknown field, a leaf of another type or value is invalid, and both count as what the cluster does
with them, which is nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from meshport.findings import Finding
from meshport.ir.base import Fact, Ref
from meshport.mapping.exclusive import clashes
from meshport.mapping.limits import breaches
from meshport.mapping.names import FILLED_IN, misnamed
from meshport.mapping.owners import TEMPLATES, generated_by, made
from meshport.mapping.passed_over import passed_over
from meshport.mapping.paths import dotted, homes, leaves_below, leaves_of, nearest, numberless, pairs, siblings
from meshport.mapping.releases import Gap, first_release, gap, removed_groups, served
from meshport.mapping.table import Binding, Kind, Node, Table, dialect_of_group, in_range

if TYPE_CHECKING:
    from meshport.documents import Bundle, Document

CORE_KINDS = {
    ("", "Namespace"), ("", "Service"), ("", "ServiceAccount"), *TEMPLATES,
}  # fmt: skip

MESH_NAMES = {"istio": "Istio", "linkerd": "Linkerd", "cilium": "Cilium", "gateway-api": "Gateway API", "smi": "SMI"}

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "int-or-string": (int, str),
    "duration": (str,),
    "quantity": (int, float, str),
}


class Bound:
    """`bindings[leaf]` is the leaf's binding or None; `mesh[i]` says whether document i is of one of the dialects read; `invalid` are leaves that no
    cluster would act on; `broken` are documents that no cluster would take."""

    def __init__(self, bundle: Bundle, table: Table, dialects: tuple[str, ...], releases: Mapping[str, str] | None = None) -> None:
        """`releases` gives a dialect its release: what it does not know is a finding. A dialect without one is read as of all releases."""
        self.bundle = bundle
        self.releases = dict(releases or {})
        self.table = table
        self.dialects = dialects
        self.bindings: list[Binding | None] = [None] * bundle.leaf_count
        self.features: dict[int, str] = {}  # where the value or the parent makes it another feature than the binding's
        self.made = made(bundle.documents)  # workloads that another object of the bundle makes, and which
        self.own: dict[int, str] = {}  # parts of the installation of a mesh that is left, and which
        self.mesh: list[bool] = []
        self.invalid: set[int] = set()
        self.mended: set[int] = set()  # kinds and versions that no cluster takes, read as the ones that were meant
        self.broken: set[int] = set()
        self.unread: set[int] = set()  # leaves whose value some lift could not make out
        self.meta_leaves: set[int] = set()  # mesh labels and annotations of documents of no mesh
        self.kinds: dict[int, str] = {}  # documents whose kind or version was repaired: the kind meant
        self.findings: list[Finding] = []
        self.refs: dict[int, Fact[Ref]] = {}  # what objects are called, by document
        self._inbound = False
        self._release: str | None = None  # of the document at hand
        self._refusal: Finding | None = None  # what says that no cluster takes it
        self._mistyped: Finding | None = None  # the first value of it that is of no type that a cluster takes
        self._version = ""
        self._gaps: dict[tuple[Gap, str], tuple[list[int], list[str]]] = {}
        self.unknowns = (
            ""  # what a setting that nobody knows counts as where another mesh takes over: "strictest" or "unset"; "" where none does
        )
        self.hollow: set[int] = (
            set()
        )  # empty lists and mappings that have no row of their own: their binding is that of the first leaf that could stand below
        self.repeated: set[int] = set()  # leaves of documents that stand there once more, word for word
        for number, document in enumerate(bundle.documents):
            self._bind(number, document)
        self._duplicates()

    def _duplicates(self) -> None:
        """Objects that stand there several times: the last one counts, as kubectl applies them one after the other."""
        same: dict[tuple[str, str, str | None, str], list[int]] = {}
        for number, document in enumerate(self.bundle.documents):
            if document.name and (self.mesh[number] or (document.group, document.kind) in CORE_KINDS):
                same.setdefault((document.group, document.kind, document.namespace, document.name), []).append(number)
        for *earlier, last in same.values():
            stands = self.bundle.documents[last]
            self.broken.update(earlier)
            others = [number for number in earlier if self.bundle.documents[number].value != stands.value]
            for document in (self.bundle.documents[number] for number in earlier if number not in others):
                self.repeated.update(range(document.first, document.first + document.count))
            if others:
                self._differing(others, stands, len(earlier) + 1)

    def _differing(self, others: list[int], stands: Document, times: int) -> None:
        """Say of an object, once, that documents of it do nothing: they stand before the last one, and say something else."""
        documents = [self.bundle.documents[number] for number in others]
        place = f" in {stands.file}, line {stands.line}" if stands.file and stands.line else ""
        text = f"the object is there twice, and not the same: the other one is{place}; the last one counts"
        if len(others) > 1:
            places = [f"{one.file}, line {one.line}" for one in documents if one.file and one.line]
            text = f"the object is there {times} times, and not always the same: the last one counts{',' + place if place else ''}"
            text += f"; what else stands there does nothing: {'; '.join(places)}" if places else ""
        said = min(leaf for leaf, _ in leaves_below(documents[0].leaves["metadata"], ()))
        found = self._problem("MP019", others[0], said, text, self.table.codes()["MP019"].remedy)
        own = [leaf for one in documents for leaf in leaves_of(one.leaves)]
        self.invalid.update(own)
        found.at, found.leaves = said, tuple(own)

    def _refused(self, document: Document) -> None:
        """All of a document does nothing, and the finding that says why names all of it: it goes on pointing where it points."""
        own = leaves_of(document.leaves)
        self.invalid.update(own)
        if self._refusal is not None:
            self._refusal.at = min(self._refusal.leaves, default=None)
            self._refusal.leaves = tuple(own)

    def feature(self, leaf: int) -> str:
        binding = self.bindings[leaf]
        return self.features.get(leaf) or (binding.feature if binding else "")

    # -- one document

    def _bind(self, number: int, document: Document) -> None:
        dialect = dialect_of_group(document.group)
        mesh = dialect is not None and dialect in self.dialects
        if mesh and (known := self.table.kind(document.group, document.kind)) is not None and known.passes:
            mesh = False
        owner = generated_by(document) if mesh else None
        if owner is not None:
            mesh = False  # it passes as it is: its owner takes it away, or writes it again
            self.broken.add(number)
            leaf = document.leaves.get("metadata", {}).get("ownerReferences") if isinstance(document.leaves, dict) else None
            self._problem(
                "MP742", number, [leaf for leaf, _ in leaves_below(leaf, ())][:1], f"written by {owner}, which would write it again; it is left to its owner",
                "Convert what the owner is told (its provider or its template), and let it write the target's objects.", "warning", None,
            )  # fmt: skip
        self.mesh.append(mesh)
        if mesh:
            self._release = self.releases.get(dialect or "")
            self._refusal = None
            kind, taken = self._kind(number, document)
            if kind is not None:
                self._version = document.version if document.version in kind.versions else ""
                self._mistyped = None
                self._walk_root(number, document, kind)
                self._say_gaps(number, document, dialect or "")
                if self._mistyped is not None:
                    self._refusal, taken = self._refusal or self._mistyped, False
                taken = self._named(number, document) and self._without_clash(number, document, kind) and taken
                taken = self._within_limits(number, document, kind) and taken
            if not taken:
                self.broken.add(number)
                self._refused(document)
            elif kind is not None:
                self._pass_over(number, document)
            return
        self._meta(number, document, document.value, document.leaves, ())
        if (document.group, document.kind) in CORE_KINDS and not self._named(number, document):
            self.broken.add(number)
            self._refused(document)

    def _kind(self, number: int, document: Document) -> tuple[Kind | None, bool]:
        """The rows to read a document by, and whether a cluster takes it once what is said of its kind and version is mended."""
        kind = self.table.kind(document.group, document.kind)
        if kind is None:
            known = self.table.kinds_of(document.group)
            meant = next((name for name in known if name.lower() == document.kind.lower()), None)
            elsewhere = None if meant else self.table.elsewhere(document.group, document.kind)
            close = meant or next(iter(difflib.get_close_matches(document.kind, known, 1)), None) if elsewhere is None else None
            leaf = document.leaves.get("kind") if isinstance(document.leaves, dict) else None
            gone = removed_groups().get(document.group, {})
            hint = f"; did you mean {close or elsewhere}?" if close or elsewhere else ""
            text = f"{document.group} has no kind {document.kind!r}{hint}"
            if gone:
                text = f"no release in use knows {document.group} any more, so the object does nothing; {gone['said']}"
            self._refusal = self._problem(
                "MP010",
                number,
                leaf,
                text,
                gone.get("remedy")
                or (f"Write kind: {close}." if close else "")
                or (f"Write apiVersion: {elsewhere}." if elsewhere else "Check kind and apiVersion against the mesh's API reference."),
            )
            if meant is None or (kind := self.table.kind(document.group, meant)) is None:
                return None, False
            self.kinds[number] = meant
            self.mended.update([leaf] if leaf is not None else ())
            return kind, self._repairable(document, kind) and bool(document.name)
        if kind.versions and document.version not in kind.versions:
            leaf = document.leaves.get("apiVersion")
            text = f"{document.kind} is not served at {document.api_version}; {document.group} serves it at {', '.join(kind.versions)}"
            self.mended.add(leaf)
            self._problem(
                "MP011", number, leaf, text, f"Write apiVersion: {document.group}/{kind.versions[0]}. It was read as if it said so."
            )
        if not document.name:
            self._nameless(number)
            return None, False
        return kind, self._served(number, document, kind)

    def _served(self, number: int, document: Document, kind: Kind) -> bool:
        """Whether the release has the kind; a version that it does not serve is a finding."""
        known = served(kind, self._release)
        leaf = document.leaves.get("apiVersion")
        named = f"{MESH_NAMES.get(kind.dialect, kind.dialect)} {self._release}"
        if not known:
            first = first_release(kind)
            since = f"it came with {first}" if first and not in_range(self._release or first, first, None) else "an earlier release had it"
            text = f"{named} has no kind {document.kind}; {since}"
            self._refusal = self._problem("MP021", number, leaf, text, "Check --from-version, or remove the object: it does nothing there.")
            return False
        if document.version in kind.versions and document.version not in known:
            text = f"{named} does not serve {document.kind} at {document.api_version}; it serves {', '.join(known)}"
            self.mended.add(leaf)
            self._problem("MP011", number, leaf, text, f"Write apiVersion: {document.group}/{known[0]}. It was read as if it said so.")
        return True

    def _without_clash(self, number: int, document: Document, kind: Kind) -> bool:
        """Whether no members stand together that exclude each other."""
        whole = True
        for clash in clashes(document.value, kind, self._release):
            whole = False
            shadow: Any = document.leaves
            for step in clash.path:
                shadow = shadow[step]
            of = [shadow[name] for name in clash.members] if clash.members else [shadow]
            place = dotted(clash.path) or "the object"
            why = f"{' and '.join(clash.members)} stand together" if clash.members else f"none of {', '.join(clash.rule.members)} is there"
            text = f"{place}: {why}; no cluster takes the object, so all of it does nothing"
            listed = [leaf for one in of for leaf in leaves_of(one)]
            kept = " and ".join(clash.members)
            remedy = f"Keep one of {kept}, and write the other on its own." if kept else f"Add one of {', '.join(clash.rule.members)}."
            found = self._problem("MP020", number, listed, text, remedy)
            self._refusal = self._refusal or found
        return whole

    def _within_limits(self, number: int, document: Document, kind: Kind) -> bool:
        """Whether the API server takes all values of an object."""
        found = breaches(document.value, kind, self.dialects)
        for breach in found:
            listed = leaves_of(nearest(document.leaves, breach.path)) if breach.path else document.leaves.get("kind")
            place = f"{dotted(breach.path)}: " if breach.path else ""
            text = f"{place}{breach.why}; no cluster takes the object, so all of it does nothing"
            remedy = "Mend the value, or delete the object: it is not in force."
            if any(mark in breach.why for mark in FILLED_IN):
                text = f"{place}{breach.why} as long as it is not filled in; the object is left out, for what it says is not known"
                remedy = "Render it first (envsubst, flux build kustomization, helm template)."
            said = self._problem("MP072", number, listed, text, remedy)
            self._refusal = self._refusal or said
        return not found

    def _pass_over(self, number: int, document: Document) -> None:
        """Values that the mesh passes over are not there."""
        for one in passed_over(document.value, document.group, self.kinds.get(number, document.kind)):
            leaves = leaves_of(nearest(document.leaves, one.path))
            self.invalid.update(leaves)
            self._problem("MP098", number, leaves, one.why, one.remedy, one.severity)

    def _say_gaps(self, number: int, document: Document, dialect: str) -> None:
        """One finding for each release that brings or takes away fields of the document."""
        for (found, where), (leaves, names) in self._gaps.items():
            whose = self._whose(where) or dialect
            mesh, release = MESH_NAMES.get(whose, whose), self.releases.get(whose, "")
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            if found.side == "version":
                text = f"{document.kind} has no {shown} at {document.api_version}; {found.release} has it"
                remedy = f"Write apiVersion: {document.group}/{found.release}. As written it does nothing."
                said = self._problem("MP021", number, [*leaves, document.leaves["apiVersion"]], text, remedy)
                said.at = min(leaves)
            elif found.side == "later":
                text = f"{mesh} {release} does not know {shown}; {found.release} does"
                remedy = f"Upgrade to {found.release}, or remove it: as written it does nothing."
                self._problem("MP021", number, leaves, text, remedy, "warning" if where else "error")
            else:
                text = f"{mesh} does not know {shown} any more since {found.release}; it was read as the releases before read it"
                remedy = "Say it in another way before the upgrade, or name the release that runs with --from-version."
                self._problem("MP022", number, leaves, text, remedy, disposition=None)
        self._gaps.clear()

    def _whose(self, key: str) -> str:
        """The mesh that reads a label or an annotation."""
        bound = {**self.table.key_bindings("labels", key), **self.table.key_bindings("annotations", key)}
        return next((name for name in self.dialects if name in bound), "")

    def _gap(
        self, number: int, leaf: int, binding: Binding, value: Any, path: tuple[str | int, ...], release: str | None, where: str = ""
    ) -> None:
        """Note a leaf that the release does not know."""
        found = gap(binding, value, release, "" if where else self._version)
        if found is None:
            return
        if found.side != "earlier":
            self.invalid.add(leaf)
        leaves, names = self._gaps.setdefault((found, where), ([], []))
        leaves.append(leaf)
        name = where or ".".join(numberless(path))
        shown = f"{value!r} of {name}" if found.value else name
        if shown not in names:
            names.append(shown)

    def _named(self, number: int, document: Document) -> bool:
        """Whether a document has names that a cluster takes, and that is said where it has not."""
        if not document.name:
            self._nameless(number)
            return False
        wrong = misnamed(document)
        if wrong is not None:
            leaf = document.leaves["metadata"][wrong[0]]
            text = f"metadata.{wrong[0]} {wrong[1]!r} is no name that a cluster takes"
            self._refusal = self._problem("MP018", number, leaf, text, "Write the name in: small letters, digits and hyphens.")
        return wrong is None

    def _nameless(self, number: int) -> None:
        """Say that a document has no name (a bare `off`, `yes` or number is none)."""
        document = self.bundle.documents[number]
        text = f"{document.kind} has no metadata.name that is a text; no cluster takes it"
        self._refusal = self._problem("MP018", number, None, text, "Give it a name; put a bare number, yes, no, on or off in quotes.")

    def _repairable(self, document: Document, kind: Kind) -> bool:
        """A wrong kind is read as the one meant only where nothing else is wrong with the document."""
        if kind.versions and document.version not in kind.versions:
            return False
        return all(node is not None for _, node, _ in pairs(document.leaves, kind.root))

    def _walk_root(self, number: int, document: Document, kind: Kind) -> None:
        parents = document.value["spec"].get("parentRefs") if isinstance(document.value.get("spec"), dict) else None
        self._inbound = isinstance(parents, list) and any(isinstance(item, dict) and item.get("kind") == "Server" for item in parents)
        for key, value in document.value.items():
            shadow = document.leaves[key]
            if key in ("apiVersion", "kind"):
                if isinstance(shadow, int):
                    self.bindings[shadow] = _API if key == "apiVersion" else _KIND
            elif key == "metadata":
                self._walk(number, value, shadow, self.table.metadata.child("metadata"), ("metadata",))
                own = kind.root.child("metadata")
                for name, node in own.children.items() if own is not None and isinstance(shadow, dict) else ():
                    if isinstance(leaf := shadow.get(name), int) and node.binding is not None:
                        self.bindings[leaf] = node.binding
            elif key == "status":
                self._whole(value, shadow, _STATUS)
            else:
                self._walk(number, value, shadow, kind.root.child(key), (key,))
        metadata = document.value.get("metadata")
        if isinstance(metadata, dict):
            self._keys(number, document, metadata, document.leaves["metadata"])

    def _walk(self, number: int, value: Any, shadow: Any, node: Node | None, path: tuple[str | int, ...]) -> None:
        stack = [(value, shadow, node, path)]
        while stack:
            value, shadow, node, path = stack.pop()
            if node is None:
                self._unknown(number, shadow, path)
            elif node.binding is not None and node.binding.type == "object":
                self._whole(value, shadow, node.binding)
                for leaf, below in leaves_below(shadow, path):
                    self._gap(number, leaf, node.binding, None, below, self._release)
            elif isinstance(shadow, int):
                self._leaf(number, value, shadow, node, path)
            elif isinstance(shadow, dict):
                if node.children or node.star:
                    parent = node
                    stack.extend((value[key], below, parent.child(key), (*path, key)) for key, below in reversed(list(shadow.items())))
                else:
                    self._wrong_type(number, shadow, path, node, "a mapping")
            elif node.item is not None:
                stack.extend((value[i], below, node.item, (*path, i)) for i, below in reversed(list(enumerate(shadow))))
            else:
                self._wrong_type(number, shadow, path, node, "a list")

    def _leaf(self, number: int, value: Any, leaf: int, node: Node, path: tuple[str | int, ...]) -> None:
        binding = node.binding or node.first_binding()
        self.bindings[leaf] = binding
        if value is None and isinstance(path[-1], int):
            self._wrong_type(number, leaf, path, node, "null", wanted="a mapping" if node.children or node.star else "")
        if binding is None or value is None:
            return
        if not binding.irrelevant:
            self._gap(number, leaf, binding, value, path, self._release)
        if self._inbound and binding.inbound:
            self.features[leaf] = binding.inbound
        elif binding.by_value:
            self.features[leaf] = binding.feature_of(value)
        if isinstance(value, dict | list):  # an empty container
            fits = (node.children or node.star) if isinstance(value, dict) else node.item
            inner = node.children or node.star or node.item
            if node.binding is None and not isinstance(path[-1], int):
                self.hollow.add(leaf)
            if not fits and (inner or binding.type not in ("object", "")):
                found = "an empty mapping" if isinstance(value, dict) else "an empty list"
                self._wrong_type(number, leaf, path, node, found, wanted=("a list" if node.item else "a mapping") if inner else "")
            return
        if (node.children or node.star or node.item) and (node.binding is None or not node.binding.type):
            self._wrong_type(number, leaf, path, node, f"{value!r}", wanted="a list" if node.item else "a mapping")
            return
        wanted = _TYPES.get(binding.type)
        if wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
            self._wrong_type(number, leaf, path, node, repr(value))
        elif binding.values and str(value) not in binding.values and str(value).lower() not in binding.values:
            alike = [known for known in binding.values if known.lower() == str(value).lower()]
            close = next(iter(alike or difflib.get_close_matches(str(value), binding.values, 1)), None)
            text = f"{dotted(path)}: {value!r} is not one of {', '.join(binding.values)}"
            self._of_no_type(number, [leaf], text, f"Did you mean {close}?" if close else "Write one of them.")

    def _whole(self, value: Any, shadow: Any, binding: Binding) -> None:
        for leaf in leaves_of(shadow):
            self.bindings[leaf] = binding

    def _unknown(self, number: int, shadow: Any, path: tuple[str | int, ...]) -> None:
        found = leaves_of(shadow)
        self.invalid.update(found)
        document = self.bundle.documents[number]
        place = self._elsewhere(document, path)
        text = f"{document.kind} has no field {dotted(path)}; the API server drops or refuses it"
        self._problem("MP012", number, found, text, place)

    def _elsewhere(self, document: Document, path: tuple[str | int, ...]) -> str:
        """Where a misplaced or misspelt field belongs, as a sentence."""
        kind = self.table.kind(document.group, document.kind)
        name = str(path[-1])
        if kind is not None:
            beside = siblings(kind.root, path)
            close = next((one for one in beside if one.lower() == name.lower()), None)
            found = sorted({dotted(home) for home in homes(kind.root, name, ())}, key=lambda item: (item.count("."), item))
            if found and not close:
                return f"The field exists as {found[0]}; move it there if that is what is meant. As written it does nothing."
            close = close or next(iter(difflib.get_close_matches(name, beside, 1)), None)
            if close:
                return f"Did you mean {close}? As written it does nothing."
        return "Remove it: as written it does nothing."

    def _wrong_type(self, number: int, shadow: Any, path: tuple[str | int, ...], node: Node, what: str, wanted: str = "") -> None:
        binding = node.binding or node.first_binding()
        expected = wanted or (binding.type if binding and binding.type else "another type")
        article = expected if expected[:2] in ("a ", "an") else ("an " if expected[0] in "aeiou" else "a ") + expected
        self._of_no_type(number, leaves_of(shadow), f"{dotted(path)}: {what} is not {article}", f"Write {article} there.")

    def _of_no_type(self, number: int, leaves: list[int], text: str, remedy: str) -> None:
        """A value that no cluster takes, and with it none of the object; of a chart's values nobody looks at types."""
        document = self.bundle.documents[number]
        self.invalid.update(leaves)
        if document.group == "helm" or document.kind == "IstioOperator":
            self._problem("MP013", number, leaves, text, remedy)
            return
        if not self.mesh[number]:  # what else it says is read all the same
            self._problem("MP013", number, leaves, f"{text}; no cluster takes the object as it is", remedy)
            return
        found = self._problem("MP013", number, leaves, f"{text}; no cluster takes the object, so all of it does nothing", remedy)
        self._mistyped = self._mistyped or found

    # -- labels and annotations

    def _keys(self, number: int, document: Document, metadata: dict[str, Any], shadow: Any) -> None:
        for what in ("labels", "annotations"):
            entries = metadata.get(what)
            if not isinstance(entries, dict) or not isinstance(shadow, dict) or not isinstance(shadow.get(what), dict):
                continue
            for key in entries:
                found = self.table.key_bindings(what, str(key))
                name = next((name for name in self.dialects if name in found), "")
                binding = found.get(name)
                leaf = shadow[what][key]
                if binding is not None and isinstance(leaf, int):
                    self.bindings[leaf] = binding
                    self.meta_leaves.add(leaf)
                    if not binding.irrelevant:
                        self._gap(number, leaf, binding, entries[key], (), self.releases.get(name), str(key))
                    self._word(number, leaf, binding, str(key), entries[key], exact=name == "linkerd")

    def _word(self, number: int, leaf: int, binding: Binding, key: str, value: Any, *, exact: bool) -> None:
        """A mark that is none of the words that the mesh knows there: its controllers warn and go on without it. `exact`: told by case."""
        known = binding.values
        if isinstance(value, bool | int | float):
            self._of_no_type(number, [leaf], f"{key}: {value!r} is not a string", "Write it in quotes.")
            return
        if binding.type == "ports" and isinstance(value, str):
            self._port_list(number, leaf, key, value)
        if not known or "true" in known or not isinstance(value, str) or value in known:
            return
        if exact or value.lower() not in [word.lower() for word in known]:
            close = next((word for word in known if word.lower() == value.lower()), None) or next(
                iter(difflib.get_close_matches(value, known, 1)), None
            )
            text = f"{key}: {value!r} is not one of {', '.join(known)}; the mesh goes on as if it were not there"
            self.invalid.add(leaf)
            self._problem("MP013", number, leaf, text, f"Did you mean {close}?" if close else "Write one of them.")

    def _port_list(self, number: int, leaf: int, key: str, value: str) -> None:
        """Items of a list of ports that are passed over. The injector knows names of container ports in a list of opaque ports alone."""
        from meshport.values.ports import parse_ports

        named = key.endswith("/opaque-ports") and self.bundle.documents[number].kind not in ("Service", "EgressNetwork")
        passed = [item for item in (part.strip() for part in value.split(",")) if item and not parse_ports(item, lenient=True)]
        passed = [item for item in passed if not (named and item.replace("-", "").isalnum() and not item.isdigit())]
        if passed:
            text = f"{key}: {', '.join(passed)} {'is' if len(passed) == 1 else 'are'} no port or range of ports; the mesh passes over it"
            self._problem("MP013", number, leaf, text, "Write numbers from 1 to 65535, or ranges such as 8000-8010.", disposition=None)

    def _meta(self, number: int, document: Document, value: Any, shadow: Any, path: tuple[str, ...]) -> None:
        """The mesh labels and annotations of an object of no mesh, and of its pod template."""
        if (document.group, document.kind) not in CORE_KINDS and document.kind not in ("Ingress", "ConfigMap", "Secret"):
            return
        for holder in (("metadata",), ("spec", "template", "metadata"), ("spec", "jobTemplate", "spec", "template", "metadata")):
            found, below = value, shadow
            for step in holder:
                found = found.get(step) if isinstance(found, dict) else None
                below = below.get(step) if isinstance(below, dict) else None
            if isinstance(found, dict) and isinstance(below, dict):
                self._keys(number, document, found, below)
        self._say_gaps(number, document, next((name for name in self.dialects if name in self.releases), ""))

    def _problem(
        self, code: str, number: int, leaves: Any, message: str, remedy: str, severity: str = "error", disposition: str | None = "invalid"
    ) -> Finding:
        document = self.bundle.documents[number]
        listed = tuple(sorted([leaves] if isinstance(leaves, int) else leaves or ()))
        name = f"{document.kind}/{document.namespace + '/' if document.namespace else ''}{document.name}"
        found = Finding(code, severity, f"{name}: {message}", remedy, "none", disposition, "input", "input", leaves=listed, document=number)
        self.findings.append(found)
        return found


_API = Binding(irrelevant="every version of the kind that has these fields says the same thing")
_KIND = Binding(irrelevant="the kind names the rows that the other leaves are read by")
_STATUS = Binding(irrelevant="status is written by controllers, never read from manifests")
