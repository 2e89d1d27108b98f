"""Paths as they arrive and paths as they are judged.

Istio and Cilium normalise a path before they compare it (`/api/../admin` is judged as `/admin`); Linkerd compares what was sent. An allow
for Linkerd therefore admits only paths without dot segments: there, what was sent is what is meant. Query and fragment are no part of a
path here, but see `with_query`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from meshport.values import charset, regex
from meshport.values.automata import Is
from meshport.values.language import BARE_PATH_CHARS, BARE_PATHS, PATHS, Language, texts, union
from meshport.values.patterns import Form, is_template
from meshport.values.problems import LanguageTooLarge, ValueProblem
from meshport.values.spelling import escaped
from meshport.values.terms import EMPTY, Alt, Cat, Chars, Rep, Term, Text

LONGEST_VALUE: Final = 1024  # Gateway API: HTTPPathMatch.value

_FILLED: Final = r"(?:(?:\.|%2[eE]){0,2}(?:[^./%\\;]|%(?:[^2/]|2[^eE/]))[^/\\]*|(?:;|(?:\.|%2[eE]){3})[^/\\]*)"
SEG: Final = _FILLED + "?"
"""A segment, perhaps empty, that is no dot segment, in RE2's and Rust's syntax. A stray `%` or `%2` at its start needs a character after
it.

Dots with parameters (`..;x`, `.;`) count as a dot segment. Envoy resolves them since 1.36.10, 1.37.6, 1.38.4 and 1.39.1 (CVE-2026-73551; Istio took the fix
into patch releases, 1.29.7 among them), and takes them for a name before. A release of the version table is a minor one, so both kinds of proxy stand behind
it: below an allowed prefix `/api/..;x/admin` was judged as `/admin` by the one and as text by the other, and servlet containers answer it as `/admin`. Linkerd
would let it through as text, so it is left out: nothing is newly allowed whichever patch the source runs.
"""
_REST: Final = r"[^/\\]*"  # of a segment already known to be none
_SOME, _ANY = f"(?:/{SEG})+", f"(?:/{SEG})*"
# After a stray `%`, SEG lets one backslash through. Below a prefix that is harmless: `%\..` normalises to `%/..`,
# which goes nowhere. Where the number or the place of segments counts, the strict spelling is used.
_STRICT: Final = _FILLED.replace("[^2/]", r"[^2/\\]").replace("[^eE/]", r"[^eE/\\]")
_SOME_STRICT: Final = f"(?:/{_STRICT}?)+"

_GUARDS: Final = (
    (_SOME, "/.*"),
    (_SOME_STRICT, "/.*"),
    (_ANY, "(?:/.*)?"),
    (SEG, "[^/]*"),
    (_FILLED, "[^/]+"),
    (_STRICT, "[^/]+"),
    (_REST, "[^/]*"),
)


def _but(chars: str) -> Term:
    return Chars(charset.complement(charset.of(chars)))


def _filled() -> Term:
    """`_FILLED` as a term, so that importing this module needs no parser."""
    dot = Alt((Text("."), Cat((Text("%2"), Chars(charset.of("eE"))))))
    rest = Rep(_but("/\\"), 0, None)
    percent = Cat((Text("%"), Alt((_but("2/"), Cat((Text("2"), _but("eE/")))))))
    return Alt((Cat((Rep(dot, 0, 2), Alt((_but("./%\\;"), percent)), rest)), Cat((Alt((Text(";"), Rep(dot, 3, 3))), rest))))


_SEGMENT: Final = Language(Is(Rep(_filled(), 0, 1))) & Language(Is(Rep(_but("/\\"), 0, None)))
DOT_FREE: Final = Language(Is(Rep(Cat((Text("/"), Rep(_filled(), 0, 1))), 1, None)))
"""Paths made of SEG segments: normalising leaves them as they are. `%2F` may be in them (no mesh's default decodes it)."""
_ESCAPES: Final = (
    Chars(charset.of("0189abcdefABCDEF")),  # the second digit of these may be any
    Cat((Text("2"), Chars(charset.of("0123456789abcfABCF")))),
    Cat((Text("3"), Chars(charset.of("abcdefABCDEF")))),
    Cat((Chars(charset.of("46")), Text("0"))),
    Cat((Text("5"), Chars(charset.of("bcdeBCDE")))),
    Cat((Text("7"), Chars(charset.of("bcdfBCDF")))),
)
"""What follows the percent sign of an escape that stays as it is: any but those of letters, digits and `-._~`, which normalising decodes."""
PLAIN: Final = Language(Is(Rep(Alt((_but("%"), Cat((Text("%"), Alt(_ESCAPES))))), 0, None)))
"""Texts without an escape that normalising takes away (`/%61dmin` is judged as `/admin`), and without a stray percent sign."""
RAW: Final = texts(charset.difference(BARE_PATH_CHARS, charset.of("\\")), path=True) & PLAIN
"""PLAIN paths without a backslash: where the readable forms below are exactly `language & DOT_FREE`. (Outside they hold no more than it.)"""
_UNESCAPED: Final = texts(charset.difference(BARE_PATH_CHARS, charset.of("\\%")), path=True)
NORMALISED: Final = (DOT_FREE & RAW) | Language.exact("*")
"""Paths as they are after normalising: inside it a language and its DOT_FREE part are the same."""
ODD: Final = ~(DOT_FREE & RAW)
"""The raw paths that normalising changes, or may change: with a dot segment, a backslash, an escape of what needs none, a stray percent sign."""
ODD_PATHS: Final = (
    r"^(?:.*[/\\](?:\.|%2[eE]){1,2}(?:[/\\;].*)?|.*\\.*|.*%[2-7]?"
    r"|.*%(?:[^0-9A-Fa-f]|2[^0-9A-CFa-cf]|3[^A-Fa-f]|[46][^0]|5[^B-Eb-e]|7[^B-DFb-df]).*)$"
)
"""ODD as an expression, in RE2's and Rust's syntax."""


def raw_allow(language: Language, limit: int = LONGEST_VALUE) -> str | None:
    """The regular expression, anchored, of the raw paths that may pass when the normalised path has to be in `language`: `language &
    DOT_FREE`.

    None where no path is left (`(language & DOT_FREE).is_empty()`) or the expression would be longer than `limit`.
    """
    return _raw_allow(language, limit)


@lru_cache(maxsize=2048)
def _raw_allow(language: Language, limit: int) -> str | None:
    plain = language.plain_forms()
    if plain is not None and all(
        map(_decoded, plain)
    ):  # no dot, no percent sign: the readable forms hold as they are, nothing has to be checked
        text = _anchored(_bodies(plain))
        if len(text) <= limit:
            return text
    wanted = language & DOT_FREE
    if (wanted & RAW & BARE_PATHS).is_empty():  # no text of it is asked for, which takes much longer
        return None
    forms = language.as_patterns(BARE_PATHS) or []
    bodies = _bodies(forms) if all(map(_decoded, forms)) else []
    if bodies:
        text = _anchored(bodies)
        if len(text) <= limit and _stands_for(text, wanted):
            return text
    body = (wanted & RAW).to_regex(limit - len("^(?:)$"), within=BARE_PATHS)
    return None if body is None else f"^(?:{body})$"


def raw_allows(language: Language, limit: int, most: int, *, escapes: bool = True) -> list[str] | None:
    """The same as several expressions where it is too long as one, without `escapes` of the paths without a percent sign; None where `most` are not
    enough, or no path is of that kind."""
    text = raw_allow(language, limit) if escapes else None
    if text is not None and len(text) <= limit:
        return [text]
    found = (language & DOT_FREE & (RAW if escapes else _UNESCAPED)).to_parts(limit - len("^(?:)$"), most, BARE_PATHS)
    return [f"^(?:{body})$" for body in found] if found else None


def _decoded(form: Form) -> bool:
    """Whether a pattern takes what escapes stand for wherever it takes the escapes. A suffix that begins like the end of one does not: `/%65` ends in 5."""
    kind, text = form
    return "%" not in text and not (kind == "suffix" and text[:1] in "0123456789abcdefABCDEF")


def _anchored(bodies: list[str]) -> str:
    return f"^{bodies[0]}$" if len(bodies) == 1 else f"^(?:{'|'.join(bodies)})$"


def _stands_for(pattern: str, wanted: Language) -> bool:
    written = Language.regex(pattern, "rust")
    return written.issubset(wanted, within=BARE_PATHS) and wanted.issubset(written, within=RAW)


def _bodies(forms: list[Form]) -> list[str]:
    """The readable expression of each pattern; a pattern no path of which is free of dot segments has none."""
    exact = {text for kind, text in forms if kind == "exact"}
    joined = {text[:-1] for kind, text in forms if kind == "prefix" and text[-1:] == "/" and text[:-1] in exact}
    out: list[str | None] = []
    for kind, text in forms:
        if kind == "exact" and text in joined:
            out.append(escaped(text) + _ANY if DOT_FREE.accepts(text) else None)
        elif kind == "prefix" and text[:-1] in joined and text.endswith("/"):
            continue
        elif kind == "exact":
            out.append(escaped(text) if DOT_FREE.accepts(text) else None)
        elif kind == "prefix":
            out.append(_prefix(text))
        elif kind == "suffix":
            out.append(_suffix(text))
        elif kind == "template":
            out.append(_template(text))
        else:
            out.append(_SOME)
    return [body for body in out if body is not None]


def _prefix(text: str) -> str | None:
    if not text:
        return _SOME
    head, slash, begun = text.rpartition("/")
    if not slash or (head and not DOT_FREE.accepts(head)):
        return None
    if not begun:
        return escaped(head) + _SOME
    segment = _completed(Cat((Text(begun), Rep(_but("/\\"), 0, None))), escaped(begun) + _REST, Language.prefix(begun))
    return None if segment is None else f"{escaped(head)}/{segment}{_ANY}"


def _suffix(text: str) -> str | None:
    end, slash, tail = text.partition("/")
    if slash and not DOT_FREE.accepts(slash + tail):
        return None
    if not end:
        return _ANY + escaped(text)
    segment = _completed(Cat((Rep(_but("/\\"), 0, None), Text(end))), _REST + escaped(end), Language.suffix(end))
    return None if segment is None else f"{_ANY}/{segment}{escaped(slash + tail)}"


def _completed(loose: Term, plain: str, wanted: Language) -> str | None:
    """A segment of which a part is fixed: in short where no completion can be a dot segment, else from the automaton."""
    if Language(Is(loose)).issubset(_SEGMENT):
        return plain
    segments = _SEGMENT & wanted
    spelt = None if segments.is_empty() else segments.to_regex()
    return None if spelt is None else f"(?:{spelt})"


def _template(text: str) -> str | None:
    if not is_template(text):
        return None
    out = ""
    for segment in text.split("/")[1:]:
        if segment == "{*}":
            out += "/" + _STRICT
        elif segment == "{**}":
            out += _SOME_STRICT
        elif _SEGMENT.accepts(segment):
            out += "/" + escaped(segment)
        else:
            return None
    return out


_LITERAL = "((?:/[A-Za-z0-9][A-Za-z0-9_-]*)+)"
_READABLE: Final = (
    (re.compile(rf"\^{_LITERAL}{re.escape(_SOME)}\$"), lambda text: Language.prefix(text + "/")),
    (re.compile(rf"\^{_LITERAL}{re.escape(_ANY)}\$"), Language.segments),
    (re.compile(rf"\^{_LITERAL}{re.escape(_REST + _ANY)}\$"), Language.prefix),
)
"""The commonest expressions that `raw_allow` writes, and what they were written for: read by their text, without an automaton."""


@lru_cache(maxsize=2048)
def from_raw(pattern: str) -> Language | None:
    """The language of normalised paths that a raw path expression (Rust syntax) stands for, so that what `raw_allow` wrote reads back as
    what it was written for.

    None where the expression admits paths with dot segments: then what passes cannot be said of normalised paths alone. An expression
    that admits none, but is no simple form, stands for itself (see NORMALISED). Raises UnsupportedRegex and its kin.
    """
    for shape, make in _READABLE:
        found = shape.fullmatch(pattern)
        if found is not None:
            return make(found[1])
    written = Language.regex(pattern, "rust")
    if not written.issubset(DOT_FREE, within=BARE_PATHS) or written.witness(RAW) is None:
        return None
    for candidate in (_plain(pattern), *_guesses(written)):
        if candidate is not None and (candidate & DOT_FREE).same(written, within=RAW):
            return candidate
    return written


def _plain(pattern: str) -> Language | None:
    """The expression with its guards taken out again."""
    text = pattern
    for guarded, loose in _GUARDS:
        text = text.replace(guarded, loose)
    try:
        forms = Language.regex(text, "rust").as_patterns(BARE_PATHS)
    except ValueProblem:
        return None
    return None if forms is None else from_forms(forms)


def from_forms(forms: list[Form]) -> Language:
    """The union of simple patterns, such as `Language.as_patterns` gives; an exact path and the prefix below it become one PathPrefix."""
    left = dict.fromkeys(forms)
    out: list[Language] = []
    for kind, text in forms:
        if kind == "exact" and ("prefix", text + "/") in left:
            del left[kind, text], left["prefix", text + "/"]
            out.append(Language.segments(text))
    for kind, text in left:
        out.append(Language.any() if kind == "any" else _MAKERS[kind](text))
    return union(*out)


_MAKERS: Final = {
    "exact": Language.exact,
    "prefix": Language.prefix,
    "suffix": Language.suffix,
    "template": Language.template,
    "segments": Language.segments,
}


def _guesses(written: Language) -> list[Language]:
    """Simple forms that a shortest text of the language suggests."""
    shown = written.witness(RAW) or ""
    if len(shown) > 200:
        return []
    cuts = [shown[:end] for end in range(1, len(shown) + 1)]
    out = [Language.exact(shown), *(Language.prefix(cut) for cut in cuts if written.accepts(cut + "x") and written.accepts(cut + "x/x"))]
    out.extend(Language.segments(cut) for cut in cuts if written.accepts(cut) and written.accepts(cut + "/x"))
    out.extend(Language.suffix(shown[at:]) for at in range(len(shown)) if written.accepts("/x" + shown[at:]))
    return out


_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_TOKENS = re.compile(r"%[0-9A-Fa-f]{2}|.", re.DOTALL)
_HEX = frozenset("0123456789abcdefABCDEF")


def normalise_istio(path: str) -> str:
    """The path that Istio's default path normalisation (BASE: Envoy `normalize_path`) leaves for policies and routes to judge.

    Query and fragment go, `\\` becomes `/`, escapes of letters, digits and `-._~` are decoded (RFC 3986, 6.2.2.2), segments `.` and `..` are
    resolved. Repeated slashes stay and nothing else is decoded, `%2F` neither.
    """
    path = _decoded_path(re.split(r"[?#]", path, maxsplit=1)[0].replace("\\", "/"))
    if not path.startswith("/"):
        return path
    segments = path.split("/")[1:]
    out: list[str] = []
    for number, segment in enumerate(segments):
        if segment not in (".", ".."):
            out.append(segment)
            continue
        if segment == ".." and out:
            out.pop()
        if number == len(segments) - 1:
            out.append("")
    return "/" + "/".join(out)


def _decoded_path(path: str) -> str:
    """The path with the escapes of unreserved characters decoded. A stray percent sign that would begin an escape afterwards is escaped itself."""
    if "%" not in path:
        return path
    out = []
    for token in _TOKENS.findall(path):
        char = chr(int(token[1:], 16)) if len(token) == 3 else token
        out.append(char if char in _UNRESERVED else token)
    return "".join(
        "%25" if token == "%" and len(after := out[at + 1 : at + 3]) == 2 and _HEX.issuperset(after) else token
        for at, token in enumerate(out)
    )


@lru_cache(maxsize=2048)
def with_query(language: Language) -> Language:
    """Request targets whose path is in the language, with any query or none: what Istio's `paths` admit, for a mesh (Cilium) that compares
    path and query together.
    """
    pattern = (language & BARE_PATHS).to_regex(8000)
    if pattern is None:
        raise LanguageTooLarge("the path pattern is too involved to be combined with a query")
    query = Cat((Text("?"), Rep(Chars(charset.ALL), 0, None)))
    return Language(Is(Cat((regex.parse(pattern), Alt((EMPTY, query))))))


@lru_cache(maxsize=2048)
def without_query(language: Language) -> Language | None:
    """The other way: the language of bare paths, where every query goes with each of them; None where a query decides."""
    bare = language & BARE_PATHS
    if not with_query(bare).same(language, within=PATHS):
        return None
    forms = bare.as_patterns(BARE_PATHS)
    return bare if forms is None else from_forms(forms)
