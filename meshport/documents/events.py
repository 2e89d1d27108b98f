"""Where YAML events come from: libyaml through PyYAML, or ruamel.yaml's parser in pure Python where the C extension is missing.

Both give events with the same attributes (`anchor`, `tag`, `implicit`, `value`, `style`, `start_mark`), so that one builder serves both.
Importing this module imports neither library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Backend:
    """One source of events. `open(text)` gives a function that returns the next event, and None or StopIteration after the last."""

    name: str
    open: Callable[[str], Callable[[], Any]]
    scalar: type[Any]
    alias: type[Any]
    mapping_start: type[Any]
    mapping_end: type[Any]
    sequence_start: type[Any]
    sequence_end: type[Any]
    document_start: type[Any]
    errors: tuple[type[Exception], ...]


def _of(name: str, events: Any, opener: Callable[[str], Callable[[], Any]], errors: tuple[type[Exception], ...]) -> Backend:
    return Backend(
        name,
        opener,
        events.ScalarEvent,
        events.AliasEvent,
        events.MappingStartEvent,
        events.MappingEndEvent,
        events.SequenceStartEvent,
        events.SequenceEndEvent,
        events.DocumentStartEvent,
        errors,
    )


@lru_cache(maxsize=1)
def backend() -> Backend:
    """The fastest source of events that this installation has."""
    try:
        import yaml
        from yaml import _yaml
    except ImportError:
        return pure_backend()
    parser = _yaml.CParser
    return _of("libyaml", yaml.events, lambda text: parser(text).get_event, (yaml.YAMLError, ValueError))


@lru_cache(maxsize=1)
def pure_backend() -> Backend:
    """ruamel.yaml's event parser: about twenty times slower, but it reads a few things that Go reads and libyaml does not (`[::1]`)."""
    from ruamel.yaml import YAML, events

    def opener(text: str) -> Callable[[], Any]:
        stream = iter(YAML(typ="safe", pure=True).parse(text))
        return lambda: next(stream, None)

    # Broken text makes the pure scanner raise more than its own errors.
    return _of("ruamel.yaml", events, opener, (Exception,))


def place(error: Exception, text: str) -> tuple[str, int | None, int | None]:
    """(reason, line, column) of an error that a backend raised, counted from 1 within `text`."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or getattr(error, "context", None)
    reason = str(reason) if reason else "it is not YAML"
    if mark is not None:
        return reason, mark.line + 1, mark.column + 1
    offset = getattr(error, "position", None)
    before: str | None = None
    if isinstance(error, UnicodeEncodeError):
        before, reason = text[: error.start], "half of a surrogate pair is not a character"
    elif isinstance(offset, int):
        # libyaml counts bytes, ruamel.yaml characters
        raw = text.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "ignore")
        before = raw if "_yaml" in type(error).__module__ or type(error).__module__.startswith("yaml") else text[:offset]
    if before is None:
        return reason, None, None
    return reason, before.count("\n") + 1, len(before) - before.rfind("\n")
