"""A real browser for tests of pages: Debian's Chromium without a window and without a network, driven by Playwright.

    with browser.chromium() as program, browser.open_page(program, path, width=390, scheme="dark") as visit:
        assert not visit.errors and not visit.left
        assert not browser.axe(visit.page)

Use it from tests marked `needs_browser`, which are skipped where Chromium or Playwright is absent.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

NAMES = ("chromium", "chromium-browser", "google-chrome")
SERIOUS = ("serious", "critical")
LOCAL = ("file:", "data:", "blob:", "about:")


@dataclass
class Visit:
    """An open page, and what happened on it so far.

    errors: errors of the console and uncaught exceptions, one line each. requests: addresses of all files that were
    asked for, the page first. left: those among them that would have left the machine; they were stopped.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def left(self) -> list[str]:
        return [address for address in self.requests if not address.startswith(LOCAL)]


def missing() -> str | None:
    """Why there is no browser to test with, or None."""
    lacking = [name for name in ("playwright", "axe_playwright_python") if importlib.util.find_spec(name) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed (pip install '.[test]')"
    return None if _program() else "Chromium is not installed (apt-get install chromium)"


def _program() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium; it takes a second to start, so share it between the tests of a module."""
    from playwright.sync_api import sync_playwright

    # As root, as in most containers, Chromium refuses to start with its sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(
    browser: Browser, target: Path | str, width: int = 1280, scheme: str = "light", height: int = 900, **options: Any
) -> Iterator[Visit]:
    """Open a file or a file: address in a fresh, offline context `width` pixels wide.

    scheme: what the reader prefers, light or dark. options: of Playwright's new_context, such as
    java_script_enabled=False, or bypass_csp=True, without which `axe` cannot look at a page with a strict policy.
    """
    address = target.resolve().as_uri() if isinstance(target, Path) else target
    settings: dict[str, Any] = {"viewport": {"width": width, "height": height}, "color_scheme": scheme, "offline": True}
    context = browser.new_context(**settings | options)
    visit = Visit(context.new_page())
    visit.page.on("console", lambda line: visit.errors.append(line.text) if line.type == "error" else None)
    visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
    visit.page.route("**/*", lambda route: _watch(route, visit))
    try:
        visit.page.goto(address)
        yield visit
    finally:
        context.close()


def _watch(route: Route, visit: Visit) -> None:
    """Note what is asked for, and let nothing out that is not on this machine."""
    visit.requests.append(route.request.url)
    if route.request.url.startswith(LOCAL):
        route.continue_()
    else:
        route.abort()


def axe(page: Page) -> list[str]:
    """Serious and critical faults that axe-core finds on a page opened with bypass_csp=True: rule, and where."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{fault['impact']}: {fault['id']}: {fault['help']}: {[node['target'] for node in fault['nodes'][:5]]}"
        for fault in found
        if fault["impact"] in SERIOUS
    ]
