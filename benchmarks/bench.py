"""How fast meshport is, against its budgets. Run as `python benchmarks/bench.py`; `--quick` leaves out the largest fleet.

The yardstick is the machine itself: times are ratios to libyaml's reader under PyYAML, or differences to bare Python, so that the
figures of two machines can be compared. Every conversion runs in a process of its own, from start to end; counted is its processor time,
which other work on the machine hardly changes (one process, one thread), and its peak memory. The garbage collector is as each program
leaves it: the reader's is CPython's default.
Ends with 1 if a budget is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import fleet

START = 0.25  # seconds that `--help` may take beyond bare Python
RATIO = 25.0  # times the C reader alone
LINEAR = 1.25  # growth of the ratio from the smallest fleet to the largest
MEMORY = 500.0  # MB at the largest fleet
SIZES = (1250, 2500, 5000)

_READ = """
import json, sys, time
import yaml
text = open(sys.argv[1], encoding="utf-8").read()
best = 1e9
for _ in range(3):
    start = time.process_time()
    docs = list(yaml.load_all(text, Loader=yaml.CSafeLoader))
    best = min(best, time.process_time() - start)
    del docs
print(json.dumps(best))
"""

_OURS = """
import json, sys, time
import meshport.documents as documents
text = open(sys.argv[1], encoding="utf-8").read()
best = 1e9
for _ in range(3):
    start = time.process_time()
    bundle = documents.load_text(text)
    best = min(best, time.process_time() - start)
    del bundle
print(json.dumps(best))
"""


INSTALLED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Modules are compiled once, as where a tool is installed: some build machines forbid it, and each process would compile all of them again."""


def main() -> int:
    parser = argparse.ArgumentParser(description="meshport's benchmarks")
    parser.add_argument("--quick", action="store_true", help="without the largest fleet")
    parser.add_argument("--runs", type=int, default=9, help="runs of each start-up measurement")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    given = parser.parse_args()
    broken: list[str] = []
    figures: dict[str, object] = {"python": sys.version.split()[0], "processors": os.cpu_count()}
    figures["start"] = _start(given.runs, broken)
    sizes = SIZES[:-1] if given.quick else SIZES
    with tempfile.TemporaryDirectory() as folder:
        for source, target in (("istio", "linkerd"), ("linkerd", "istio")):
            figures[f"{source} to {target}"] = _conversions(Path(folder), source, target, sizes, broken)
    if given.json:
        Path(given.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print("\n".join(f"OVER BUDGET: {line}" for line in broken) if broken else "\nevery budget is kept")
    return 1 if broken else 0


def _start(runs: int, broken: list[str]) -> dict[str, float]:
    """Medians of interleaved runs, so that a busy moment hits all alike."""
    calls = {
        "bare": [sys.executable, "-c", "pass"],
        "--version": [sys.executable, "-m", "meshport", "--version"],
        "--help": [sys.executable, "-m", "meshport", "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            start = time.perf_counter()
            subprocess.run(call, check=True, stdout=subprocess.DEVNULL, env=INSTALLED)
            times[name].append(time.perf_counter() - start)
    bare = statistics.median(times["bare"])
    print(f"start-up, beyond bare Python ({bare * 1000:.0f} ms)")
    found = {"bare": bare}
    for name in ("--version", "--help"):
        more = found[name] = statistics.median(times[name]) - bare
        print(f"  {name:<12} {more * 1000:6.0f} ms   budget {START * 1000:.0f} ms")
        if more > START:
            broken.append(f"{name} takes {more:.2f} s beyond bare Python")
    return found


def _conversions(folder: Path, source: str, target: str, sizes: Sequence[int], broken: list[str]) -> list[dict[str, float]]:
    print(f"\n{source} to {target}: ratios to yaml.load_all(CSafeLoader)")
    print(
        f"  {'documents':>9} {'KB':>6} {'C reader':>9} {'reading':>16} {'converting':>18} {'on the clock':>13} {'documents/s':>12} {'peak':>8}"
    )
    rows = []
    for count in sizes:
        file = folder / f"{source}-{count}.yaml"
        file.write_text(getattr(fleet, source)(count), encoding="utf-8")
        base, ours = _timed(_READ, file), _timed(_OURS, file)
        seconds, wall, peak = _convert(file, source, target, folder)
        row = {
            "documents": count,
            "c_reader": base,
            "reading": ours,
            "converting": seconds,
            "ratio": seconds / base,
            "wall": wall,
            "peak_mb": peak,
        }
        rows.append(row)
        size = file.stat().st_size / 1024
        print(
            f"  {count:>9} {size:>6.0f} {base:>7.2f} s {ours:>7.2f} s {ours / base:>5.1f}x "
            f"{seconds:>9.2f} s {seconds / base:>5.1f}x {wall:>11.2f} s {count / seconds:>12.0f} {peak:>5.0f} MB"
        )
    last = rows[-1]
    if last["ratio"] > RATIO:
        broken.append(f"{source} to {target}: {last['ratio']:.1f} times the C reader at {last['documents']} documents, budget {RATIO:.0f}")
    if last["ratio"] > rows[0]["ratio"] * LINEAR:
        broken.append(
            f"{source} to {target}: not linear, {rows[0]['ratio']:.1f} times at {rows[0]['documents']} documents and {last['ratio']:.1f} at the end"
        )
    if last["peak_mb"] > MEMORY:
        broken.append(f"{source} to {target}: {last['peak_mb']:.0f} MB, budget {MEMORY:.0f}")
    return rows


def _timed(code: str, file: Path) -> float:
    done = subprocess.run([sys.executable, "-c", code, str(file)], check=True, capture_output=True, text=True, env=INSTALLED)
    return float(json.loads(done.stdout))


def _convert(file: Path, source: str, target: str, folder: Path) -> tuple[float, float, float]:
    """Processor seconds of the whole command, seconds on the clock, and its peak resident memory in MB."""
    command = [sys.executable, "-m", "meshport", "convert", str(file), "--from", source, "--to", target, "--fail-on", "never"]
    start = time.perf_counter()
    with (folder / "out.yaml").open("w") as out, (folder / "findings.txt").open("w") as findings:
        process = subprocess.Popen(command, stdout=out, stderr=findings, env=INSTALLED)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the conversion ended with {process.returncode}: {(folder / 'findings.txt').read_text()[-500:]}")
    scale = 1024 * 1024 if sys.platform == "darwin" else 1024
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / scale


if __name__ == "__main__":
    raise SystemExit(main())
