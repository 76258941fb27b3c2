"""
The pytest plugin: a running simulator and virtual time for the tests of users.

pytest loads this module in every run, so everything else is imported inside the fixtures.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest

if TYPE_CHECKING:
    from onehouse_tracker.testing.threaded import RunningSimulator

__all__ = ["VirtualTime", "onehouse_simulator", "virtual_time"]

_T = TypeVar("_T")


class VirtualTime(Protocol):
    """What the fixture `virtual_time` is."""

    def __call__(
        self, coroutine: Coroutine[Any, Any, _T], *, seed: int | None = None, start: float = 0.0
    ) -> _T:
        """
        Run *coroutine* on a `VirtualClockLoop` of its own and return what it returns.

        Args:
            coroutine: What to run.

            seed: Shuffles what is ready to run, the same way for the same seed.

            start: Seconds that the clock shows first.

        Raises:
            DeadlockError: Nothing is left that could wake it.
        """


@pytest.fixture
def virtual_time() -> VirtualTime:
    """Run a coroutine where an hour of sleeping costs no time: ``virtual_time(scenario())``."""

    def run(
        coroutine: Coroutine[Any, Any, _T], *, seed: int | None = None, start: float = 0.0
    ) -> _T:
        import asyncio  # noqa: PLC0415 - see the module's docstring

        from onehouse_tracker.testing.virtual_clock import VirtualClockLoop  # noqa: PLC0415

        with asyncio.Runner(loop_factory=lambda: VirtualClockLoop(seed, start)) as runner:
            return runner.run(coroutine)

    return run


@pytest.fixture
def onehouse_simulator() -> Iterator[RunningSimulator]:
    """
    A `SimulatorServer` that serves a fresh project for one test, in a thread of its own.

    ``onehouse_simulator.environ`` holds the environment variables that lead any client to it,
    ``onehouse_simulator.project`` is the model: add requests, script faults, read arrivals.
    It serves plain tests, tests on a loop of their own, and child processes alike.
    """
    from onehouse_tracker.testing.threaded import RunningSimulator  # noqa: PLC0415

    with RunningSimulator() as simulator:
        yield simulator
