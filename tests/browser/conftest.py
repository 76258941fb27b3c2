"""
A real browser: the system's Chromium, driven by Playwright, which downloads none.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """
    One browser for the tests of a module; each page has a profile of its own.
    """
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        # Whoever is root, as in a container, has no sandbox.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


class Visitor:
    """
    Opens pages, and takes note of what no page may do.

    Attributes:
        complaints: Whatever the console said, and every exception of a script.

        requests: The address of each request that left the page.
    """

    def __init__(self, browser: Browser) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._browser = browser

    def open(
        self, target: Path | str, *, width: int = 1400, scheme: str = "light", script: bool = True
    ) -> Page:
        """A page of *target*, a file or an address."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=script,
            locale="en-GB",
            timezone_id="UTC",
        )
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._requested)
        page.on("requestfailed", self._failed)
        page.goto(target.as_uri() if isinstance(target, Path) else target)
        return page

    def _failed(self, request: Request) -> None:
        # What the page's own policy forbids never leaves the browser.
        if request.failure is not None and "csp" in request.failure.lower():
            self.requests.remove(request.url)

    def _requested(self, request: Request) -> None:
        if not request.url.startswith("data:"):
            self.requests.append(request.url)


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """
    Whoever opens pages here complains afterwards: no test may forget to look.
    """
    visitor = Visitor(browser)
    yield visitor
    for context in browser.contexts:
        context.close()
    assert visitor.complaints == []
    outside = [
        url for url in visitor.requests if not url.startswith(("file://", "http://127.0.0.1:"))
    ]
    assert outside == []
