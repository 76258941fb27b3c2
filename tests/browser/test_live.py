"""
The live page in a real browser: it keeps up, stays calm, and stays readable when all is over.
"""

from __future__ import annotations

import contextlib
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from onehouse_tracker import Request, sync
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.report import ReportObserver
from onehouse_tracker.testing import SimulatedProject, SimulatedSource
from tests.browser.conftest import Visitor

EVIL = "<img src=x onerror=\"document.title='evil'\">"
LIVE = "Live"


@contextlib.contextmanager
def followed(
    count: int, *, rate: float = 200.0, port: int = 0, slow: float = 60.0, label: str = "RUN JOB"
) -> Iterator[tuple[str, sync.Tracker]]:
    """A page about *count* requests: every tenth fails at once, half succeed, the rest go on."""
    project = SimulatedProject()
    requests = []
    for number in range(count):
        bad = number % 10 == 0
        project.add(
            f"r-{number}",
            slow if number % 2 else 0.2,
            "API_OPERATION_STATUS_FAILED" if bad else "API_OPERATION_STATUS_SUCCESS",
            response={"message": f"no cluster {number}"} if bad else None,
        )
        requests.append(Request(f"r-{number}", label=label))
    recording = ReportObserver(limit=rate)
    tracker = sync.Tracker(
        SimulatedSource(project, round_trip=0.01),
        limiter=LocalLimiter(rate),
        observers=[recording],
    )
    with tracker:
        page = tracker.serve_page(port, title="Live batch")
        handles = [tracker.track(request) for request in requests[: min(count, 500)]]
        # Thousands of handles take their time one by one: the rest in one go.
        rest = tracker.as_completed(requests[500:]) if count > 500 else None
        yield page.url, tracker
        del handles, rest


def test_five_hundred_requests_are_followed_live(visitor: Visitor) -> None:
    """
    Numbers, table and timeline change by themselves; a filter that was set stays.
    """
    with followed(500) as (url, _):
        page = visitor.open(url)
        expect(page.locator("#connection")).to_have_text(LIVE)
        expect(page.locator("#groups tbody tr")).to_have_count(1)
        expect(page.locator("#groups .big")).to_have_text("50", timeout=15_000)
        expect(page.locator("#groups .reason")).to_contain_text("no cluster")
        page.get_by_label("Search").fill("r-77")
        before = page.locator("#tiles").inner_text()
        expect(page.locator("#found")).to_have_text("1 of 500 requests")
        page.wait_for_function(
            "text => document.querySelector('#tiles').innerText !== text", arg=before
        )
        expect(page.locator("#lines th")).to_have_text("r-77")
        assert "not ok" in page.title()
        assert page.evaluate("document.activeElement.id") == "search"

    expect(page.locator("#connection")).to_have_text("Ended")
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#found")).to_have_text("500 requests")
    expect(page.locator("#state option", has_text="OPEN")).to_have_count(1)


def test_five_thousand_requests_stay_smooth(visitor: Visitor) -> None:
    """
    The page must answer to whoever uses it, while hundreds of changes a second arrive.
    """
    with followed(5_000, rate=400, slow=600) as (url, _):
        page = visitor.open(url)
        expect(page.locator("#found")).to_have_text("5,000 requests", timeout=15_000)
        gaps = page.evaluate(
            """() => new Promise(resolve => {
                let last = performance.now();
                const gaps = [], end = last + 3000;
                const frame = () => {
                    const now = performance.now();
                    gaps.push(now - last);
                    last = now;
                    if (now < end) requestAnimationFrame(frame);
                    else resolve(gaps);
                };
                requestAnimationFrame(frame);
            })"""
        )
        elements = page.evaluate("document.querySelectorAll('*').length")
        page.get_by_label("Search").fill("r-4999")
        expect(page.locator("#found")).to_have_text("1 of 5,000 requests")

    # Milliseconds between two pictures; a machine that has other work may miss some.
    assert statistics.median(gaps) < 100
    assert max(gaps) < 3000
    assert sum(gap > 300 for gap in gaps) <= 8
    assert elements < 1500


def test_a_page_that_nobody_sees_gives_its_connection_back(visitor: Visitor) -> None:
    """
    Browsers open six connections to one server, and people more tabs than that.
    """
    with followed(20) as (url, _):
        page = visitor.open(url)
        expect(page.locator("#connection")).to_have_text(LIVE)
        page.evaluate(
            """() => {
                window.away = true;
                Object.defineProperty(document, 'hidden', { get: () => window.away });
                document.dispatchEvent(new Event('visibilitychange'));
            }"""
        )
        streams = [address for address in visitor.requests if "/events" in address]
        page.evaluate(
            "() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }"
        )
        expect(page.locator("#connection")).to_have_text(LIVE)
        page.wait_for_function("performance.getEntriesByType('resource').length >= 1")
        again = [address for address in visitor.requests if "/events" in address]

    assert len(streams) == 1
    assert len(again) == 2
    assert not again[1].endswith("-0-0")  # it says how far it was


def test_a_server_that_goes_and_comes_back_is_found_again(visitor: Visitor) -> None:
    """
    Meanwhile the page stays readable, and then it shows the new run and nothing of the old one.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # A run that is killed says nothing: here is one in a process of its own.
    command = ["demo", "--count", "300", "--page", str(port), "--quiet"]
    process = subprocess.Popen([sys.executable, "-m", "onehouse_tracker", *command])
    try:
        page = open_when_it_is_there(visitor, f"http://127.0.0.1:{port}/")
        expect(page.locator("#found")).to_contain_text(re.compile("[1-9].* requests"))
    finally:
        process.kill()
        process.wait()
    expect(page.locator("#connection")).to_have_text("Connection lost; trying again")
    assert page.locator("#lines tr").count() > 0

    with followed(20, port=port):
        expect(page.locator("#connection")).to_have_text(LIVE, timeout=10_000)
        expect(page.locator("#found")).to_have_text("20 requests")
    expect(page.locator("#connection")).to_have_text("Ended")

    # Chromium itself tells of connections that nobody took.
    assert all("ERR_" in text for text in visitor.complaints)
    visitor.complaints.clear()


def open_when_it_is_there(visitor: Visitor, url: str) -> Page:
    """A page of a server that is starting."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", int(url.split(":")[2][:-1])), 1).close()
            break
        time.sleep(0.1)
    return visitor.open(url)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_markup_stays_text_while_it_is_live(visitor: Visitor, scheme: str) -> None:
    """
    What comes by the stream is as foreign as what stands in a file.
    """
    with followed(12, label=EVIL) as (url, _):
        page = visitor.open(url, scheme=scheme, width=400)
        expect(page.locator("#groups tbody th")).to_have_text(EVIL, timeout=10_000)
        assert page.locator("img").count() == 0
        assert page.title() != "evil"
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
