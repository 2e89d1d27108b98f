"""The commands of a shell script, word by word, with the place of every character: what somebody typed to install a mesh or to mark a namespace.

A line that the grammar does not take is left alone, unless it plainly installs a mesh. The text of a here-document is no command, but is given with the commands
of its line, as are here-strings and what `echo` prints for the next command. What a shell would have to compute (`$NAME`, `$(...)`) keeps its spelling and is marked, but for variables that the script gives one text for good
(`variables.py`), and those of a loop over words: its commands are run for each of these. What `eval` and `sh -c` are given is read as the line that it is.
https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from meshport.values._grammar import parse, tokens, trees
from meshport.values.problems import ValueProblem
from meshport.values.variables import Variables

_HERE = re.compile(r"(?<!<)<<(?!<)(-?)[ \t]*(['\"]?)([A-Za-z_][A-Za-z0-9_]*)\2")
_GOES_ON = re.compile(r"^(?![^\n]*<<)(?!.*(?:^|\s)#).*(?:\||&&)[ \t\r]*\Z", re.DOTALL)
_COMMENT = re.compile(r"[ \t]*(?:#|\r?$)")
_EXPANDED = re.compile(r"\\[$`\\\n]|\$\{[^}]*\}|\$\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)|`[^`]*`|\$[A-Za-z_][A-Za-z0-9_]*|\$[0-9@*#?$!-]")
"""What a shell replaces in a here-document whose word has no quotes (2.7.4)."""
TAB = "\t"
_TO_A_SHELL = re.compile(r"\b(?:eval|(?:ba|da|z|k)?sh[ \t]+-[a-z]*c)[ \t]+['\"]")
_GIVEN = re.compile(
    r"""<<<[ \t]*(?:(?P<single>'[^']*')|(?P<double>"(?:[^"\\]|\\.)*")|(?P<named>\$\{[^}]*\}|\$[A-Za-z_][A-Za-z0-9_]*))""", re.DOTALL
)
"""A here-string, which the shells have beside here-documents."""
_PRINTS = re.compile(r"(?:^|[\s;&|({])(?:echo|printf)[ \t]")
_INTO = re.compile(
    r"""(?:^|[\s;&|({])(?:cat[^|;&<>]*(?:<<-?[ \t]*['"]?\w+['"]?[ \t]*)?>|tee[ \t])[ \t]*(?P<name>"[^"]*"|'[^']*'|[^\s;&|<>()-][^\s;&|<>()]*)"""
)
"""What a here-document is written to: `cat > NAME <<EOF`, `cat <<EOF > NAME`, `tee NAME <<EOF`."""
_SHELLS = ("sh", "bash", "dash", "zsh", "ksh")
_MOST_LINES = 40  # of one command with a quote that stays open

_BEFORE = {
    "then",
    "do",
    "else",
    "if",
    "while",
    "until",
    "!",
    "time",
    "sudo",
    "exec",
    "command",
    "env",
    "nohup",
    "{",
    "k3s",
    "microk8s",
    "minikube",
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_VALUE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(\"[^\"\n]*\"|'[^'\n]*'|\S*)")
_NAMED_SO = re.compile(r"\$(?:([A-Z0-9_]+)|\{([A-Z0-9_]+)(?::?-[^}]*)?\})")
_PRINTED = re.compile(r"[$<]\(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)|`([^`]*)`")
_INSTALLS = re.compile(r"(?<![A-Za-z0-9_.-])(helm|istioctl|linkerd|cilium)[ \t]+(install|upgrade|template)(?=[ \t])")
_LOOPS = re.compile(r"(?:^|[\s;&|({])(?:for|select|while|until|done)(?=$|[\s;&|)<>])")
_MOST_TURNS = 100  # of the loops around a command


@dataclass(frozen=True, slots=True)
class Word:
    """A word without its quotes. `places` are the offsets of its characters in the script, and of what follows it."""

    text: str
    places: tuple[int, ...]
    computed: bool = False  # whether only the shell knows what it is

    def part(self, start: int, end: int | None = None) -> Word:
        """A piece of it, by characters."""
        stop = len(self.text) if end is None else end
        return Word(self.text[start:stop], self.places[start : stop + 1], self.computed)


@dataclass(frozen=True, slots=True)
class Here:
    """What a command gets to read, from a here-document, a here-string, or what `echo` and `printf` print: its text, the lines before it, and the offset where
    it is given. `unknown` is what in it only the shell knows, `file` the name that it is written to, "" where the command of its line takes it. A text of which
    `printed` is true stands on one line, with escapes for its line breaks."""

    text: str
    before: int
    place: int
    unknown: str
    file: str = ""
    printed: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """A line of a script: its commands that run one of the programs that were asked for, all of its commands, and what it gives them to read or writes to a file."""

    ours: list[list[Word]]
    line: list[list[Word]]
    given: list[Here]


def commands(text: str, programs: frozenset[str]) -> Iterator[list[Word]]:
    """The words of each command that runs one of `programs`, in the order of the script; what stands before the program's name (`sudo`, `then`,
    `NAME=value`) is left out."""
    for statement in statements(text, programs):
        yield from statement.ours


def statements(text: str, programs: frozenset[str]) -> Iterator[Statement]:
    """The same line by line, with what each line gives its commands to read; and the lines that write a here-document to a file. A line that ends with `|` or
    `&&` goes on in the next."""
    either = "|".join(sorted(programs))
    spoken = re.compile(rf"(?<![A-Za-z0-9_])(?<![^:]-)(?:{either})(?![A-Za-z0-9_])")
    if spoken.search(text) is None:
        return
    called = {found[1] for found in _VALUE.finditer(text) if spoken.search(found[2])}
    spoken = re.compile(
        rf"{spoken.pattern}|\$\{{?(?:{'|'.join(sorted(map(re.escape, {*called, *map(str.upper, programs)})))})(?![A-Za-z0-9_])"
    )
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    known = Variables(text)
    number = 0
    while number < len(lines):
        line, end = lines[number], number + 1
        if _COMMENT.match(line):
            number = end
            continue
        while end < len(lines) and (_continues(line) or _GOES_ON.search(line)):
            line, end = f"{line}{chr(10) if _continues(line) else ' '}{lines[end]}", end + 1
        known.pass_by(line)
        if spoken.search(line) or _LOOPS.search(line) or _TO_A_SHELL.search(line) or (_PRINTS.search(line) and _open_quote(line)):
            found = _line(line, starts[number], known)
            while found is None and end < len(lines) and end - number < _MOST_LINES and _open_quote(line):
                line, end = f"{line}\n{lines[end]}", end + 1
                found = _line(line, starts[number], known) if not _open_quote(line) else None
            if found is None:
                known.enter_unread(line)
                if not _continues(lines[number]):  # not taken: the lines after its first are read on their own
                    line, end = lines[number], number + 1
                if (untaken := _INSTALLS.search(line)) is not None:
                    found = [_unread(untaken, starts[number])]
            ours = [words for words in map(_run, found or ()) if words and words[0].text.rpartition("/")[2] in programs]
        else:
            found, ours = [], []
        given = (*_printed(found or []), *((word, False) for word in _strings(line, starts[number], known))) if ours else ()
        heres = [_as_here(word, starts, escaped) for word, escaped in given]
        into = _INTO.search(line)
        for here in _HERE.finditer(line):
            begin, end = end, _after(lines, end, here[3], tabs=bool(here[1]))
            told = _here(here, lines[begin : end - 1], begin, starts[number], known)
            heres.append(replace(told, file=_expanded(into["name"], known)) if into is not None else told)
        if ours or into is not None:
            yield Statement(ours, [words for words in found or () if words], heres)
        number = end


def _here(found: re.Match[str], rows: list[str], before: int, start: int, known: Variables) -> Here:
    text = "".join(f"{row.lstrip(TAB) if found[1] else row}\n" for row in rows)
    parts: list[str] = []
    unknown, at = "", 0
    for one in _EXPANDED.finditer(text) if not found[2] else ():
        said = {"\\\n": ""}.get(one[0], one[0][1:]) if one[0].startswith("\\") else known.text_of(one[0])
        unknown = unknown or (one[0] if said is None else "")
        parts += [text[at : one.start()], one[0] if said is None else said]
        at = one.end()
    return Here("".join([*parts, text[at:]]), before, start + found.start(), unknown)


def _expanded(name: str, known: Variables) -> str:
    """A name as the shell reads it, as far as that is known."""
    return re.sub(r"\$\{?\w+\}?", lambda found: known.text_of(found[0]) or found[0], name.strip("'\"")).removeprefix("./")


def _printed(found: list[list[Word]]) -> Iterator[tuple[Word, bool]]:
    """What `echo` or `printf` prints that stands before another command of its line, where it may be a manifest; and whether it had escapes for line breaks."""
    for words, following in pairwise(found):
        if not words or words[0].text not in ("echo", "printf") or not following:
            continue
        given = [word for word in words[1:] if not re.fullmatch(r"-[neE]+|(?:%[sb](?:\\n)?)+", word.text)]
        escaped = words[0].text == "printf" and given == words[1:]
        escaped = escaped or any(re.fullmatch(r"-n?e[nE]*", word.text) for word in words[1:])
        for word in given:
            if word.computed or "apiVersion" in word.text:
                yield (replace(word, text=word.text.replace("\\n", "\n")), True) if escaped and "\\n" in word.text else (word, False)


def _strings(line: str, start: int, known: Variables) -> Iterator[Word]:
    """The here-strings of a line."""
    for found in _GIVEN.finditer(line):
        kind = {"single": "SINGLE", "double": "DOUBLE", "named": "COMPUTED"}[str(found.lastgroup)]
        yield _word([(kind, found[str(found.lastgroup)], start + found.start(str(found.lastgroup)))], known)


def _as_here(word: Word, starts: list[int], printed: bool) -> Here:
    """A word as what a command reads. JSON keeps its column."""
    before = bisect_right(starts, word.places[0]) - 1
    unknown = _EXPANDED.search(word.text) if word.computed else None
    column = word.places[0] - starts[before] if word.text[:1] in ("{", "[") else 0
    said = unknown[0] if unknown is not None else word.text if word.computed else ""
    return Here(" " * column + word.text, before, word.places[0], said, printed=printed)


def _after(lines: list[str], start: int, word: str, *, tabs: bool) -> int:
    """The line behind the end of a here-document; where it has no end there is none."""
    for number in range(start, len(lines)):
        if (lines[number].lstrip("\t") if tabs else lines[number]).rstrip("\r") == word:
            return number + 1
    return start


def _continues(line: str) -> bool:
    stripped = line.rstrip("\r")
    return (len(stripped) - len(stripped.rstrip("\\"))) % 2 == 1


def _open_quote(line: str) -> bool:
    bare = re.sub(r"\\.", "", line, flags=re.DOTALL)
    return bare.count('"') % 2 == 1 or bare.count("'") % 2 == 1


def _unread(found: re.Match[str], start: int) -> list[Word]:
    """A command of which nobody can say more than how it begins."""

    def word(at: int, end: int, computed: bool = False) -> Word:
        return Word(found.string[at:end], tuple(range(start + at, start + end + 1)), computed)

    plain = re.compile(r"(?:[ \t]+[^\s'\"\\$`;|&()<>#]+(?=\s))*").match(found.string, found.end(2))
    cut = plain.end() if plain is not None else found.end(2)
    read = [word(*one.span()) for one in re.compile(r"\S+").finditer(found.string, found.end(2), cut)]
    while read and read[-1].text.startswith("-"):  # an option whose value is the rest
        read.pop()
    return [word(*found.span(1)), word(*found.span(2)), *read, word(cut + 1, len(found.string), computed=True)]


def _line(line: str, start: int, known: Variables) -> list[list[Word]] | None:
    """The commands of a line, those of a loop for each turn that it takes; None where the grammar does not take it."""
    try:
        tree = parse("install_script", _HERE.sub(lambda found: " " * len(found[0]), line), "a command")
    except ValueProblem:
        return None
    found: list[list[Word]] = []
    for command in trees(tree):
        pieces = [[(token.type, str(token), (token.start_pos or 0) + start) for token in tokens(word)] for word in trees(command)]
        for kind, text, at in (piece for word in pieces for piece in word):
            for inner in _PRINTED.finditer(text) if kind in ("COMPUTED", "DOUBLE") else ():
                group = 1 if inner[1] is not None else 2
                found.extend(_line(inner[group], at + inner.start(group), known) or ())
        named = " ".join(text for word in pieces for _, text, _ in word)
        for turn in known.turns(named, _MOST_TURNS):
            with known.turn(turn):
                words = [one for word in pieces for one in _words(word, known)]
            while words and (words[0].text in _BEFORE or _VARIABLE.match(words[0].text)):
                words.pop(0)
            if (
                words and words[0].computed and (named_so := _NAMED_SO.fullmatch(words[0].text)) is not None
            ):  # `$KUBECTL`: which one, the shell knows
                words[0] = Word((named_so[1] or named_so[2]).lower(), words[0].places)
            found.append(words)
            found.extend(_given_to_shell(words, known))
        while pieces and pieces[0][0][1] in ("do", "then", "else", "{"):
            pieces.pop(0)
        if pieces and pieces[0][0][1] in ("for", "select", "while", "until", "done"):
            said = [one for word in pieces for one in _words(word, known)]
            known.enter(pieces[0][0][1], [None if one.computed else one.text for one in said])
    return found


def _given_to_shell(words: list[Word], known: Variables) -> list[list[Word]]:
    """The commands in what `eval` or a shell's `-c` is given, with the places that they have in the script."""
    program = words[0].text.rpartition("/")[2] if words else ""
    if program == "eval":
        given = words[1:]
    elif program in _SHELLS:
        at = next((at for at, word in enumerate(words) if re.fullmatch(r"-[a-z]*c", word.text)), len(words))
        given = words[at + 1 : at + 2]
    else:
        return []
    text = " ".join(word.text for word in given).replace("\n", ";")
    places = tuple(place for word in given for place in (*word.places[: len(word.text)], word.places[-1]))
    inner = _line(text, 0, known) or []
    return [[Word(one.text, tuple(places[min(at, len(places) - 1)] for at in one.places), one.computed) for one in each] for each in inner]


def _run(words: list[Word]) -> list[Word]:
    """The command that `xargs` or `find -exec` runs, with what it is given as what only the shell knows."""
    if words and words[0].text == "find":
        begins = next((at for at, word in enumerate(words) if word.text in ("-exec", "-execdir")), len(words) - 1)
        return [replace(word, computed=True) if "{}" in word.text else word for word in words[begins + 1 :]] or words
    if not words or words[0].text != "xargs":
        return words
    sign, at = "{}", 1
    while at < len(words) and words[at].text.startswith("-"):
        option = words[at].text
        at += 1
        if option.startswith("-I") and len(option) > 2:
            sign = option[2:]
        elif option in ("-I", "-n", "-P", "-L", "-d", "-a", "-s", "-E") and at < len(words):
            sign = words[at].text if option == "-I" else sign
            at += 1
    given = [Word(word.text, word.places, True) if sign in word.text else word for word in words[at:]]
    if given and not any(sign in word.text for word in given):
        given.append(Word("{}", (given[-1].places[-1],) * 3, True))
    return given


def _words(pieces: list[tuple[str, str, int]], known: Variables) -> list[Word]:
    """The word of these pieces; several where it is a variable without quotes, whose text the shell divides, or all items of a list."""
    if len(pieces) == 1 and (listed := known.list_of(pieces[0][1])) is not None:
        return [Word(part, (pieces[0][2],) * (len(part) + 1)) for part in listed]
    if len(pieces) == 1 and pieces[0][0] == "COMPUTED" and (text := known.text_of(pieces[0][1])) is not None:
        at = pieces[0][2]
        return [Word(part, (at,) * (len(part) + 1)) for part in text.split()]
    return [_word(pieces, known)]


def _word(pieces: list[tuple[str, str, int]], known: Variables) -> Word:
    text: list[str] = []
    places: list[int] = []
    computed = False
    end = 0

    def put(characters: str, at: int) -> None:
        text.extend(characters)
        places.extend((at,) * len(characters))

    for kind, piece, start in pieces:
        end = start + len(piece)
        if kind in ("SINGLE", "DOUBLE"):
            inner, at = piece[1:-1], start + 1
            number = 0
            while number < len(inner):
                if kind == "DOUBLE" and inner[number] == "\\" and inner[number + 1 : number + 2] in ('"', "\\", "$", "`", "\n"):
                    number += 1
                    if inner[number] == "\n":
                        number += 1
                        continue
                elif kind == "DOUBLE" and inner[number] in "$`":
                    spelled = known.spelled(inner, number)
                    said = known.text_of(spelled) if spelled else None
                    if said is not None:
                        put(said, at + number)
                        number += len(spelled)
                        continue
                    computed = True
                text.append(inner[number])
                places.append(at + number)
                number += 1
            end = start + len(piece) - 1
        elif kind == "ESCAPED":
            put(piece[1], start + 1)
        elif kind == "ANSI":
            put(re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), piece[2:-1], flags=re.DOTALL), start)
        elif kind == "COMPUTED" and (said := known.text_of(piece)) is not None and not re.search(r"\s", said):
            put(said, start)
        else:
            computed = computed or kind == "COMPUTED"
            text.extend(piece)
            places.extend(range(start, end))
    return Word("".join(text), (*places, end), computed)
