"""What the tests of single decisions ask of a conversion by `decision_helper`: objects as `Kind/name`, findings as a person reads them."""

from __future__ import annotations

from typing import Any

import yaml

import meshport


def objects(result: meshport.Result) -> dict[str, dict[str, Any]]:
    """What was made or changed, by kind and name."""
    return {f"{item.object['kind']}/{item.object['metadata']['name']}": item.object for item in result.manifests}


def spec(result: meshport.Result, name: str) -> Any:
    return objects(result)[name]["spec"]


def read(text: str) -> Any:
    """Expected YAML."""
    return yaml.safe_load(text)


def said(result: meshport.Result, *codes: str) -> list[str]:
    """The findings as a person reads them, of these codes or all."""
    return [f"{item.severity} {item.code} {item.message}" for item in result.findings if not codes or item.code in codes]


def loud(result: meshport.Result) -> list[str]:
    """Severity and code of each error and warning."""
    return [f"{item.severity} {item.code}" for item in result.findings if item.severity != "info"]
