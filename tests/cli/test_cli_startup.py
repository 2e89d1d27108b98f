"""The command starts fast: help and version load none of what does the work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"pydantic", "lark", "ruamel", "deepdiff", "yaml", "rich", "hypothesis", "jinja2", "markupsafe"}

OPTIONS = """
--from --to --from-version --to-version --data-plane --routes --on-loss --namespace --select --context --default-namespace --trust-domain
--gateway-class --gateway-identity --probe-networks --allow-scrape-from --pod-cidr --subsets --preserve-default-retries
--keep-network-policy --no-keep-network-policy --output --layout --force --check --diff --report --format --ledger --fail-on --ignore
--waivers --baseline --no-verify --mappings --quiet --verbose --no-color
"""


def python(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["convert", "--help"], ["diff", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    ran = python("-X", "importtime", "-m", "meshport", *arguments)
    assert ran.returncode == 0
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.stderr.splitlines()}
    # typer takes pydantic to convert the values of a subcommand, its own --help included
    assert not loaded & (HEAVY if arguments[0].startswith("-") else HEAVY - {"pydantic"})
    if arguments == ["--version"]:
        assert "typer" not in loaded
        assert ran.stdout.startswith("meshport 0.")


def test_importing_the_package_loads_nothing_else_of_it() -> None:
    code = "import meshport, sys; print(sorted(name for name in sys.modules if name.startswith('meshport')))"
    assert python("-c", code).stdout.strip() == "['meshport']"


def test_a_conversion_loads_the_dialects_that_it_needs() -> None:
    corpus = Path(__file__).parents[2] / "corpus" / "ecommerce" / "istio"
    code = f"import meshport, sys; meshport.convert(meshport.load({str(corpus)!r}), source='istio', target='linkerd'); print('|'.join(sys.modules))"
    loaded = python("-c", code).stdout.strip().split("|")
    assert "meshport.dialects.linkerd" in loaded
    assert not [name for name in loaded if name.startswith("meshport.dialects.cilium")]


def test_every_command_and_option_is_documented() -> None:
    text = python("-m", "meshport", "--help").stdout
    for command in ("convert", "lint", "diff", "verify", "ir", "patterns", "explain", "schema"):
        assert f"\n  {command} " in text
        ran = python("-m", "meshport", command, "--help")
        assert ran.returncode == 0
    options = python("-m", "meshport", "convert", "--help").stdout
    for option in OPTIONS.split():
        assert option in options


def test_a_closed_pipe_is_quiet() -> None:
    corpus = Path(__file__).parents[2] / "corpus" / "ecommerce" / "istio"
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        command = [sys.executable, "-m", "meshport", "convert", str(corpus), "--to", "linkerd", "--fail-on", "never", "-q"]
        ran = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 0
    assert "Error" not in ran.stderr.replace("Errors", "")
    assert "Traceback" not in ran.stderr
