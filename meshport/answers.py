"""What the read-back and the comparison find: which finding answers for which difference, and a finding for each that none answers for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from meshport.compare.alarms import SAME, UNSHOWN
from meshport.compare.diff import Change
from meshport.dialects.base import dialect, governs
from meshport.dialects.marks import for_target_alone, in_the_input, marks
from meshport.dialects.output import Output, fill
from meshport.documents import Bundle
from meshport.findings import Affected, Finding
from meshport.ir.base import Ref
from meshport.ledger import Account
from meshport.mapping.bound import Bound
from meshport.mapping.table import dialect_of_group
from meshport.selection import Selection

if TYPE_CHECKING:
    from meshport.compare.replay import Difference
    from meshport.compare.verify import Verification
    from meshport.mapping.table import Code

_PORT = re.compile(r" port \d+")
ROUTING = ("routes of ", "ingress of ", "connections of ")
_NAMED = re.compile(r" ([a-z0-9-]+)/([a-z0-9.-]+)(?: port (\d+))?")


def unexplained(
    found: list[Change],
    findings: list[Finding],
    out: Output,
    made: Callable[[], list[Change]],
    alone: Callable[[], list[Change]],
    of_form: Callable[[str, str], bool],
) -> list[Finding]:
    """A difference that nothing answers for is a defect of meshport, and said as one; but where the input already is what the target reads
    there, it is the input's. What a source without access of its own leaves to the mesh beside it is no difference, and goes from `found`. `made` are the differences that the output makes to the input in the target's eyes, `alone` those that are left where
    the output stands without what the input holds for the target, and `of_form` (subject, aspect) are those that no request tells."""
    answered = {pair for finding in findings for pair in finding.explains} | out.indifferent
    by_port = _by_port(answered)
    groups: dict[str, list[Change]] = {}
    for change in found:
        if not _answers(answered, by_port, change) and not _formal(change, out, of_form):
            groups.setdefault(change.subject, []).append(change)
    row = out.table.codes()["MP900"]
    own, shared = _words_of_target(out) if groups else (False, False)
    written = {(change.subject, change.aspect) for change in made()} if own or shared else None
    left = {(change.subject, change.aspect) for change in alone()} if own and out.source != out.target else None
    governing = governs(dialect(out.source))
    extra: list[Finding] = []
    there_already: set[int] = set()
    for subject, listed in groups.items():
        there = own or (shared and subject.startswith(ROUTING))
        pairs = {(change.subject, change.aspect) for change in listed}
        of_the_input = written is not None and there and pairs.isdisjoint(written)
        if of_the_input or (left is not None and pairs.isdisjoint(left)):
            if not governing and subject.startswith("access to "):
                there_already |= set(map(id, listed))  # who may call is left to the mesh beside the source, which is the target
                continue
            code = "MP903" if out.source != out.target else "MP339"
            out.finding(
                code, document=None, disposition=None, affects=_place_of(subject), explains=frozenset(pairs), subject=subject,
                release=out.target_version,
            )  # fmt: skip
            extra.append(out.findings.pop())
            continue
        places = ", ".join(sorted({change.path for change in listed}))
        extra.append(
            Finding(
                "MP900",
                "error",
                f"{subject}: what was written reads back differently from what was meant ({places})",
                row.remedy,
                "changes",
                affects=_place_of(subject),
                explains=frozenset(pairs),
                pattern="meshport",
                feature="read-back",
            )
        )
    found[:] = [change for change in found if id(change) not in there_already]
    return extra


def _formal(change: Change, out: Output, of_form: Callable[[str, str], bool]) -> bool:
    """Whether a difference is one of form, and so none."""
    if not of_form(change.subject, change.aspect):
        return False
    out.indifferent.add((change.subject, change.aspect))
    return True


def _place_of(subject: str) -> tuple[Affected, ...]:
    """The destination that a subject names, where it names one."""
    named = _NAMED.search(subject)
    return (Affected(named[1], named[2], int(named[3]) if named[3] else None),) if named else ()


def _words_of_target(out: Output) -> tuple[bool, bool]:
    """Whether the input holds documents or marks of the target mesh itself, and whether it holds documents that both meshes read."""
    own = shared = False
    for document in out.bundle.documents:
        found = dialect_of_group(document.group)
        own = own or found == out.target or for_target_alone(document, out)
        shared = shared or found in ("gateway-api", "smi")
        if found is None and not own:
            own = any(out.target in out.table.key_bindings(what, key) for what, key in marks(document.value))
    return own, shared


def _answers(answered: set[tuple[str, str]], by_port: dict[str, set[str]], change: Change) -> bool:
    """Whether a finding speaks of a difference; one about the breaker or the limits of a Service speaks of those of its ports, and the other way round: what each
    port has alike is the Service's. `by_port` are the subjects answered for by the Service that they are about."""
    return any((subject, aspect) in answered for subject in _subjects(change.subject, by_port) for aspect in (change.aspect, "*"))


def _by_port(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """The subjects of pairs (subject, aspect), by the Service that they are about."""
    found: dict[str, set[str]] = {}
    for subject, _ in pairs:
        found.setdefault(_whole(subject), set()).add(subject)
    return found


def _subjects(subject: str, by_port: dict[str, set[str]]) -> list[str]:
    if not subject.startswith(("breaker of ", "policy of ")):
        return [subject]
    whole = _whole(subject)
    return [subject, whole] if whole != subject else [subject, *sorted(by_port.get(whole, ()))]


def _whole(subject: str) -> str:
    """The subject without its port: `policy of Service shop/db port 80 for clients of web` is about `policy of Service shop/db for clients of web`."""
    return _PORT.sub("", subject)


def unread(result: Account, bound: Bound) -> list[Finding]:
    """Values that nothing came of because none of those who read them could make them out."""
    row = bound.table.codes()["MP961"]
    found = []
    for leaf in result.unaccounted:
        if leaf not in bound.unread:
            continue
        document = bound.bundle.documents[number := bound.bundle.number(leaf)]
        result.dispositions[leaf] = "invalid"
        named = {"object": f"{document.kind} {Ref(document.namespace or '', document.name)}", "path": bound.bundle.path(leaf)}
        text = fill(row.message, {**named, "value": repr(bound.bundle.value(leaf))})
        found.append(
            Finding(
                "MP961",
                row.severity,
                text,
                row.remedy,
                row.effect,
                "invalid",
                "input",
                bound.feature(leaf),
                leaves=(leaf,),
                document=number,
            )
        )
    return found


def beside_broken(result: Account, bound: Bound, findings: Iterable[Finding]) -> list[Finding]:
    """Leaves that nothing came of in documents parts of which no cluster acts on: what they belong to is not there to be converted."""
    row = bound.table.codes()["MP962"]
    broken = {bound.bundle.number(leaf) for leaf in bound.invalid}
    broken |= {bound.bundle.number(leaf) for finding in findings if finding.disposition == "invalid" for leaf in finding.leaves}
    groups: dict[int, list[int]] = {}
    for leaf in result.unaccounted:
        if (number := bound.bundle.number(leaf)) in broken:
            groups.setdefault(number, []).append(leaf)
            result.dispositions[leaf] = "invalid"
    found = []
    for number, listed in groups.items():
        document = bound.bundle.documents[number]
        places = ", ".join(bound.bundle.path(leaf) for leaf in listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
        text = fill(row.message, {"object": f"{document.kind} {Ref(document.namespace or '', document.name)}", "path": places})
        found.append(
            Finding(
                "MP962", row.severity, text, row.remedy, row.effect, "invalid", "input", bound.feature(listed[0]), leaves=tuple(listed), document=number
            )
        )  # fmt: skip
    return found


def unaccounted(leaves: list[int], bound: Bound) -> list[Finding]:
    """Leaves that reached nothing although the target has their feature: named, so that they are not lost in silence."""
    row = bound.table.codes()["MP901"]
    groups: dict[int, list[int]] = {}
    numbers = {id(document): number for number, document in enumerate(bound.bundle.documents)}
    for leaf in leaves:
        groups.setdefault(numbers[id(bound.bundle.owner(leaf))], []).append(leaf)
    found = []
    for number, listed in groups.items():
        document = bound.bundle.documents[number]
        places = ", ".join(bound.bundle.path(leaf) for leaf in listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
        text = f"{document.kind} {Ref(document.namespace or '', document.name)}: {places} reached no output"
        found.append(
            Finding(
                "MP901",
                "error",
                text,
                row.remedy,
                "changes",
                "dropped",
                "meshport",
                bound.feature(listed[0]),
                leaves=tuple(listed),
                document=number,
            )
        )
    return found


def settled(findings: list[Finding], bound: Bound) -> list[Finding]:
    """Each finding once. What says with the same words what becomes of leaves of one document is one finding, of all of them; what points to a place is not."""
    seen: dict[tuple[Any, ...], Finding] = {}
    for finding in findings:
        weight = (finding.severity, finding.effect, finding.disposition, finding.feature, finding.remedy)
        place = finding.leaves if finding.disposition is None else bool(finding.leaves)
        key = (finding.code, finding.message, weight, finding.document, place, finding.file, finding.line, finding.path)
        known = seen.setdefault(key, finding)
        if known is not finding:
            known.leaves = tuple(sorted({*known.leaves, *finding.leaves}))
            known.affects = tuple(dict.fromkeys((*known.affects, *finding.affects)))
            known.explains = known.explains | finding.explains
    return list(seen.values())


def of_chosen(
    found: list[Change], findings: list[Finding], proof: Verification | None, chosen: Selection, out: Output
) -> tuple[list[Change], list[Finding]]:
    """The differences and findings of what is converted; a difference that only other documents answer for is theirs. Of rules that stand outside and act on
    what is converted, the findings are about it too. `proof` is held to the same, in place."""
    explain(found, findings)
    by_port = _by_port(out.indifferent)  # what is alike in another form is no difference, where no finding speaks of it
    found = [change for change in found if change.findings or not _answers(out.indifferent, by_port, change)]
    if chosen.every:
        return found, findings
    acting = chosen.acting(out.in_order())
    kept, foreign = [], set()
    for number, finding in enumerate(findings):
        if chosen.concerns(finding):
            kept.append(finding)
        elif chosen.acts(finding, acting):
            finding.affects = chosen.here(finding.affects)
            kept.append(finding)
        else:
            foreign.add(number)
    found = [change for change in found if not change.findings or not foreign.issuperset(change.findings)]
    explain(found, kept)
    if proof is not None:
        _proof_of_chosen(proof, kept, chosen)
    return found, kept


def _proof_of_chosen(proof: Verification, findings: list[Finding], chosen: Selection) -> None:
    """Hold a comparison to what is converted, and the witnesses of findings to the destinations that they are about."""
    from meshport.compare.verify import verdict_of

    def told(difference: Difference) -> bool:
        place, effect = difference.request["destination"], _EFFECTS.get(difference.change)
        return any(finding.effect == effect and any(_of(place, one) for one in finding.affects) for finding in findings)

    proof.differences = [
        item for item in proof.differences if chosen.decides(item.request["destination"]["namespace"], item.sources[0]) or told(item)
    ]
    proof.verdict = verdict_of(proof.differences, bool(proof.undecided))
    for finding in findings:
        if finding.witness is not None and finding.affects and not any(_of(finding.witness["destination"], one) for one in finding.affects):
            finding.witness = next(
                (
                    item.request
                    for item in proof.differences
                    if _EFFECTS.get(item.change) == finding.effect and any(_of(item.request["destination"], one) for one in finding.affects)
                ),
                None,
            )


def explain(found: list[Change], findings: list[Finding]) -> None:
    by_pair: dict[tuple[str, str], list[int]] = {}
    by_port: dict[str, set[str]] = {}
    for number, finding in enumerate(findings):
        for pair in finding.explains:
            by_pair.setdefault(pair, []).append(number)
            by_port.setdefault(_whole(pair[0]), set()).add(pair[0])
    for change in found:
        pairs = [(subject, aspect) for subject in _subjects(change.subject, by_port) for aspect in (change.aspect, "*")]
        change.findings = sorted({number for pair in pairs for number in by_pair.get(pair, [])})


def is_loss(finding: Finding) -> bool:
    return finding.severity == "error" or (finding.disposition in ("dropped", "manual", "approximated") and finding.severity == "warning")


def with_causes(proof: Verification, old: Bundle, new: Bundle) -> Verification:
    """Give each difference the places that decide: in each document concerned the first leaf of what decides there."""
    for difference in proof.differences:
        for side, bundle, src in zip(("before", "after"), (old, new), difference.sources, strict=True):
            seen: set[int] = set()
            for leaf in sorted(src):
                document = bundle.owner(leaf)
                if id(document) not in seen:
                    seen.add(id(document))
                    difference.causes.append({"side": side, "file": document.file, "line": bundle.line(leaf), "path": bundle.path(leaf)})
    return proof


def beyond(proof: Verification, findings: list[Finding], codes: Mapping[str, Code]) -> None:
    """Let the verdict go by what findings tell of requests that no comparison of access covers: of pods and callers that the bundle does not show, past the
    pods, or refused on their way, and of documents that cannot be read. Those of requests that it covers were held to the differences that it found, or have their witness."""
    from meshport.compare.verify import verdict_of

    changing = ("widens", "narrows") if proof.verdict == "equivalent" else ("widens",)
    unseen = [finding.message for finding in findings if finding.witness is None and _leaves_open(finding, codes[finding.code], changing)]
    if unseen:
        proof.undecided += unseen
        proof.verdict = verdict_of(proof.differences, undecided=True)


def _leaves_open(finding: Finding, row: Code, changing: tuple[str, ...]) -> bool:
    """Whether a finding of changed access says more than what was compared."""
    if row.verdict == "unread":
        return True
    if row.verdict == "open":
        return finding.effect in (*changing, "changes")
    return row.verdict != "aside" and finding.severity != "info" and finding.effect in changing


def widened(proof: Verification | None, findings: list[Finding], out: Output, cluster: Bundle) -> list[Finding]:
    """Give each finding of changed access its witness; a widening that no finding answers for is one of its own: the input's where what decides after
    the conversion is what the input held for the target, else a defect."""
    from meshport.compare.request import sentence
    from meshport.effective.subjects import of_other_ports

    row = out.table.codes()["MP904"]
    extra: list[Finding] = []
    already = {subject: finding for finding in findings if finding.code == "MP903" for subject, _ in finding.explains}
    concerned: dict[tuple[str, str | None, str | None, int | None], list[Finding]] = {}
    by_subject: dict[tuple[str | None, str], dict[str, Any]] = {}
    for difference in proof.differences if proof is not None else ():
        by_subject.setdefault((_EFFECTS.get(difference.change), difference.subject), difference.request)
    for finding in findings if proof is not None and proof.differences else ():
        if finding.code in _NO_REQUESTS or (finding.effect == "narrows" and (finding.code in UNSHOWN or finding.lost)):
            continue  # what it tells of is no request of the comparison, or was looked for by itself
        mine = (by_subject.get((finding.effect, subject)) for subject in sorted({subject for subject, _ in finding.explains}))
        finding.witness = finding.witness or next((request for request in mine if request is not None), None)
        for one in finding.affects:
            concerned.setdefault((finding.effect, one.namespace, one.workload, one.port), []).append(finding)
    for difference in proof.differences if proof is not None else ():
        place = difference.request["destination"]
        effect = _EFFECTS.get(difference.change)
        if effect is None:
            continue
        answering = [
            found
            for namespace in (place["namespace"], None)
            for workload in (place["workload"], None)
            for port in (place["port"], None)
            if (found := concerned.get((effect, namespace, workload, port))) is not None
        ]
        for found in answering:
            for finding in found:
                finding.witness = finding.witness or difference.request
            found.clear()  # each has its witness, and goes on answering
        if answering or difference.change != "allowed":
            continue
        where = (Affected(place["namespace"], place["workload"], place["port"]),)
        if difference.subject not in already and any(in_the_input(leaf, cluster, out) for leaf in difference.sources[1]):
            out.finding("MP903", document=None, disposition=None, affects=where, subject=difference.subject)
            already[difference.subject] = out.findings.pop()
            extra.append(already[difference.subject])
        if (known := already.get(difference.subject)) is not None:
            known.severity, known.effect = "error", "widens"
            known.witness = known.witness or difference.request
        else:
            text = fill(row.message, {"request": sentence(difference.request, unnamed=of_other_ports(difference.subject))})
            extra.append(
                Finding(
                    "MP904",
                    "error",
                    text,
                    row.remedy,
                    "widens",
                    None,
                    "authorization",
                    "authorization.rule",
                    where,
                    witness=difference.request,
                )
            )
    if proof is not None and not proof.undecided:
        _relaxed_for_nothing(proof, findings)
    return extra


def _relaxed_for_nothing(proof: Verification, findings: list[Finding]) -> None:
    """Hold findings of rules that lost a condition to the places where more is let in: the callers may have had all of it by other rules."""
    more = [difference.request["destination"] for difference in proof.differences if difference.change == "allowed"]
    for finding in findings:
        if finding.code not in _RELAXED or finding.effect != "widens" or not finding.affects:
            continue
        kept = tuple(one for one in finding.affects if any(_of(place, one) for place in more))
        if kept:
            finding.affects = kept
        else:
            finding.severity, finding.effect = "info", "none"
            finding.message += SAME


def _of(place: dict[str, Any], one: Affected) -> bool:
    return place["namespace"] == one.namespace and one.workload in (None, place["workload"]) and one.port in (None, place["port"])


_RELAXED = ("MP218",)
_NO_REQUESTS = ("MP143", "MP261", "MP292")
"""Findings of what proxies ask of their control plane, of tokens that nobody checks, and of what is not TCP."""
_EFFECTS = {"allowed": "widens", "denied": "narrows"}
