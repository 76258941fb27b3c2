"""
The live page of a tracker for callers that block.
"""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest

from onehouse_tracker import TrackerClosedError, sync
from onehouse_tracker.testing import ScriptedSource
from tests.support import SUCCESS


def _get(url: str) -> str:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_a_script_can_show_what_it_waits_for() -> None:
    """
    The page lives on the private loop: the script goes on, and the page closes with it.
    """
    with sync.Tracker(ScriptedSource({"a": [SUCCESS]})) as tracker:
        page = tracker.serve_page(title="Nightly")
        assert "<h1>Nightly</h1>" in _get(page.url)
        assert tracker.wait_all(["a"]).ok
        assert repr(page) == f"<sync <LivePage {page.url}>>"

    with pytest.raises(ConnectionRefusedError):
        _get(page.url)
    page.close()  # too late, and no harm
    with pytest.raises(TrackerClosedError):
        tracker.serve_page()


def test_a_page_can_be_closed_while_the_tracker_goes_on() -> None:
    """
    With a block of its own, or by hand.
    """
    with sync.Tracker(ScriptedSource({"a": [SUCCESS]})) as tracker:
        with tracker.serve_page() as page:
            assert "onehouse-tracker" in _get(page.url)
        with pytest.raises(ConnectionRefusedError):
            _get(page.url)

        assert tracker.wait_all(["a"]).ok
