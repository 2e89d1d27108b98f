"""Every finding that opens a probe path shows a request: refused before, allowed after."""

from __future__ import annotations

from pathlib import Path

import pytest

import meshport

from .common import CORPUS


@pytest.mark.parametrize("networks", [[], ["10.1.0.0/16"]], ids=["any network", "the nodes alone"])
def test_an_openings_request_is_refused_before_and_allowed_after(tmp_path: Path, networks: list[str]) -> None:
    old = meshport.load(str(CORPUS / "ecommerce/istio"))
    result = meshport.convert(old, target="linkerd", probe_networks=networks)
    opening = [finding for finding in result.findings if finding.code in ("MP204", "MP205", "MP234")]
    assert {finding.code for finding in opening} == {"MP204", "MP234"}
    result.write(str(tmp_path / "out"))
    new = meshport.load(str(tmp_path / "out")).joined(old, lambda document: document.group == "apps")
    for finding in opening:
        assert finding.witness is not None
        assert not meshport.trace(old, finding.witness, mesh="istio").allowed
        assert meshport.trace(new, finding.witness, mesh="linkerd").allowed
