"""
Runs the tests on event loops of another kind: ``EVENT_LOOP=eager`` or ``EVENT_LOOP=uvloop``.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

import pytest

__all__ = ["eager_tasks", "needs_eager_tasks", "use"]

# Looked up by name: the types are checked for Python 3.11.
eager_tasks: Any = getattr(asyncio, "eager_task_factory", None)
"""Runs a task up to where it first waits, before `create_task` returns."""

needs_eager_tasks = pytest.mark.skipif(
    eager_tasks is None, reason="eager tasks came with Python 3.12"
)


def use(kind: str) -> None:
    """
    Make every event loop from now on, in whatever thread, one of this *kind*.

    Raises:
        pytest.UsageError: There is no such kind, or not here.
    """
    if kind == "eager" and eager_tasks is not None:
        _make_all_tasks_eager()
    elif kind == "uvloop":
        try:
            uvloop = importlib.import_module("uvloop")
        except ImportError as error:
            raise pytest.UsageError("EVENT_LOOP=uvloop: it is not installed") from error
        # What `asyncio.Runner` calls, and what everybody else does.
        asyncio.events.new_event_loop = uvloop.new_event_loop
        asyncio.new_event_loop = uvloop.new_event_loop
    elif kind:
        raise pytest.UsageError(
            f"EVENT_LOOP={kind}: must be uvloop or, from Python 3.12 on, eager"
        )


def _make_all_tasks_eager() -> None:
    # Where every loop of Python code begins, that of a virtual clock and of `sync` too.
    make = asyncio.BaseEventLoop.__init__

    def make_eager(self: asyncio.BaseEventLoop) -> None:
        make(self)
        self.set_task_factory(eager_tasks)

    asyncio.BaseEventLoop.__init__ = make_eager  # type: ignore[assignment,method-assign]
