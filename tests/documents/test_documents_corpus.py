"""Real files from public repositories: they read quickly, and what they become is written and read again unchanged."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from meshport.documents import dump, load, load_text

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
FILES = (
    sorted(each for each in CORPUS.rglob("*") if each.suffix in (".yaml", ".yml", ".json", ".tmpl", ".golden"))[::7]
    if CORPUS.is_dir()
    else []
)


@pytest.mark.skipif(not FILES, reason="the corpus of public manifests (shared/corpus) is not beside this checkout")
def test_a_sample_of_the_corpus() -> None:
    for file in FILES:
        began = time.perf_counter()
        bundle = load(file)
        assert time.perf_counter() - began < 2, file
        for document in bundle.documents:
            assert [leaf for leaf, _, _ in bundle.walk(document)] == list(bundle.leaves_of(document)), file
            assert load_text(dump([document.value])).documents[0].value == document.value, file
        assert {each.code for each in bundle.problems} <= {"MP001", "MP002", "MP003", "MP004"}, file
        assert bundle.documents or bundle.problems, file
