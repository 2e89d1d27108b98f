"""Policies for ztunnel as they came to where mTLS was disabled, so that nobody showed a name, at pods that the bundle shows and at others."""

from __future__ import annotations

from dataclasses import replace

from meshport.dialects import naming
from meshport.dialects.base import Options
from meshport.dialects.istio import nameless
from meshport.dialects.istio.ambient_entries import REFUSE, Entry, _readable, labels_of, together
from meshport.dialects.istio.ambient_written import SECURITY, affected, explained, say_spec, unshown
from meshport.dialects.output import Output
from meshport.effective import subjects
from meshport.effective.access import Access
from meshport.ir.base import PodSet, Ref, Selector
from meshport.ir.model import IR
from meshport.ir.transport import TransportRule


def as_before(ir: IR, out: Output, options: Options, entries: list[Entry], access: Access, ports: set[int]) -> list[Entry]:
    """The policies of which something is left."""
    _by_selectors(ir, out, options, entries, access)
    return [entry for entry in entries if _named_as_before(entry, access, ports, ir, out, options)]


def _by_selectors(ir: IR, out: Output, options: Options, entries: list[Entry], access: Access) -> None:
    """Refuse who shows a name to pods that nobody shows, and whose own mode is DISABLE, where a policy knows callers by name: they had none there."""
    knowing = [one for one in entries if _readable(one.spec) and nameless.knows_names(one.rules, deny=one.action in REFUSE)]
    for mode in [rule for rule in ir.transport if rule.level == "workload" and any(fact.value == "disable" for fact in rule.modes)]:
        home, labels = mode.subject.value.namespace, dict(mode.subject.value.selector.labels)
        found: dict[tuple[tuple[str, str], ...], Entry] = {}
        for entry in knowing:
            both = together(labels_of(entry.spec), labels)
            if both is None or entry.ref.namespace not in (home, options.root_namespace):
                continue
            pods = PodSet(home, Selector.of(both))
            if not ir.world.selected(pods) and not ir.world.shows(pods):  # of what is shown the policy knows
                found.setdefault(tuple(sorted(both.items())), entry)
        for key, entry in found.items():
            off = nameless.plain([access.modes_of(home, dict(key))])
            if off is not None and not any(set(other) < set(key) for other in found):
                _refuse_names(out, mode, entry, dict(key), off)


def _refuse_names(out: Output, mode: TransportRule, entry: Entry, labels: dict[str, str], off: nameless.Plain) -> None:
    operation = off.takes({}, plain=True)
    named = {"from": [{"source": {"principals": ["*"]}}], **({"to": [{"operation": operation}]} if operation else {})}
    src, home = mode.ref.src | entry.src, mode.subject.value.namespace
    name = out.free(SECURITY, "AuthorizationPolicy", home, naming.name(mode.ref.value.name, "no-names"))
    made = out.object(SECURITY, "AuthorizationPolicy", Ref(home, name), owner=mode.document, rank=42, because=src)
    say_spec(made, {"selector": {"matchLabels": labels}, "action": "DENY", "rules": [named]}, src, ())
    made.note("mTLS was disabled there, so that nobody had a name")
    reason = f"mTLS is disabled at pods that the input does not show, where {entry.named} knew no caller by name"
    out.finding(
        "MP244", document=mode.document, affects=(subjects.unseen(PodSet(home, Selector.of(labels))),), feature="authorization.rule",
        severity="warning", object=f"PeerAuthentication {mode.ref.value}", reason=reason, outcome="who shows one is refused",
    )  # fmt: skip


def _of_unshown(entry: Entry, ir: IR, options: Options, access: Access) -> tuple[list[nameless.Modes], list[nameless.Modes]]:
    """The modes of the pods of a policy that the bundle may not show: of those for which no other mode is said, and of the others."""
    labels = labels_of(entry.spec)
    rest: list[nameless.Modes] = []
    others: list[nameless.Modes] = []
    if not any(fact.value == "disable" for rule in ir.transport for fact in rule.modes):
        return rest, others
    homes = [name for name, home in sorted(ir.world.namespaces.items()) if home.meshed is not None and home.meshed.value]
    for home in homes if entry.ref.namespace == options.root_namespace else [entry.ref.namespace]:
        if ir.world.shows(PodSet(home, Selector.of(labels))):
            continue
        rest.append(access.modes_of(home, labels))
        own = [dict(rule.subject.value.selector.labels) for rule in access.unshown_modes(home)]
        others += [access.modes_of(home, both) for one in own if (both := together(labels, one)) is not None]
    return rest, others


def _named_as_before(entry: Entry, access: Access, ports: set[int], ir: IR, out: Output, options: Options) -> bool:
    """Say rules as they came to where mTLS was disabled, so that nobody showed an identity; whether anything is left of the policy."""
    own = {id(one.workload): one for one in access.workloads}
    shown = [own[id(workload)].transport for workload in entry.members]
    rest, others = _of_unshown(entry, ir, options, access)
    modes = shown + rest
    known = nameless.plain(modes)
    if known is not None and nameless.plain([*modes, *others]) != known:
        known = replace(known, exact=False) if entry.action in REFUSE else known  # who is refused by name goes on being so
    where = nameless.UNSURE if entry.document in ir.unnamed else known
    if where is None or not _readable(entry.spec):
        return True
    refuses = entry.action in REFUSE
    rules = nameless.rewritten(entry.rules, where, deny=refuses)
    each = {nameless.plain([one]) for one in modes} if known is not None and not where.exact else ()
    if any(rules != (nameless.rewritten(entry.rules, one, deny=refuses) if one is not None else entry.rules) for one in each):
        outcome = "a deny refuses them by name" if refuses else "those that ask for a name are left out for all of them"
        out.finding(
            "MP244", entry.src, document=entry.document, disposition="approximated", affects=(*affected(entry.members), *unshown(ir, options, entry)),
            feature="authorization.rule", explains=explained(ir, entry.members, own, ports),
            object=entry.named, reason="mTLS is disabled on ports of some of its pods, where rules knew no caller by name", outcome=outcome,
        )  # fmt: skip
    if rules == entry.rules:
        return True
    entry.stood, entry.spec, entry.because = entry.spec, {**entry.spec, "rules": rules}, []
    if rules or not refuses or entry.document is None:
        return True
    out.remove(entry.document, "it refused callers by name, and mTLS is disabled: no caller had a name")
    out.adds_nothing("under DISABLE no caller had a name, so it refused nobody", entry.src)
    return False
