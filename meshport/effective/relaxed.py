"""Requests with fewer demands, for who would rather let more in than leave a rule out (`--on-loss looser`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from meshport.effective.pieces import Piece
from meshport.effective.sets import Methods, Value, Values
from meshport.values.language import BARE_PATHS, PATHS, TEXT, Language, LanguageTooLarge, union
from meshport.values.paths import with_query

TARGET = ":path"


def relaxed(piece: Piece, problem: Callable[[Piece], str]) -> Piece:
    """A piece that cannot be said without those of its demands that cannot be said by themselves; without any where that is not enough. What it asked of the
    path together with the query it asks of the path. `problem` is why a piece cannot be said, "" where it can."""
    target = dict(piece.headers.by_name).get(TARGET)
    if target is not None and piece.path is None:
        piece = replace(piece, path=pathwise(target))
    alone = Piece()
    fewer = replace(
        piece, literals=frozenset(), host=None, path=None, patterns=None, base=None, methods=Methods(), headers=Values(), query=Values()
    )
    if piece.host is not None and not problem(replace(alone, host=piece.host)):
        fewer = replace(fewer, host=piece.host)
    if not problem(replace(alone, methods=piece.methods)):
        fewer = replace(fewer, methods=piece.methods)
    for name, value in piece.headers.by_name:
        if name != TARGET and not problem(replace(alone, headers=Values().put(name, value))):
            fewer = replace(fewer, headers=fewer.headers.put(name, value))
    for name, value in piece.query.by_name:
        if not problem(replace(alone, query=Values().put(name, value))):
            fewer = replace(fewer, query=fewer.query.put(name, value))
    if not problem(replace(alone, path=piece.path, patterns=piece.patterns, base=piece.base)):
        fewer = replace(fewer, path=piece.path, patterns=piece.patterns, base=piece.base)
    return fewer if not problem(fewer) else Piece(piece.who, piece.where, src=piece.src)


def pathwise(target: Value) -> Language | None:
    """The paths of what is asked of path and query together; None where the path may be any."""
    if target.inside is None:
        return None
    try:
        paths = target.inside & BARE_PATHS
        rest = target.inside - with_query(paths)
        forms = [] if not rest.overlaps(PATHS) else rest.as_patterns(PATHS & TEXT)
    except LanguageTooLarge:
        return None
    if forms is None or any(kind not in ("exact", "prefix") or "?" not in text for kind, text in forms):
        return None
    return union(paths, *(Language.exact(text.partition("?")[0]) for _, text in forms))
