"""
Many who wait for one request: what they cost the event loop, and that none shares a response.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import time
from typing import Any

import pytest

from onehouse_tracker import Handle, Outcome, Result, Tracker
from onehouse_tracker.models import StatusReply, own_copy, relabelled
from onehouse_tracker.testing import ScriptedSource, hang
from tests.support import FAILED, PENDING, SUCCESS, run

LARGE: dict[str, Any] = {
    "rows": [{"id": n, "name": f"table_{n}", "tags": ["a", "b"]} for n in range(40_000)]
}
"""About 2.5 MB as JSON."""


def test_thirty_waiters_for_a_large_answer_do_not_stop_the_loop() -> None:
    """
    Copying it takes a tenth of a second, and every other request would wait for thirty of them.
    """

    class Steps(asyncio.SelectorEventLoop):
        """A loop that knows how long its longest turn was."""

        longest = 0.0

        def _run_once(self) -> None:
            began = time.thread_time()  # what other processes do does not count
            super()._run_once()  # type: ignore[misc] # has no public name
            Steps.longest = max(Steps.longest, time.thread_time() - began)

    reply = StatusReply(SUCCESS.value, LARGE)

    async def scenario() -> list[Any]:
        async with Tracker(ScriptedSource({"r": [PENDING, reply]})) as tracker:
            handles = [tracker.track("r", label=f"waiter {n}") for n in range(15)]
            waits = [tracker.wait_all(["r"]) for _ in range(15)]
            return await asyncio.gather(*handles, *waits)

    gc.disable()  # with all that other tests left behind, it takes longer than this whole test
    try:
        with asyncio.Runner(loop_factory=Steps) as runner:
            ended = runner.run(scenario())
    finally:
        gc.enable()
    results = [each if isinstance(each, Result) else each["r"] for each in ended]

    assert len(results) == 30
    assert Steps.longest < 0.05
    assert results[0].response == results[29].response == LARGE
    assert results[0].response is not results[29].response


@pytest.mark.parametrize("order", [1, -1])
def test_what_one_waiter_does_to_its_response_reaches_nobody(order: int) -> None:
    """
    A copy is made late, but of what the server said, whoever looks first.
    """
    reply = StatusReply(FAILED.value, {"message": "bad", "rows": [{"n": 1}], "pair": (1, [2])})

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"r": [PENDING, reply]})) as tracker:
            handle = tracker.track("r")
            both = await asyncio.gather(
                tracker.wait_all(["r"]), tracker.wait_all(["r"], default_label="mine")
            )
            found = [await handle, await handle, *(results["r"] for results in both)]
            later = (await tracker.wait_all(["r"]))["r"]  # remembered by the handle
            for result in [*found, later][::order]:
                assert result.reason == "bad"
                assert result.response == reply.response
                assert isinstance(result.response, dict)
                result.response["rows"][0]["n"] = 2
                result.response["pair"][1].append(3)
                result.response["message"] = "changed"
                assert result.response["message"] == "changed"
                assert result.reason == "changed"

    run(scenario())


def test_response_is_a_field_like_any_other() -> None:
    """
    Whether a copy was made yet cannot be seen: results are compared, pickled and shown.
    """
    original = Result(request_id="r", outcome=Outcome.FAILED, response={"message": "bad"})

    for make in (own_copy, lambda result: relabelled(own_copy(result), None)):
        for same in (
            make(original),
            pickle.loads(pickle.dumps(make(original))),  # noqa: S301 - our own bytes
            copy.deepcopy(make(original)),
        ):
            assert same == original
            assert hash(same) == hash(original)
            assert same.to_dict() == original.to_dict()
            assert repr(same) == repr(original)
    assert own_copy(Result(request_id="r", outcome=Outcome.TIMED_OUT)).response is None
    with pytest.raises(AttributeError):
        original.response = {}  # type: ignore[misc]


def test_response_that_cannot_be_copied_is_shared() -> None:
    """
    A mapping of a source of one's own may refuse to be copied, or contain itself.
    """

    class Stubborn(dict[str, Any]):
        def __deepcopy__(self, memo: object) -> Stubborn:
            raise RuntimeError("not me")

    endless: dict[str, Any] = {"n": 1}
    endless["self"] = endless
    for response in (Stubborn(n=1), endless, {"a": Stubborn(n=1)}):
        result = own_copy(Result(request_id="r", outcome=Outcome.SUCCEEDED, response=response))
        assert result.response is not None
        assert (result.response.get("a") or result.response)["n"] == 1


def test_thousands_who_wait_for_one_request_come_and_go_in_linear_time() -> None:
    """
    A service may have one task per user; when half of them hang up, nobody else may notice.
    """

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"r": [hang]})) as tracker:
            began = time.thread_time()  # what other processes do does not count
            handles = [tracker.track("r") for _ in range(16_000)]
            joined = time.thread_time()
            assert joined - began < 3  # 15 s, if each looked at all the others
            for handle in handles[::2]:
                handle.cancel()
            assert time.thread_time() - joined < 1  # as much again
            assert tracker.stats().pending == 1

    run(scenario())


def test_thousands_who_await_one_handle_leave_in_linear_time() -> None:
    """
    As above, where all of them share what they wait for.
    """

    async def wait(handle: Handle) -> None:
        await handle

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"r": [hang]})) as tracker:
            handle = tracker.track("r")
            tasks = [asyncio.ensure_future(wait(handle)) for _ in range(16_000)]
            await asyncio.sleep(0.1)
            began = time.thread_time()
            for task in tasks[::2]:
                task.cancel()
            await asyncio.wait(tasks[::2])
            assert time.thread_time() - began < 1  # three times that, if each looked at the others
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    run(scenario())
