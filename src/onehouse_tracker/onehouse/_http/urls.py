"""
The URLs of the calls.
"""

from __future__ import annotations

from functools import lru_cache

from yarl import URL

from onehouse_tracker.onehouse._http import wire

__all__ = ["base", "of_status", "of_submission"]

_MOST_KEPT = 1024


def base(base_url: str) -> URL:
    """The server."""
    return _url(base_url, "")


def of_submission(base_url: str) -> URL:
    """Where statements are sent."""
    return _url(base_url, wire.SUBMISSION_PATH)


@lru_cache(_MOST_KEPT)  # polled again and again, and yarl would take it apart each time
def of_status(base_url: str, request_id: str) -> URL:
    """Where *request_id* is polled.  Raises what `wire.status_path` does."""
    return _url(base_url, wire.status_path(request_id))


def _url(base_url: str, path: str) -> URL:
    # Encoded already: yarl would take "%2E" for a dot.
    return URL(base_url + path, encoded=True)
