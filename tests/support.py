"""
What tests of the tracker share: a runner on the virtual clock that proves nothing is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing import VirtualClockLoop

__all__ = ["FAILED", "INVALID", "PARTIAL", "PENDING", "SUCCESS", "now", "run"]

T = TypeVar("T")

PENDING = ApiStatus.PENDING
SUCCESS = ApiStatus.SUCCESS
PARTIAL = ApiStatus.SUCCESS_PARTIAL
FAILED = ApiStatus.FAILED
INVALID = ApiStatus.INVALID


def run(scenario: Coroutine[Any, Any, T], *, seed: int | None = None) -> T:
    """Run *scenario* on a virtual clock and fail if it leaves a task behind."""

    async def checked() -> T:
        result = await scenario
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left: {left}"
        return result

    with asyncio.Runner(loop_factory=lambda: VirtualClockLoop(seed=seed)) as runner:
        return runner.run(checked())


def now() -> float:
    """Seconds on the running loop's clock, without the creep of the virtual one."""
    return round(asyncio.get_running_loop().time(), 5)
