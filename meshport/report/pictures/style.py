"""The style sheet of the pictures. Colours are the page's where it has them; what a colour says, a sign or a shape says as well."""

from __future__ import annotations

_LIGHT = {
    "ink": "#1f2328",
    "muted": "#59636e",
    "line": "#d0d7de",
    "paper": "#ffffff",
    "card": "#f6f8fa",
    "ok": "#1a7f37",
    "warn": "#9a6700",
    "bad": "#c4281d",
    "note": "#6b3fa0",
    "info": "#0b5cad",
}
_DARK = {
    "ink": "#e6edf3",
    "muted": "#9da5ae",
    "line": "#3d444d",
    "paper": "#0d1117",
    "card": "#1a2028",
    "ok": "#57c97a",
    "warn": "#e3b341",
    "bad": "#ff8a80",
    "note": "#c9a6ff",
    "info": "#79b8ff",
}


def _variables(values: dict[str, str], page: bool = True) -> str:
    return "".join(f"--p-{name}:var(--{name},{value});" if page else f"--p-{name}:{value};" for name, value in values.items())


STYLE = (
    f"""
.picture{{{_variables(_LIGHT)}margin:1rem 0;color:var(--p-ink)}}
@media (prefers-color-scheme:dark){{.picture{{{_variables(_DARK)}}}}}
@media print{{.picture{{{_variables(_LIGHT, page=False)}}}}}
"""
    + """
.picture .drawing{overflow-x:auto}
.picture svg{display:block;max-width:100%;height:auto;font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.picture svg.wide{min-width:1000px}
.picture figcaption{color:var(--p-muted);font-size:.875rem;margin-top:.5rem}
.picture details{margin-top:.5rem;font-size:.875rem}
.picture .list{margin:.5rem 0;padding:0;list-style:none;columns:30rem;overflow-wrap:anywhere}
.picture .list li{margin:.15rem 0;padding-left:1.6em;text-indent:-1.6em;break-inside:avoid;unicode-bidi:isolate}
.picture .list b{display:inline-block;width:1.4em;text-indent:0;text-align:center}
.picture text{fill:var(--p-ink);unicode-bidi:isolate}
.picture .small{font-size:11px;fill:var(--p-muted)}
.picture .tiny{font-size:10px;fill:var(--p-muted)}
.picture .name{font-weight:600}
.picture .mid{text-anchor:middle}
.picture .end{text-anchor:end}
.picture .rule{stroke:var(--p-line);stroke-width:1}
.picture .stripe{fill:var(--p-card)}
.picture .card{fill:var(--p-card);stroke:var(--p-muted);stroke-width:1.2}
.picture .card.out{fill:none;stroke-dasharray:2 3}
.picture .card.weaker{stroke:var(--p-bad);stroke-width:2}
.picture .card.stronger{stroke:var(--p-ok);stroke-width:2}
.picture .link,.picture .ring{fill:none;stroke:currentColor}
.picture .ring{stroke-width:1.3}
.picture .thin{stroke-width:1.3}
.picture .thick{stroke-width:2.6}
.picture .plain{stroke-dasharray:5 4}
.picture .ring.plain{stroke-dasharray:2.2 1.9}
.picture .gone{stroke-opacity:.55}
.picture .full,.picture .head{fill:currentColor}
.picture .badge{fill:var(--p-paper);stroke:currentColor;stroke-width:1.3}
.picture .origin{fill:var(--p-paper);stroke:currentColor;stroke-width:1.4}
.picture .cell{fill:currentColor;fill-opacity:.13;stroke:currentColor;stroke-width:1.2}
.picture .same .cell{fill-opacity:.06;stroke-opacity:.25}
.picture .sign{font-weight:700;text-anchor:middle;fill:currentColor}
.picture .count{text-anchor:middle;font-weight:600;fill:var(--p-ink)}
.picture .same{color:var(--p-muted)}
.picture .widened,.picture .changed,.picture .weaker{color:var(--p-bad)}
.picture .narrowed{color:var(--p-warn)}
.picture .undecided{color:var(--p-note)}
.picture .stronger{color:var(--p-ok)}
.picture .bar{stroke:var(--p-paper);stroke-width:1;fill:currentColor}
.picture .is-automatic,.picture .is-native,.picture .is-enforced{color:var(--p-ok)}
.picture .is-install{color:var(--p-info)}
.picture .is-review,.picture .is-approximate,.picture .is-opportunistic{color:var(--p-warn)}
.picture .is-external,.picture .is-unknown{color:var(--p-note)}
.picture .is-manual,.picture .is-none,.picture .is-off{color:var(--p-bad)}
.picture .is-irrelevant,.picture .is-out-of-mesh{color:var(--p-line)}
.picture .on{fill:var(--p-paper);text-anchor:middle;font-size:11px;font-weight:600}
.picture .is-irrelevant .on,.picture .is-out-of-mesh .on{fill:var(--p-ink)}
.picture .on.tiny{font-size:9px}
.picture .blockers{fill:var(--p-bad);font-weight:600}
@media print{.picture .drawing{overflow:visible}.picture svg.wide{min-width:0}}
"""
)
