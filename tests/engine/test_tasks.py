"""
Waiting for tasks that somebody owns.
"""

import asyncio

import pytest

from onehouse_tracker._engine.open_tracker.session import until_ended
from tests.support import run


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_the_callbacks_of_a_task_that_has_just_ended_come_first(*, is_cancelled: bool) -> None:
    """
    Who waited for all of them takes what the callbacks took note of for all there is to know.
    """
    called: list[str] = []

    async def wait(task: asyncio.Task[None]) -> None:
        try:
            await until_ended(task)
        finally:
            called.append("waited")

    async def scenario() -> None:
        async def nothing() -> None:
            pass

        task = asyncio.create_task(nothing())
        task.add_done_callback(lambda _: called.append("callback"))
        waiting = asyncio.create_task(wait(task))  # runs in the turn in which the other one ends
        if is_cancelled:
            asyncio.get_running_loop().call_soon(waiting.cancel)
        await asyncio.wait([waiting])

    run(scenario())

    assert called == ["callback", "waited"]
