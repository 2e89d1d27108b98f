"""What the commands share: reading paths, checking choices, printing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshport.errors import InputError, UsageError

if TYPE_CHECKING:
    from meshport.documents import Bundle
    from meshport.findings import Finding
    from meshport.mapping.table import Table
    from meshport.suppression import Rule

STDIN = "-"
FORMATS = ("text", "json", "github")
FAIL_ON = ("error", "warning", "never")


def choice(option: str, value: str, allowed: Sequence[str]) -> str:
    """The value, if it is one of those allowed. Raises UsageError with the closest one."""
    if value in allowed:
        return value
    from difflib import get_close_matches

    close = get_close_matches(value, allowed, 1)
    raise UsageError(f"{option} {value}: choose {', '.join(allowed)}" + (f"; did you mean {close[0]}?" if close else ""))


# -- reading


def paths_or_stdin(paths: Sequence[str] | None) -> list[str]:
    """The paths given; standard input where there are none and something is piped in."""
    given = list(paths or ())
    if given:
        if given.count(STDIN) > 1:
            raise UsageError("standard input (-) can be read once; name it once")
        return given
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("nothing to read; give files or folders, or pipe manifests in (kubectl get ... -o yaml | meshport ...)")
    return [STDIN]


def read(paths: Sequence[str]) -> Bundle:
    """The documents at all paths. Raises InputError or UsageError where there is nothing that can be read."""
    from meshport.documents import load

    bundle = load(*paths)
    if bundle.documents or (bundle.written is not None and not bundle.problems):  # an output may be empty: all stays as it is
        return bundle
    if bundle.problems:
        first = bundle.problems[0]
        place: dict[str, Any] = {"file": first.file, "line": first.line, "column": first.column}
        raise InputError(f"{first.message}; {first.remedy}", **place)
    if list(paths) == [STDIN]:
        raise InputError("standard input is empty; pipe manifests in, or give files or folders", file="<stdin>")
    raise UsageError(f"{', '.join(paths)}: no manifests found (.yaml .yml .json); check the path")


def read_context(paths: Sequence[str] | None, beside: Sequence[str]) -> Bundle | None:
    """The documents of `--context`, `beside` the paths that are what is asked about."""
    if not paths:
        return None
    if [*paths, *beside].count(STDIN) > 1:
        raise UsageError("standard input (-) can be read once; give the --context as a file")
    from meshport.documents import load

    return load(*paths)


def table(mappings: str | None) -> Table:
    """The mapping table, with a user's own rows over it."""
    from meshport.options import table_of

    return table_of(mappings)


# -- printing


def emit(text: str) -> None:
    """Print the artefact. Where the reader of the pipe has gone, the rest is dropped in silence. Raises UsageError where it cannot be written."""
    stream = sys.stdout
    if stream is None:
        raise UsageError("standard output is closed; send it somewhere, or write to a file (convert and plan: -o)")
    try:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise UsageError(
            f"standard output cannot be written ({error.strerror}); what came is not whole: make room, and run again"
        ) from None


def say(lines: Iterable[str]) -> None:
    """Print to stderr, where findings, summaries and remarks go."""
    text = "".join(f"{line}\n" for line in lines)
    if text:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except UnicodeEncodeError:
            sys.stderr.write(text.encode("ascii", "backslashreplace").decode("ascii"))
        except OSError:  # nobody is left to tell
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def as_json(value: Any) -> str:
    """Plain data as JSON with an end of line."""
    import json

    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


# -- findings


def inside(file: str, output: str | None) -> bool:
    """Whether a file lies in the output folder, and so can only be written after it."""
    return output is not None and Path(output).resolve() in Path(file).resolve().parents


def check_reports(files: Sequence[str] | None, output: str | None = None) -> list[str]:
    """The report files, if their suffixes name a form and their folders exist. Raises UsageError."""
    from meshport.report.forms import SUFFIXES, suffix

    given = list(files or ())
    for file in given:
        if suffix(file) is None:
            raise UsageError(f"--report {file}: its suffix is of no report form; choose {', '.join(SUFFIXES)}")
        check_target(file, "--report", output)
    return given


def check_target(file: str, option: str, output: str | None = None) -> None:
    """Raises UsageError where a file cannot be made because its folder is missing or it is one itself."""
    path = Path(file)
    if path.is_dir():
        raise UsageError(f"{option} {file}: is a folder; name a file")
    if not inside(file, output) and not path.absolute().parent.is_dir():
        raise UsageError(f"{option} {file}: there is no folder {path.parent}; make it, or give another path")


def suppress(
    findings: list[Finding],
    bundle: Bundle,
    rows: Table,
    ignore: Sequence[str] | None,
    waivers: str | None,
    baseline: str | None,
    *,
    tell: bool,
) -> list[Rule]:
    """Mark the findings that a team has decided about; the decisions. With `tell`, those that meet no finding are said."""
    if not ignore and not waivers and not baseline:
        return []
    from meshport import suppression

    rules = [*suppression.ignores(ignore or (), rows), *(suppression.waivers(waivers, rows) if waivers else ())]
    idle = suppression.suppress(findings, bundle, rows, rules, suppression.baseline(baseline) if baseline else None)
    if tell:
        say(f"{rule} meets no finding" for rule in idle)
    return rules


def tells_of_rules(given: Mapping[str, Any]) -> bool:
    """Whether a person reads along, and decisions that meet no finding are worth a word: of a part they may be about the rest."""
    return given["form"] == "text" and not given["quiet"] and not given["namespace"] and not given["select"]


def failed(findings: Iterable[Finding], fail_on: str) -> bool:
    """Whether any finding reaches `--fail-on`."""
    return any(finding.counts(fail_on) for finding in findings)


def two(old: str, new: str, context: Sequence[str] | None) -> tuple[Bundle, Bundle]:
    """The two bundles of diff and verify, each with what else is known."""
    if old == new == STDIN:
        raise UsageError("standard input (-) can be read once; give OLD or NEW as a file")
    one, other = read([old]), read([new])
    extra = read_context(context, [old, new])
    return (one, other) if extra is None else (one.beside(extra), other.beside(extra))
