"""Loads `grammars/<name>.lark` as LALR, once a process, and words lark's errors. lark itself is imported on first use only (70 ms)."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, cast

from meshport._resources import data
from meshport.values.problems import ValueProblem

if TYPE_CHECKING:
    from lark import Lark, Token, Tree


@cache
def parser(name: str) -> Lark:
    """The LALR parser of `grammars/<name>.lark`; its start rule is `start`."""
    from lark import Lark

    text = (data("grammars") / f"{name}.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", lexer="contextual", maybe_placeholders=False, propagate_positions=False)


@lru_cache(maxsize=64)  # what asks twice does so at once
def parse(name: str, text: str, what: str) -> Tree[Token]:
    """The tree of `text` under grammar `name`, which nobody changes. Raises ValueProblem, worded with `what` (such as "a duration")."""
    from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

    try:
        return parser(name).parse(text)
    except UnexpectedEOF:
        raise ValueProblem(f"{text!r} is not {what}: it ends too early", len(text) + 1) from None
    except UnexpectedToken as error:
        if error.token.type == "$END":
            raise ValueProblem(f"{text!r} is not {what}: it ends too early", len(text) + 1) from None
        at = (error.token.start_pos or 0) + 1
        raise ValueProblem(f"{text!r} is not {what}: unexpected {str(error.token)!r}", at) from None
    except UnexpectedCharacters as error:
        at = int(error.pos_in_stream or 0)
        raise ValueProblem(f"{text!r} is not {what}: unexpected {text[at : at + 1]!r}", at + 1) from None
    except UnexpectedInput as error:  # pragma: no cover - lark raises one of the above
        raise ValueProblem(f"{text!r} is not {what}", (error.pos_in_stream or 0) + 1) from None


def trees(tree: Tree[Token]) -> list[Tree[Token]]:
    """The children that are rules."""
    return [cast("Tree[Token]", child) for child in tree.children if hasattr(child, "data")]


def tokens(tree: Tree[Token]) -> list[Token]:
    """The children that are terminals."""
    return [child for child in tree.children if not hasattr(child, "data")]
