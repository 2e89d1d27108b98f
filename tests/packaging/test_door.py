"""The public names of the package, and that it can be used as the contract says."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path

import pytest

import meshport

CORPUS = Path(__file__).parents[2] / "corpus"


def test_all_is_what_is_public() -> None:
    assert meshport.__all__ == sorted(meshport.__all__)
    for name in meshport.__all__:
        assert getattr(meshport, name).__doc__
        assert name in dir(meshport)
    with pytest.raises(AttributeError, match="no attribute 'fleet'"):
        meshport.fleet  # noqa: B018


def test_signatures() -> None:
    parameters = inspect.signature(meshport.convert).parameters
    wanted = [
        "bundle",
        "source",
        "target",
        "source_version",
        "target_version",
        "data_plane",
        "routes",
        "on_loss",
        "verify",
        "mappings",
        "context",
    ]
    assert [name for name in parameters if name in wanted] == wanted
    assert parameters["target"].default is inspect.Parameter.empty
    assert (parameters["source"].default, parameters["on_loss"].default, parameters["verify"].default) == ("auto", "stricter", True)
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in wanted[1:])


def test_the_library_as_the_contract_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bundle = meshport.load(str(CORPUS / "saas-api" / "linkerd"))
    result = meshport.convert(bundle, source="linkerd", target="istio", target_version="1.27", on_loss="stricter", verify=True)
    assert all(set(dir(item)) >= {"object", "file", "origins"} for item in result.manifests)
    assert result.ledger.counts["leaves"] == len(list(result.ledger))
    assert result.verification is not None
    assert result.verification.verdict == "equivalent"
    assert result.report().model_dump(mode="json")["target"]["version"] == "1.27"
    written = result.write(str(tmp_path / "out"))
    assert "users-routes.yaml" in written
    assert meshport.verify(bundle, meshport.load(str(tmp_path / "out"))).verdict == "equivalent"
    assert meshport.diff(bundle, bundle) == []
    assert isinstance(meshport.lint(bundle), list)
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


def test_errors() -> None:
    with pytest.raises(meshport.InputError) as caught:
        meshport.load_text("a: [\n", "x.yaml")
    assert (caught.value.file, caught.value.line, caught.value.column) == ("x.yaml", 2, 1)
    assert issubclass(meshport.InputError, meshport.MeshportError)
    with pytest.raises(meshport.UsageError, match="no option 'colour'"):
        meshport.convert(meshport.load_objects([]), source="istio", target="linkerd", colour=True)


def test_joined_bundles_keep_their_places() -> None:
    one = meshport.load_text("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n", "a.yaml")
    two = meshport.load_text("# b\napiVersion: v1\nkind: Service\nmetadata: {name: b, labels: {x: z}}\n", "b.yaml")
    both = one.joined(two)
    assert [document.name for document in both.documents] == ["a", "b"]
    last = both.leaf_count - 1
    assert (both.path(last), both.line(last), both.value(last)) == ("metadata.labels.x", 4, "z")
    assert both.text_of(both.documents[1]) == two.text_of(two.documents[0])
    assert [both.number(leaf) for leaf in range(both.leaf_count)] == [0] * 3 + [1] * 4
    assert one.joined(one).leaf_count == one.leaf_count  # the same file counts once
