"""The HTML report as a person uses it, in a real browser: nothing goes wrong, nothing leaves the page, and what can be clicked does what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sampling import some

import meshport
from meshport.report import exhibits, html
from meshport.report.forms import Material
from meshport.report.model import AuditReport

from .browser import MARKS, NARROW, WIDE, Opened, opened, started

pytestmark = MARKS

CORPUS = Path(__file__).parents[2] / "corpus"
CASES = sorted(path.parent.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/expected-*/convert.yaml"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with started() as found:
        yield found


def reported(bundle: meshport.Bundle, folder: Path, **options: Any) -> tuple[Path, AuditReport]:
    """The page of an audit, and what it was made from."""
    result = meshport.convert(bundle, **options)
    report = result.audit()
    file = folder / "report.html"
    file.write_text(html.write(Material(report, exhibits=lambda: exhibits.of_result(result))), encoding="utf-8")
    return file, report


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AuditReport]:
    return reported(meshport.load(str(CORPUS / "ecommerce/istio")), tmp_path_factory.mktemp("shop"), source="istio", target="linkerd")


def quiet(found: Opened) -> None:
    assert (found.wrong, found.asked) == ([], [])


def shown(found: Opened, selector: str) -> int:
    return int(found.page.locator(f"{selector}:visible").count())


def page_top(element: Any) -> int:
    return int(element.evaluate("element => element.offsetTop"))


@pytest.mark.parametrize("name", some(CASES, 3))
def test_every_scenario(browser: Any, tmp_path: Path, name: str) -> None:
    case = yaml.safe_load((CORPUS / name / "convert.yaml").read_text(encoding="utf-8"))
    bundle = meshport.load(str((CORPUS / name).parent / case["input"]))
    file, report = reported(bundle, tmp_path, source=case["from"], target=case["to"], **case.get("options", {}))
    with opened(browser, file) as found:
        page = found.page
        assert page.locator("html").get_attribute("data-findings") == str(len(report.findings))
        assert shown(found, ".finding") == len(report.findings)
        workloads = {f"{item.namespace}/{item.workload}" for item in report.audit.encryption.workloads}
        nodes = page.eval_on_selector_all("#changes svg [data-node]", "nodes => nodes.map(node => node.dataset.node)")
        assert {node for node in nodes if "/" in node} == workloads
        assert page.evaluate("document.documentElement.scrollWidth") == WIDE
        for severity in sorted({finding.severity for finding in report.findings})[:1]:
            page.select_option("#findings select[name=severity]", severity)
            assert shown(found, ".finding") == sum(1 for finding in report.findings if finding.severity == severity)
            page.locator(f".finding.{severity} summary").first.click()
            assert page.locator(f".finding.{severity} dl").first.is_visible()
        quiet(found)


def test_findings_are_filtered_and_searched(browser: Any, shop: tuple[Path, AuditReport]) -> None:
    file, report = shop
    with opened(browser, file) as found:
        page = found.page
        said = page.locator("#findings output")
        assert said.get_attribute("aria-live") == "polite"
        assert said.inner_text() == f"{len(report.findings)} of {len(report.findings)} shown"
        page.select_option("#findings select[name=code]", "MP551")
        assert shown(found, ".finding") == sum(1 for finding in report.findings if finding.code == "MP551") > 1
        assert shown(found, "#findings .severity") == 1  # headings of nothing are hidden too
        page.fill("#findings input[name=search]", "  WAITING requests ")
        assert said.inner_text() == f"1 of {len(report.findings)} shown"
        page.click("#findings button[type=reset]")
        page.select_option("#findings select[name=ns]", label="production")
        page.select_option("#findings select[name=pattern]", "ingress")
        assert page.locator(".finding:visible").evaluate_all("all => all.map(one => one.dataset.code)") == ["MP704"]
        page.click("#findings button[data-open=yes]")
        assert page.locator(".finding[open]").count() == 1
        page.select_option(".filter[data-items='.matrix tbody tr'] select[name=outcome]", "narrowed")
        assert shown(found, ".matrix tbody tr") == sum(1 for row in report.audit.access.rows if row.outcome == "narrowed")
        page.reload()
        assert shown(found, ".finding") == len(report.findings)  # nothing is remembered
        quiet(found)


def test_a_link_opens_its_finding_also_where_a_filter_hides_it(browser: Any, shop: tuple[Path, AuditReport]) -> None:
    with opened(browser, shop[0]) as found:
        page = found.page
        page.select_option("#findings select[name=severity]", "info")
        link = page.locator("#blockers a").first
        finding = page.locator(link.get_attribute("href"))
        assert not finding.is_visible()
        link.click()
        finding.locator(".sides").wait_for()
        page.locator("#findings details summary", has_text="By code").click()
        page.locator("#findings a[data-pick=MP206]").click()
        assert set(page.locator(".finding:visible").evaluate_all("all => all.map(one => one.dataset.code)")) == {"MP206"}
        quiet(found)


def test_source_and_output_stand_side_by_side_with_the_lines_marked(browser: Any, shop: tuple[Path, AuditReport]) -> None:
    file, report = shop
    number = next(number for number, finding in enumerate(report.findings) if finding.code == "MP204")
    with opened(browser, file) as found:
        finding = found.page.locator(f"#f{number}")
        summary = finding.locator("summary").first
        summary.focus()
        found.page.keyboard.press("Enter")
        left, right = finding.locator(".sides > div").first, finding.locator(".sides > div").last
        assert "path: /healthz" in [text.strip() for text in left.locator("mark").all_inner_texts()]
        assert "value: /healthz" in [text.strip() for text in right.locator("mark").all_inner_texts()]
        assert page_top(left) == page_top(right)
        found.page.set_viewport_size({"width": NARROW, "height": 900})
        assert page_top(left) < page_top(right)
        quiet(found)


def test_without_scripts_all_is_there(browser: Any, shop: tuple[Path, AuditReport]) -> None:
    file, report = shop
    with opened(browser, file, scripts=False) as found:
        page = found.page
        assert shown(found, ".finding") == len(report.findings)
        assert shown(found, ".filter") == 0  # what would do nothing is not shown
        assert shown(found, "svg") >= 3
        page.locator(".finding summary").first.click()
        assert page.locator(".finding").first.locator(".sides").is_visible()
        page.locator("nav a", has_text="mTLS").click()
        assert page.url.endswith("#mtls")
        quiet(found)


HOSTILE = """
apiVersion: v1
kind: Namespace
metadata: {name: "n'\\" onmouseover=alert(1) x=", labels: {istio-injection: enabled}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: "<script>alert(2)</script>", namespace: "n'\\" onmouseover=alert(1) x="}
spec:
  selector: {matchLabels: {app: "]]></svg><img src=x onerror=alert(3)>"}}
  template:
    metadata: {labels: {app: "]]></svg><img src=x onerror=alert(3)>"}}
    spec: {containers: [{name: main, ports: [{containerPort: 8080}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: "a</style></title><style>*{display:none}</style>", namespace: "n'\\" onmouseover=alert(1) x="}
spec: {host: "\u202etxt.exe", trafficPolicy: {outlierDetection: {interval: "--><svg onload=alert(4)>", consecutive5xxErrors: 5}}}
"""


def test_hostile_names_stay_text(browser: Any, tmp_path: Path) -> None:
    file, report = reported(meshport.load_text(HOSTILE, "in<b>.yaml"), tmp_path, source="istio", target="linkerd")
    with opened(browser, file) as found:
        page = found.page
        page.click("#findings button[data-open=yes]")
        text = page.locator("body").inner_text()
        for name in (
            "<script>alert(2)</script>",
            "a</style></title><style>*{display:none}</style>",
            "--><svg onload=alert(4)>",
            "in<b>.yaml",
        ):
            assert name in text
        assert "⟨U+202E⟩txt.exe" in text or "txt.exe" not in text
        assert page.locator("script, style").count() == 2
        assert page.locator("img, b[onload], [onmouseover]").count() == 0
        assert shown(found, ".finding") == len(report.findings) > 0
        quiet(found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_it_fits_and_can_be_read(browser: Any, shop: tuple[Path, AuditReport], width: int, scheme: str) -> None:
    with opened(browser, shop[0], width=width, scheme=scheme) as found:
        found.page.click("#findings button[data-open=yes]")
        assert found.page.evaluate("document.documentElement.scrollWidth") == width
        assert found.page.evaluate(FAINT) == []
        quiet(found)


FAINT = """
() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = numbers(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const faint = new Set();
  for (const element of document.querySelectorAll("body *:not(svg *):not(script)")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const [one, two] = [light(numbers(getComputedStyle(element).color)), light(ground(element))];
    const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (contrast < 4.5) faint.add(`${element.tagName}.${element.className} ${contrast.toFixed(2)}`);
  }
  return [...faint];
}
"""
"""Elements whose text has less contrast than WCAG 2 asks for (1.4.3: 4.5 to 1)."""


def test_on_paper_everything_is_unfolded_and_no_controls_are_left(browser: Any, shop: tuple[Path, AuditReport]) -> None:
    with opened(browser, shop[0], scripts=False) as found:
        assert found.page.pdf()[:5] == b"%PDF-"
        found.page.emulate_media(media="print")
        first = found.page.locator(".finding").first
        assert first.locator(".sides").bounding_box()["height"] > 50
        assert shown(found, "nav") == shown(found, ".filter") == 0
        quiet(found)
