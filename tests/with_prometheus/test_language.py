"""What is PromQL: Prometheus itself and its grammar for editors, lezer-promql, take and refuse what `parse_promql` does, one slip of the hand away from real expressions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from meshport import InputError, parse_promql
from meshport.observe.tokens import Malformed, tokens

from .mutations import mutated
from .server import needs_prometheus, running

HERE = Path(__file__).parent
ORACLES = HERE.parents[2] / "shared" / "oracles"
OURS = [  # where nothing is beside the checkout
    'sum(rate(istio_requests_total{reporter="destination",response_code=~"5.*"}[5m])) by (destination_service) / on (destination_service) group_left x',
    'histogram_quantile(0.99, sum by (le, dst_deployment) (irate(response_latency_ms_bucket{direction="outbound"}[1m] offset -5m))) > bool 500',
    'label_replace(topk(3, avg_over_time(up[1h:5m] @ start())), "a", \'$1\', `b`, "(.*)") or vector(0) unless absent(x{}) # why',
    'count_values without (job) ("version", build) ^ -2 % 1e3 atan2 0x1F',
]
LENIENT = re.compile(r"""\batan2\b|\binf\b|\bnan\b|[0-9][a-z_]|without|\\|'|"$""", re.IGNORECASE | re.VERBOSE)
"""What lezer takes though Prometheus does not: atan2 as a name, inf as a range, letters right behind a number, `without` as a label, bad escapes, strings without an end."""
STRICT = re.compile(r"[0-9]\.(?![0-9])|m(?:in|ax)_of|\boffset\b|\bstep\b|\brange\b", re.IGNORECASE)
"""What it refuses though Prometheus takes it: `5.`, min_of and max_of as functions, a metric called offset, STEP in capitals."""
SPECIAL = re.compile(r"[:\"]\s*[,)]|by\s*\([^)]*[:\"]", re.IGNORECASE)
"""Labels with a colon or in quotes, where the two differ by the age of the language."""


def judge() -> str | None:
    """The folder under which the grammar is installed; None where it or Node is missing."""
    folder = Path(sys.prefix) / "lezer"
    return str(folder) if (folder / "node_modules" / "@prometheus-io" / "lezer-promql").is_dir() and shutil.which("node") else None


def expressions() -> list[str]:
    corpus, cases = ORACLES / "promql_corpus.json", ORACLES / "promql_cases.json"
    if not corpus.exists():
        return OURS
    real = [one["expr"] for one in json.loads(corpus.read_text()) if one.get("valid") and not one["templating"]]
    found = OURS + real + [one["expr"] for one in json.loads(cases.read_text()) if one["valid"] and len(one["expr"]) < 160]
    return [text for text in found if text.isprintable() or text.isascii()]


def read(text: str) -> bool:
    """Whether it can be read, whatever the types and functions in it are: lezer knows none."""
    from meshport.observe.promql import _tree

    try:
        _tree(tokens(text, templates=False), text)
    except Malformed:
        return False
    return True


def taken(text: str, features: str = "all") -> bool:
    try:
        parse_promql(text, templating="none", features=features)
    except InputError:
        return False
    return True


@pytest.mark.skipif(judge() is None, reason="no Node, or no @prometheus-io/lezer-promql in .venv/lezer (npm install --prefix .venv/lezer)")
def test_lezer_takes_and_refuses_the_same() -> None:
    random = Random(7)
    given = expressions()
    texts = given + [mutated(random.choice(given), random) for _ in range(4000)]
    ran = subprocess.run(
        ["node", str(HERE / "lezer.mjs"), str(judge())], input=json.dumps(texts), capture_output=True, text=True, timeout=120, check=True
    )
    verdicts = json.loads(ran.stdout)
    refused_there = [text for text, fine in zip(texts, verdicts, strict=True) if not fine and taken(text) and not STRICT.search(text)]
    refused_here = [text for text, fine in zip(texts, verdicts, strict=True) if fine and not read(text) and not LENIENT.search(text)]
    assert [text for text in refused_there if not SPECIAL.search(text)] == []
    assert [text for text in refused_here if not SPECIAL.search(text)] == []
    assert sum(verdicts) > len(given) // 2
    assert verdicts.count(False) > 1000


NEWER = re.compile(r"""</|>/|[(,]\s*["']|\{\s*["'`]|by\s*\(|without\s*\(|on\s*\(|ignoring\s*\(|group_(?:left|right)\s*\(""", re.IGNORECASE)
"""What an older Prometheus than the language's does not take: trimmed histograms, names and labels in quotes (or with a colon)."""
UNKNOWN = re.compile(r"unknown function|duration|timestamp|missing unit|unexpected number|trailing commas|inside braces")
"""Its complaints about functions and spellings that came later: a duration is a number, and a number a duration."""


@needs_prometheus
def test_prometheus_takes_and_refuses_the_same(tmp_path: Path) -> None:
    random = Random(11)
    given = expressions()
    texts = [mutated(random.choice(given), random) for _ in range(3000)]
    (tmp_path / "data").mkdir()
    took = 0
    wrong: list[tuple[str, str]] = []
    with running(tmp_path) as server:
        for text in texts:
            complaint = server.complaint(text)
            took += complaint is None
            if complaint is None and not taken(text):
                wrong.append((text, "is refused here"))
            if complaint is not None and taken(text, "none") and not UNKNOWN.search(complaint) and not NEWER.search(text):
                wrong.append((text, complaint))
    assert wrong == []
    assert took > 150
