"""What a lowering left: losses of the lift, leaves that no lift understood, objects to delete. The table says what becomes of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from meshport.dialects.base import Dialect, Options, dialect, governs
from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.staying import stays
from meshport.dialects.output import Output
from meshport.documents import Document
from meshport.effective.covered import closed_anyway, needless, tidied
from meshport.effective.subjects import tokens as token_subject
from meshport.findings import Affected, Finding, in_one
from meshport.ir.base import NOWHERE, Fact, PodSet, Ref, Selector
from meshport.ir.model import IR
from meshport.ledger import renewed, stands
from meshport.mapping.bound import MESH_NAMES, Bound
from meshport.mapping.owners import TEMPLATES, owner_of
from meshport.mapping.table import dialect_of_group

_SHARING = ("authorization.subject", "authorization.target", "authorization.action")
"""Features that share the fate of the rules that they are for."""
CLOSED = "other policies close these pods, whatever this one says"
SHOWN = 3
"""Paths that a message names."""


_TOGETHER = {"MP185"}
"""Losses that one sentence and one remedy tell of for all objects of a namespace."""


def losses(have: IR, out: Output, own: bool, plane: str | None = None, *, beside: bool = False) -> None:
    """The losses as findings. Of a mesh converted onto itself (`own`) nothing is lost by that: what is left are the mistakes among them, and what its
    other data plane, the one that is asked for, does not do. `beside`: the source goes on enforcing what it does, and keeps its waypoints for that."""
    read = {item.document for item in have.policies} | {item.document for item in have.egress}
    for loss in have.losses:
        if own and loss.code in _ABROAD:
            continue
        row = out.table.codes()[loss.code]
        document = out.bundle.documents[loss.document]
        if beside and loss.code == "MP705":
            out.imply("stays with the source mesh, whose policies hang on it", loss.facts[0])
            continue
        if loss.code in _AT_WAYPOINTS and (beside or (own and plane != "sidecar")):
            continue  # the waypoint goes on enforcing it
        affects = tuple(Affected(ref.namespace or None, ref.name) for ref in loss.workloads)
        affects = affects or ((Affected(document.namespace),) if document.namespace else ())
        if loss.code in _STAYING and loss.document not in read:
            out.staying.add(loss.document)
            out.imply(
                "stays with the source mesh, which goes on reading it", frozenset(range(document.first, document.first + document.count))
            )
            out.finding(loss.code, *loss.facts, document=loss.document, disposition=None, affects=affects, object=named(document))
            continue
        disposition = _BECOMES.get(loss.code, "dropped")
        values: dict[str, Any] = {
            "object": named(document),
            "value": loss.facts[0].value if loss.facts else "",
            **loss.values,
        }
        if (
            own
            and disposition != "invalid"
            and loss.code not in (_ACROSS | _PAST_WAYPOINTS if plane == "sidecar" or have.evading else _ACROSS)
        ):
            out.finding(loss.code, *loss.facts, document=loss.document, effect="none", affects=affects, **values)
            continue
        if loss.code in _TOGETHER:
            listed = {"object": [values.pop("object")], "workloads": map(str, loss.workloads)}
            told = {name: value for name, value in values.items() if name not in ("value", "workloads")}
            out.gather(
                (document.namespace, *told.items()), loss.code, *loss.facts, listed=listed, document=loss.document, disposition=disposition, affects=affects, **told
            )  # fmt: skip
            continue
        found = out.finding(loss.code, *loss.facts, document=loss.document, disposition=disposition, affects=affects, **values)
        found.at = loss.at
        if loss.deciding and not own:  # the cluster may have it, and then the source lets in what nothing is written for
            found.effect = "changes"
        if disposition is None:
            out.ignore(row.meaning or row.title, *loss.facts)


def covered(have: IR, out: Output) -> None:
    """Take out of each policy what others of its values hold, which then adds nothing."""
    for place, policy in enumerate(have.policies):
        have.policies[place], held, void = tidied(policy)
        out.adds_nothing("another value of the same rule takes as much", held)
        out.adds_nothing("no request can meet all that the rule asks for", void)
    own = [policy for policy in have.policies if policy.kind == "AuthorizationPolicy"] if have.mesh == "istio" else []
    if not any(_attached(out.bundle.documents[policy.document]) for policy in own):  # a waypoint asks besides the pods, and not with them
        idle = {id(policy) for policy in needless(own)}
        out.adds_nothing(CLOSED, *(policy.sources for policy in own if id(policy) in idle))
        have.policies = [policy for policy in have.policies if id(policy) not in idle]
    closed = closed_anyway(have.policies, have.world)
    for place, policy in enumerate(have.policies):
        if closed[place]:
            out.adds_nothing(CLOSED, policy.closed_by)
            have.policies[place] = replace(policy, closed_by=NOWHERE)
        elif policy.closed_by:
            have.policies[place] = replace(policy, action=policy.action.also(policy.closed_by))


def _attached(document: Document) -> bool:
    """Whether a policy is for what it refers to, and not for pods that it selects."""
    spec = document.value.get("spec")
    return isinstance(spec, dict) and bool(spec.get("targetRefs") or spec.get("targetRef"))


def unmatched(have: IR, out: Output) -> None:
    """Take the values of a subject's expressions that none of its pods has out of the reasons for what was written, where it was written pod by pod."""
    idle: dict[int, bool] = {}
    for policy in have.policies:
        pods = policy.subject.value
        asked = [item for item in pods.selector.expressions if item.operator == "In"]
        members = have.world.selected(pods) if asked else []
        has = {str(one.labels.get(item.key)) for one in members for item in asked}
        for leaf in policy.subject.src if members else ():
            if out.bundle.parts(leaf)[-2:-1] == ("values",):
                idle[leaf] = idle.get(leaf, True) and str(out.bundle.value(leaf)) not in has
    gone = {leaf for leaf, alone in idle.items() if alone}
    holders = [(obj, path, src) for obj in out.objects.values() for path, src in obj.sources.items() if gone and src & gone]
    gone -= {leaf for obj, path, src in holders for leaf in src & gone if str(obj.at(path)) == str(out.bundle.value(leaf))}
    for obj, path, src in holders:
        obj.sources[path] = src - gone
    out.adds_nothing("none of the pods has this value", frozenset(gone))


def named(document: Document) -> str:
    """A document by its kind and name."""
    return f"{document.kind} {Ref(document.namespace or '', document.name)}"


_BECOMES: dict[str, str | None] = {
    "MP111": "approximated", "MP145": "approximated", "MP146": "approximated", "MP159": None, "MP170": "approximated", "MP171": None, "MP212": "dropped", "MP014": "invalid", "MP015": "invalid", "MP225": "approximated", "MP239": None, "MP733": None, "MP336": None,
    "MP337": None, "MP736": None, "MP974": "approximated", "MP654": "invalid", "MP655": "invalid", "MP656": "invalid", "MP666": "invalid",
    "MP248": "invalid", "MP299": "approximated", "MP386": "approximated", "MP387": "invalid", "MP167": None, "MP168": "approximated",
}  # fmt: skip
"""What becomes of the leaves of a loss, by its code, where they are not dropped."""


_STAYING = {"MP120", "MP296"}
"""Losses of documents that no mesh can take over, so that they are not to be deleted."""


_ACROSS = {"MP166", "MP167", "MP168", "MP299"}
"""Losses between the data planes of one mesh."""


_AT_WAYPOINTS = {"MP148"}
"""What is lost with the waypoints alone."""


_PAST_WAYPOINTS = {"MP145", "MP146", "MP148", "MP159", "MP170", "MP171", "MP239", "MP244", "MP736"}
"""Ways past a waypoint, or one that only the waypoint has not, which sidecars close."""


_ABROAD = {"MP120", "MP121", "MP127", "MP212", "MP221", "MP225", "MP235", "MP296", "MP297", "MP385", "MP386", "MP705"}
"""Losses that the mesh itself does not suffer: it has what they are about."""


def _adding_nothing(bound: Bound, out: Output) -> None:
    """One finding for each object and reason with what adds nothing to the rest: nothing is written for it, and once the rest changes it might be missed.
    What an object is called adds nothing anywhere."""
    known = out.reached() | out.deciding.keys() | out.irrelevant.keys() | bound.invalid | bound.repeated
    known |= {leaf for item in out.installs.values() for leaf in item.src} | {leaf for src in out.commands.values() for leaf in src}
    known |= {leaf for leaf in out.implied if bound.bundle.number(leaf) in out.kept}  # the mesh need not say again what stays beside it
    lost = {item.document: item for item in reversed(out.findings) if item.disposition == "dropped" and item.document is not None}
    groups: dict[tuple[int, str, str], list[int]] = {}
    own = out.source == out.target
    for leaf, (code, reason) in sorted(out.redundant.items()):
        if leaf in known:
            continue
        number = bound.bundle.number(leaf)
        if own and stands(number, bound, out):
            continue  # it goes on doing what it did
        if not bound.mesh[number] and leaf not in bound.meta_leaves:
            continue  # a workload's own: it stays as it is
        parts = bound.bundle.parts(leaf)
        said = bound.mesh[number] and parts not in (("apiVersion",), ("kind",), ("metadata", "namespace"))
        if said and bound.feature(leaf) in _SHARING and number in lost:
            lost[number].leaves = tuple(sorted((*lost[number].leaves, leaf)))
        elif said:
            groups.setdefault((number, code, reason), []).append(leaf)
        else:
            out.ignore(reason, frozenset((leaf,)))
    _with_the_rest(groups, lost, bound, out.written())
    for (number, code, reason), found in groups.items():
        if all(bound.bundle.parts(leaf) in _CALLED for leaf in found):
            continue
        leaves = sorted(found, key=lambda leaf: (bound.bundle.parts(leaf)[0] == "metadata", leaf))
        document = bound.bundle.documents[number]
        paths = [bound.bundle.path(leaf) for leaf in leaves]
        more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
        out.finding(
            code, frozenset(leaves), document=number, disposition="dropped", severity="info", feature=bound.feature(leaves[0]),
            affects=(Affected(document.namespace),) if document.namespace else (),
            object=named(document), rule=", ".join(paths[:SHOWN]) + more, reason=reason, after="another rule",
        )  # fmt: skip


def left_alone(bound: Bound, out: Output) -> None:
    """Take back what was written and said because of marks that are nobody's to convert: those of pods that another object of the bundle makes, and of the
    parts of the mesh itself, which go with it."""
    reasons = {number: f"the object is a part of {MESH_NAMES[mesh]} itself, and goes with it" for number, mesh in bound.own.items()}
    reasons |= {number: f"{maker} makes the object, and its template is what counts" for number, maker in bound.made.items()}
    _owned(bound, out, reasons)
    if not reasons:
        return
    out.objects = {key: obj for key, obj in out.objects.items() if obj.changed not in reasons}
    marks: set[int] = set()
    for number, reason in reasons.items():
        document = bound.bundle.documents[number]
        own = bound.meta_leaves.intersection(range(document.first, document.first + document.count)) - bound.invalid
        marks |= own
        out.ignore(reason, frozenset(own))
    for leaf in marks:
        out.implied.pop(leaf, None)
        out.deciding.pop(leaf, None)
    out.findings = [finding for finding in out.findings if not finding.leaves or not marks.issuperset(finding.leaves)]


def _owned(bound: Bound, out: Output, left: Mapping[int, str]) -> None:
    """MP965 for changed workloads that an operator writes, which takes the change back."""
    for obj in out.objects.values():
        document = bound.bundle.documents[obj.changed] if obj.changed is not None and obj.changed not in left else None
        owner = owner_of(document) if document is not None and (document.group, document.kind) in TEMPLATES else None
        if document is not None and owner is not None and obj.value != document.value:
            out.finding(
                "MP965", document=obj.changed, feature="membership.inject", object=named(document), owner=owner,
                affects=(Affected(document.namespace or "", document.name),),
            )  # fmt: skip


_CALLED = (("metadata", "name"), ("metadata", "namespace"))


def _with_the_rest(groups: dict[tuple[int, str, str], list[int]], lost: dict[int, Finding], bound: Bound, written: set[int]) -> None:
    """Name what an object is called where the rest of it is named, if nothing of it is written; where something is, its name is nothing to speak of."""
    for (number, code, reason), found in groups.items():
        document = bound.bundle.documents[number]
        called = all(bound.bundle.parts(leaf) in _CALLED for leaf in found)
        if not called or not written.isdisjoint(range(document.first, document.first + document.count)):
            continue
        rest = next((other for place, other in groups.items() if place[0] == number and place != (number, code, reason)), None)
        if rest is not None:
            rest.extend(found)
        elif number in lost:
            lost[number].leaves = tuple(sorted((*lost[number].leaves, *found)))


def rest(bound: Bound, out: Output, options: Options) -> None:
    """Leaves that no lift understood: the table says what becomes of their feature, and where it says that the target has it, that is a defect.

    Of a mesh converted onto itself what nobody takes away stays as it is, unless the release that is wanted no longer has it."""
    _adding_nothing(bound, out)
    reached = out.reached() | set(out.implied) | set(out.deciding) | set(out.irrelevant) | bound.invalid | bound.repeated
    for install in out.installs.values():
        reached |= install.src
    for src in out.commands.values():
        reached |= src
    groups: dict[tuple[int, str], list[int]] = {}
    copied = {obj.changed for obj in out.objects.values()}
    for number, document in enumerate(bound.bundle.documents):
        if out.source == out.target and bound.mesh[number] and isinstance(leaf := document.leaves.get("apiVersion"), int):
            if number in copied and renewed(number, bound, out) and not stands(number, bound, out):
                out.ignore("the object is written in the newest version that the release serves", frozenset((leaf,)))
            elif number not in copied and not stands(number, bound, out):
                out.ignore("other objects are written for this one, whatever version it is in", frozenset((leaf,)))
            else:
                out.imply("is a version that the release serves", frozenset((leaf,)))  # an older one would be written anew
        for leaf in range(document.first, document.first + document.count):
            binding = bound.bindings[leaf]
            if leaf in reached or leaf in bound.unread or binding is None or (not bound.mesh[number] and leaf not in bound.meta_leaves):
                continue
            if (
                binding.irrelevant
                or bound.bundle.value(leaf) is None
                or (binding.irrelevant_values and binding.reason_for(bound.bundle.value(leaf)))
            ):
                continue
            if leaf in bound.hollow:  # where that means something a lift has read it
                out.ignore("what is empty says what nothing says", frozenset((leaf,)))
                continue
            if leaf in bound.meta_leaves and (where := _astray(bound, document, leaf)):
                out.ignore(where, frozenset((leaf,)))
                continue
            groups.setdefault((number, bound.feature(leaf)), []).append(leaf)
    if not governs(dialect(out.target)):
        _staying(groups, bound, out)
        return
    below: dict[int, set[int]] = {}
    things: dict[tuple[int, str, str], list[Finding]] = {}
    for (number, feature), leaves in groups.items():
        cell = out.table.support(feature, out.target, out.target_version)
        document = bound.bundle.documents[number]
        kept = out.source == out.target and number not in out.removed
        if kept and (cell.support != "none" or cell == out.table.support(feature, out.source, options.source_version)):
            if bound.mesh[number] or number in copied:
                out.imply("stays as it is", frozenset(leaves))
            else:
                out.passing.update(leaves)
            continue
        if bound.mesh[number] and dialect_of_group(document.group) == "gateway-api" and not _parented(document, out.source):
            out.imply("stays as it is: the target reads it too", frozenset(leaves))
            continue
        if cell.support in ("native", "approximate", "install") and (known := out.table.feature(feature)) is not None:
            if document.kind in _BELOW_HTTP and dialect_of_group(document.group) == "gateway-api":
                below.setdefault(number, set()).update(leaves)
                continue
            if document.kind in _LATER or not bound.mesh[number] or bound.meta_leaves.issuperset(leaves):
                out.finding("MP902", frozenset(leaves), document=number, disposition="dropped", object=named(document), what=known.title)
            continue
        value = _of_envoy(bound, number, leaves) if document.kind in _OF_ENVOY else bound.bundle.value(leaves[0])
        said = out.from_cell(cell, Fact(value, frozenset(leaves), feature), document=number, affects=(), explains=frozenset())
        if said is not None and said.code in _OF_ONE_THING:
            things.setdefault((number, said.code, said.severity), []).append(said)
    for parts in things.values():
        out.findings = [finding for finding in out.findings if all(finding is not one for one in parts[1:])]
        parts[0].message = in_one([one.message for one in parts])
        parts[0].leaves = tuple(sorted({leaf for one in parts for leaf in one.leaves}))
    for number, listed in below.items():
        document = bound.bundle.documents[number]
        out.finding(
            "MP768", frozenset(listed), document=number, disposition="manual", affects=(Affected(document.namespace),) if document.namespace else (),
            feature="routing.parent", object=f"{document.kind} {Ref(document.namespace or '', document.name)}",
            parents=_kinds(document, "parentRefs"), backends=_kinds(document, "backendRefs"),
        )  # fmt: skip


def _selected(spec: Any) -> Selector:
    """The selector of an object of Istio's, which has labels alone."""
    selector = spec.get("selector") if isinstance(spec, dict) else None
    labels = selector.get("matchLabels") if isinstance(selector, dict) else None
    return Selector.of({str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {})


def tokens(have: IR, out: Output, options: Options) -> None:
    """Give what is said of tokens the workloads that asked for them."""
    for finding in out.findings:
        if finding.code != "MP261" or finding.affects or finding.document is None:
            continue
        document = out.bundle.documents[finding.document]
        home = document.namespace or options.default_namespace
        chosen = _selected(document.value.get("spec"))
        names = sorted({item.ref.namespace for item in have.world.workloads}) if home == options.root_namespace else [home]
        members = [item for name in names for item in have.world.selected(PodSet(name, chosen)) if have.world.meshed(item) is not False]
        whole = chosen.everything or not members
        found = [Affected(name) for name in names] if whole else [Affected(item.ref.namespace, item.ref.name) for item in members]
        finding.affects = tuple(found) or (Affected(home),)
        if document.kind == "RequestAuthentication":
            finding.explains |= frozenset((token_subject(item.ref), "issuers") for item in members)


def _of_envoy(bound: Bound, number: int, leaves: list[int]) -> str:
    """What of an Envoy configuration these leaves are: the patches of an EnvoyFilter, or the fields of the resources of a CiliumEnvoyConfig."""
    return _patches(bound, number, leaves) if bound.bundle.documents[number].kind == "EnvoyFilter" else _fields(bound, number, leaves)


def _fields(bound: Bound, number: int, leaves: list[int]) -> str:
    """The resources with what is in these leaves, and what that is where it is little: a reader finds there why it was not read."""
    resources = Cursor.root(bound, number).each("spec", "resources")
    within: dict[str, list[str]] = {}
    for leaf in leaves:
        steps = bound.bundle.parts(leaf)
        if steps[:2] != ("spec", "resources"):
            continue
        place = resources[int(steps[2])]
        kind = str(place.at("@type").value or "resource").rpartition(".")[2]
        key = next((step for step in reversed(steps[3:]) if isinstance(step, str) and step not in _PLAIN), "")
        if steps[-1] == "name" and len(steps) > 4:  # of a filter
            key = str(bound.bundle.value(leaf))
        listed = within.setdefault(f"{kind} {place.at('name').value or steps[2]}", [])
        listed += [] if key in ("", *listed) else [key]
    said = [f"{', '.join(keys)} of {name}" if 0 < len(keys) <= _FEW else name for name, keys in within.items()]
    return "; ".join(said) or ", ".join(dict.fromkeys(bound.bundle.path(leaf) for leaf in leaves[:_FEW]))


def _patches(bound: Bound, number: int, leaves: list[int]) -> str:
    """The patches of an EnvoyFilter that these leaves are of: what each is applied to, in which context of the proxy, and its name."""
    found = []
    for patch in Cursor.root(bound, number).each("spec", "configPatches"):
        if not patch.src.isdisjoint(leaves):
            name = patch.at("patch", "value", "name").value
            context = patch.text("match", "context")
            kind = patch.text("applyTo")
            found.append(
                f"{kind.value if kind else 'a patch'} in {context.value if context else 'ANY'}"
                + (f": {name}" if isinstance(name, str) else "")
            )
    return "; ".join(dict.fromkeys(found)) or str(bound.bundle.value(leaves[0]))


def _kinds(document: Document, member: str) -> str:
    """The kinds that a route refers to by `parentRefs`, or by the `backendRefs` of its rules."""
    spec = document.value.get("spec")
    holders = [spec] if member == "parentRefs" else spec.get("rules") if isinstance(spec, dict) else None
    default = "Gateway" if member == "parentRefs" else "Service"
    found = {
        str(item.get("kind") or default)
        for holder in (holders if isinstance(holders, list) else ())
        if isinstance(holder, dict) and isinstance(holder.get(member), list)
        for item in holder[member]
        if isinstance(item, dict)
    }
    return " and ".join(sorted(found)) or "nothing"


def _astray(bound: Bound, document: Document, leaf: int) -> str:
    """Why a label or annotation decides nothing where it stands: the mesh reads it on other objects; "" where it reads it there."""
    binding = bound.bindings[leaf]
    if binding is None or not binding.on or "any" in binding.on:
        return ""
    inside = not bound.bundle.path(leaf).startswith("metadata.") or document.kind == "Pod"
    holder = "pod" if inside else document.kind
    return "" if holder in binding.on else f"read on {', '.join(binding.on)} alone, and decides nothing here"


_OF_ENVOY = {"EnvoyFilter", "CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"}
_PLAIN = ("@type", "name", "value")
_FEW = 4
"""How many fields of an Envoy resource a finding names."""
_OF_ONE_THING = {"MP261"}
"""Codes of features that are parts of one thing: a document's are one finding."""


def _staying(groups: dict[tuple[int, str], list[int]], bound: Bound, out: Output) -> None:
    """What is left of each document stays with its mesh: one finding for a document."""
    documents: dict[int, list[Fact[Any]]] = {}
    for (number, feature), leaves in groups.items():
        documents.setdefault(number, []).append(Fact(bound.bundle.value(leaves[0]), frozenset(leaves), feature))
    for number, facts in documents.items():
        src = frozenset().union(*(fact.src for fact in facts))
        if dialect_of_group(bound.bundle.documents[number].group) == "gateway-api":
            out.imply("stays as it is", src)
        else:
            stays(out, number, facts, src)


_BELOW_HTTP = ("TCPRoute", "TLSRoute", "UDPRoute")


_LATER = {
    "WorkloadGroup", "Telemetry", "ProxyConfig", "EnvoyFilter", "WasmPlugin", "TrafficExtension",
    "HTTPLocalRateLimitPolicy", "ExternalWorkload", "TCPRoute", "TLSRoute",
    "UDPRoute", "BackendTLSPolicy", "BackendLBPolicy", "XBackendTrafficPolicy", "XBackend", "XMesh",
}  # fmt: skip
"""Kinds that no lift reads yet: what the target has of them is named, not written."""


_OF_THE_NETWORK = ("CiliumEgressGatewayPolicy", "CiliumLocalRedirectPolicy")
"""Kinds with which Cilium routes packets as the cluster's network, whatever mesh is beside it (MP265)."""


def removals(bound: Bound, out: Output, options: Options, target: Dialect) -> None:
    """Source objects that the target does not read, to be deleted last; an object that the output writes anew under its name stays.

    A target that governs nobody's access takes nothing away but what its lowering has replaced.
    """
    if options.source == options.target or not governs(target):
        return
    names = [(document.group, document.kind, Ref(document.namespace or "", document.name)) for document in bound.bundle.documents]
    stays = {names[number] for number in out.staying}  # an object that stands there twice is one object
    for number, document in enumerate(bound.bundle.documents):
        if not bound.mesh[number] or document.kind in _OF_THE_NETWORK or not document.name:  # no cluster has one without a name
            continue
        if names[number] in out.objects or names[number] in stays:
            continue
        if dialect_of_group(document.group) != "gateway-api":
            out.remove(number, f"{options.target} does not read it; delete it once the namespace is signed off")
        elif _parented(document, options.source) or (options.source == "istio" and _serves_mesh(document)):
            out.remove(number, "its meaning is in the converted objects; delete it once the namespace is signed off")


def _serves_mesh(document: Document) -> bool:
    """Whether a Gateway is a proxy inside Istio's mesh and no way in: a waypoint."""
    spec = document.value.get("spec")
    return document.kind == "Gateway" and isinstance(spec, dict) and str(spec.get("gatewayClassName", "")).startswith("istio-waypoint")


def _parented(document: Document, source: str) -> bool:
    """Whether a Gateway API route hangs on something of the source mesh: a Service, or a Linkerd resource."""
    spec = document.value.get("spec")
    parents = spec.get("parentRefs") if isinstance(spec, dict) else None
    if not isinstance(parents, list) or not parents:
        return False
    if document.kind in ("TCPRoute", "TLSRoute") and source != "linkerd" and all(_of_a_service(item) for item in parents):
        return False  # every mesh reads it alike, so that it stays
    kinds = ("Service", *{"linkerd": ("Server", "EgressNetwork"), "istio": ("ServiceEntry",)}.get(source, ()))
    return all(isinstance(item, dict) and item.get("kind") in kinds for item in parents)


def _of_a_service(parent: Any) -> bool:
    return isinstance(parent, dict) and parent.get("kind") == "Service" and parent.get("group") in ("", "core")
