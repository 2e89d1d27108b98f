"""Where enforcement or encryption is weaker while a plan is under way, on which edges of the call graph, and until which step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from meshport.effective.access import Access
from meshport.migrate import words
from meshport.migrate.drafting import Draft
from meshport.migrate.interim import DEFAULT_POLICY, OPEN_DEFAULT, role, serves
from meshport.migrate.setting import Setting
from meshport.report.audited import ANY_IDENTITY, AccessMatrix, AccessRow, Edge
from meshport.report.planned import Step, WeakEdge, Window
from meshport.values.ports import is_number

ANYTHING = {"any method": "any path"}
EVERYBODY = {"anyone": ANYTHING}
NOBODY_KNOWN = "any caller without identity"


def windows(draft: Draft, setting: Setting, access: AccessMatrix, before: Access) -> None:
    """Write the windows into the steps that open them. `before` are the effective policies of the source."""
    if setting.calm or setting.strategy == "cluster":
        return
    refusing = _refusing(before)
    for step in draft.steps:
        _refused(draft, setting, step)
        if step.phase == "overlap":
            _opened(draft, step, refusing)
        elif step.phase == "move" and step.workloads:
            _apart(draft, setting, step, access.edges)
            _waiting(draft, setting, step, access.rows)
            _not_strict(draft, setting, step, refusing)


def _last_move(draft: Draft) -> int | None:
    return max(draft.moved.values(), default=None)


def _until(number: int | None, own: int) -> int | None:
    """The step that ends a window; None where it is the one that opens it."""
    return number if number is not None and number > own else None


def _opened(draft: Draft, step: Step, refusing: Sequence[str]) -> None:
    """Plaintext is accepted where it was refused, until the workload has moved; and what exceptions let in."""
    exceptions = [each.object for each in step.manifests if each.change == "create" and role(each.object) == "authorization"]
    open_again = [each for each in step.manifests if each.change == "change"]
    if open_again:
        strict = [name for name in refusing if name in draft.moved]
        if strict or not draft.moved:
            step.windows.append(
                Window(
                    what="plaintext accepted",
                    why=f"{draft.result.options.source} takes plaintext at workloads that refused it. Rules that name identities still refuse callers who show none.",
                    until=_until(max((draft.moved[name] for name in strict), default=len(draft.steps)), step.number),
                    edges=[WeakEdge(source=NOBODY_KNOWN, destination=name, port=None) for name in strict or ["every workload of the mesh"]],
                )
            )
    for obj in exceptions:
        name = obj["metadata"]["name"]
        target = next(
            (
                one
                for one in sorted(draft.moved)
                if name.startswith(f"meshport-overlap-{one.partition('/')[2]}-"[:60]) and one.startswith(obj["metadata"]["namespace"] + "/")
            ),
            None,
        )
        if target is None:
            continue
        port = name.rpartition("-")[2]
        step.windows.append(
            Window(
                what="exception",
                why=f"{obj['kind']} {name} lets every pod of the cluster's networks in: a caller moves before this server. It ends when the server moves.",
                until=_until(draft.moved[target], step.number),
                edges=[
                    WeakEdge(source="any pod of the cluster's networks", destination=target, port=int(port) if is_number(port) else None)
                ],
            )
        )


def _apart(draft: Draft, setting: Setting, step: Step, edges: Sequence[Edge]) -> None:
    """Calls between a workload that has moved and one that has not are plaintext, until the other comes after."""
    if setting.ambient_within:
        return
    source, target = draft.result.options.source, draft.result.options.target
    groups: dict[int | None, list[WeakEdge]] = {}
    for call in setting.calls:
        ends = [draft.moved.get(call.source), draft.moved.get(call.destination)]
        if None in ends or ends[0] == ends[1] or min(one for one in ends if one is not None) != step.number:
            continue
        groups.setdefault(max(one for one in ends if one is not None), []).append(
            WeakEdge(source=call.source, destination=call.destination, port=call.port)
        )
    last = _last_move(draft)
    if last is not None and last > step.number:
        for edge in _any_identity(edges, step.workloads):
            groups.setdefault(last, []).append(
                WeakEdge(source=f"any workload still in {source}", destination=edge.destination, port=edge.port)
            )
    if source != "cilium":
        for until, found in sorted(groups.items(), key=lambda item: item[0] or 0):
            step.windows.append(
                Window(
                    what="plaintext sent",
                    why=f"One end is in {target}, the other in {source}: no mesh encrypts between them, and neither end shows the other an identity.",
                    until=until,
                    edges=found,
                )
            )
    inner = [call for call in setting.calls if draft.moved.get(call.source) == step.number == draft.moved.get(call.destination)]
    if inner and source != "cilium":
        step.windows.append(
            Window(
                what="plaintext sent",
                why="Both ends move in this step, one after the other: minutes, while their pods restart.",
                until=None,
                edges=[WeakEdge(source=call.source, destination=call.destination, port=call.port) for call in inner],
            )
        )


def _refusing(before: Access) -> list[str]:
    """The workloads of the source that refuse plaintext by transport or by their default."""
    found = {
        str(item.workload.ref)
        for item in before.workloads
        if item.mode(None).value == "strict" or item.admission.value in ("all-authenticated", "cluster-authenticated")
    }
    return sorted(found)


def _closed_at_once(draft: Draft, name: str) -> bool:
    """Whether the workload's namespace has a default that is in force from its move on: `deny` is no matter of transport."""
    home = draft.cluster.objects.get(("", "Namespace", "", name.partition("/")[0])) or {}
    said = (home.get("metadata", {}).get("annotations") or {}).get(DEFAULT_POLICY)
    return draft.result.options.target == "linkerd" and said is not None and said not in OPEN_DEFAULT


def _not_strict(draft: Draft, setting: Setting, step: Step, refusing: Sequence[str]) -> None:
    """Workloads that refused plaintext take it in the target until everything is strict again."""
    until = next((other.number for other in draft.steps if other.phase == "strict"), None)
    taking = [name for name in refusing if name in step.workloads and not _closed_at_once(draft, name)]
    if until is None or not taking or setting.ambient_within:
        return
    step.windows.append(
        Window(
            what="plaintext accepted",
            why=f"{draft.result.options.target} takes plaintext where no rule asks for an identity, for callers that are still in {draft.result.options.source}.",
            until=until,
            edges=[WeakEdge(source=NOBODY_KNOWN, destination=name, port=None) for name in taking],
        )
    )


def _refused(draft: Draft, setting: Setting, step: Step) -> None:
    """Calls in a circle that no exception lets through: refused from the move of the first end until that of the other."""
    if step.phase != "move":
        return
    groups: dict[int, list[WeakEdge]] = {}
    for call in setting.wrong:
        ends = sorted((draft.moved.get(call.source, 0), draft.moved.get(call.destination, 0)))
        if call not in setting.excepted and ends[0] == step.number:
            groups.setdefault(ends[1], []).append(WeakEdge(source=call.source, destination=call.destination, port=call.port))
    for until, found in sorted(groups.items()):
        why = (
            "The server's rules take its callers from the waypoint alone, and a sidecar passes the waypoint by."
            if setting.ambient_within
            else f"The caller moves first, and the server's rules in {draft.result.options.source} ask for an identity that it no longer shows."
        )
        if draft.result.options.source != "cilium":
            step.windows.append(Window(what="refused", why=why, until=_until(until, step.number), edges=found))


def _waiting(draft: Draft, setting: Setting, step: Step, rows: Sequence[AccessRow]) -> None:
    """Rules that are not in force yet at workloads that have moved: the source's act no more, the target's wait for the callers."""
    result = draft.result
    namespace = step.namespaces[0]
    until = draft.enforced.get(namespace)
    if until is None or until <= step.number or setting.ambient_within:
        return
    early = any(each.interim and each.object["kind"] == "CiliumNetworkPolicy" for other in draft.steps for each in other.manifests)
    guarded: dict[str, set[int]] = {}
    for row in rows:
        if row.before == EVERYBODY or (early and row.after is not None and all(asked == ANYTHING for asked in row.after.values())):
            continue
        for door in row.doors:
            if (name := f"{door.namespace}/{door.workload}") in step.workloads:
                guarded.setdefault(name, set()).update([] if door.port is None else [door.port])
    audited = [each.object for other in draft.steps for each in other.manifests if each.interim and role(each.object) == "server"]
    movers = {str(workload.ref): workload for workload in setting.movers}
    doors: list[tuple[str, int | None]] = []
    for name, ports in sorted(guarded.items()):
        if _closed_at_once(draft, name):  # the default refuses what no Server opens
            doors += [(name, port) for port in sorted(ports) if any(serves(server, movers[name], port) for server in audited)]
        else:
            doors += [(name, port) for port in sorted(ports)] or [(name, None)]
    if not doors:
        return
    kept = ""
    if result.options.source == "cilium" and result.options.keep_network_policy is not False:
        port = words.port(result.options.target, result.options.target_version, ambient=setting.ambient)
        kept = " The network policies that stay in force go on refusing what they refused."
        if port is not None:
            kept = f" The network policies that stay in force go on refusing whom they refused; of callers in the mesh they see port {port} alone, whichever is meant."
    audit = bool(audited)
    if early:
        how = "Rules by label and port hold; those about requests come when the last sidecar is gone. Whoever those let in may send any request."
    elif audit:
        how = "Servers admit and log (audit) until the last caller has come. Whoever reaches the pod may call it."
    else:
        waits = "right after the move" if result.options.target == "cilium" else "when the last caller has"
        how = f"The target's rules come {waits}. Whoever reaches the pod may call it."
    step.windows.append(
        Window(
            what="rules not enforced",
            why=f"{how}{kept}",
            until=until,
            edges=[
                WeakEdge(source="whoever is let in by label" if early else "anyone", destination=name, port=port) for name, port in doors
            ],
        )
    )


def _any_identity(edges: Iterable[Edge], workloads: Sequence[str]) -> list[Edge]:
    return [edge for edge in edges if edge.source == ANY_IDENTITY and edge.destination in workloads and edge.before != "none"]
