"""
What callers and sources may hand in that is unusual: it works, or is refused before it can harm.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import pytest

from onehouse_tracker import (
    ConfigError,
    InvalidRequestError,
    Outcome,
    SqliteJournal,
    StatusReply,
    Tracker,
    TrackerClosedError,
)
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.testing import InlineExecutor, ScriptedSource
from tests.support import PENDING, SUCCESS, now, run


class Kind(StrEnum):
    """Labels of somebody who likes enumerations."""

    RUN = "RUN JOB"


def pending() -> ScriptedSource:
    """One request that does not end."""
    return ScriptedSource({"a": [PENDING] * 10_000})


def test_a_label_may_be_a_kind_of_str() -> None:
    """
    Its requests time out, are let go and named like all others.
    """

    async def scenario() -> None:
        source = pending()
        async with Tracker(source) as tracker:
            results = await tracker.wait_all(["a"], default_label=Kind.RUN, timeout=5)
            assert results["a"].outcome is Outcome.TIMED_OUT
            assert results["a"].label == "RUN JOB"
            assert now() == 5
            handle = tracker.track("a", label=Kind.RUN)
            handle.cancel()
            assert tracker.stats().pending == 0

    run(scenario())


@pytest.mark.parametrize("label", [5, "\ud800"])
def test_a_wrong_label_is_refused_at_once_and_harms_nobody(label: object, tmp_path: Path) -> None:
    """
    Neither is anything followed that nobody waits for, nor is the ID lost for others.
    """

    async def scenario() -> None:
        source = ScriptedSource({"a": [SUCCESS]})
        journal = SqliteJournal(tmp_path / "journal", executor=InlineExecutor())
        async with Tracker(source, journal=journal) as tracker:
            with pytest.raises(InvalidRequestError, match="label"):
                await tracker.wait_all(["a"], default_label=label)  # type: ignore[arg-type] # that is the point
            with pytest.raises(InvalidRequestError, match="label"):
                tracker.as_completed(["a"], default_label=label)  # type: ignore[arg-type] # that is the point
            assert tracker.stats().pending == 0
            assert (await tracker.wait_all(["a"])).ok

    run(scenario())


def test_a_timeout_beyond_all_floats_is_refused() -> None:
    """
    It must not leave requests behind that nobody waits for.
    """

    async def scenario() -> None:
        async with Tracker(pending()) as tracker:
            with pytest.raises(ConfigError, match="timeout"):
                await tracker.wait_all(["a"], timeout=10**400)
            assert tracker.stats().pending == 0

    run(scenario())


def test_a_response_that_cannot_be_copied_is_shared() -> None:
    """
    A source of one's own may answer with any mapping: two waiters get it, and nothing ends.
    """

    class Proxied:
        async def fetch(self, request_id: str) -> StatusReply:
            return StatusReply(SUCCESS, MappingProxyType({"of": request_id}))

    async def scenario() -> None:
        async with Tracker(Proxied()) as tracker:
            handle = tracker.track("a")
            first, second, third = await asyncio.gather(
                tracker.wait_all(["a"]), tracker.wait_all(["a"]), tracker.wait_all(["b"])
            )
            for results, name in ((first, "a"), (second, "a"), (third, "b")):
                assert results[name].response == {"of": name}
            assert (await handle).response == {"of": "a"}

    run(scenario())


def test_an_engine_that_fails_names_the_cause() -> None:
    """
    What the user has to mend stands in the message, and not only below it.
    """

    class Broken(LocalLimiter):
        async def acquire(self) -> None:
            raise OSError("no space left")

    async def scenario() -> None:
        async with Tracker(pending(), limiter=Broken()) as tracker:
            with pytest.raises(TrackerClosedError, match=r"failed \(OSError\)"):
                await tracker.wait_all(["a"])

    run(scenario())
