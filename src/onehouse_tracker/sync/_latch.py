"""
A moment that threads wait for, which Ctrl-C may interrupt anywhere.
"""

from __future__ import annotations

import os
import threading
from typing import Final

__all__ = ["GLANCE", "Latch"]

GLANCE: Final = 0.2 if os.name == "nt" else 5.0
"""Seconds between two looks at whether it has come.  On Windows Ctrl-C does not interrupt who
waits for a lock before that."""


class Latch:
    """
    Set once, by one thread; any number may wait.

    It is no `threading.Event`, which takes its lock in Python: Ctrl-C may be raised just then,
    nobody gives the lock back, and the thread that sets the event waits forever.
    """

    __slots__ = ("_is_set", "_lock")

    def __init__(self) -> None:
        self._is_set = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """It has come: all who wait go on."""
        if not self._is_set:
            self._is_set = True
            self._lock.release()

    def wait(self) -> None:
        """Wait until it is set."""
        while not self._is_set:
            # Should Ctrl-C come between the two, others look after a while.
            if self._lock.acquire(timeout=GLANCE):
                self._lock.release()
