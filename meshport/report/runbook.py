"""The plan as people read it at two in the morning: a checklist a step, with lines to paste; and as the files of a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from meshport.documents import dump, dump_json
from meshport.report.planned import Check, Command, Plan, PlannedManifest, Step, WeakEdge, Window
from meshport.report.words import plural, release, some

if TYPE_CHECKING:
    from meshport.report.text import Paint

_MOST_EDGES = 12
PHASES = {
    "prepare": "Prepare", "install": "Install", "overlap": "Overlap", "move": "Move", "enforce": "Enforce", "strict": "Strict again",
    "sign-off": "Sign off", "clean-up": "Clean up",
}  # fmt: skip


def files(plan: Plan) -> dict[str, str]:
    """What the plan's folder holds, text by path."""
    found = {"plan.md": document(plan), "plan.json": dump_json([plan.model_dump(mode="json", by_alias=True)])}
    for step in plan.steps:
        found[f"{step.folder}/README.md"] = "\n".join(_step(step, plan)).strip() + "\n"
        groups: dict[str, list[PlannedManifest]] = {}
        for item in [*step.manifests, *step.previous]:
            if item.change != "delete" or item in step.previous:
                groups.setdefault(item.file, []).append(item)
        for file, items in groups.items():
            found[file] = dump([item.object for item in items])
        for chart, values in step.values.items():
            found[f"{step.folder}/helm/{chart}.yaml"] = dump([values])
    return found


def document(plan: Plan) -> str:
    """The whole runbook."""
    lines = [f"# {_plain(title(plan))}", ""]
    lines += _head(plan)
    for step in plan.steps:
        lines += _step(step, plan)
    return "\n".join(lines).strip() + "\n"


def title(plan: Plan) -> str:
    """From where to where."""
    sides = [release(side.mesh, side.version, side.data_plane) for side in (plan.source, plan.target)]
    return f"Cutover plan: {sides[0]} to {sides[1]}"


def _head(plan: Plan) -> Iterator[str]:
    yield f"Findings: {plan.findings} · access widened at the end: {plan.widened}, undecided: {plan.undecided} (ports of workloads) · strategy: {plan.strategy}"
    yield ""
    if plan.stopped:
        yield "**Stopped:** something would be lost, and `--on-loss stop` was given. There are no steps."
        yield ""
        return
    yield "Type every line in the folder of this plan, in a shell with `kubectl` and the meshes' command lines. One step at a time; its checks hold before the next begins."
    yield "A check that does not hold: stop, go the step's way back, and find out why. To go back further, go back step by step, the last one first."
    yield ""
    if plan.decisions:
        yield f"## Decide first: {plural(len(plan.decisions), 'error finding')}"
        yield ""
        yield "The plan goes on as if these were accepted. Settle each before step 1 (where the remedy is an option or another manifest, make the plan anew), or accept it in a waivers file with an owner and a date."
        yield ""
        for item in plan.decisions:
            yield f"- [ ] **{item.code}** {_plain(item.message)}. {_plain(item.remedy)}".replace("..", ".")
        yield ""
    yield "## Order"
    yield ""
    yield from (f"- {_plain(text)}" for text in plan.order)
    yield ""
    yield "| Step | Phase | What | Weaker from here on |"
    yield "| --- | --- | --- | --- |"
    for step in plan.steps:
        weak = "; ".join(f"{window.what} ({_until(window)})" for window in step.windows) or "nothing"
        yield f"| {step.number} | {PHASES[step.phase]} | {_plain(step.title)} | {_plain(weak)} |"
    yield ""


def _step(step: Step, plan: Plan) -> Iterator[str]:
    yield f"## Step {step.number} of {len(plan.steps)}: {_plain(step.title)}"
    yield ""
    yield _plain(step.why)
    yield ""
    if step.first:
        yield "Before you type:"
        yield ""
        yield from _checks(step.first)
    hand = [each for each in step.commands if not each.run]
    for each in hand:
        yield f"- [ ] {_plain(each.note)}"
    if hand:
        yield ""
    yield from _block([each for each in step.commands if each.run], "- [ ] Type:")
    if step.manifests:
        yield f"Manifests ({len(step.manifests)}):"
        yield ""
        for item in step.manifests:
            where = f"{item.object['metadata'].get('namespace')}/" if item.object["metadata"].get("namespace") else ""
            passing = ", for the time being" if item.interim else ""
            yield f"- {item.change} {item.object['kind']} {_plain(where + str(item.object['metadata']['name']))} (`{item.file}`{passing})"
        yield ""
    if step.checks:
        yield "Go on when:"
        yield ""
        yield from _checks(step.checks)
    if step.windows:
        yield "Weaker from here on:"
        yield ""
        for window in step.windows:
            yield f"- **{window.what}** {_until(window)}. {_plain(window.why)}"
            ends: dict[str, list[str]] = {}
            for edge in window.edges[:_MOST_EDGES]:
                ends.setdefault(edge.source, []).append(_end(edge))
            more = f"; and {len(window.edges) - _MOST_EDGES} more (plan.json has all)" if len(window.edges) > _MOST_EDGES else ""
            shown = [f"{source} → {', '.join(names)}" for source, names in ends.items()]
            yield f"  {_plain('; '.join(shown))}{more}"
        yield ""
    if step.state is not None:
        yield f"The cluster after this step, computed and compared with the source: {_plain(step.state.says)}"
        for half in step.state.halves:
            for text in [*half.differences, *(f"not comparable: {text}" for text in half.undecided)]:
                yield f"- {half.mesh}: {_plain(text)}"
        yield ""
    if step.back:
        yield "Way back:"
        yield ""
        hand = [each for each in step.back if not each.run]
        yield from (f"- {_plain(each.note)}" for each in hand)
        yield from [""] if hand else []
        yield from _block([each for each in step.back if each.run], "")


def _checks(checks: Sequence[Check]) -> Iterator[str]:
    for check in checks:
        where = "" if check.kind == "shell" else "in Prometheus, "
        yield f"- [ ] {where}expect: {_plain(check.expect)}"
        yield ""
        yield from (f"  {line}" if line else "" for line in _fence([check.run], "promql" if check.kind == "query" else "sh"))


def _until(window: Window) -> str:
    return f"until step {window.until} is done" if window.until is not None else "within this step"


def _block(commands: Sequence[Command], lead: str) -> Iterator[str]:
    if not commands:
        return
    if lead:
        yield lead
        yield ""
    lines: list[str] = []
    for each in commands:
        lines += [f"# {line}" for line in each.note.splitlines() if line]
        lines.append(each.run)
    yield from _fence(lines, "sh")


def _fence(lines: Sequence[str], language: str) -> Iterator[str]:
    """A code block that its own text cannot end."""
    longest = max((len(found) for line in lines for found in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{fence}{language}"
    for line in lines:
        yield from line.splitlines()
    yield fence
    yield ""


def _plain(text: str) -> str:
    """Text of a document in prose: one line, and no markup of its own."""
    text = " ".join(text.split())
    return re.sub(
        r"([<>|\\\[\]`*_])", lambda found: "\\" + found[1] if found[1] not in "<>" else {"<": "&lt;", ">": "&gt;"}[found[1]], text
    )


def lines(plan: Plan, *, paint: Paint, quiet: bool = False, verbose: bool = False) -> Iterator[str]:
    """The plan in a terminal: the steps, what each opens, and what was found of the state after it; `verbose`: with the commands."""
    yield paint(title(plan), "1")
    if plan.stopped:
        yield "stopped: something would be lost (--on-loss stop)"
        return
    if plan.decisions:
        yield f"{plural(len(plan.decisions), 'error finding')} to decide about first"
    if not quiet:
        yield from plan.order
    for step in plan.steps:
        yield ""
        yield f"{paint(f'{step.number:2}', '1')} {PHASES[step.phase]}: {step.title}"
        if quiet:
            continue
        if verbose:
            yield from (f"     {each.run or each.note}" for each in step.commands)
        for window in step.windows:
            edges = some([f"{edge.source} to {_end(edge)}" for edge in window.edges])
            yield f"     weaker: {window.what} on {edges}, {_until(window)}"
        if step.state is not None:
            yield f"     after it, computed: {step.state.says}"


def _end(edge: WeakEdge) -> str:
    return edge.destination if edge.port is None else f"{edge.destination}:{edge.port}"
