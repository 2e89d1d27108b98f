"""The pictures show exactly what the audit has, at every size, and whatever a name holds stays text."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import meshport
from meshport.report.audited import (
    ANY_IDENTITY,
    OUTSIDE,
    AccessMatrix,
    Audit,
    Edge,
    Effort,
    Encryption,
    FeatureUse,
    NamespaceReadiness,
    Outcome,
    PatternUse,
    Protection,
    Provenance,
    Share,
    State,
    WorkloadProtection,
)
from meshport.report.pictures import STYLE, patterns_by_support, readiness_by_namespace, service_graph

CORPUS = Path(__file__).parents[2] / "corpus"
HOSTILE = [
    "</title><script>alert(1)</script>",
    "\"onload='x'",
    "a\u202egnp.exe",
    "&lt;b&gt;",
    "nul\0\x1b[31m\ud800",
    "長い名前" * 20,
    "]]>",
    "",
]
ALL: tuple[Callable[[Audit], str], ...] = (service_graph, readiness_by_namespace, patterns_by_support)


def workload(name: str, before: State = "enforced", after: State = "enforced") -> WorkloadProtection:
    namespace, _, own = name.partition("/")
    order = ["off", "opportunistic", "enforced"]
    outcome = "same" if before == after else "stronger" if order.index(after) > order.index(before) else "weaker"
    one, two = (Protection(state=state, reason="said so", spots=[]) for state in (before, after))
    return WorkloadProtection.model_validate(
        {"namespace": namespace, "workload": own, "kind": "Deployment", "before": one, "after": two, "outcome": outcome, "ports": {}}
    )


def edge(
    source: str,
    destination: str,
    port: int = 8080,
    before: Share = "all",
    after: Share = "all",
    outcome: Outcome = "same",
    *,
    plain: bool = False,
) -> Edge:
    secret = not plain and source != OUTSIDE
    return Edge(
        source=source,
        destination=destination,
        port=port,
        before=before,
        after=after,
        outcome=outcome,
        encrypted_before=None if before == "none" else source != OUTSIDE,
        encrypted_after=None if after == "none" else secret,
    )


def audit(
    workloads: list[WorkloadProtection],
    edges: list[Edge],
    namespaces: list[NamespaceReadiness] | None = None,
    patterns: list[PatternUse] | None = None,
    left_out: int = 0,
) -> Audit:
    return Audit(
        provenance=Provenance(meshport_version="1", inputs="", table="", date=None),
        inventory=[],
        patterns=patterns or [],
        namespaces=namespaces or [],
        effort=Effort(automatic=0, review=0, manual=0),
        formulas={},
        encryption=Encryption(before={}, after={}, weaker=0, workloads=workloads),
        access=AccessMatrix(widened=0, undecided=0, narrowed=0, changed=0, same=0, postures=[], rows=[], edges=edges, left_out=left_out),
        exceptions=[],
    )


CHANGES: list[tuple[Share, Share, Outcome]] = [
    ("all", "all", "same"),
    ("some", "some", "same"),
    ("none", "some", "widened"),
    ("all", "none", "narrowed"),
    ("some", "undecided", "undecided"),
    ("some", "some", "changed"),
]


def fleet(count: int, edges: int, namespaces: int, seed: int = 1) -> Audit:
    """A graph as large as asked for, with every kind of edge."""
    rng = Random(seed)
    names = [f"team-{number % namespaces:03d}/service-{number}" for number in range(count)]
    ends = {(rng.choice([*names, OUTSIDE, ANY_IDENTITY]), rng.choice(names), rng.choice([8080, 9090])) for _ in range(edges * 2)}
    chosen = sorted(one for one in ends if one[0] != one[1])[:edges]
    found = [edge(*one, *rng.choice(CHANGES), plain=rng.random() < 0.1) for one in chosen]
    pairs: list[tuple[State, State]] = [("enforced", "enforced"), ("enforced", "opportunistic"), ("opportunistic", "enforced")]
    return audit([workload(name, *rng.choice(pairs)) for name in names], found)


def tree(markup: str) -> ElementTree.Element:
    """The figure as XML: well-formed markup is both."""
    return ElementTree.fromstring(markup)


def marked(markup: str, of: str) -> Iterator[dict[str, str]]:
    for element in tree(markup).iter():
        if of in element.get("class", "").split():
            yield dict(element.attrib)


def drawn(markup: str) -> Counter[tuple[str, str, str, str]]:
    return Counter((one["data-source"], one["data-destination"], one["data-port"], one["data-outcome"]) for one in marked(markup, "edge"))


def has(found: Audit) -> Counter[tuple[str, str, str, str]]:
    return Counter((one.source, one.destination, str(one.port), one.outcome) for one in found.access.edges)


@pytest.mark.parametrize(("count", "edges"), [(3, 4), (12, 14), (12, 60), (40, 160)])
def test_each_edge_is_drawn_once(count: int, edges: int) -> None:
    found = fleet(count, edges, 3)
    assert drawn(service_graph(found)) == has(found)


def test_a_small_graph_has_a_card_for_each_workload_and_callers_stand_left_of_whom_they_call() -> None:
    found = audit(
        [workload(f"shop/{name}") for name in ("web", "cart", "pay", "idle")],
        [edge("shop/web", "shop/cart"), edge("shop/cart", "shop/pay"), edge("shop/web", "shop/pay"), edge(OUTSIDE, "shop/web")],
    )
    picture = tree(service_graph(found))
    left = {}
    for node in picture.iter("{http://www.w3.org/2000/svg}g"):
        if node.get("class") == "node":
            left[node.attrib["data-node"]] = float(next(node.iter("{http://www.w3.org/2000/svg}rect")).attrib["x"])
    assert set(left) == {"shop/web", "shop/cart", "shop/pay", "shop/idle"}
    assert left["shop/web"] < left["shop/cart"] < left["shop/pay"]


def test_calls_in_a_circle_are_all_drawn() -> None:
    names = [f"shop/s{number}" for number in range(4)]
    found = audit([*map(workload, names)], [edge(one, two) for one in names for two in names])
    assert drawn(service_graph(found)) == has(found)


def test_a_difference_has_a_sign_beside_its_colour_and_plaintext_has_dashes() -> None:
    found = audit(
        [workload("a/x"), workload("a/y")],
        [
            edge("a/x", "a/y", 1, "none", "all", "widened"),
            edge("a/x", "a/y", 2, "all", "none", "narrowed"),
            edge("a/x", "a/y", 3, "some", "undecided", "undecided"),
            edge("a/x", "a/y", 4, "some", "some", "changed"),
            edge("a/x", "a/y", 5, plain=True),
            edge("a/x", "a/y", 6),
        ],
    )
    signs, dashed = {}, {}
    for element in tree(service_graph(found)).iter():
        classes = element.get("class", "").split()
        if "edge" in classes:
            texts = {inner.text for inner in element.iter() if "sign" in inner.get("class", "").split()}
            signs[element.attrib["data-port"]] = (classes[-1], "".join(text or "" for text in texts))
            dashed[element.attrib["data-port"]] = any("plain" in inner.get("class", "").split() for inner in element.iter())
    assert signs == {
        "1": ("widened", "+"),
        "2": ("narrowed", "−"),
        "3": ("undecided", "?"),
        "4": ("changed", "±"),
        "5": ("weaker", "!"),
        "6": ("same", ""),
    }
    assert dashed == {"1": False, "2": False, "3": False, "4": False, "5": True, "6": False}


def test_a_title_says_the_edge_in_words() -> None:
    found = audit([workload("a/x"), workload("a/y")], [edge("a/x", "a/y", 80, "some", "all", "widened", plain=True)])
    assert "a/x → a/y:80, before: some requests, encrypted; after: all requests, not encrypted (+ more is let in)" in service_graph(found)


@pytest.mark.parametrize(("count", "edges", "namespaces"), [(60, 300, 6), (500, 5000, 25), (300, 2000, 150)])
def test_a_large_graph_counts_by_namespace_and_loses_nothing(count: int, edges: int, namespaces: int) -> None:
    found = fleet(count, edges, namespaces)
    picture = service_graph(found)
    cells = list(marked(picture, "cell-of"))
    assert sum(int(one["data-edges"]) for one in cells) == len(found.access.edges)
    for outcome in ("widened", "undecided"):
        assert sum(int(one[f"data-{outcome}"]) for one in cells) == sum(one.outcome == outcome for one in found.access.edges)
    assert sum(int(one["data-plain"]) for one in cells) == sum(one.encrypted_after is False for one in found.access.edges)
    assert sum(int(one["data-workloads"]) for one in marked(picture, "node")) == count
    for one in cells:
        for end in (one["data-source"], one["data-destination"]):
            assert end in (OUTSIDE, ANY_IDENTITY) or end.endswith(" other namespaces") or end.startswith("team-")


def test_a_large_graph_lists_what_differs() -> None:
    found = fleet(60, 300, 6)
    picture = service_graph(found)
    listed = sum(int(one.attrib["data-edges"]) for one in tree(picture).iter("li"))
    same = [one for one in found.access.edges if one.outcome == "same" and one.encrypted_before == one.encrypted_after]
    assert listed == len(found.access.edges) - len(same)
    widened = next(one for one in found.access.edges if one.outcome == "widened")
    assert re.search(rf"{widened.destination}:{widened.port} more is let in, from [^<]*{re.escape(widened.source)}", picture)


def test_edges_that_the_report_leaves_out_are_spoken_of() -> None:
    assert "7 more edges are not in the report" in service_graph(audit([workload("a/x")], [], left_out=7))


def test_500_services_with_5000_edges_take_under_a_second() -> None:
    found = fleet(500, 5000, 25)
    start = time.process_time()
    service_graph(found)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("count", [2, 30, 80])
def test_hostile_names_stay_text(count: int) -> None:
    names = [f"{HOSTILE[number % len(HOSTILE)]}{number}/{HOSTILE[(number * 3) % len(HOSTILE)]}{number}" for number in range(count)]
    effort = Effort(automatic=1, review=2, manual=3)
    found = audit(
        [*map(workload, names)],
        [edge(names[number - 1], name) for number, name in enumerate(names)],
        [NamespaceReadiness(namespace=name, resources=6, effort=effort, readiness=0.5, blockers=[1]) for name in names],
        [
            PatternUse(pattern="x", title=name, before=name, after=name, resources=1, effort=effort, readiness=1, features=[])
            for name in names
        ],
    )
    for picture in ALL:
        markup = picture(found)
        assert {element.tag.rpartition("}")[2] for element in tree(markup).iter()} <= {
            *(
                "figure",
                "div",
                "svg",
                "title",
                "desc",
                "g",
                "path",
                "rect",
                "circle",
                "text",
                "figcaption",
                "p",
                "details",
                "summary",
                "ul",
                "li",
                "b",
            )
        }
        assert "<script" not in markup
        markup.encode()
    if count == 2:
        texts = "".join(tree(service_graph(found)).itertext())
        assert "<script>alert(1)</script>" in texts
        assert "onload=" not in {key for element in tree(service_graph(found)).iter() for key in element.attrib}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from(CHANGES)), max_size=40),
    st.lists(st.text(max_size=30), max_size=10),
)
def test_any_graph_is_drawn_whole_and_equal_input_gives_equal_bytes(
    calls: list[tuple[int, int, tuple[Share, Share, Outcome]]], names: list[str]
) -> None:
    nodes = [f"ns/{number}{names[number] if number < len(names) else ''}" for number in range(10)]
    edges = {(one, two): edge(nodes[one], nodes[two], 80, *change) for one, two, change in calls}
    found = audit([*map(workload, nodes)], list(edges.values()))
    picture = service_graph(found)
    assert sum(drawn(picture).values()) == len(edges)
    assert picture == service_graph(found)


def test_nothing_carries_an_id_a_script_or_a_style_of_its_own() -> None:
    for found in (fleet(12, 20, 2), fleet(30, 90, 3), fleet(80, 300, 8)):
        for picture in ALL:
            markup = picture(found)
            for element in tree(markup).iter():
                assert not {key for key in element.attrib if key in ("id", "style", "href") or key.startswith("on")}
            assert "url(" not in markup
    assert "@import" not in STYLE
    assert "url(" not in STYLE


def test_who_does_not_see_it_is_told_what_it_shows() -> None:
    for picture in ALL:
        svg = next(tree(picture(fleet(12, 20, 2))).iter("{http://www.w3.org/2000/svg}svg"))
        assert svg.attrib["role"] == "img"
        title, said = (next(svg.iter(f"{{http://www.w3.org/2000/svg}}{name}")).text or "" for name in ("title", "desc"))
        assert svg.attrib["aria-label"] == f"{title}. {said}"


def test_long_names_are_cut_in_the_middle_and_said_whole_in_the_title() -> None:
    name = "payment-processing-orchestrator-for-the-european-market-canary"
    picture = service_graph(audit([workload(f"shop/{name}")], []))
    assert re.search(r"<title>payment-processing-orchestrator-for-the-european-market-canary</title>payment[a-z-]*…[a-z-]*canary<", picture)


def test_readiness_has_a_bar_for_each_namespace_least_ready_first() -> None:
    def ready(name: str, score: float, manual: int, blockers: list[int]) -> NamespaceReadiness:
        effort = Effort(automatic=8, review=1, manual=manual)
        return NamespaceReadiness(namespace=name, resources=9 + manual, effort=effort, readiness=score, blockers=blockers)

    found = audit([], [], [ready("done", 1, 0, []), ready("nearly", 0.99999, 1, []), ready("stuck", 0.5, 5, [3, 4])])
    picture = readiness_by_namespace(found)
    assert [one["data-row"] for one in marked(picture, "row")] == ["stuck", "nearly", "done"]
    assert "2 blockers" in picture
    assert ">99.9 %<" in picture  # 100 % is everything
    manual = [int(one["data-count"]) for one in marked(picture, "is-manual") if "data-count" in one]
    assert manual == [5, 1]


def test_many_namespaces_keep_the_sum_of_their_resources() -> None:
    effort = Effort(automatic=3, review=2, manual=1)
    found = audit(
        [], [], [NamespaceReadiness(namespace=f"n{i}", resources=6, effort=effort, readiness=i / 500, blockers=[]) for i in range(500)]
    )
    picture = readiness_by_namespace(found)
    rows = [one["data-row"] for one in marked(picture, "row")]
    assert rows[-1] == "440 other namespaces"
    assert sum(int(one["data-count"]) for one in marked(picture, "is-review") if "data-count" in one) == 1000


def test_patterns_show_values_by_what_the_target_has_for_them() -> None:
    def feature(support: str, leaves: int, **became: int) -> FeatureUse:
        return FeatureUse(feature="x", title="x", support=support, leaves=leaves, became=became, says="")

    effort = Effort(automatic=1, review=0, manual=0)
    features = [feature("native", 4, translated=4), feature("none", 3, dropped=2, irrelevant=1), feature("approximate", 2, approximated=2)]
    use = PatternUse(
        pattern="retry", title="Retry", before="here", after="there", resources=1, effort=effort, readiness=0.7, features=features
    )
    counts = {one["data-part"]: int(one["data-count"]) for one in marked(patterns_by_support(audit([], [], None, [use])), "bar-part")}
    assert counts == {"native": 4, "approximate": 2, "none": 2, "irrelevant": 1}


@pytest.mark.parametrize(
    "place",
    [path for path in sorted(CORPUS.glob("*/*")) if path.name in ("istio", "linkerd", "cilium")],
    ids=lambda path: f"{path.parent.name}-{path.name}",
)
def test_every_scenario_is_drawn_whole(place: Path) -> None:
    target = "linkerd" if place.name != "linkerd" else "istio"
    found = meshport.audit(meshport.load(str(place)), source=place.name, target=target).audit
    assert drawn(service_graph(found)) == has(found)
    assert {one["data-row"] for one in marked(readiness_by_namespace(found), "row")} == {item.namespace for item in found.namespaces}
    assert len(list(marked(patterns_by_support(found), "row"))) == len(found.patterns)
