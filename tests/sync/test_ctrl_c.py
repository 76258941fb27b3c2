"""
Ctrl-C at each moment of a blocking call at which Python looks for it.
"""

from __future__ import annotations

import asyncio
import dis
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any

import pytest

from onehouse_tracker.sync import _latch, _loop_thread, _one_call
from onehouse_tracker.sync._loop_thread import LoopThread

OURS = frozenset({_latch.__file__, _loop_thread.__file__, _one_call.__file__})
"""The files of what a caller is in while it blocks."""

ALL = OURS | {threading.__file__}


@cache
def moments(code: CodeType) -> frozenset[int]:
    """The offsets in *code* at which Python may find out that Ctrl-C was pressed: after calls."""
    instructions = list(dis.get_instructions(code))
    return frozenset(b.offset for a, b in pairwise(instructions) if a.opname.startswith("CALL"))


class CtrlC:
    """
    Counts the moments that this thread passes in *files*, until something is raised.

    At moment *number* it raises `KeyboardInterrupt` itself; at none if that is 0.
    """

    def __init__(self, number: int = 0, files: frozenset[str] = ALL) -> None:
        self._number = number
        self._files = files
        self._is_over = False
        self.passed = 0
        self.place = "nowhere"

    def __call__(self, frame: FrameType, event: str, _: object) -> CtrlC | None:
        """Trace, as `sys.settrace` asks for it."""
        code = frame.f_code
        if code.co_filename not in self._files:
            return None
        frame.f_trace_opcodes = True
        if event == "exception":
            self._is_over = True
        elif not self._is_over and (
            event == "call" or (event == "opcode" and frame.f_lasti in moments(code))
        ):
            self.passed += 1
            if self.passed == self._number:
                self.place = f"{code.co_qualname}, line {frame.f_lineno}"
                raise KeyboardInterrupt
        return self

    @contextmanager
    def pressed(self) -> Iterator[None]:
        """Press it in this block."""
        before = sys.gettrace()
        sys.settrace(self)
        try:
            yield
        finally:
            sys.settrace(before)


@contextmanager
def loop_thread() -> Iterator[LoopThread]:
    """One that keeps nothing open; at the end it ends, as when the interpreter exits."""
    thread = LoopThread(nullcontext(), name="loop under test")
    thread.open()
    yield thread
    assert_ends(thread.close_at_exit, "closing")
    assert thread.closed


def assert_ends(work: Callable[[], Any], what: str) -> None:
    """Another thread does *work*, and is not held up."""
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(10)
    assert not worker.is_alive(), what


class Wait:
    """What never ends by itself."""

    def __init__(self) -> None:
        self.running = 0

    async def __call__(self) -> None:
        """Wait."""
        self.running += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.running -= 1


async def quick() -> int:
    """End at once."""
    return 1


def press_once_it_blocks() -> None:
    """Send the signal itself, to who has passed all moments by then and blocks."""
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()


def test_wait_is_interrupted_at_any_moment() -> None:
    """
    Its coroutine is cancelled, the loop runs on, and the next call is as good as the first.
    """
    with loop_thread() as thread:

        def interrupted(number: int) -> CtrlC:
            ctrl_c, wait = CtrlC(number), Wait()
            with pytest.raises(KeyboardInterrupt), ctrl_c.pressed():
                thread.call(wait)
            assert_ends(lambda: thread.call(quick), ctrl_c.place)
            assert not wait.running, ctrl_c.place
            return ctrl_c

        press_once_it_blocks()
        last = interrupted(0).passed
        assert last > 20
        for number in range(1, last + 1):
            assert interrupted(number).passed == number


def test_call_that_ends_is_interrupted_at_any_moment() -> None:
    """
    Whether its caller learns of the end or not: the loop runs on, and nothing waits at the exit.
    """

    def interrupted(number: int) -> CtrlC:
        ctrl_c = CtrlC(number)
        with loop_thread() as thread:
            with suppress(KeyboardInterrupt), ctrl_c.pressed():
                assert thread.call(quick) == 1
            assert_ends(lambda: thread.call(quick), ctrl_c.place)
        return ctrl_c

    last = interrupted(0).passed
    assert last > 20
    for number in range(1, last + 1):
        interrupted(number)


def test_opening_is_interrupted_at_any_moment() -> None:
    """
    The next call opens it, if it is not open.
    """

    def interrupted(number: int) -> CtrlC:
        # What starting a thread waits for is Python's own.
        ctrl_c = CtrlC(number, OURS)
        thread = LoopThread(nullcontext(), name="loop under test")
        with suppress(KeyboardInterrupt), ctrl_c.pressed():
            thread.open()
        assert_ends(lambda: thread.call(quick), ctrl_c.place)
        assert_ends(thread.close, ctrl_c.place)
        return ctrl_c

    last = interrupted(0).passed
    assert last > 5
    for number in range(1, last + 1):
        interrupted(number)
