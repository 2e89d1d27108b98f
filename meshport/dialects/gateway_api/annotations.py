"""Linkerd's timeout and retry annotations, on routes and on Services, read (Linkerd reference 1.15, 2.7)."""

from __future__ import annotations

from typing import Any

from meshport.dialects.cursor import Cursor
from meshport.dialects.gateway_api.durations import annotation
from meshport.ir.base import NOWHERE, Fact, Src
from meshport.ir.resilience import Retry
from meshport.ir.routing import gather
from meshport.values.ports import is_number
from meshport.values.retry import linkerd_reads

_TIMEOUTS = tuple(f"timeout.linkerd.io/{name}" for name in ("request", "response", "idle"))


def annotations_of(root: Cursor) -> dict[str, Fact[str]]:
    """The object's annotations as facts."""
    return {key: fact for key, item in root.items("metadata", "annotations") if (fact := item.fact(str)) is not None}


def duration(fact: Fact[str] | None) -> Fact[int] | None:
    """An annotation's duration; None where there is none, where it is no duration, and where it is 0, which Linkerd takes as unset."""
    if fact is None:
        return None
    try:
        value = annotation(fact.value)
    except ValueError:
        return None
    return Fact(value, fact.src, fact.feature) if value else None


def readable(fact: Fact[str]) -> bool:
    """Whether Linkerd reads the text as a duration."""
    try:
        annotation(fact.value)
    except ValueError:
        return False
    return True


def unreadable(notes: dict[str, Fact[str]]) -> list[tuple[str, Fact[Any]]]:
    """The values among annotations that Linkerd cannot read; each switches the settings of its group off."""
    durations = [("MP409", notes[key]) for key in (*_TIMEOUTS, "retry.linkerd.io/timeout") if key in notes and not readable(notes[key])]
    return [*durations, *(("MP342", fact) for fact in unread_words(notes))]


def unread_words(notes: dict[str, Fact[str]]) -> list[Fact[str]]:
    """The retry annotations with a word that is none: statuses, ranges of them and two names for HTTP, five statuses for gRPC, and a number."""
    return [
        fact
        for name in ("http", "grpc", "limit")
        if (fact := notes.get(f"retry.linkerd.io/{name}")) is not None and not linkerd_reads(name, fact.value)
    ]


def timeouts_of(notes: dict[str, Fact[str]]) -> dict[str, Fact[int] | None]:
    """The timeout annotations by name; none of them where one cannot be read."""
    good = all(readable(notes[key]) for key in _TIMEOUTS if key in notes)
    return {key.rpartition("/")[2]: duration(notes.get(key)) if good else None for key in _TIMEOUTS}


def asked(notes: dict[str, Fact[str]]) -> Src:
    """The leaves of the retry and timeout annotations."""
    return gather([fact for key, fact in notes.items() if key.startswith(("retry.linkerd.io/", "timeout.linkerd.io/"))])


def idle_notes(notes: dict[str, Fact[str]], used: Src) -> tuple[tuple[str, Src], ...]:
    """Settings of retries and timeouts that change nothing: 0, and those of a group with a value that cannot be read."""
    found: list[tuple[str, Src]] = []
    words = frozenset().union(*(fact.src for fact in unread_words(notes)))
    bad = {"retry"} if words else set()
    bad |= {key.partition(".")[0] for key in (*_TIMEOUTS, "retry.linkerd.io/timeout") if key in notes and not readable(notes[key])}
    for key, fact in sorted(notes.items()):
        group, _, rest = key.partition(".")
        if group not in ("retry", "timeout") or not rest.startswith("linkerd.io/") or fact.src & used:
            continue
        if fact.src & words or (group in bad and not readable(fact) and "timeout" in key):
            continue  # named in a finding
        if group in bad:
            found.append(("a value of the group that cannot be read switches all of it off", fact.src))
        elif fact.value.strip().rstrip("smhd") == "0":
            found.append(("0 is as good as unset", fact.src))
    return tuple(found)


def linkerd_retry(notes: dict[str, Fact[str]]) -> Retry | None:
    """The retry annotations of a route or Service; None where none is set. A limit that is not said is 1."""
    limit, spent = notes.get("retry.linkerd.io/limit"), notes.get("retry.linkerd.io/timeout")
    if (spent is not None and not readable(spent)) or unread_words(notes):
        return None
    per_try = duration(notes.get("retry.linkerd.io/timeout"))
    conditions: list[Fact[str]] = []
    for key in ("http", "grpc"):
        if (listed := notes.get(f"retry.linkerd.io/{key}")) is not None:
            conditions.extend(Fact(word.lower(), listed.src, listed.feature) for word in listed.value.split(",") if word)
    number = int(limit.value) if limit is not None and is_number(limit.value) else 0
    if not number and per_try is None and not conditions:
        return None
    first = per_try or (conditions[0] if conditions else None)
    attempts = (
        Fact(number, limit.src, limit.feature)
        if limit is not None and number
        else Fact(1, first.src if first else NOWHERE, "retry.attempts")
    )
    src = attempts.src | (per_try.src if per_try else NOWHERE)
    return Retry(attempts, per_try, tuple(conditions), src=src)
