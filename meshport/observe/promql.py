"""PromQL, read: what Prometheus takes is a tree with its characters, what it refuses is an error with its place.

The grammar is `grammars/promql.lark`; what it cannot say (types, the order of modifiers, arities) is checked while the tree is built, from the leaves up, so that
no depth of nesting is too deep. A tree that was read gives its text back unchanged: it keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from meshport._resources import data
from meshport.errors import InputError
from meshport.observe.functions import functions
from meshport.observe.patterns import checked, takes_empty
from meshport.observe.tokens import LONGEST, Malformed, duration, has_template, number, tokens, unquoted
from meshport.observe.tree import (
    SET_OPERATORS,
    Aggregation,
    At,
    Binary,
    Call,
    Expr,
    Extended,
    Labels,
    Length,
    Matcher,
    Matching,
    Number,
    Offset,
    Paren,
    Range,
    Selector,
    String,
    Subquery,
    Type,
    Unary,
    Word,
    walk,
)

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

FEATURES = (
    "promql-experimental-functions",
    "promql-duration-expr",
    "promql-extended-range-selectors",
    "promql-binop-fill-modifiers",
)
"""Prometheus' feature flags that bring syntax (docs/feature_flags.md)."""
GRAFANA = ("label_values", "label_names", "metrics", "query_result")
"""What Grafana puts around an expression in the query of a variable (grafana.com/docs, Prometheus template variables)."""
_PARAMETERS: dict[str, Type] = {
    "topk": "scalar", "bottomk": "scalar", "quantile": "scalar", "limitk": "scalar", "limit_ratio": "scalar", "count_values": "string",
}  # fmt: skip
_SAID = {"scalar": "a scalar", "vector": "an instant vector", "matrix": "a range vector", "string": "a string", "any": "anything"}
_LAST_MOMENT = (2**63 - 1) / 1000


@dataclass(frozen=True, slots=True)
class PromQL:
    """An expression that Prometheus takes. `needs` are the feature flags that it needs; `str()` is the text as it was given."""

    text: str
    tree: Expr
    needs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text

    @property
    def selectors(self) -> Iterator[Selector]:
        """Every selector, in the order of the text."""
        return (node for node in walk(self.tree) if isinstance(node, Selector))

    @property
    def metrics(self) -> list[str]:
        """The metrics that are selected by one exact name, each once, in the order of the text."""
        return list(dict.fromkeys(name for one in self.selectors if (name := one.metric) is not None))


def parse_promql(expr: str, *, templating: str = "grafana", features: str | Iterable[str] = "all") -> PromQL:
    """Read one expression. `templating`: grafana takes dashboards' variables and Go templates where a name, a number or a duration may stand, none takes
    what Prometheus takes. `features`: all, none, or the flags that are on. Raises InputError with line and column where Prometheus would refuse it."""
    on = frozenset(FEATURES if features == "all" else () if features == "none" else (features,) if isinstance(features, str) else features)
    try:
        builder = _Builder(expr, templating != "none")
        tree = builder.build(_tree(tokens(expr, templates=templating != "none"), expr))
        if missing := sorted(builder.needs - on):
            raise Malformed(f"needs Prometheus' feature flag {missing[0]}", 0)
    except Malformed as error:
        before = expr[: error.at]
        line, column = before.count("\n") + 1, error.at - (before.rfind("\n") + 1) + 1
        raise InputError(f"not PromQL: {error.message}", line=line, column=column) from None
    return PromQL(expr, tree, tuple(flag for flag in FEATURES if flag in builder.needs))


@cache
def _parser() -> Lark:
    from lark import Lark
    from lark.lexer import Lexer

    class Given(Lexer):
        """Hands on tokens that were made before."""

        def __init__(self, conf: Any) -> None: ...

        def lex(self, lexer_state: Any, parser_state: Any = None) -> Iterator[Token]:
            return iter(lexer_state if isinstance(lexer_state, list) else lexer_state.text)

    text = (data("grammars") / "promql.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", lexer=Given, maybe_placeholders=False, propagate_positions=False)


def _tree(found: list[Token], text: str) -> Tree[Token]:
    from lark.exceptions import UnexpectedInput, UnexpectedToken

    if not found:
        raise Malformed("there is no expression", len(text))
    try:
        return _parser().parse(found)
    except UnexpectedToken as error:
        at = error.token.start_pos
        if error.token.type == "$END" or at is None:
            raise Malformed("it ends too early", len(text)) from None
        raise Malformed(f"unexpected {str(error.token)!r}", at) from None
    except UnexpectedInput as error:  # pragma: no cover - a lexer of our own raises none
        raise Malformed("it cannot be read", error.pos_in_stream or 0) from None


@dataclass(frozen=True, slots=True)
class _Mods:
    bool_: Token | None = None
    matching: Matching | None = None
    fill: bool = False


class _Builder:
    """Makes nodes of what the parser found, the leaves first."""

    def __init__(self, text: str, grafana: bool) -> None:
        self.text = text
        self.needs: set[str] = set()
        self.empty: set[int] = set()  # selectors that may take everything, which only info's second argument may
        self.grafana = grafana

    def build(self, tree: Tree[Token]) -> Expr:
        made: dict[int, Any] = {}
        for subtree in tree.iter_subtrees():
            parts = [part if not hasattr(part, "data") else made[id(part)] for part in subtree.children]
            handler: Callable[[list[Any]], Any] = getattr(self, f"_{subtree.data}")
            made[id(subtree)] = handler(parts)
        if self.empty:
            raise Malformed("a selector needs a matcher that does not take the empty string", min(self.empty))
        found: Expr = made[id(tree)]
        return found

    def _start(self, parts: list[Any]) -> Expr:
        found: Expr = parts[0]
        return found

    # -- leaves

    def _number(self, parts: list[Token]) -> Number:
        token = parts[0]
        value = duration(token) if token.type == "DURATION" else number(token)
        return Number(value, _from(token), _to(token), token.type == "DURATION")

    def _string(self, parts: list[Token]) -> String:
        return String(unquoted(parts[0]), _from(parts[0]), _to(parts[0]))

    def _function(self, parts: list[Token]) -> Word:
        return _word(parts[0])

    def _metric(self, parts: list[Token]) -> Word:
        return _word(parts[0])

    def _label(self, parts: list[Token]) -> Word:
        return _word(parts[0])

    def _labels(self, parts: list[Any]) -> Labels:
        words = tuple(part for part in parts if isinstance(part, Word))
        empty = next((word for word in words if not word.name), None)
        if empty is not None:
            raise Malformed("a label without a name", empty.start)
        return Labels(words, _from(parts[0]), _to(parts[-1]))

    def _matcher(self, parts: list[Token]) -> Matcher:
        start, end = _from(parts[0]), _to(parts[-1])
        if len(parts) == 1:
            word = parts[0]
            if word.type == "TEMPLATE":
                return Matcher(_word(word), "", "", start, end, whole=True)
            named = Word("__name__", start, start)
            return Matcher(named, "=", unquoted(word), start, end, start, end, has_template(word))
        label, op, value = parts
        value_text = unquoted(value) if value.type == "STRING" else str(value)
        dynamic = value.type == "TEMPLATE" or has_template(value)
        if str(op) in ("=~", "!~") and not dynamic:
            checked(value_text, _from(value))
        return Matcher(_word(label), str(op), value_text, start, end, _from(value), end, dynamic)

    def _matchers(self, parts: list[Any]) -> tuple[tuple[Matcher, ...], int, int]:
        return tuple(part for part in parts if isinstance(part, Matcher)), _from(parts[0]), _to(parts[-1])

    def _selector(self, parts: list[Any]) -> Selector:
        name = parts[0] if isinstance(parts[0], Word) else None
        matchers: tuple[Matcher, ...] = ()
        braces: tuple[int, int] | None = None
        if not isinstance(parts[-1], Word):
            matchers, start, end = parts[-1]
            braces = (start, end)
        begins = name.start if name is not None else braces[0] if braces is not None else 0
        ends = braces[1] if braces is not None else name.end if name is not None else 0
        bare = [one for one in matchers if one.label.name == "__name__" and one.label.start == one.label.end]
        if (name is not None and (bare or any(one.label.name == "__name__" for one in matchers))) or len(bare) > 1:
            raise Malformed("the metric is named twice", begins)
        if name is None and not any(map(_selects, matchers)):
            self.empty.add(begins)
        kind: Type = "any" if name is not None and name.dynamic and braces is None else "vector"
        return Selector(name, matchers, begins, ends, braces, kind)

    # -- what stands behind an expression

    def _offset_by(self, parts: list[Any]) -> Expr:
        expr, token, length = parts
        if length.seconds is not None and (not math.isfinite(length.seconds) or abs(length.seconds) >= LONGEST):
            raise Malformed("the offset is out of range", length.start)
        self._modifies(expr, token, Offset)
        return Offset(expr, length, expr.start, length.end, expr.type)

    def _at(self, parts: list[Any]) -> Expr:
        expr, token, (moment, end) = parts
        if isinstance(moment, float) and not abs(moment) <= _LAST_MOMENT:
            raise Malformed("the moment is out of bounds", _from(token))
        self._modifies(expr, token, At)
        return At(expr, moment, expr.start, end, expr.type)

    def _modifies(self, expr: Expr, token: Token, kind: type) -> None:
        node: Any = expr
        while isinstance(node, Offset | At | Extended):
            if isinstance(node, kind):
                raise Malformed(f"{token} is there twice", _from(token))
            node = node.expr
        if not (isinstance(node, Selector | Range | Subquery) or node.type == "any"):
            raise Malformed(f"{token} stands behind a selector, a range or a subquery only", _from(token))

    def _moment(self, parts: list[Any]) -> tuple[float | str | None, int]:
        if len(parts) == 1:
            length: Length = parts[0]
            return length.seconds, length.end
        return str(parts[0]).lower(), _to(parts[-1])

    def _range(self, parts: list[Any]) -> Expr:
        expr, bracket, span, close = parts
        if not isinstance(expr, Selector):
            raise Malformed("a range stands behind a selector, before offset and @", _from(bracket))
        self._long_enough(span)
        return Range(expr, span, expr.start, _to(close))

    def _subquery(self, parts: list[Any]) -> Expr:
        expr, span, close = parts[0], parts[2], parts[-1]
        step = parts[4] if isinstance(parts[4], Length) else None
        if expr.type not in ("vector", "any"):
            raise Malformed(f"a subquery stands behind an instant vector, not {_SAID[expr.type]}", _from(parts[1]))
        self._long_enough(span)
        if step is not None:
            self._long_enough(step)
        return Subquery(expr, span, step, expr.start, _to(close))

    def _long_enough(self, span: Length) -> None:
        if span.seconds is not None and not 0 < span.seconds < LONGEST:
            raise Malformed("a duration has to be greater than 0" if not span.seconds > 0 else "the duration is out of range", span.start)

    def _extended(self, parts: list[Any]) -> Expr:
        expr, token = parts
        self.needs.add("promql-extended-range-selectors")
        node: Any = expr
        while isinstance(node, Offset | At):
            node = node.expr
        if not isinstance(node, Selector | Range):
            raise Malformed(f"{token} stands behind a selector or a range only", _from(token))
        return Extended(expr, str(token).lower(), expr.start, _to(token), expr.type)

    # -- calls

    def _call(self, parts: list[Any]) -> Call:
        word: Word = parts[0]
        arguments = tuple(part for part in parts[1:] if not _is_token(part))
        found = Call(word, arguments, word.start, _to(parts[-1]))
        if word.dynamic or (self.grafana and word.name in GRAFANA):
            return replace(found, type="any")
        name = word.name.lower() if word.name.lower() in ("start", "end", "step", "range", "min_of", "max_of") else word.name
        function = functions().get(name)
        if function is None:
            raise Malformed(f"there is no function {word.name!r}", word.start)
        if function.experimental:
            self.needs.add("promql-duration-expr" if name in ("step", "range", "min_of", "max_of") else "promql-experimental-functions")
        count = len(arguments)
        if count < function.least or (function.most is not None and count > function.most):
            wanted = str(function.least) if function.least == function.most else f"{function.least} to {function.most or 'any number'}"
            raise Malformed(f"{name} takes {wanted} arguments, not {count}", word.start)
        for number_, argument in enumerate(arguments):
            _typed(argument, function.arguments[min(number_, len(function.arguments) - 1)], f"an argument of {name}")
        if name == "info" and count > 1 and not (isinstance(arguments[1], Selector) and arguments[1].name is None):
            raise Malformed("the second argument of info is matchers in braces alone", arguments[1].start)
        if name == "info" and count > 1:
            self.empty.discard(arguments[1].start)
        return replace(found, type=function.result)

    def _arguments(self, parts: list[Any]) -> tuple[Expr, ...]:
        return tuple(part for part in parts if not _is_token(part))

    def _aggregation(self, parts: list[Any]) -> Aggregation:
        op = _word(parts[0])
        name = op.name.lower()
        arguments: tuple[Expr, ...] = next(part for part in parts if isinstance(part, tuple))
        labels = next((part for part in parts if isinstance(part, Labels)), None)
        grouping = next((str(part).lower() for part in parts if _is_token(part) and part.type in ("BY", "WITHOUT")), "")
        end = max(_to(part) if _is_token(part) else getattr(part, "end", 0) for part in parts)
        wanted = 2 if name in _PARAMETERS else 1
        if len(arguments) != wanted:
            raise Malformed(f"{name} takes {wanted} argument{'s' if wanted > 1 else ''}, not {len(arguments)}", op.start)
        _typed(arguments[-1], "vector", f"what {name} is made over")
        if wanted == 2:
            _typed(arguments[0], _PARAMETERS[name], f"the parameter of {name}")
        if name in ("limitk", "limit_ratio"):
            self.needs.add("promql-experimental-functions")
        for word in labels.words if labels is not None else ():
            if word.name.lower() in ("anchored", "smoothed") and self.text[word.start] not in "\"'`":
                self.needs.add("promql-extended-range-selectors")  # without the flag they are no keywords, and names all the same
        return Aggregation(op, grouping, labels, arguments, op.start, end)

    # -- operators

    def _paren(self, parts: list[Any]) -> Paren:
        return Paren(parts[1], _from(parts[0]), _to(parts[2]), parts[1].type)

    def _unary(self, parts: list[Any]) -> Unary:
        token, expr = parts
        if expr.type not in ("scalar", "vector", "any"):
            raise Malformed(f"a sign stands before a scalar or an instant vector, not {_SAID[expr.type]}", _from(token))
        return Unary(_word(token), expr, _from(token), expr.end, expr.type)

    def _mods(self, parts: list[Any]) -> _Mods:
        return _Mods(
            next((part for part in parts if _is_token(part)), None),
            next((part for part in parts if isinstance(part, Matching)), None),
            any(part is True for part in parts),
        )

    def _matching(self, parts: list[Any]) -> Matching:
        include = parts[3] if len(parts) > 3 else None
        group = str(parts[2]).lower() if len(parts) > 2 else ""
        how, labels = str(parts[0]).lower(), parts[1]
        if how == "on" and include is not None and (both := {word.name for word in labels.words} & {word.name for word in include.words}):
            raise Malformed(f"label {sorted(both)[0]!r} stands in on and in {group}", include.start)
        return Matching(how, labels, group, include)

    def _fill(self, parts: list[Any]) -> bool:
        self.needs.add("promql-binop-fill-modifiers")
        return True

    def _amount(self, parts: list[Token]) -> Length:
        return self._length_of(parts)

    def _binary(self, parts: list[Any]) -> Binary:
        left, token, mods, right = parts
        op = str(token).lower()
        found = Binary(
            Word(op, _from(token), _to(token)), left, right, left.start, right.end, mods.matching, mods.bool_ is not None, mods.fill
        )
        for side in (left, right):
            if side.type not in ("scalar", "vector", "any"):
                raise Malformed(f"{op} takes scalars and instant vectors, not {_SAID[side.type]}", side.start)
        scalars = [side for side in (left, right) if side.type == "scalar"]
        if found.bool_ and not found.compares:
            raise Malformed("bool stands behind a comparison only", _from(mods.bool_))
        if op in SET_OPERATORS:
            if scalars:
                raise Malformed(f"{op} takes instant vectors, not scalars", scalars[0].start)
            if mods.matching is not None and mods.matching.group:
                raise Malformed(f"{op} takes no {mods.matching.group}", mods.matching.labels.start)
            if mods.fill:
                raise Malformed(f"{op} takes no fill", _to(token))
        if (mods.matching is not None or mods.fill) and scalars:
            raise Malformed("vectors are matched with vectors only", scalars[0].start)
        if len(scalars) == 2 and found.compares and not found.bool_:
            raise Malformed("two scalars are compared with bool only", _from(token))
        if op in ("</", ">/") and len(scalars) == 2:
            raise Malformed(f"{op} trims histograms, not scalars", _from(token))
        kind: Type = "scalar" if len(scalars) == 2 else "vector" if "vector" in (left.type, right.type) else "any"
        return replace(found, type=kind)

    # -- lengths of time

    def _length(self, parts: list[Token]) -> Length:
        return self._length_of(parts)

    def _length_of(self, parts: list[Token]) -> Length:
        token = parts[-1]
        seconds = None if token.type == "TEMPLATE" else duration(token) if token.type == "DURATION" else number(token)
        if str(parts[0]) == "-" and seconds is not None:
            seconds = -seconds
        return Length(seconds, _from(parts[0]), _to(token))

    def _length_signed(self, parts: list[Any]) -> Length:
        token, length = parts
        if not isinstance(length, Length):
            raise Malformed("a duration is expected", _from(token))
        if self.text[length.start] in "+-":  # of a sign before a sign only the arithmetic of durations makes something
            self.needs.add("promql-duration-expr")
        seconds = -length.seconds if length.seconds is not None and str(token) == "-" else length.seconds
        return Length(seconds, _from(token), length.end)

    def _length_binary(self, parts: list[Any]) -> Length:
        left, token, right = parts
        self.needs.add("promql-duration-expr")
        return Length(self._computed(left.seconds, str(token), right.seconds, right), left.start, right.end)

    def _computed(self, one: float | None, op: str, other: float | None, right: Length) -> float | None:
        if op in "/%" and other == 0:
            raise Malformed("a division by zero", right.start)
        if one is None or other is None:
            return None
        try:
            known = {"+": one + other, "-": one - other, "*": one * other}
            if op in known:
                return known[op]
            if op == "^":
                found = one**other
                return found if isinstance(found, float | int) else math.nan
            return one / other if op == "/" else math.fmod(one, other)
        except (OverflowError, ZeroDivisionError, ValueError):
            return math.inf

    def _length_of_query(self, parts: list[Token]) -> Length:
        self.needs.add("promql-duration-expr")
        return Length(None, _from(parts[0]), _to(parts[-1]))

    def _length_chosen(self, parts: list[Any]) -> Length:
        self.needs.add("promql-duration-expr")
        one, other = (part.seconds for part in parts if isinstance(part, Length))
        chosen = min if str(parts[0]).lower() == "min_of" else max
        return Length(None if one is None or other is None else chosen(one, other), _from(parts[0]), _to(parts[-1]))

    def _length_paren(self, parts: list[Any]) -> Length:
        self.needs.add("promql-duration-expr")
        return Length(parts[1].seconds, _from(parts[0]), _to(parts[2]))


def _is_token(part: Any) -> bool:
    return isinstance(part, str)


def _from(token: Token) -> int:
    return token.start_pos or 0


def _to(token: Token) -> int:
    return token.end_pos or 0


def _word(token: Token) -> Word:
    name = unquoted(token) if token.type == "STRING" else str(token)
    return Word(name, _from(token), _to(token), token.type == "TEMPLATE" or (token.type == "STRING" and has_template(token)))


def _typed(expr: Expr, wanted: Type, what: str) -> None:
    if expr.type not in (wanted, "any"):
        raise Malformed(f"{what} is {_SAID[wanted]}, not {_SAID[expr.type]}", expr.start)


def _selects(matcher: Matcher) -> bool:
    """Whether a matcher takes something, and not the empty string."""
    if matcher.whole or matcher.dynamic:
        return True
    if matcher.op in ("=", "!="):
        return bool(matcher.value) == (matcher.op == "=")
    return takes_empty(matcher.value) == (matcher.op == "!~")
