"""
The tracker for code that blocks: scripts, notebooks, drivers, threads.

Everything runs on a private event loop in one background thread, so it works where a loop is
running already, as in Jupyter: the loop of the thread that calls stands still meanwhile.
Errors are those of `onehouse_tracker`.

After ``fork()`` the child has none of its parent's threads: trackers that were open, and
what they handed out, raise `TrackerClosedError` there, while the functions of this module
build anew.  Processes that poll at the same time need a limiter that they share,
``limiter="host"``.
"""

from __future__ import annotations

from onehouse_tracker.sync import runs
from onehouse_tracker.sync._shared_tracker import (
    execute,
    execute_all,
    status,
    submit,
    submit_all,
    wait_all,
)
from onehouse_tracker.sync.handles import Completions, Handle
from onehouse_tracker.sync.tracker import OnResult, Tracker

__all__ = [
    "Completions",
    "Handle",
    "OnResult",
    "Tracker",
    "execute",
    "execute_all",
    "runs",
    "status",
    "submit",
    "submit_all",
    "wait_all",
]
