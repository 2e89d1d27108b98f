"""Languages put together of single texts and of all texts that begin so, whatever was joined, met and taken out: of two such sets one holds the other or they
are apart, so that whole families are told by their beginnings alone. Read from behind, the same holds of all texts that end so.

Automata find the same, and take the product of all that was joined and taken out for it, which doubles with every part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from meshport.values.automata import NONE, Both, Either, Is, IsNot, Node, accepts, both, either, negation
from meshport.values.terms import ANY_TEXT, NOTHING, Alt, Cat, Chars, Rep, Term, Text, any_of

MOST = 4000
"""Beginnings and texts of one family, beyond which automata are asked."""
FEW = 3
"""Beginnings, ends and texts of which some text of a language is tried to be made."""


@dataclass(frozen=True, slots=True)
class Family:
    """Whether a text belongs: `texts` says it of single ones, `beginnings` of the others by the longest that they begin with; the empty one is among them.

    None says what the next shorter one says too: two families of the same texts are equal.
    """

    beginnings: tuple[tuple[str, bool], ...]
    texts: tuple[tuple[str, bool], ...] = ()

    @property
    def empty(self) -> bool:
        return self == NOBODY


NOBODY = Family((("", False),))
EVERYBODY = Family((("", True),))


def simpler(node: Node) -> Node:
    """A node of the same language, in which the parts that are families are one."""
    if isinstance(node, Is | IsNot) or not any(isinstance(part, Both | Either) for part in node.parts):
        return node
    return _simpler(node)


def empty(node: Node) -> bool | None:
    """Whether no text is in the language; None where it takes an automaton to tell."""
    if isinstance(node, Both):
        leads = sorted((_lead(part.term) for part in node.parts if isinstance(part, Is)), key=len)
        if not all(leads[-1].startswith(one) for one in leads[:-1]):
            return True
    for behind in (False, True):
        whole = family(node, behind)
        if whole is not None:
            return whole.empty
    if not isinstance(node, Both):
        return None
    begun, ended, _ = _parted(node)
    if NOBODY in (begun, ended):
        return True
    begin = [text for text, said in begun.beginnings if said][:FEW] if begun is not None else [""]
    end = [text[::-1] for text, said in ended.beginnings if said][:FEW] if ended is not None else [""]
    texts = [text for text, said in begun.texts if said][:FEW] if begun is not None else []
    tried = (*texts, *(f"{one or '/'}{between}{other}" for one in begin for other in end for between in ("", "zz0")))
    return False if any(accepts(node, text) for text in tried) else None


@lru_cache(maxsize=16384)
def _lead(term: Term) -> str:
    """A text that all texts of a term begin with."""
    if isinstance(term, Text):
        return term.text
    if isinstance(term, Chars):
        return chr(term.of[0][0]) if len(term.of) == 1 and term.of[0][0] == term.of[0][1] else ""
    if isinstance(term, Alt):
        leads = [_lead(part) for part in term.parts] or [""]
        one, other = min(leads), max(leads)
        return one[: next((at for at, char in enumerate(one) if not other.startswith(char, at)), len(one))]
    found = ""
    for part in term.parts if isinstance(term, Cat) else ():
        more = _lead(part)
        found += more
        if not more or not isinstance(part, Text | Chars):
            break
    return found


@lru_cache(maxsize=8192)
def _simpler(node: Both | Either) -> Node:
    for behind in (False, True):
        whole = family(node, behind)
        if whole is not None:
            return _node(whole, behind)
    begun, ended, rest = _parted(node)
    families = [_node(one, behind) for one, behind in ((begun, False), (ended, True)) if one is not None]
    return (both if isinstance(node, Both) else either)(*families, *rest)


@lru_cache(maxsize=8192)
def _parted(node: Both | Either) -> tuple[Family | None, Family | None, tuple[Node, ...]]:
    """The parts of a node: those told by their beginnings as one, those told by their ends as one, and the others."""
    joined: list[Family | None] = [None, None]
    rest: list[Node] = []
    for part in node.parts:
        for behind in (False, True):
            one, known = family(part, behind), joined[behind]
            more = one if known is None or one is None else _together(known, one, isinstance(node, Both))
            if more is not None:
                joined[behind] = more
                break
        else:
            rest.append(part)
    return joined[0], joined[1], tuple(rest)


@lru_cache(maxsize=16384)
def family(node: Node, behind: bool = False) -> Family | None:
    """The node as a family, of the texts read from `behind` or as they stand; None where it is none, or one of too many parts."""
    if isinstance(node, Is):
        return _of_term(node.term, behind)
    if isinstance(node, IsNot):
        found = _of_term(node.term, behind)
        return _mapped(found) if found is not None else None
    meeting, result = isinstance(node, Both), None
    for part in node.parts:
        one = family(part, behind)
        result = one if result is None else _together(result, one, meeting) if one is not None else None
        if result is None:
            return None
    return result


def _mapped(one: Family) -> Family:
    """All that do not belong."""
    return Family(tuple((text, not said) for text, said in one.beginnings), tuple((text, not said) for text, said in one.texts))


def _of_term(term: Term, behind: bool) -> Family | None:
    if term in (NOTHING, ANY_TEXT):
        return NOBODY if term == NOTHING else EVERYBODY
    beginnings: dict[str, bool] = {"": False}
    texts: dict[str, bool] = {}
    for part in term.parts if isinstance(term, Alt) else (term,):
        if isinstance(part, Text):
            texts[part.text[::-1] if behind else part.text] = True
        elif behind:
            if not isinstance(part, Cat) or len(part.parts) != 2 or part.parts[0] != ANY_TEXT or not isinstance(part.parts[1], Text):
                return None
            beginnings[part.parts[1].text[::-1]] = True
        elif isinstance(part, Cat) and len(part.parts) == 2 and isinstance(part.parts[0], Text) and part.parts[1] == ANY_TEXT:
            beginnings[part.parts[0].text] = True
        elif isinstance(part, Cat) and len(part.parts) == 2 and isinstance(part.parts[0], Text) and part.parts[1] == _BELOW:
            texts[part.parts[0].text] = True
            beginnings[part.parts[0].text + "/"] = True
        else:
            return None
    return _settled(beginnings, texts) if len(beginnings) + len(texts) <= MOST else None


_BELOW: Term = Rep(Cat((Text("/"), ANY_TEXT)), 0, 1)
"""A path element and what is below it, as `Language.segments` says it."""


def _together(one: Family, other: Family, meeting: bool) -> Family | None:
    if len(one.beginnings) + len(one.texts) + len(other.beginnings) + len(other.texts) > MOST:
        return None
    mine, its = _asked(one), _asked(other)

    def said(text: str, whole: bool) -> bool:
        return (mine(text, whole) and its(text, whole)) if meeting else (mine(text, whole) or its(text, whole))

    beginnings = {text: said(text, False) for text, _ in (*one.beginnings, *other.beginnings)}
    texts = {text: said(text, True) for text, _ in (*one.texts, *other.texts)}
    return _settled(beginnings, texts)


def _asked(one: Family) -> Callable[[str, bool], bool]:
    """Whether a text belongs (`whole`), or the texts that begin so and that nothing else is said of."""
    beginnings, texts = dict(one.beginnings), dict(one.texts)
    lengths = sorted(set(map(len, beginnings)), reverse=True)

    def said(text: str, whole: bool) -> bool:
        if whole and text in texts:
            return texts[text]
        return next(beginnings[text[:length]] for length in lengths if length <= len(text) and text[:length] in beginnings)

    return said


def _settled(beginnings: dict[str, bool], texts: dict[str, bool]) -> Family:
    """The family without what is said of longer ones as of shorter ones."""
    lengths = sorted(set(map(len, beginnings)), reverse=True)

    def shorter(text: str, least: int) -> bool:
        return next(beginnings[text[:length]] for length in lengths if length <= least and text[:length] in beginnings)

    kept = {text: said for text, said in beginnings.items() if not text or shorter(text, len(text) - 1) != said}
    single = {text: said for text, said in texts.items() if shorter(text, len(text)) != said}
    return Family(tuple(sorted(kept.items())), tuple(sorted(single.items())))


@lru_cache(maxsize=8192)
def _node(one: Family, behind: bool) -> Node:
    """The family as a node: what belongs lies in what does not, and that in what does."""
    beginnings = dict(one.beginnings)
    if beginnings[""]:
        return negation(_node(_mapped(one), behind))
    lengths = sorted(set(map(len, beginnings)) - {0})
    layers: list[list[Term]] = []
    for term, depth in (
        *(
            (_begins(text, behind), sum(text[:length] in beginnings for length in lengths if length < len(text)))
            for text in beginnings
            if text
        ),
        *((_text(text, behind), sum(text[:length] in beginnings for length in lengths if length <= len(text))) for text, _ in one.texts),
    ):
        layers += [[] for _ in range(depth + 1 - len(layers))]
        layers[depth].append(term)
    found: Node = NONE
    for terms in reversed(layers):
        found = both(Is(any_of(terms)), negation(found)) if terms else found
    return found


def _text(text: str, behind: bool) -> Term:
    return Text(text[::-1] if behind else text)


def _begins(text: str, behind: bool) -> Term:
    return Cat((ANY_TEXT, _text(text, True))) if behind else Cat((Text(text), ANY_TEXT))


__all__ = ["NOBODY", "Family", "empty", "family", "simpler"]
