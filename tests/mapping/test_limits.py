"""The limits of values are those of the CRDs, and a row of the deprecated fields stands for a field that the bindings know."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from meshport.mapping.table import builtin, split_path

ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT.parent / "shared" / "crds"


@pytest.mark.skipif(not CRDS.is_dir(), reason=f"needs the CRDs at {CRDS}, which are absent")
def test_the_limits_are_those_of_the_crds() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "limits_skeleton.py"), "--crds", str(CRDS), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


ROWS = yaml.safe_load((ROOT / "mappings" / "deprecated.yaml").read_text(encoding="utf-8"))["fields"]


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['kind']}-{row['at']}" for row in ROWS])
def test_a_deprecated_field_is_one_that_is_known(row: dict[str, str]) -> None:
    group, _, name = row["kind"].rpartition("/")
    kind = builtin().kind(group, name)
    assert kind is not None
    node = kind.root
    for step in split_path(row["at"]):
        below = node.item if step == "[]" else node.child(step)
        assert below is not None, row["at"]
        node = below
