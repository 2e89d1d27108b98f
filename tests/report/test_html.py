"""The HTML report: one file that needs nothing else, says what the JSON report says, and shows source and output of each finding without a secret."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import meshport
from meshport.cli.run import run
from meshport.documents import load_stream
from meshport.report import exhibits, html, masking
from meshport.report.forms import Material

CORPUS = Path(__file__).parents[2] / "corpus"
ECOMMERCE = str(CORPUS / "ecommerce/istio")


def page(tmp_path: Path, *arguments: str, command: str = "audit") -> str:
    file = tmp_path / "report.html"
    run([command, *arguments, "--report", str(file)])
    return file.read_text(encoding="utf-8")


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.parts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join("".join(self.parts).split())


@pytest.mark.parametrize(("command", "target"), [("audit", ["--to", "linkerd"]), ("convert", ["--to", "cilium", "-q"]), ("lint", [])])
def test_every_finding_is_there_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, target: list[str]) -> None:
    plain = tmp_path / "report.json"
    text = page(tmp_path, ECOMMERCE, *target, "--ignore", "MP214", "--report", str(plain), command=command)
    findings = json.loads(plain.read_text())["findings"]
    found = Page(text)
    assert found.all("html")[0]["data-findings"] == str(len(findings))
    cards = [item for item in found.all("details") if "finding" in (item.get("class") or "").split()]
    assert [item["data-code"] for item in cards] == [item["code"] for item in findings]
    assert [item["id"] for item in cards] == [f"f{number}" for number in range(len(findings))]
    assert [item.get("data-accepted") == "yes" for item in cards] == [item["suppressed"] is not None for item in findings]
    assert all(" ".join(item["message"].split()) in found.text for item in findings)


def test_the_answers_come_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = Page(page(tmp_path, ECOMMERCE, "--to", "linkerd")).text
    before_changes = text[: text.index("Ports whose access is not the same")]
    assert "Is any access widened? ✓ widened: 0, undecided: 0" in before_changes
    assert "Where is mTLS not enforced? ✓ enforced at 7 of 7 workloads" in before_changes
    assert "What stands in the way? ✕ 2 blockers" in before_changes
    assert "What is lost? ! 7 dropped, 1 manual" in before_changes  # the name that MP214 tells among them


def test_without_workloads_no_answer_is_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = Page(page(tmp_path, str(CORPUS / "ecommerce/istio-as-published"), "--to", "linkerd")).text
    assert "Is any access widened? ! widened: 0, undecided: 0 The input shows no workloads" in text
    assert "Where is mTLS not enforced? ! not known" in text
    assert "every port admits what it admitted" not in text


def test_a_lint_has_no_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Page(page(tmp_path, ECOMMERCE, command="lint"))
    ids = {item.get("id") for item in found.all("section")}
    assert {"answers", "findings", "provenance"} <= ids
    assert not ids & {"changes", "mtls", "removals", "ledger"}


def test_links_lead_somewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Page(page(tmp_path, ECOMMERCE, "--to", "linkerd"))
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    inner = {(item["href"] or "")[1:] for item in found.all("a") if (item["href"] or "").startswith("#")}
    labels = {attributes["aria-labelledby"] for _, attributes in found.elements if "aria-labelledby" in attributes}
    assert inner | labels <= set(ids)


def test_nothing_is_loaded_and_the_policy_admits_one_style_and_one_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = page(tmp_path, ECOMMERCE, "--to", "linkerd")
    found = Page(text)
    policy = next(item["content"] for item in found.all("meta") if item.get("http-equiv") == "Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (inner,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert f"{tag}-src 'sha256-{base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()}'" in policy
        assert "http" not in inner
    assert "unsafe" not in policy
    for tag, attributes in found.elements:
        assert not set(attributes) & {"src", "style", "srcset", "action"}, tag
        assert not [name for name in attributes if name.startswith("on")], tag
    assert {item["href"] for item in found.all("link")} == {"data:,"}


def test_equal_input_gives_equal_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    first = page(tmp_path, ECOMMERCE, "--to", "linkerd")
    assert page(tmp_path, ECOMMERCE, "--to", "linkerd") == first
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert "<time>1970-01-02</time>" in page(tmp_path, ECOMMERCE, "--to", "linkerd")


HOSTILE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: "a</style></script><script>alert(1)</script>", namespace: "x\\u202e'\\" onload=alert(1)"}
spec: {host: "*.<img src=x onerror=alert(1)>", trafficPolicy: {outlierDetection: {interval: "\\u0007& ]]> {{ 7*7 }} -->"}}}
"""


def test_hostile_names_stay_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "in.yaml"
    file.write_text(HOSTILE)
    text = page(tmp_path, str(file), "--from", "istio", "--to", "linkerd")
    found = Page(text)
    assert len(found.all("script")) == len(found.all("style")) == 1
    assert not found.all("img")
    assert "a</style></script><script>alert(1)</script>" in found.text
    assert "{{ 7*7 }}" in found.text
    assert "\u202e" not in text
    assert "⟨U+202E⟩" in text  # what turns the direction of text is spelt out


def test_a_run_that_stops_reports_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 'data-findings="' in page(tmp_path, ECOMMERCE, "--to", "linkerd", "--on-loss", "stop", command="convert")


def test_exceptions_say_who_and_until_when(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waivers = tmp_path / "w.yaml"
    waivers.write_text("- {code: MP704, owner: net@example.com, reason: 'the <edge> moves first', expires: 2099-01-01}\n")
    text = Page(page(tmp_path, ECOMMERCE, "--to", "linkerd", "--waivers", str(waivers))).text
    assert "the <edge> moves first net@example.com 2099-01-01 MP704" in text
    assert "Who accepted what? ! 1 exception" in text


# -- exhibits


def test_a_finding_shows_its_lines_and_those_written_for_it() -> None:
    result = meshport.convert(meshport.load(ECOMMERCE), target="linkerd")
    shown = exhibits.of_result(result)
    number = next(number for number, finding in enumerate(result.findings) if finding.code == "MP204" and "checkout" in finding.message)
    source, target = shown[number].source[0], shown[number].target

    def marked(item: exhibits.Excerpt) -> list[str]:
        return [item.lines[line - item.first].strip() for line in sorted(item.marked)]

    text = (Path(ECOMMERCE) / "workloads.yaml").read_text().splitlines()
    assert list(source.lines) == text[source.first - 1 : source.first - 1 + len(source.lines)]
    assert "path: /healthz" in marked(source)
    assert "value: /healthz" in [line for item in target for line in marked(item)]


def test_lines_of_the_output_are_those_of_the_files_written(tmp_path: Path) -> None:
    result = meshport.convert(meshport.load(ECOMMERCE), target="linkerd")
    result.write(str(tmp_path / "out"))
    seen = 0
    for exhibit in exhibits.of_result(result).values():
        for item in exhibit.target:
            written = (tmp_path / "out" / item.file).read_text().splitlines()
            assert list(item.lines) == written[item.first - 1 : item.first - 1 + len(item.lines)]
            seen += 1
    assert seen > 10


def test_where_there_is_no_room_each_code_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhibits, "BUDGET", 60)
    result = meshport.convert(meshport.load(ECOMMERCE), target="linkerd")
    shown = exhibits.of_findings(result.findings, result.known)
    assert len(shown) < len(result.findings)
    assert len({result.findings[number].code for number in shown}) == len(shown)  # no code twice before each has one


# -- what is hidden

SECRETS = """\
apiVersion: v1
kind: Secret
metadata:
  name: db
  annotations: {note: HIDDEN-note}
stringData:
  password: HIDDEN-a
  config: |
    first: HIDDEN-b
    HIDDEN-c
  # HIDDEN-comment
data: {k: SElEREVOLWQ=, m: "HIDDEN-d
    HIDDEN-e"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      automountServiceAccountToken: false
      containers:
      - env:
        - name: API_TOKEN
          value: HIDDEN-f
        - {name: DB_PASSWORD, value: HIDDEN-g}
        - name: LEVEL
          value: shown-a
        - name: KEY
          valueFrom: {secretKeyRef: {name: shown-b, key: shown-c}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt}
spec:
  jwtRules:
  - issuer: shown-d
    jwks: |
      {"keys": [{"kty": "HIDDEN-h",
        "n": "HIDDEN-i"}]}
  - issuer: shown-e
    jwksUri: https://user:HIDDEN-j@shown-f/
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Secret
  metadata: {name: listed}
  data: {a: HIDDEN-k}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: shown-g}
  data:
    text: |
      Authorization: Bearer HIDDEN-l
      -----BEGIN RSA PRIVATE KEY-----
      HIDDEN-m
      -----END RSA PRIVATE KEY-----
      shown-h
---
kind: Secret
stringData:
  broken: [HIDDEN-n
---
# token: HIDDEN-o, and more
# of secrets: shown-k
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: shown-i}
spec:
  listeners:
  - tls: {certificateRefs: [{kind: Secret, name: shown-j}]}
"""


def test_values_of_secrets_tokens_and_keys_are_hidden_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(SECRETS)
    lines = masking.lines(meshport.load(str(file)), str(file))
    text = "\n".join(lines)
    assert len(lines) == len(SECRETS.split("\n"))  # each line is where it was
    assert "HIDDEN" not in text
    assert "SElEREVOLWQ" not in text
    assert re.findall(r"shown-\w", text) == re.findall(r"shown-\w", SECRETS)
    assert "automountServiceAccountToken: false" in text
    assert "kind: Secret" in text


@pytest.mark.parametrize("form", ["json", "minified"])
def test_secrets_in_json_are_hidden(tmp_path: Path, form: str) -> None:
    objects = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"x": "HIDDEN", "y": "HIDDEN"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}, "spec": {"clusterIP": "None"}},
    ]
    file = tmp_path / "all.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2 if form == "json" else None))
    text = "\n".join(masking.lines(meshport.load(str(file)), str(file)))
    assert "HIDDEN" not in text
    assert ("clusterIP" in text) == (form == "json")  # one line holds it all, so the line is hidden


TEXTS = st.lists(
    st.sampled_from(
        [
            "HIDDEN",
            "b c",
            "x: y",
            "# z",
            "line\nbreak",
            "  lead",
            "trail  ",
            "'q'",
            '"d"',
            "- i",
            "{f}",
            "long " * 30,
            "\n\nblank\n",
            "a\n---\nb",
        ]
    ),
    min_size=1,
    max_size=3,
).map(lambda parts: "".join(parts) + "HIDDEN")
SECRET_OBJECTS = st.fixed_dictionaries(
    {"apiVersion": st.just("v1"), "kind": st.just("Secret"), "metadata": st.just({"name": "s", "namespace": "n"})},
    optional={key: st.dictionaries(st.sampled_from(["a", "name", "kind", "tls.key"]), TEXTS, min_size=1) for key in ("data", "stringData")},
)
TOKEN_OBJECTS = TEXTS.map(
    lambda text: {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"env": [{"name": "API_TOKEN", "value": text}, {"name": "L", "value": "l"}]},
    }
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(SECRET_OBJECTS | TOKEN_OBJECTS, min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from([None, '"', "'", "|", ">"]),
    st.sampled_from([True, False, None]),
    st.sampled_from([20, 80, 10_000]),
)
def test_however_it_is_laid_out_no_secret_is_shown(
    objects: list[dict[str, object]], listed: bool, style: str | None, flow: bool | None, width: int
) -> None:
    whole = [{"apiVersion": "v1", "kind": "List", "items": objects}] if listed else objects
    text = yaml.safe_dump_all(whole, default_style=style, default_flow_style=flow, width=width)
    lines = masking.lines(load_stream(text, "f"), "f")
    assert len(lines) == len(text.split("\n"))
    assert not [line for line in lines if "HIDDEN" in line]


def test_no_secret_reaches_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "in.yaml"
    file.write_text(SECRETS)
    for command, more in (("audit", ["--to", "linkerd"]), ("lint", [])):
        text = page(tmp_path, str(file), "--from", "istio", *more, command=command)
        assert "shown-d" in text
        assert "HIDDEN" not in text.replace("HIDDEN-comment", "")


def test_dashboards_and_alerts_are_listed_with_their_fate() -> None:
    found = meshport.audit(meshport.load(str(CORPUS / "observability/assets-of-istio")), source="istio", target="linkerd")
    text = html.write(Material(found))
    assert found.audit.assets
    for asset in found.audit.assets:
        assert asset.name in text
    assert 'href="#assets"' in text
