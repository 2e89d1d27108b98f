"""The report as one HTML file that needs nothing else: no network, no fonts, no images, and scripts only for comfort.

The markup is in `templates/`, where everything that comes from a bundle is escaped by jinja2. The page's policy (Content-Security-Policy) admits the one style sheet and
the one script by their hashes and nothing else, so that what a hostile name smuggled past the escaping would still not run. Equal input gives equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from meshport.compare.request import UNNAMED
from meshport.documents.secrets import names_secret
from meshport.findings import SEVERITIES
from meshport.report import masking, pictures
from meshport.report.model import AuditReport
from meshport.report.words import TITLES, coverage, door, losses, place, plural, release, subject

if TYPE_CHECKING:
    from meshport.report.audited import Audit, Protection, Spot, WorkloadProtection
    from meshport.report.forms import Material
    from meshport.report.model import Affects, Report, ReportFinding

ROWS = 2_000
"""Rows of one table; what is beyond is counted."""
MOST = 500
"""Items of one list, likewise."""
STATES = {
    "enforced": "every caller that is let in shows a certificate",
    "opportunistic": "callers that have a certificate use it, others are let in as well; or only the path between nodes is encrypted",
    "off": "in the mesh, and nothing is encrypted",
    "out of mesh": "no proxy and no mesh in front of it",
    "unknown": "the bundle does not say whether it is in the mesh",
}
DISPOSITIONS = {
    "translated": "stands in the output with the same effect",
    "approximated": "stands in the output with nearly the same effect; a finding says what differs",
    "installed": "is a setting of the target's installation",
    "manual": "somebody has to do it; a finding says what",
    "dropped": "the target cannot say it; a finding says so",
    "invalid": "did nothing in the source either",
    "irrelevant": "decides nothing, by a row of the mapping table with the reason",
    "passed_through": "belongs to no mesh and stays as it is",
    "unaccounted": "a defect of meshport",
}
_MESHES = {
    "istio": "Istio",
    "linkerd": "Linkerd",
    "cilium": "Cilium",
    "gateway-api": "Gateway API",
    "smi": "SMI",
    "helm": "Helm",
    "kubernetes": "Kubernetes",
}
_WORST = ("widened", "undecided", "changed", "narrowed", "same")
_SIGNLESS = (
    *(
        range(0x09),
        range(0x0B, 0x0D),
        range(0x0E, 0x20),
        range(0x7F, 0xA0),
        range(0x061C, 0x061D),
        range(0x200B, 0x2010),
        range(0x2028, 0x202F),
    ),
    *(range(0x2060, 0x2070), range(0xFEFF, 0xFF00), range(0xD800, 0xE000), range(0xFFFE, 0x10000)),
)
_INVISIBLE = {code: f"⟨U+{code:04X}⟩" for codes in _SIGNLESS for code in codes}
"""What a page cannot hold, and what turns the direction of text or hides in it, as something that can be read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A question of those who decide. `state` is good, look or stop."""

    question: str
    said: str
    more: str
    state: str
    section: str


@dataclass(frozen=True, slots=True)
class CodeCount:
    """The findings of one code; `first` is the number of the first one."""

    code: str
    severity: str
    title: str
    count: int
    first: int


def write(material: Material) -> str:
    """The text of a `.html` file."""
    report = material.report
    audit = report.audit if isinstance(report, AuditReport) else None
    homes = {name: str(number) for number, name in enumerate(sorted(_namespaces(report, audit)))}
    exhibits = material.exhibits()
    style, script = _part("style.css") + pictures.STYLE, _part("script.js")
    template = _environment(homes).get_template("report.html.j2")
    return template.render(
        report=report,
        audit=audit,
        findings=report.findings,
        exhibits=exhibits,
        cut=0 < len(exhibits) < len(report.findings),
        title=_title(report),
        source=_mesh(report.source.mesh),
        target=_mesh(report.target.mesh) if report.target else "",
        sections=list(_sections(report, audit)),
        answers=list(_answers(report, audit)),
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        namespaces=[(number, name) for name, number in homes.items()],
        rows=ROWS,
        most=MOST,
        **(_of_audit(audit) if audit else {}),
        **_of_findings(report.findings),
        **_of_record(report),
    )


# -- the page


def _policy(style: str, script: str) -> str:
    def admits(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return f"default-src 'none'; style-src {admits(style)}; script-src {admits(script)}; img-src data:; base-uri 'none'; form-action 'none'"


@lru_cache(maxsize=1)
def _shared() -> Environment:
    found = Environment(
        loader=FunctionLoader(_part),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        count_of=plural,
        percent=lambda share: f"{share:.0%}",
        door=door,
        grants=_grants,
        places=_places,
        where=_where,
        affected=_affected,
        request=_asked,
        option=_option,
        mesh=_mesh,
        slug=_slug,
        options=lambda states: [(_slug(state), state) for state in states],
    )
    return found


def _environment(homes: Mapping[str, str]) -> Environment:
    """The templates, with the filters that know the namespaces of this report."""
    found = _shared().overlay()
    found.filters = {
        **found.filters,
        "home": lambda name: homes.get(name, ""),
        "homes": lambda row: " ".join(sorted({homes[door.namespace] for door in row.doors})),
        "homes_of": partial(_homes_of, homes),
    }
    return found


@lru_cache
def _part(name: str) -> str:
    return (files("meshport.report") / "templates" / name).read_text(encoding="utf-8")


def _visible(value: Any) -> Any:
    """What is put into the page: signs that cannot be seen are spelt out."""
    return value.translate(_INVISIBLE) if isinstance(value, str) and not isinstance(value, Markup) else value


def _legible(markup: Markup) -> Markup:
    """The same in finished markup, which none of these signs is part of."""
    return Markup(str(markup).translate(_INVISIBLE))


def _title(report: Report) -> str:
    source, target = release(_mesh(report.source.mesh), report.source.version), report.target
    if target is None:
        return f"meshport lint: {source}"
    return f"{source} to {release(_mesh(target.mesh), target.version, target.data_plane)}"


def _sections(report: Report, audit: Audit | None) -> Iterator[tuple[str, str]]:
    if audit is not None:
        yield from (("answers", "Answers"), ("changes", "Access that changes"), ("matrix", "Access matrix"), ("mtls", "mTLS"))
        yield from (("patterns", "Patterns"), ("readiness", "Readiness"), ("blockers", "Blockers"))
    yield ("findings", f"Findings ({len(report.findings)})")
    if audit is not None and audit.assets:
        yield ("assets", "Dashboards and alerts")
    if report.target is not None:
        yield from (("removals", "Removals"), ("install", "Install"))
    yield ("exceptions", "Exceptions")
    if report.ledger is not None:
        yield ("ledger", "Ledger")
    yield from (("inventory", "Inventory"), ("provenance", "Provenance"))


# -- what is asked first


def _answers(report: Report, audit: Audit | None) -> Iterator[Answer]:
    live = [finding for finding in report.findings if finding.suppressed is None]
    counts = Counter(str(finding.severity) for finding in live)
    if audit is not None:
        yield from _security(audit, report.verification.verdict if report.verification is not None else "")
        yield from _work(report, audit, counts["error"])
        return
    said = f"{plural(counts['error'], 'error')}, {plural(counts['warning'], 'warning')}, {counts['info']} info"
    state = "stop" if counts["error"] else "look" if counts["warning"] else "good"
    yield Answer("What is wrong?", said, f"{len(report.findings) - len(live)} accepted or suppressed.", state, "findings")


def _security(audit: Audit, verdict: str) -> Iterator[Answer]:
    access, encryption = audit.access, audit.encryption
    whole, after = sum(encryption.after.values()), encryption.after["enforced"]
    unseen = (
        "The input shows no workloads, so this says little: add them (kubectl get deploy,sts,ds,svc,ns -A -o yaml)." if not whole else ""
    )
    open_ = access.widened or access.changed or verdict in ("widened", "changed")
    yield Answer(
        "Is any access widened?",
        f"widened: {access.widened}, undecided: {access.undecided}",
        unseen or f"Ports of workloads; narrowed: {access.narrowed}, both: {access.changed}, same: {access.same}.",
        "stop" if open_ else "look" if access.undecided or unseen or verdict == "inconclusive" else "good",
        "changes",
    )
    yield Answer(
        "Where is mTLS not enforced?",
        f"enforced at {after} of {plural(whole, 'workload')}" if whole else "not known",
        unseen or f"{encryption.before['enforced']} before; weaker at {encryption.weaker}.",
        "stop" if encryption.weaker else "look" if after < whole or unseen else "good",
        "mtls",
    )


def _work(report: Report, audit: Audit, errors: int) -> Iterator[Answer]:
    effort = audit.effort
    yield Answer(
        "How much work is it?",
        f"{effort.review} to review, {effort.manual} by hand",
        f"{effort.automatic} of {plural(effort.automatic + effort.review + effort.manual, 'resource')} go by themselves.",
        "look" if effort.review or effort.manual else "good",
        "patterns",
    )
    yield Answer(
        "What stands in the way?",
        plural(errors, "blocker"),
        "Errors that nobody has accepted.",
        "stop" if errors else "good",
        "blockers",
    )
    if report.ledger is not None:
        lost = losses(report.ledger)
        state = "stop" if report.ledger.unaccounted else "look" if lost else "good"
        yield Answer(
            "What is lost?", ", ".join(lost) or "nothing", f"Of {plural(report.ledger.leaves, 'value')} of the input.", state, "ledger"
        )
    found = Counter(item.state for item in audit.exceptions)
    hidden = sum(1 for finding in report.findings if finding.suppressed is not None)
    yield Answer(
        "Who accepted what?",
        plural(found["active"], "exception"),
        f"{plural(hidden, 'finding')} accepted or suppressed; {found['expired']} expired, {found['unused']} unused.",
        "stop" if found["expired"] else "look" if hidden else "good",
        "exceptions",
    )


# -- the parts, in the order and the groups in which they are shown


def _of_audit(audit: Audit) -> dict[str, Any]:
    changed = [row for row in audit.access.rows if row.outcome != "same"]
    return {
        "changed": sorted(changed, key=lambda row: _WORST.index(row.outcome)),
        "but": sum(len(row.doors) for row in audit.access.rows if row.outcome == "same" and row.reason),
        "outcomes": [(name, "both" if name == "changed" else name) for name in _WORST],
        "states": STATES,
        "coverage": sorted(coverage(audit), key=_urgency),
        "outcomes_of_protection": [(name, name) for name in ("weaker", "undecided", "stronger", "same")],
        "graph": _legible(pictures.service_graph(audit)),
        "support_picture": _legible(pictures.patterns_by_support(audit)),
        "readiness_picture": _legible(pictures.readiness_by_namespace(audit)),
    }


def _urgency(row: tuple[WorkloadProtection, str, Protection, Protection]) -> tuple[int, int, str, str]:
    item, _, _, after = row
    worst = ("weaker", "undecided", "stronger", "same").index(item.outcome)
    return (worst, int(after.state == "enforced" and not item.ports), item.namespace, item.workload)


def _of_findings(findings: Sequence[ReportFinding]) -> dict[str, Any]:
    from meshport.mapping.table import builtin

    pages = builtin().codes()
    numbers: dict[str, list[int]] = {}
    for number, finding in enumerate(findings):
        numbers.setdefault(finding.code, []).append(number)
    codes = [
        CodeCount(code, findings[found[0]].severity, pages[code].title if code in pages else "", len(found), found[0])
        for code, found in numbers.items()
    ]
    groups = [
        (severity, TITLES[severity], [number for number, finding in enumerate(findings) if finding.severity == severity])
        for severity in SEVERITIES
    ]
    used = Counter(str(finding.severity) for finding in findings)
    otherwise = [number for number, finding in enumerate(findings) if finding.suppressed is not None and finding.suppressed.by != "waiver"]
    return {
        "codes": codes,
        "code_options": [(item.code, f"{item.code} ({item.count})") for item in sorted(codes, key=lambda item: item.code)],
        "severities": [(severity, f"{severity} ({used[severity]})") for severity in SEVERITIES if used[severity]],
        "patterns": [(name, name) for name in sorted({finding.pattern for finding in findings} - {""})],
        "accepted": any(finding.suppressed is not None for finding in findings),
        "by_severity": [group for group in groups if group[2]],
        "blockers": [number for number, finding in enumerate(findings) if finding.severity == "error" and finding.suppressed is None],
        "otherwise": otherwise,
        "otherwise_by": sorted({suppressed.by for number in otherwise if (suppressed := findings[number].suppressed) is not None}),
    }


def _of_record(report: Report) -> dict[str, Any]:
    written: dict[str, Counter[str]] = {}
    for item in report.outputs:
        written.setdefault(item.file, Counter())[item.kind] += 1
    return {
        "helm": [(chart, _yaml(values)) for chart, values in sorted(report.install.helm_values.items())],
        "commands": "\n".join(map(masking.text, report.install.commands)),
        "written": [
            (file, ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))) for file, kinds in sorted(written.items())
        ],
        "dispositions": DISPOSITIONS,
    }


def _yaml(values: Mapping[str, Any]) -> str:
    from meshport.documents import dump

    return "\n".join(map(masking.text, dump([dict(values)]).rstrip("\n").split("\n")))


def _namespaces(report: Report, audit: Audit | None) -> set[str]:
    found = {name for finding in report.findings for name in _named(finding)}
    if audit is not None:
        found |= {door.namespace for row in audit.access.rows for door in row.doors}
        found |= {item.namespace for item in audit.encryption.workloads}
    return {name for name in found if name}


def _named(finding: ReportFinding) -> set[str]:
    """The namespaces that a finding concerns."""
    found = {item.namespace for item in finding.affects}
    if finding.resource is not None:
        found.add(finding.resource.namespace)
    return {name for name in found if name}


# -- words


def _mesh(name: str) -> str:
    return _MESHES.get(name, name)


def _slug(text: str) -> str:
    return text.replace(" ", "-")


def _grants(rows: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """(caller, what it may send): methods with the same paths in one."""
    for peer, said in rows.items():
        paths: dict[str, list[str]] = {}
        for method, path in said.items():
            paths.setdefault(path, []).append(method)
        yield peer, "; ".join(f"{', '.join(methods)} {path}".strip() for path, methods in paths.items())


def _places(spots: Sequence[Spot]) -> list[str]:
    """`file:lines` for each file, `file path` where no lines are known; that an object is there is said by its file."""
    lines: dict[str, list[int]] = {}
    paths: dict[str, list[str]] = {}
    for spot in spots:
        file = spot.file or ("input" if spot.side == "before" else "output")
        if spot.line is not None:
            lines.setdefault(file, []).append(spot.line)
        else:
            paths.setdefault(file, []).extend([] if spot.path in ("kind", "metadata.name", "metadata.namespace") else [spot.path])
    found = [f"{file}:{','.join(map(str, sorted(set(at))))}" for file, at in lines.items()]
    found += [f"{file} {', '.join(dict.fromkeys(at))}".strip() for file, at in paths.items()]
    return [*found[:3], *([f"and {len(found) - 3} more"] if len(found) > 3 else [])]


def _where(finding: ReportFinding) -> str:
    return " · ".join(part for part in (place(finding), subject(finding)) if part)


def _affected(item: Affects) -> str:
    name = "/".join(part for part in (item.namespace, item.workload) if part) or "the mesh"
    return f"{name}:{item.port}" if item.port is not None else name


def _homes_of(homes: Mapping[str, str], finding: ReportFinding) -> str:
    return " ".join(homes[name] for name in sorted(_named(finding)))


def _asked(finding: ReportFinding) -> str:
    """The witness of a finding in one line; where no port is concerned by its number, the number that stands for all of those that nothing names is not one."""
    witness: dict[str, Any] = {**(finding.witness or {})}
    destination = dict(witness.get("destination") or {})
    if destination.get("port") == UNNAMED and not any(item.port == UNNAMED for item in finding.affects):
        witness["destination"] = {**destination, "port": "any other"}
    return ", ".join(_flat(witness))


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """A request in one line, without the values of headers that hold a secret."""
    for key, below in value.items():
        name = f"{before}{key.replace('_', ' ')}"
        if isinstance(below, Mapping):
            yield from _flat(below, f"{name} ")
        else:
            yield f"{name}: {masking.MASK if names_secret(key) else below}"


def _option(value: Any) -> str:
    if value is None or value in ([], {}, ""):
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
