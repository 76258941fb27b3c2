"""
A mistake in the user's own source, or a client that is not open, is told at once and by its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import (
    AuthenticationError,
    Credentials,
    OnehouseClient,
    Outcome,
    SourceError,
    SqliteJournal,
    StatusReply,
    Tracker,
)
from onehouse_tracker.testing import InlineExecutor
from tests.support import PENDING, SUCCESS, now, run


def misspelt() -> Any:
    """A name that is not defined."""
    return misspeltt()  # type: ignore[name-defined] # noqa: F821 - the point


def no_such_attribute() -> Any:
    """What a list does not have."""
    return [].get("status")  # type: ignore[attr-defined] # the point


def no_such_module() -> Any:
    """An import that nobody has."""
    import onehouse_tracker_of_nobody  # type: ignore[import-not-found] # noqa: F401, PLC0415


def not_yet() -> Any:
    """To be done."""
    raise NotImplementedError("later")


def a_list() -> Any:
    """A response that is no mapping."""
    return StatusReply(PENDING, ["of", "what"])  # type: ignore[arg-type] # the point


def nothing() -> Any:
    """A missing return."""


MISTAKES = [
    (misspelt, "NameError: name 'misspeltt' is not defined", "in misspelt"),
    (no_such_attribute, "AttributeError: 'list' object has no attribute 'get'", "in no_such_attr"),
    (no_such_module, "ModuleNotFoundError: No module named", "in no_such_module"),
    (not_yet, "NotImplementedError: later", "in not_yet"),
    (a_list, "TypeError: a response is a mapping or None, not list", ""),
    (nothing, "TypeError: fetch() returned NoneType, not a StatusReply", "Source"),
]


class Source:
    """Does what it is given, at the polls of these numbers, and answers PENDING otherwise."""

    def __init__(self, mistake: Callable[[], Any], polls: set[int], ends_at: int = 0) -> None:
        self.mistake = mistake
        self.polls = polls
        self.ends_at = ends_at
        self.asked = 0

    async def fetch(self, request_id: str) -> StatusReply:
        """Fail, or answer."""
        self.asked += 1
        if self.asked in self.polls:
            reply: StatusReply = self.mistake()
            return reply
        return StatusReply(SUCCESS if self.asked == self.ends_at else PENDING)


class Plain:
    """Somebody forgot the word ``async``."""

    def fetch(self, request_id: str) -> StatusReply:
        """Answer at once."""
        return StatusReply(SUCCESS)


@pytest.mark.parametrize(("mistake", "text", "place"), MISTAKES)
def test_a_mistake_in_a_source_is_told_at_once(
    mistake: Callable[[], Any], text: str, place: str
) -> None:
    """
    After one poll, not after ten minutes of patience, with its class, its text and its line.
    """
    source = Source(mistake, {1, 2})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            with pytest.raises(SourceError) as caught:
                await tracker.wait_all(["a", "b", "c"])
            assert now() == 0
            assert source.asked == 1
            error = caught.value
            assert text in str(error)
            assert place in str(error)
            assert type(error.__cause__).__name__ in str(error)
            assert set(error.pending) == {"a", "b", "c"}
            # The next wait asks again: it may have been mended meanwhile.
            with pytest.raises(SourceError):
                await tracker.track("a")
            assert source.asked == 2

    run(scenario())


@pytest.mark.parametrize("broken", [Plain, object])
def test_what_is_no_source_is_told_at_once(broken: type) -> None:
    """
    A method that is missing, or is no coroutine function.
    """

    async def scenario() -> None:
        async with Tracker(broken()) as tracker:
            with pytest.raises(SourceError, match=r"(await|fetch)") as caught:
                await tracker.wait_all(["a"])
            assert broken.__name__ in str(caught.value)

    run(scenario())


@pytest.mark.parametrize(("mistake", "text", "place"), MISTAKES)
def test_a_mistake_after_an_answer_costs_that_request(
    mistake: Callable[[], Any], text: str, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What the server said about one request may be what the code did not expect: it backs off, the
    others go on, and the log has it once.
    """
    source = Source(mistake, set(range(2, 8)), ends_at=30)

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            results = await tracker.wait_all(["a"], timeout=2)
            assert results["a"].outcome is Outcome.TIMED_OUT
            assert text in results["a"].reason
            assert place in results["a"].reason
            results = await tracker.wait_all(["a"])
            assert results.ok

    with caplog.at_level(logging.ERROR):
        run(scenario())
    assert len([record for record in caplog.records if record.exc_info]) == 1


def client() -> OnehouseClient:
    """A client for a server that is not there."""
    return OnehouseClient(
        Credentials(
            project_uid="p", api_key="k", api_secret="s", user_uid="u",
            link_uid="l", region="r", account_uid="a", base_url="http://127.0.0.1:1",
        )
    )  # fmt: skip


async def test_a_client_that_was_closed_says_so() -> None:
    """
    Before the tracker, by somebody else: the message says what is missing.
    """
    async with client() as one, Tracker(one) as tracker, asyncio.timeout(3):
        handle = tracker.track("a")
        await asyncio.sleep(0)
        await one.aclose()
        with pytest.raises(SourceError, match="not open: use it inside `async with`"):
            await handle
        with pytest.raises(SourceError, match="`async with`"):
            await tracker.wait_all(["a", "b", "c", "d"])


def test_what_a_source_says_of_the_project_is_everyones() -> None:
    """
    A token that cannot be renewed will not do for any request.
    """

    def refused() -> Any:
        raise AuthenticationError("the token has run out")

    async def scenario() -> None:
        async with Tracker(Source(refused, {5})) as tracker:
            with pytest.raises(AuthenticationError, match="the token has run out") as caught:
                await tracker.wait_all(["a", "b"])
            assert set(caught.value.pending) == {"a", "b"}

    run(scenario())


def test_odd_responses_do_not_end_a_journal(quick_path: Path) -> None:
    """
    Whatever a mapping does when it is looked into.
    """

    class Odd(dict[str, Any]):
        def get(self, *_: object) -> Any:
            raise ConnectionError

        def items(self) -> Any:
            raise ConnectionError

    class Answers:
        async def fetch(self, request_id: str) -> StatusReply:
            return StatusReply("API_OPERATION_STATUS_FAILED", Odd(a=1))

    async def scenario() -> None:
        journal = SqliteJournal(quick_path / "j.db", executor=InlineExecutor())
        async with Tracker(Answers(), journal=journal) as tracker:
            results = await tracker.wait_all(["a"])
            assert results["a"].outcome is Outcome.FAILED

    run(scenario())
