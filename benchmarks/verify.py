"""How fast `meshport verify` compares, against its budgets and against network-config-analyzer. Run as `python benchmarks/verify.py`.

Growing sets of Istio policies, each against the same set written otherwise and against one with 1 % of its policies changed. Every comparison is a process of
its own, from start to end; counted is its processor time, which other work on the machine hardly changes, and its peak memory.
network-config-analyzer (PyPI, no dependency of meshport) is asked the same questions with the same files where it is found: `--nca PATH`, the variable
NCA, or `nca` on the PATH. It gets `--bound` seconds on the clock for each; where it does not finish in them, what it had taken of the processor counts.
Ends with 1 if a budget is broken, or an answer is another than is known.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import policies

SECONDS = 10.0  # for the largest set
MEMORY = 1000.0  # MB at the largest set
LINEAR = 1.5  # growth of the time for each policy from the second set to the largest; the first is mostly start-up
FASTER = 10.0  # times faster than network-config-analyzer
SIZES = (100, 300, 1000)
FEW = 20  # different rules of the set whose rules repeat
TANGLED = 500.0  # milliseconds for a pair of regular expressions that blow up elsewhere


@dataclass(slots=True)
class Run:
    """One comparison: seconds of the processor, peak memory in MB, and the answer; None where it was stopped."""

    seconds: float
    peak_mb: float
    answer: str | None


def main() -> int:
    parser = argparse.ArgumentParser(description="meshport's benchmarks of verify")
    parser.add_argument("--quick", action="store_true", help="without the largest sets")
    parser.add_argument("--nca", metavar="PATH", help="network-config-analyzer's executable")
    parser.add_argument("--bound", type=float, default=600.0, help="seconds that each of its runs may take")
    parser.add_argument("--nca-sizes", default="100,300", help="sets that it is asked about, by size")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    given = parser.parse_args()
    broken: list[str] = []
    figures: dict[str, object] = {"python": sys.version.split()[0], "processors": os.cpu_count()}
    sizes = SIZES[:-1] if given.quick else SIZES
    with tempfile.TemporaryDirectory() as folder:
        for name, distinct in (("distinct rules", None), (f"{FEW} different rules", FEW)):
            figures[name] = _growing(Path(folder), name, distinct, sizes, broken)
        found = given.nca or os.environ.get("NCA") or shutil.which("nca")
        if found:
            asked = [int(size) for size in given.nca_sizes.split(",")]
            figures["network-config-analyzer"] = _against(Path(folder), found, asked, given.bound, broken)
        else:
            print(
                "\nnetwork-config-analyzer is not found and not compared with: pip install it into a venv of its own, then --nca VENV/bin/nca"
            )
    figures["expressions"] = _expressions(broken)
    if given.json:
        Path(given.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print("\n" + ("\n".join(f"OVER BUDGET: {line}" for line in broken) if broken else "every budget is kept"))
    return 1 if broken else 0


@dataclass(slots=True)
class _Set:
    """The files of one set, and the workloads that the changed one treats otherwise."""

    old: Path
    rewritten: Path
    changed: Path
    concerned: set[str]


def _set(folder: Path, count: int, distinct: int | None = None) -> _Set:
    pods, old = policies.workloads(count), policies.policies(count, distinct=distinct)
    changed, concerned = policies.mutated(old)
    name = f"{count}-{distinct or 'all'}"
    files = {"old": old, "rewritten": policies.rewritten(old), "changed": policies.rewritten(changed)}
    made = {which: policies.write(folder / f"{which}-{name}.yaml", pods, docs) for which, docs in files.items()}
    return _Set(**made, concerned=concerned)


def _growing(folder: Path, name: str, distinct: int | None, sizes: tuple[int, ...], broken: list[str]) -> list[dict[str, object]]:
    print(f"\nmeshport verify, a policy of two rules for each workload, {name}")
    print(f"  {'policies':>8} {'rewritten':>20} {'with 1 % changed':>20} {'for each policy':>16} {'peak':>8}")
    rows: list[dict[str, object]] = []
    each: list[float] = []
    for count in sizes:
        made = _set(folder, count, distinct)
        same, other = (_ours(made.old, file) for file in (made.rewritten, made.changed))
        slowest, peak = max(same.seconds, other.seconds), max(same.peak_mb, other.peak_mb)
        each.append(slowest / count)
        print(f"  {count:>8} {same.seconds:>18.2f} s {other.seconds:>18.2f} s {each[-1] * 1000:>13.1f} ms {peak:>5.0f} MB")
        rows.append({"policies": count, "rewritten": asdict(same), "changed": asdict(other)})
        _judged(f"{count} policies, {name}", same, other, made.concerned, broken)
        if count == SIZES[-1] and slowest > SECONDS:
            broken.append(f"{count} policies, {name}: {slowest:.1f} s, budget {SECONDS:.0f}")
        if peak > MEMORY:
            broken.append(f"{count} policies, {name}: {peak:.0f} MB, budget {MEMORY:.0f}")
    if len(each) > 2 and each[-1] > each[1] * LINEAR:
        broken.append(
            f"{name}: not linear, {each[1] * 1000:.1f} ms for each of {sizes[1]} policies and {each[-1] * 1000:.1f} of {sizes[-1]}"
        )
    return rows


def _judged(where: str, same: Run, other: Run, concerned: set[str], broken: list[str]) -> None:
    if same.answer != "equivalent":
        broken.append(f"{where}: the same policies written otherwise are called {same.answer}")
    if other.answer != "not equivalent: " + " ".join(sorted(concerned)):
        broken.append(f"{where}: the changed workloads are {' '.join(sorted(concerned))}, and the answer is {other.answer}")


def _ours(old: Path, new: Path) -> Run:
    """`meshport verify`; the answer names the workloads that are treated otherwise."""
    command = [sys.executable, "-m", "meshport", "verify", str(old), str(new), "--from", "istio", "--to", "istio", "--format", "json"]
    out = old.with_suffix(".json")
    with out.open("w") as file:
        process = subprocess.Popen(command, stdout=file)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"meshport verify ended with {process.returncode}")
    said = json.loads(out.read_text())
    places = sorted({item["request"]["destination"]["workload"] for item in said["differences"]})
    answer = said["verdict"] if said["verdict"] in ("equivalent", "inconclusive") else "not equivalent: " + " ".join(places)
    return Run(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / _scale(), answer)


# -- network-config-analyzer


def _against(folder: Path, executable: str, sizes: list[int], bound: float, broken: list[str]) -> list[dict[str, object]]:
    print(f"\nnetwork-config-analyzer --equiv, the same sets (at most {bound:.0f} s each)")
    print(f"  {'policies':>8} {'question':>10} {'meshport':>10} {'NCA':>12} {'faster':>8}  same answer")
    rows: list[dict[str, object]] = []
    stopped = False
    for count in sizes:
        made = _set(folder, count)
        pods, old = policies.write(folder / "pods.yaml", policies.workloads(count)), policies.policies(count)
        changed, _ = policies.mutated(old)
        before = policies.write(folder / "nca-old.yaml", old)
        for question, docs, ours in (
            ("rewritten", policies.rewritten(old), made.rewritten),
            ("changed", policies.rewritten(changed), made.changed),
        ):
            if stopped:
                print(f"  {count:>8} {question:>10} skipped: a smaller set did not finish")
                continue
            mine = _ours(made.old, ours)
            its = _its(executable, pods, before, policies.write(folder / "nca-new.yaml", docs), bound)
            stopped = its.answer is None
            alike = its.answer is None or its.answer == (mine.answer or "").partition(":")[0]
            ratio = its.seconds / mine.seconds
            more = ">" if stopped else " "
            print(
                f"  {count:>8} {question:>10} {mine.seconds:>8.2f} s {more}{its.seconds:>9.1f} s {more}{ratio:>6.0f}x  "
                f"{'it did not finish' if stopped else 'yes' if alike else 'NO'}"
            )
            rows.append({"policies": count, "question": question, "meshport": asdict(mine), "nca": asdict(its)})
            if ratio < FASTER and not stopped:
                broken.append(f"{count} policies, {question}: {ratio:.1f} times faster than network-config-analyzer, budget {FASTER:.0f}")
            if not alike:
                broken.append(f"{count} policies, {question}: {mine.answer}, and network-config-analyzer says {its.answer}")
    return rows


def _its(executable: str, pods: Path, old: Path, new: Path, bound: float) -> Run:
    """Its equivalence query; stopped at the bound, what it had taken of the processor until then."""
    command = [executable, "--equiv", str(new), "-b", str(old), "-n", str(pods), "-p", str(pods), "--return_0"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=bound, check=False)
    except subprocess.TimeoutExpired:
        done = None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done is None:
        return Run(seconds, 0.0, None)
    if "are semantically equivalent" in done.stdout:
        answer = "equivalent"
    elif "are not semantically equivalent" in done.stdout or "which are not a subset of" in done.stdout:
        answer = "not equivalent"
    else:
        raise SystemExit(f"network-config-analyzer gave no answer: {(done.stdout + done.stderr)[-500:]}")
    return Run(seconds, after.ru_maxrss / _scale(), answer)


def _scale() -> int:
    return 1024 * 1024 if sys.platform == "darwin" else 1024


# -- regular expressions


def _expressions(broken: list[str]) -> dict[str, float]:
    """The pairs on which determinised automata grow without bound: overlap and containment, asked afresh."""
    from meshport.values.language import Language

    pairs = ((".*a.{12}", ".*b.{12}"), ("/a{1,200}", "/a{150,300}"), ("/api/users/[^/]+", "/api/.*"), ("(.*a.*){6}", "(.*b.*){6}"))
    print("\nregular expressions: whether they overlap, and whether one holds the other")
    found: dict[str, float] = {}
    for one, other in pairs:
        start = time.process_time()
        first, second = Language.regex(one), Language.regex(other)
        overlap, inside = (first & second).witness(), first.issubset(second)
        took = found[f"{one} and {other}"] = (time.process_time() - start) * 1000
        print(
            f"  {one:>18} and {other:<14} {took:>7.1f} ms   {'apart' if overlap is None else 'overlap'}, {'inside' if inside else 'not inside'}"
        )
        if took > TANGLED:
            broken.append(f"{one} and {other} take {took:.0f} ms, budget {TANGLED:.0f}")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
