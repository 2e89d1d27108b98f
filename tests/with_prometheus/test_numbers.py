"""Numbers agree: a real Prometheus evaluates a query over what its mesh exports of a log, and the translation over what the other mesh exports of the same log.

They are equal where the findings claim nothing. What a finding claims is left out of the log before both meshes export it; nothing else is.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from meshport.observe.promql import parse_promql
from meshport.observe.translate import Translation, translate_promql

from . import agreement
from .exported import EXPORTERS, scraped
from .queries import Asking, Question
from .server import Server, Unanswered, needs_prometheus, running, stored
from .traffic import SECONDS, traffic

CLAIMED = {
    "MP802": {"slow body"},
    "MP805": {"probes", "unmeshed caller", "unmeshed server"},
    "MP806": {"unseen"},
    "MP808": {"unmeshed caller", "unmeshed server"},
    "MP809": {"refused by the application"},
    "MP810": {"failed gRPC"},
    "MP811": {"two workloads", "two services"},
    "MP812": {"stateful server", "stateful caller"},
    "MP813": {"unmeshed caller", "unmeshed server", "no service"},
    "MP828": {"two ports"},
    "MP890": {"probes"},
    "MP891": {"mutual TLS"},
}
"""Of what happens, what a finding says that the two count differently."""
POLICIES = ("authz", "verdicts", "drop_total", "connections_failed")
SCRAPED = range(0, SECONDS + 1, 120)
FIRST, APART = 54 * 3600 * 8748, SECONDS + 600  # seconds: each world has time of its own, and the next does not look back to it
DIRECTIONS = [(source, target) for source in EXPORTERS for target in EXPORTERS if source != target]


@dataclass(frozen=True, slots=True)
class World:
    seed: int
    floats: bool
    left_out: frozenset[str]
    requests: bool  # whether any HTTP is spoken


@dataclass(slots=True)
class Case:
    question: Question
    source: str
    target: str
    options: dict[str, str]
    translation: Translation
    world: World

    def metrics(self) -> set[str]:
        return {*parse_promql(self.question.text).metrics, *parse_promql(self.translation.expr or "").metrics}

    def shown(self) -> str:
        codes = sorted({finding.code for finding in self.translation.findings})
        return f"{self.source} to {self.target} {self.options} {codes}\n  {self.question.text}\n  {self.translation.expr}"


@dataclass(slots=True)
class Outcome:
    compared: int = 0
    telling: int = 0  # with an answer that is not empty
    refused: Counter[str] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def asked(source: str, target: str, seed: int, number: int, outcome: Outcome) -> list[Case]:
    """Random queries of a mesh with their translations."""
    random = Random(f"{source} {target} {seed}")
    floats = random.random() < 0.5
    asking = Asking(source, random, floats)
    cases = []
    for _ in range(number):
        question = asking.question()
        options = {"group_by": random.choice(("service", "workload")), "latency": random.choice(("keep-unit", "native-unit"))}
        made = translate_promql(question.text, source=source, target=target, group_by=options["group_by"], latency=options["latency"])
        if made.expr is None:
            outcome.refused[made.findings[-1].code] += 1
            outcome.refusals.append(f"{source} to {target}: {made.findings[-1].code} {made.findings[-1].message}\n  {question.text}")
            continue
        codes = {finding.code for finding in made.findings}
        left_out = {quirk for code in codes for quirk in CLAIMED.get(code, ())} | _of_the_side(question, source, target)
        world = World(seed, floats, frozenset(left_out), "MP807" not in codes)
        cases.append(Case(question, source, target, options, made, world))
    return cases


def _of_the_side(question: Question, source: str, target: str) -> set[str]:
    """What a question does not ask for, and what no mesh tells: denied requests unless it is about policy, and peers that a proxy cannot name."""
    out = set() if any(word in question.text for word in POLICIES) else {"denied"}
    if "no service" not in out and not any(side in question.text for side in ('"destination"', '"inbound"', '"server"')):
        out.add("no service")  # what a client's proxy calls a pod that is called without its Service is no one's promise
    if "cilium" in (source, target) and any(label in question.text for label in ("source_workload", "source_namespace", "source_app")):
        out.add("unmeshed caller")  # Hubble names a caller that has no proxy
    return out


def compare(cases: list[Case], outcome: Outcome) -> None:
    """Put all to one Prometheus."""
    worlds = {world: FIRST + number * APART for number, world in enumerate(dict.fromkeys(case.world for case in cases))}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stored((sample for world, start in worlds.items() for sample in _samples(world, start, cases)), folder)
        with running(folder) as server:
            for case in cases:
                _compared(case, server, worlds[case.world] + SECONDS, outcome)


def _samples(world: World, start: int, cases: list[Case]) -> Iterator[tuple[str, int, float]]:
    """What the meshes export in a world, as far as somebody asks for it."""
    asked = frozenset(metric for case in cases if case.world == world for metric in case.metrics())
    log = traffic(world.seed).without(world.left_out)
    if not world.requests:
        log.requests.clear()
    for mesh in EXPORTERS:
        for series, at, value in scraped(log, mesh, asked, world.floats, SCRAPED):
            yield series, start + at, value


def _compared(case: Case, server: Server, at: float, outcome: Outcome) -> None:
    made = case.translation
    assert made.expr is not None
    try:
        before = server.ask(case.question.text, at)
    except Unanswered:
        return  # the source's own mistake
    try:
        after = server.ask(made.expr, at)
    except Unanswered as refused:
        outcome.wrong.append(f"{case.shown()}\n  refused: {refused}")
        return
    outcome.compared += 1
    outcome.telling += bool(before)
    why = difference(case, before, after)
    if why:
        outcome.wrong.append(f"{case.shown()}\n  {why}")


def difference(case: Case, before: agreement.Answer, after: agreement.Answer) -> str:
    """What two answers differ in; "" where they agree."""
    made, factor = case.translation, case.translation.factor
    if isinstance(before, float) or isinstance(after, float):
        same = isinstance(before, float) and isinstance(after, float) and agreement.close(before * factor, after)
        return "" if same else f"{before} and {after}"
    if case.question.compare == "joined":
        own = {"row", "short"}
        before, after = (
            {tuple(pair for pair in key if pair[0] not in own): value for key, value in one.items()} for one in (before, after)
        )
    labels = {label: others for label, others in made.labels.items() if not before or any(label in dict(key) for key in before)}
    old, new = agreement.by_meaning(before, labels, True), agreement.by_meaning(after, labels, False)
    if case.question.compare == "chosen":
        old, new = ({(): sorted(value for values in one.values() for value in values)} if one else {} for one in (old, new))
    if old.keys() != new.keys():
        return f"series: {sorted(old.keys() ^ new.keys())[:4]}, {len(old)} and {len(new)}"
    for key, values in old.items():
        why = _values(case, values, new[key], factor)
        if why:
            return f"{dict(key)}: {why}"
    return ""


def _values(case: Case, old: list[float], new: list[float], factor: float) -> str:
    made, how = case.translation, case.question.compare
    if len(old) != len(new):  # series of the one that are one of the other
        old, new = [sum(old)], [sum(new)]
    for one, other in zip(old, new, strict=True):
        wanted = one * factor
        if how == "quantile" and not (one != one or other != other):
            unit = 1000.0 if "_seconds" in case.question.text else 1.0
            millis = unit / factor if made.unit else unit
            if not agreement.overlap(agreement.bucket(one * unit, case.question.text), agreement.bucket(other * millis, made.expr or "")):
                return f"{one} and {other} are not in the same bucket"
        elif how == "below" and any(finding.code == "MP818" for finding in made.findings):
            if other > wanted * (1 + 1e-9):
                return f"{other} of the requests are below a lower bound, {one} below the higher"
        elif how == "trend" or any(finding.code == "MP808" for finding in made.findings):
            if (one > 0) != (other > 0):
                return f"{one} and {other}"
        elif not agreement.close(wanted, other, 0.06 if how == "rounded" else 1e-6) and not (
            how == "rounded" and abs(wanted - other) <= 0.0011 * factor
        ):
            return f"{one} times {factor} and {other}"
    return ""


@needs_prometheus
@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
def test_numbers_agree(source: str, target: str) -> None:
    outcome = Outcome()
    compare(asked(source, target, 1, 30, outcome), outcome)
    assert not outcome.wrong, f"{len(outcome.wrong)} of {outcome.compared}\n" + "\n".join(outcome.wrong[:10])
    assert outcome.telling > 10  # empty answers agree too easily
