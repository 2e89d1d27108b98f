"""A headless Chromium: where it is, and pages in it that note what goes wrong and may load nothing but the file that they show."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

WIDE, NARROW = 1280, 390


@lru_cache(maxsize=1)
def binary() -> str | None:
    """The path of a Chromium; None where there is none."""
    return next((found for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (found := shutil.which(name))), None)


def _missing() -> str:
    if binary() is None:
        return "no Chromium on the PATH (Debian: apt-get install chromium)"
    return "" if find_spec("playwright") else "no Playwright: pip install 'meshport[browser]'"


MARKS = [pytest.mark.browser, pytest.mark.skipif(bool(_missing()), reason=_missing() or "all is there")]
"""For tests that need a browser and what drives it."""


@contextmanager
def started() -> Iterator[Any]:
    """A browser. Root has no sandbox to run it in."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        arguments = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
        browser = driver.chromium.launch(executable_path=binary(), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@dataclass(slots=True)
class Opened:
    """A page, and what it did: `wrong` are console messages, errors and dialogs, `asked` the addresses that it wanted beside its own file."""

    page: Any
    wrong: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextmanager
def opened(browser: Any, file: Path, *, width: int = WIDE, scripts: bool = True, scheme: str = "light") -> Iterator[Opened]:
    """The page of a file."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, java_script_enabled=scripts, color_scheme=scheme, reduced_motion="reduce"
    )
    found = Opened(context.new_page())
    address = file.as_uri()

    def guard(route: Any) -> None:
        if route.request.url == address:
            route.continue_()
        else:
            found.asked.append(route.request.url)
            route.abort()

    def dismiss(dialog: Any) -> None:
        found.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    context.route("**/*", guard)
    found.page.on("console", lambda message: found.wrong.append(f"{message.type}: {message.text}"))
    found.page.on("pageerror", lambda error: found.wrong.append(f"error: {error}"))
    found.page.on("dialog", dismiss)
    found.page.goto(address)
    try:
        yield found
    finally:
        context.close()
