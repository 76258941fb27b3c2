"""
Computes in a worker thread, and lets the event loop run meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["LARGE", "apart", "give_way"]

T = TypeVar("T")
P = ParamSpec("P")

LARGE = 256 * 1024
"""Bytes of a large body: masking and parsing it take a tenth of a second each, at worst."""

_PAUSE = 0.0002


def give_way() -> None:
    """
    Let another thread run, if one wants to; call it every millisecond or so.

    Unasked, Python changes threads after 5 ms, and a loop that reads and writes sockets waits for
    that several times in each of its turns.  A pause of zero is too short to be used.
    """
    time.sleep(_PAUSE)


async def apart(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What *work* makes of so many bytes; if they are many, in a worker thread."""
    if size > LARGE:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)
