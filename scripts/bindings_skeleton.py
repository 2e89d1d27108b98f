#!/usr/bin/env python3
"""Write ``mappings/bindings/<dialect>/<Kind>.yaml`` from the CRDs and the hand-written rules.

The CRDs give the paths, types, allowed values and served versions; the rules in
``scripts/binding_rules/<dialect>.yaml`` give the meaning. Run it after a new release of a mesh
was added to the CRD folder: a path that no rule covers is printed, and the exit code is 1.

    scripts/bindings_skeleton.py --crds ../shared/crds            # writes the tables
    scripts/bindings_skeleton.py --crds ../shared/crds --check    # only says whether they are up to date
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from crd_leaves import Kind, Leaf, load_crds, load_schemas

ROOT = Path(__file__).resolve().parent.parent
RULES = Path(__file__).resolve().parent / "binding_rules"
BINDINGS = ROOT / "mappings" / "bindings"
WIDTH = 118

# Releases whose CRDs tell when a field, a value or a version arrived. The first one is the floor:
# what it has already carries no `since`.
ISTIO_RELEASES = [f"1.{minor}" for minor in range(22, 32)]
GATEWAY_RELEASES = [f"1.{minor}" for minor in range(1, 7)]
# The schemas of 1.15 are not at hand: what came with it is dated 1.16, unless a rule says otherwise.
CILIUM_RELEASES = {
    "1.14": "json-1.14.5",
    "1.16": "json-1.16.0",
    "1.17": "json-1.17.1",
    "1.18": "json-1.18.2",
    "1.19": "json-1.19-derived",
    "1.20": "json-1.20-derived",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crds", type=Path, default=ROOT.parent / "shared" / "crds")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a table would change")
    args = parser.parse_args()

    problems: list[str] = []
    changed: list[Path] = []
    wanted: set[Path] = set()
    for dialect, kinds in sources(args.crds).items():
        rules = yaml.safe_load((RULES / f"{dialect}.yaml").read_text(encoding="utf-8"))
        for kind in kinds:
            file = BINDINGS / dialect / f"{kind.kind}.yaml"
            text = render(kind, kind_rules(rules, kind, problems), problems)
            wanted.add(file)
            if not file.exists() or file.read_text(encoding="utf-8") != text:
                changed.append(file)
                if not args.check:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text, encoding="utf-8")
    for dialect in ("istio", "linkerd", "cilium", "gateway-api", "smi"):
        problems += [f"{f.relative_to(ROOT)}: no such kind" for f in (BINDINGS / dialect).glob("*.yaml") if f not in wanted]
    for line in problems:
        print(line)
    if args.check:
        for file in changed:
            print(f"{file.relative_to(ROOT)}: differs from the rules")
    return 1 if problems or (args.check and changed) else 0


def sources(crds: Path) -> dict[str, list[Kind]]:
    """The kinds of each dialect, in the order of their rules."""
    istio = load_crds([crds / "istio" / f"crd-all.release-{release}.yaml" for release in ISTIO_RELEASES])
    add_history(istio, {r: [crds / "istio" / f"crd-all.release-{r}.yaml"] for r in ISTIO_RELEASES})
    linkerd = load_crds(sorted((crds / "linkerd").glob("*.yaml")))
    gateway = load_crds(sorted((crds / "gateway-api").rglob("*.yaml")) + sorted((crds / "linkerd").glob("*gateway*.yaml")))
    add_history(gateway, {r: sorted(gateway_folder(crds, r).rglob("*.yaml")) for r in GATEWAY_RELEASES})
    note_channel(gateway, crds)
    cilium = cilium_kinds(crds)
    own = [k for k in linkerd.values() if k.group not in ("gateway.networking.k8s.io", "split.smi-spec.io")]
    smi = [k for k in linkerd.values() if k.group == "split.smi-spec.io"]
    rules = yaml.safe_load((RULES / "smi.yaml").read_text(encoding="utf-8"))
    for name, body in rules.items():
        if isinstance(body, dict) and "schema" in body:
            group, kind = name.split("/")
            smi.append(Kind(group, kind, body["plural"]))
    return {
        "istio": sorted(istio.values(), key=lambda k: (k.group, k.kind)),
        "linkerd": sorted(own, key=lambda k: (k.group, k.kind)),
        "cilium": sorted(cilium.values(), key=lambda k: (k.group, k.kind)),
        "gateway-api": sorted(gateway.values(), key=lambda k: (k.group, k.kind)),
        "smi": sorted(smi, key=lambda k: (k.group, k.kind)),
    }


def cilium_kinds(crds: Path) -> dict[tuple[str, str], Kind]:
    """The kinds of Cilium, with their history; the schemas of some kinds end with an early release, which says nothing about later ones."""
    rules = yaml.safe_load((RULES / "cilium.yaml").read_text(encoding="utf-8"))
    own = {name.partition("/")[2]: body for name, body in rules.items() if "/" in name}
    names = {name.lower(): name for name in own}
    folders = {release: sorted((crds / "cilium" / folder).glob("*.json")) for release, folder in CILIUM_RELEASES.items()}
    kinds = load_schemas(
        sorted((crds / "cilium" / "datree").glob("*.json")) + [f for files in folders.values() for f in files], "cilium.io", names
    )
    note_history(kinds, {release: load_schemas(files, "cilium.io", names) for release, files in folders.items()})
    for name, body in own.items():
        kind = kinds.setdefault(("cilium.io", name), Kind("cilium.io", name, body["plural"]))
        kind.plural, kind.scope = body["plural"], body.get("scope", "Namespaced")
    return kinds


def gateway_folder(crds: Path, release: str) -> Path:
    """Where the CRDs of a Gateway API release stand; the newest has no folder of its own."""
    found = sorted((crds / "gateway-api" / "by-version").glob(f"v{release}.*"))
    return found[-1] if found else crds / "gateway-api"


def note_channel(kinds: dict[tuple[str, str], Kind], crds: Path) -> None:
    """Mark what only the experimental channel of the newest Gateway API has."""
    standard = load_crds(sorted((crds / "gateway-api" / "standard").glob("*.yaml")))
    for key, kind in kinds.items():
        for path in kind.leaves:
            if key in standard and path not in standard[key].leaves:
                kind.history.setdefault((path,), {})["channel"] = "experimental"


def add_history(kinds: dict[tuple[str, str], Kind], releases: dict[str, list[Path]]) -> None:
    """Note on every leaf, value and version the release that brought it or took it away.

    What the first release has already carries no `since`: nobody asks for an older one.
    """
    loaded = {
        release: load_crds([f for f in files if release != GATEWAY_RELEASES[-1] or "by-version" not in f.parts])
        for release, files in releases.items()
    }
    every = list(releases)
    note_history(kinds, loaded, dict.fromkeys(kinds, every))


def note_history(
    kinds: dict[tuple[str, str], Kind],
    loaded: dict[str, dict[tuple[str, str], Kind]],
    looked: dict[tuple[str, str], list[str]] | None = None,
) -> None:
    """Note the history from the kinds of each release; `looked` are the releases that a kind was looked up in, else those that have it."""
    seen: dict[Any, list[str]] = {}
    for release, found_kinds in loaded.items():
        for key, kind in found_kinds.items():
            whats: set[Any] = {(key, "version", version) for version in kind.versions}
            whats |= {(key, path) for path in kind.leaves}
            whats |= {(key, path, value) for path, leaf in kind.leaves.items() for value in leaf.values}
            for what in whats:
                seen.setdefault(what, []).append(release)
    for what, found in seen.items():
        names = looked[what[0]] if looked else [release for release, have in loaded.items() if what[0] in have]
        facts = {}
        if found[0] != names[0]:
            facts["since"] = found[0]
        if found[-1] != names[-1]:
            facts["until"] = names[names.index(found[-1]) + 1]
        kinds[what[0]].history[what[1:]] = facts


def kind_rules(rules: dict[str, Any], kind: Kind, problems: list[str]) -> dict[str, Any]:
    """The rules for one kind: common ones, the shared route rules if it asks for them, its own."""
    own = rules.get(f"{kind.group}/{kind.kind}")
    if own is None:
        problems.append(f"{kind.group}/{kind.kind}: no rules")
        own = {}
    shared = {}
    if "routes" in own:
        shared = yaml.safe_load((RULES / "gateway-api.yaml").read_text(encoding="utf-8"))["routes"]
    return {**rules.get("common", {}), **shared, **own}


def render(kind: Kind, rules: dict[str, Any], problems: list[str]) -> str:
    """The text of one binding file."""
    history = kind.history
    special = {name: rules.pop(name, None) for name in ("versions", "routes", "schema", "plural", "scope", "passes", "exclusive")}
    versions = special["versions"] or {v: history.get(("version", v), {}) for v in kind.versions}
    if special["passes"]:
        tops = {re.split(r"[.\[]", path)[0] for path in kind.leaves} or {"spec", "status"}
        return emit(kind, versions, {top: {"irrelevant": special["passes"], "type": "object"} for top in tops}, special["passes"])
    rows: dict[str, dict[str, Any]] = {}
    for path, leaf in kind.leaves.items():
        path, leaf = spelled_out(path, leaf)
        rule = best_rule(path, rules)
        if as_dict(rule or {}).get("type") == "object" and path.endswith("[]"):
            path = path.removesuffix("[]")  # free form: the row takes everything below the list
        if rule is None:
            problems.append(f"{kind.group}/{kind.kind}: no rule for {path}")
            continue
        rows[path] = row(leaf, rule, kind, history, path)
    for name, rule in rules.items():
        if name.startswith("+"):
            for path in containers(name[1:], kind):
                rows[path] = {**as_dict(rule)}
        elif name.startswith("metadata."):
            rows[name] = as_dict(rule)
    if special["schema"]:
        rows |= special["schema"]
        rows["status"] = {**as_dict(rules["status"]), "type": "object"}
    return emit(kind, versions, rows, exclusive=special["exclusive"] or [])


def spelled_out(path: str, leaf: Leaf) -> tuple[str, Leaf]:
    """A label map that the CRD types as a bare object is a map of strings."""
    if leaf.type == "object" and path.endswith("matchLabels"):
        return f"{path}.*", Leaf("string", (), leaf.versions)
    return path, leaf


def best_rule(path: str, rules: dict[str, Any]) -> Any:
    """The rule that covers the longest part of a path; of two alike, the one that is spelled out."""
    found = [
        (end, not name.startswith("**."), len(name), rule)
        for name, rule in rules.items()
        if not name.startswith("+") and (end := covered(name, path))
    ]
    return max(found, key=lambda entry: entry[:3])[3] if found else None


def covered(name: str, path: str) -> int:
    """How many characters of a path a rule covers; 0 if it does not apply."""
    body, start = (name[3:], r"(?:^|.*\.)") if name.startswith("**.") else (name, "")
    match = re.match(start + re.escape(body) + r"(?=$|\.|\[)", path)
    return match.end() if match else 0


def containers(name: str, kind: Kind) -> list[str]:
    """The containers that a `+` rule names: every prefix of a leaf that ends in it."""
    out: set[str] = set()
    for leaf in kind.leaves:
        parts = spelled_out(leaf, kind.leaves[leaf])[0].split(".")
        for count in range(1, len(parts) + 1):
            path = ".".join(parts[:count])
            for form in (path, path.removesuffix("[]")):
                if form == leaf:
                    continue
                if form == name or (name.startswith("**.") and ("." + form).endswith("." + name[3:])):
                    out.add(form)
    return sorted(out)


def as_dict(rule: Any) -> dict[str, Any]:
    return {"feature": rule} if isinstance(rule, str) else dict(rule)


def row(leaf: Leaf, rule: Any, kind: Kind, history: dict[Any, Any], path: str) -> dict[str, Any]:
    out = as_dict(rule)
    given_type, given_values = out.pop("type", None), out.pop("values", None)
    out["type"] = given_type or leaf.type
    values = list(given_values or leaf.values)
    if values and leaf.type not in ("integer", "boolean", "number"):
        out["values"] = values
        later = {
            v: h["since"]
            for v in values
            if (h := history.get((path, v))) and "since" in h and h["since"] != history.get((path,), {}).get("since")
        }
        if later:
            out["values_since"] = later
    elif values and leaf.type == "integer":
        out["values"] = [int(v) for v in values]
    for member in ("by_value", "irrelevant_values"):
        if member in out and out.get("values"):
            out[member] = {k: v for k, v in out[member].items() if k in out["values"]}
            if not out[member]:
                del out[member]
    for when, release in history.get((path,), {}).items():
        out.setdefault(when, release)
    out = {member: value for member, value in out.items() if value is not None}  # `since: null`: the schemas have it too late
    if leaf.versions and len(leaf.versions) < len(kind.versions):
        out["versions"] = [v for v in kind.versions if v in leaf.versions]
    return out


KEYS = [
    "feature",
    "inbound",
    "irrelevant",
    "type",
    "values",
    "by_value",
    "irrelevant_values",
    "values_since",
    "since",
    "until",
    "channel",
    "versions",
]


def emit(
    kind: Kind, versions: dict[str, Any], rows: dict[str, dict[str, Any]], passes: str = "", exclusive: Sequence[dict[str, Any]] = ()
) -> str:
    lines = [f"group: {kind.group}", f"kind: {kind.kind}", f"plural: {kind.plural}"]
    if kind.scope != "Namespaced":
        lines.append(f"scope: {kind.scope}")
    if passes:
        lines.append(f"passes: {flow(passes)}")
    lines.append("versions:")
    lines += [f"  {name}: {flow(facts)}" for name, facts in versions.items()]
    if exclusive:
        lines.append("exclusive:")
    for rule in exclusive:
        lines += [f"  - members: {flow(rule['members'])}"]
        lines += [f"    {member}: {flow(rule[member])}" for member in rule if member not in ("at", "members")]
        lines += ["    at:", *(f"      - {scalar(path)}" for path in rule["at"])]
    lines.append("fields:")
    for path in sorted(rows, key=lambda p: p.replace("[]", "").split(".")):
        lines += emit_row(path, rows[path])
    return "\n".join(lines) + "\n"


def emit_row(path: str, facts: dict[str, Any]) -> list[str]:
    key = scalar(path)
    ordered = {k: facts[k] for k in KEYS if k in facts}
    line = f"  {key}: {flow(ordered)}"
    if len(line) <= WIDTH:
        return [line]
    out = [f"  {key}:"]
    for name, value in ordered.items():
        line = f"    {name}: {flow(value)}"
        if len(line) <= WIDTH or not isinstance(value, (list, dict)):
            out.append(line)
        elif isinstance(value, list):
            out += wrapped_list(name, value)
        else:
            out.append(f"    {name}:")
            out += [f"      {scalar(k)}: {flow(v)}" for k, v in value.items()]
    return out


def wrapped_list(name: str, values: list[Any]) -> list[str]:
    lines, current = [], f"    {name}: ["
    for index, value in enumerate(values):
        piece = flow(value) + (", " if index < len(values) - 1 else "]")
        if len(current) + len(piece) > WIDTH:
            lines.append(current.rstrip())
            current = "      "
        current += piece
    return [*lines, current]


def flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """A YAML scalar that reads back as it is, plain where that is safe inside a flow mapping."""
    if isinstance(value, (bool, int, float)) or value is None:
        return str(yaml.safe_dump(value)).split("\n")[0]
    text = str(value)
    plain = re.fullmatch(r"[A-Za-z<][^,\[\]{}#\"]*", text) and ": " not in text and not text.endswith(":")
    if plain and yaml.safe_load(text) == text:
        return text
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.*\[\]-]*", text) and yaml_key_safe(text):
        return text  # a path, with its []
    return "'" + text.replace("'", "''") + "'" if '"' in text or "\\" in text else f'"{text}"'


def yaml_key_safe(text: str) -> bool:
    try:
        return list(yaml.safe_load(f"{text}: 1")) == [text]
    except yaml.YAMLError:
        return False


if __name__ == "__main__":
    sys.exit(main())
