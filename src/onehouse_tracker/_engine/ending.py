"""
Why the polling loop ended though nobody closed the tracker, in words for its waiters.
"""

from __future__ import annotations

import asyncio

from onehouse_tracker._util.cancelling import is_cancelled
from onehouse_tracker.errors import TrackerClosedError, TrackerError

__all__ = ["why_ended"]


def why_ended(error: BaseException) -> TrackerClosedError:
    """What to raise at everyone who waits, because *error* ended the polling loop."""
    cause = error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    # What is meant for people says more than the name of its class.
    ours = isinstance(cause, TrackerError)
    if ours:
        what = str(cause)
    elif isinstance(cause, asyncio.CancelledError):
        # What the loop awaits is the limiter.
        who = (
            "was cancelled from outside" if is_cancelled() else "ended: its limiter was cancelled"
        )
        what = f"the polling loop {who}, though nobody closed the tracker"
    else:
        what = f"the polling loop failed ({type(cause).__name__})"
    failure = TrackerClosedError(f"{what}; the requests go on")
    failure.__cause__ = cause if ours else error
    return failure
