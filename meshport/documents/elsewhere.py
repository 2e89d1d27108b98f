"""Manifests that a script gives to a cluster and that stand in no input: files and addresses that were not given, and what another program (`sed`, `envsubst`,
`kustomize`, `helm template`) makes of manifests on their way to `kubectl apply -f -`. What they say is not known, so each such command is named.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate

from meshport.documents import kubectl
from meshport.documents.command import options
from meshport.documents.scripts import OF_A_MESH, PROGRAMS, settings
from meshport.values.install_script import Statement, Word, statements

GIVE_IT = "add what it applies to the input, as a file or as it stands in the cluster (kubectl get ... -o yaml); or take the command out of the script"
_DELIVERING = {
    "helmfile": (("sync",), ("apply",), ("template",)),
    "argocd": (("app", "create"), ("app", "set"), ("app", "sync"), ("app", "patch")),
    "flux": (("bootstrap",), ("create", "kustomization"), ("create", "helmrelease"), ("create", "source"), ("reconcile",)),
    "kapp": (("deploy",),),
    "skaffold": (("run",), ("deploy",), ("apply",), ("dev",)),
}
"""Commands of programs that bring manifests to a cluster which they fetch or build themselves."""
_VALUED = {*kubectl.VALUED, "-e", "--environment", "--state-values-set", "--set", "--values"}
_ADDRESS = re.compile(r"(?:[a-z0-9+]+://|git@|github\.com/)")
_DEFINITIONS = re.compile(
    r"gateway-api/(?:releases|[^/]*/config/crd)|(?:^|[/._-])crds?(?:[/._-]|$)|customresourcedefinition", re.IGNORECASE
)
"""Addresses of definitions of kinds, which configure nothing."""
_EXPANSION = re.compile(r"\$\{[^}]*\}|\$\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)|`[^`]*`|\$[A-Za-z_]\w*|\$[0-9@*#?!-]|\{\}")
_SECRET = re.compile(r"(?<=://)[^/@\s]*@|\?.*$")
_MANIFEST = re.compile(r"[\w./*{}$-]+\.(?:ya?ml|json|tpl|tmpl|template|in)")
_LOCAL_CHART = re.compile(r"[./~$`\"]|(?:charts?|helm|deploy\w*)/|[^/:]*\.tgz$")
_READS = re.compile(r"(?<![<>0-9&])<[ \t]*(?P<name>\"[^\"]*\"|'[^']*'|[^\s;&|<>()]+)")
_UNCHANGED = ("cat", "tee", "echo", "printf")
_EXTENSIONS = ("viz", "jaeger", "smi", "install-cni", "install", "upgrade")
"""What the command linkerd prints that configures no traffic, or is read as settings."""
_TELLS_OF_ITSELF = (("linkerd", "inject"), ("istioctl", "kube-inject"))


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A command whose manifests nobody has seen: how it is spelled, as far as that is no secret, and its offset."""

    command: str
    place: int


def elsewhere(text: str, inputs: Sequence[str]) -> Iterator[Elsewhere]:
    """The commands of a script that bring manifests to a cluster which are none of `inputs`, each once."""
    written: set[str] = set()
    said: set[str] = set()
    for one in statements(text, PROGRAMS | _DELIVERING.keys()):
        written.update(here.file for here in one.given if here.file)
        for words in one.ours:
            for command in _unseen(words, one, text, _Inputs(inputs, written, text)):
                if command not in said:
                    said.add(command)
                    yield Elsewhere(command, words[0].places[0])


def _unseen(words: list[Word], statement: Statement, text: str, inputs: _Inputs) -> Iterator[str]:
    program = words[0].text.rpartition("/")[2]
    plain = options(words[1:], _VALUED)[0]
    said = tuple(word.text for word in plain)
    if any(said[: len(verb)] == verb for verb in _DELIVERING.get(program, ())):
        yield " ".join((program, *said[:3]))
        return
    verb = f"{program} {said[0]}" if said else program
    for folder in kubectl.builds(words):
        if not inputs.have(folder, statement):
            yield f"{verb} -k {_shown(folder)}"
    for name, _ in kubectl.takes_files(words):
        if name.startswith("<("):
            inner = [one for one in statement.line if _within(one, name, words)]
            chain = [*_before(inner[-1], statement, text), inner[-1]] if inner else []
            command = _made(chain, statement, text, inputs)
            if command:
                yield f"{verb} -f <({command})"
        elif not inputs.have(name, statement):
            yield f"{verb} -f {_shown(name)}"
    if kubectl.takes_input(words):
        chain = _before(words, statement, text)
        read = _READS.search(text[words[-1].places[-1] :].split("\n", 1)[0]) if not chain else None
        if read is not None:
            if not inputs.have(read["name"].strip("\"'"), statement):
                yield f"{verb} -f - < {_shown(read['name'])}"
        elif statement.given:  # which is read, and as it stands
            if any(one[0].text.rpartition("/")[2] not in _UNCHANGED for one in chain):
                yield f"{_programs(chain)} | {verb} -f -"
        elif command := _made(chain, statement, text, inputs):
            yield f"{command} | {verb} -f -"


def _made(chain: list[list[Word]], statement: Statement, text: str, inputs: _Inputs) -> str:
    """What is said of commands that print manifests one after the other; "" where there is nothing to say."""
    if not chain:
        return "standard input"
    first = chain[0]
    program = first[0].text.rpartition("/")[2]
    plain, given = options(first[1:], _VALUED)
    said = [word.text for word in plain]
    if any((one[0].text.rpartition("/")[2], *(word.text for word in one[1:2])) in _TELLS_OF_ITSELF for one in chain):
        return ""
    if program in ("kubectl", "oc") and said[:1] in (["create"], ["run"], ["expose"]) and any(name == "--dry-run" for name, _ in given):
        return _programs(chain) if any(OF_A_MESH.search(word.text) for one in chain for word in one[1:]) else ""
    if any(one[0].text.rpartition("/")[2] not in _UNCHANGED for one in chain[1:]):
        return _programs(chain)
    if program == "cat":
        end = first[-1].places[-1]
        read = _READS.match(text[end:].lstrip(" "))
        files = said or ([read["name"].strip("\"'")] if read is not None else [])
        return "" if files and all(inputs.have(name, statement) for name in files) else " ".join(("cat", *map(_shown, files)))
    if program in ("curl", "wget"):
        addresses = [word.text for word in first[1:] if _ADDRESS.match(word.text)]
        return "" if addresses and all(map(_DEFINITIONS.search, addresses)) else " ".join((program, *map(_shown, addresses)))
    if (program in ("kubectl", "oc") and said[:1] == ["kustomize"]) or (program == "kustomize" and said[:1] == ["build"]):
        folder = said[1] if len(said) > 1 else "."
        return "" if inputs.have(folder, statement) else f"{program} {said[0]} {_shown(folder)}"
    if program == "linkerd" and said and said[0] in _EXTENSIONS:
        return ""
    if program == "helm":
        charts = [name for name in said[1:] if _LOCAL_CHART.match(name)]
        return "" if any(settings(first)) or all(inputs.have(name, statement) for name in charts) else f"helm template {_shown(charts[-1])}"
    return "" if any(True for _ in settings(first)) else _programs(chain)


def _programs(chain: list[list[Word]]) -> str:
    """The programs of a pipe, with the manifests that they name: what else they are given may be secret."""
    shown = []
    for one in chain:
        program = one[0].text.rpartition("/")[2]
        said = options(one[1:], _VALUED)[0][:3] if program in PROGRAMS else [word for word in one[1:] if _MANIFEST.fullmatch(word.text)]
        shown.append(" ".join((program, *(word.text for word in said))))
    return " | ".join(shown)


def _shown(name: str) -> str:
    return _SECRET.sub("", name)


def _before(words: list[Word], statement: Statement, text: str) -> list[list[Word]]:
    """The commands that print what this one reads, from the first on."""
    chain: list[list[Word]] = []
    while True:
        start = words[0].places[0]
        earlier = [one for one in statement.line if one[-1].places[-1] <= start and one[0].places[0] < start]
        before = max(earlier, key=lambda one: one[-1].places[-1], default=None)
        if before is None or "|" not in re.sub(r">\||\|\|", "", text[before[-1].places[-1] : start]):
            return chain
        chain.insert(0, before)
        words = before


def _searched(words: list[Word]) -> list[Word]:
    """The names that a command lists or searches: all that it is given, of `find` the folders before its conditions."""
    given = words[1:]
    conditions = (
        next((at for at, word in enumerate(given) if word.text.startswith("-")), len(given)) if words[0].text == "find" else len(given)
    )
    return given[:conditions]


def _within(one: list[Word], name: str, words: list[Word]) -> bool:
    """Whether a command stands inside the `<(...)` that another is given."""
    return any(word.text == name and word.places[0] < one[0].places[0] < word.places[-1] for word in words)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What was given, beside the files that a script writes itself."""

    files: Sequence[str]
    written: set[str]
    script: str

    def have(self, name: str, statement: Statement) -> bool:
        """Whether a file or folder, an address or a pattern of them is there, or sets nothing."""
        if _ADDRESS.match(name):
            return _DEFINITIONS.search(name) is not None
        path = posixpath.normpath(name)
        if path in self.written or any(file.startswith(f"{path}/") for file in self.written):
            return True
        if _EXPANSION.fullmatch(name):
            return any(self._holds(other) for other in self._behind(name, statement))
        return self._holds(name)

    def _behind(self, name: str, statement: Statement) -> Iterator[str]:
        """The names that a loop, `find` or `ls` may give a word that is nothing but a variable."""
        heads = [" ".join(word.text for word in _searched(one)) for one in statement.line] if name == "{}" else []
        if (variable := re.fullmatch(r"\$\{?(\w+)\}?", name)) is not None:
            heads += [found[1] for found in re.finditer(rf"\bfor[ \t]+{variable[1]}[ \t]+in[ \t]+([^;\n]*)", self.script)]
            heads += [found[1] for found in re.finditer(rf"(?m)^[ \t]*(?:\w+[ \t]+)?{variable[1]}=(\S+)", self.script)]
        for head in heads:
            yield from (word for word in re.split(r"[\s()\"'`]+|\$\(", head) if word)

    def _holds(self, name: str) -> bool:
        """Whether an input ends so, or lies below a folder that does: a script is also run from a folder above its own."""
        pattern = posixpath.normpath(_EXPANSION.sub("*", name.strip("\"'")).replace("{}", "*")).lstrip("./")
        while pattern.startswith("*/"):
            pattern = pattern[2:]
        if pattern in ("", "."):  # where the script stands, or has gone to
            return name.startswith(".") and any(not file.lower().endswith(".sh") for file in self.files)
        if not pattern.strip("*/"):
            return False
        ends = re.compile(translate(f"*/{pattern}")), re.compile(translate(f"*/{pattern}/*"))
        return any(end.match("/" + file.replace(os.sep, "/")) is not None for file in self.files for end in ends)
