"""Plain scalars mean what kubectl makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshport.documents import load_text, needs_quotes, resolve
from meshport.documents.scalars import ScalarError, key_text
from meshport.errors import InputError

ORACLE = Path(__file__).parents[2].parent / "shared" / "oracles" / "kubectl_scalars.tsv"
ROWS = [line.split("\t", 1) for line in ORACLE.read_text().splitlines() if "\t" in line] if ORACLE.exists() else []


@pytest.mark.skipif(not ROWS, reason="kubectl's frozen answers (shared/oracles/kubectl_scalars.tsv) are not beside this checkout")
def test_the_oracle_has_all_its_rows() -> None:
    assert len(ROWS) == 72


@pytest.mark.parametrize(("source", "answer"), ROWS)
def test_agrees_with_kubectl(source: str, answer: str) -> None:
    member = f"  {source[4:]}: v" if source.startswith("KEY ") else f"  it: {source}"
    text = f"apiVersion: v1\nkind: ConfigMap\nm:\n{member}\n"
    if answer.startswith("ERR"):
        with pytest.raises(InputError):
            load_text(text)
        return
    got = load_text(text).documents[0].value["m"]
    want = json.loads(answer)
    got = got if source.startswith("KEY ") else got["it"]
    if isinstance(want, int) and abs(want) > 2**63:
        want = float(want)
    assert (got, type(got)) == (want, type(want))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("-9223372036854775809", float(-(2**63))),
        ("0xFFFFFFFFFFFFFFFFFF", "0xFFFFFFFFFFFFFFFFFF"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
        ("+0b11", 3),
        ("._5", "._5"),
        ("٣", "٣"),
        ("1e-400", 0),
    ],
)
def test_beyond_the_oracle(text: str, value: object) -> None:
    assert (resolve(text), type(resolve(text))) == (value, type(value))


@pytest.mark.parametrize(
    ("number", "key"), [(1000.5, "1000.5"), (1e6 + 0.5, "1.0000005e+06"), (0.1, "0.1"), (1e-5, "1e-05"), (-2.5, "-2.5")]
)
def test_float_keys_are_written_as_go_does(number: float, key: str) -> None:
    assert key_text(number) == key


def test_infinity_is_refused() -> None:
    with pytest.raises(ScalarError):
        resolve("-.INF")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "on",
        "y",
        "NO",
        "null",
        "~",
        "0755",
        "0o17",
        "1e3",
        "12:30:45",
        "2026-11-22",
        "=",
        "<<",
        ".inf",
        "nan",
        "-",
        "- a",
        "a: b",
        "a #b",
        "#a",
        "*",
        "&a",
        "!t",
        "%",
        "@x",
        "`",
        "a:",
        " a",
        "a ",
        "a\tb",
        "{{ x }}",
        "a\nb",
        "---",
        "...",
        "\ufeff",
        "1_000",
        "0x_F",
        "[a",
        "'",
        '"',
    ],
)
def test_strings_that_have_to_be_quoted(text: str) -> None:
    assert needs_quotes(text)


@pytest.mark.parametrize(
    "text", ["a", "5s", "1Gi", "100m", "-x", "--flag=v", "a:b", "8080:80", "a#b", "/api/.*", "*.a"[1:], "tRuest", "v1", "1.2.3", "ü"]
)
def test_strings_that_may_stand_bare(text: str) -> None:
    assert not needs_quotes(text)
