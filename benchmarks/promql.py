"""PromQL, measured: parsing and translating the expressions of real dashboards, in one run with a JSON reader of C over the same text.

    python benchmarks/promql.py [CORPUS.json]

The corpus is a list of `{"expr": ...}` (by default ../shared/oracles/promql_corpus.json beside the checkout). What is compared are ratios: `json.loads` reads the same
expressions as strings, promql-parser (Rust; no dependency, used where it is installed) parses those that it knows. Exits with 1 if a budget is broken.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from meshport import InputError, parse_promql, translate_promql
from meshport.observe.metrics import MESHES, metrics

CORPUS = Path(__file__).parents[2] / "shared" / "oracles" / "promql_corpus.json"
TIMES_JSON, TIMES_PARSING = 2_000.0, 5.0  # budgets: parsing against json.loads of the same text, translating against parsing


def per_second(count: int, work: Callable[[], object]) -> float:
    """How many of `count` things a second, by the best of three runs."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return count / best


def readable(texts: list[str]) -> list[str]:
    found = []
    for text in texts:
        try:
            parse_promql(text)
        except InputError:
            continue
        found.append(text)
    return found


def main() -> int:
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else CORPUS
    if not file.exists():
        print(f"no {file}: name a JSON file with a list of expressions", file=sys.stderr)
        return 2
    texts = readable([one["expr"] for one in json.loads(file.read_text()) if one.get("valid")])
    table = metrics()
    directions = [
        (text, source, target)
        for text in texts
        for source in MESHES
        if any(table.is_of(source, name) for name in parse_promql(text).metrics)
        for target in MESHES
        if target != source
    ]
    encoded = [json.dumps(text) for text in texts]
    read = per_second(len(texts), lambda: [json.loads(text) for text in encoded])
    parsed = per_second(len(texts), lambda: [parse_promql(text) for text in texts])
    translated = per_second(
        len(directions), lambda: [translate_promql(text, source=source, target=target) for text, source, target in directions]
    )
    characters = sum(map(len, texts)) / len(texts)
    print(f"{len(texts)} expressions, {characters:.0f} characters on average")
    print(f"parsed:     {parsed:8.0f} a second, {read / parsed:.0f} times json.loads of the same text")
    print(f"translated: {translated:8.0f} a second ({len(directions)} by mesh and target), {parsed / translated:.1f} times parsing")
    _beside(texts, parsed)
    return int(read / parsed > TIMES_JSON or parsed / translated > TIMES_PARSING)


def _beside(texts: list[str], parsed: float) -> None:
    try:
        import promql_parser
    except ImportError:
        return

    def known(text: str) -> bool:
        try:
            promql_parser.parse(text)
        except ValueError:
            return False
        return True

    both = [text for text in texts if known(text)]
    other = per_second(len(both), lambda: [promql_parser.parse(text) for text in both])
    print(f"promql-parser (Rust): {other:8.0f} a second of the {len(both)} that it reads, {other / parsed:.0f} times as many")


if __name__ == "__main__":
    sys.exit(main())
