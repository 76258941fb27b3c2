"""Random worlds: every promise is kept in each of them, and a broken one is seen."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import events
from onehouse_tracker._engine import roster
from onehouse_tracker._engine.engine import Engine
from onehouse_tracker._engine.journal_queue import JournalQueue
from onehouse_tracker._engine.roster import Roster
from onehouse_tracker._engine.sleeper import Sleeper
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker._engine.writer import Then
from onehouse_tracker.events import Event, Observer
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.models import Result
from tests.worlds.world import BrokenPromiseError, World, main, run_world

WORLDS = 1_000


@pytest.mark.parametrize("start", range(0, WORLDS, 50))
def test_promises_are_kept_in_fifty_worlds(start: int) -> None:
    """
    Faults, users, deadlines and crashes at random; the error names the seed that replays it.
    """
    worlds = [run_world(seed) for seed in range(start, start + 50)]

    # Something did happen, and the disk was part of it.
    assert sum(len(world.promises.told) for world in worlds) > 200
    assert sum(world.crashes for world in worlds) > 1


def test_seed_decides_everything() -> None:
    """
    A seed that fails on one machine must fail on every other, or nobody could mend it.
    """
    command = [sys.executable, "-m", "tests.worlds", "--count", "20"]
    stories = set()
    for salt in ("1", "2"):
        output = subprocess.run(
            command,
            env=os.environ | {"PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "20 worlds" in output
        stories.add(output.rpartition(" ")[2])

    assert len(stories) == 1


def test_command_names_the_seed_that_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Who reads a log of 10,000 worlds needs one line to type.
    """

    def burn(_: World) -> None:
        raise RuntimeError("fire")

    monkeypatch.setattr(World, "run", burn)

    assert main(["--seed", "41"]) == 1
    error = capsys.readouterr().err
    assert "fire" in error
    assert "replay with: python -m tests.worlds --seed 41" in error


# --- what a world sees: each control breaks the product, and must be told --------------------


def assert_seen(*complaints: str, seeds: int = 60) -> None:
    """Some world has one of these complaints."""
    heard: set[str] = set()
    for seed in range(seeds):
        try:
            run_world(seed)
        except BrokenPromiseError as error:
            if any(complaint in str(error) for complaint in complaints):
                return
            heard.add(str(error))
    pytest.fail(f"{seeds} worlds did not notice; they said {heard}")


def test_lost_wake_up_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A dispatcher that nobody wakes would leave new requests unasked until the next timer.
    """
    monkeypatch.setattr(Sleeper, "wake", lambda _: None)

    assert_seen("lost wake-up")


def test_second_delivery_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An iterator that yields a result twice would make users save it twice.
    """
    settle = Wait.settle

    def twice(self: Wait, result: Result) -> None:
        settle(self, result)
        if self._deliver is not None:
            self._deliver(result)

    monkeypatch.setattr(Wait, "settle", twice)

    assert_seen("came for")


def test_result_of_another_request_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The outcome alone would not show that replies were mixed up.
    """
    monkeypatch.setattr(roster, "own_copy", lambda result: result)
    original = Roster._result

    def mixed_up(self: Roster, *args: Any) -> Result:
        result = original(self, *args)
        if result.response:
            object.__setattr__(result, "response", {"id": "another"})
        return result

    monkeypatch.setattr(Roster, "_result", mixed_up)

    assert_seen("another one's response")


def test_ignored_pause_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The limiter and the engine both look at the pause: only without either is it broken.
    """
    monkeypatch.setattr(LocalLimiter, "paused_until", float("-inf"))
    monkeypatch.setattr("onehouse_tracker.limiters._pace.Pace.paused_until", Forgetful())

    assert_seen("sent in a pause")


class Forgetful:
    """An attribute that forgets what it was set to."""

    def __get__(self, instance: object, owner: object) -> float:
        return float("-inf")

    def __set__(self, instance: object, value: float) -> None:
        pass


def test_spent_budget_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One request a second too many is what the server would refuse.
    """
    monkeypatch.setattr("onehouse_tracker.limiters._pace.Pace.rate", lambda *_: 11.5)

    assert_seen("requests within one second")


def test_poll_before_the_disk_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A request that was asked about and is not on disk would be forgotten in a crash.
    """
    original = JournalQueue.add

    def add(
        self: JournalQueue, request_id: str, label: Any, submitted_at: Any, then: Then
    ) -> None:
        then(None, self._writer._loop.time())
        original(self, request_id, label, submitted_at, lambda *_: None)

    monkeypatch.setattr(JournalQueue, "add", add)

    assert_seen("was asked about and is not on disk")


def test_telling_before_the_disk_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A result that was told and is not on disk would be told again, or never.
    """
    original = JournalQueue.record

    def record(self: JournalQueue, result: Result, then: Then) -> None:
        then(None, self._writer._loop.time())
        original(self, result, lambda *_: None)

    monkeypatch.setattr(JournalQueue, "record", record)

    assert_seen("was told and is not on disk")


def test_lost_commit_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What was promised to be on disk and is not is missing after the crash.
    """

    def write(connection: Any, entries: Sequence[Any], **_: Any) -> dict[str, Result]:
        connection.execute("BEGIN IMMEDIATE")
        return {}

    monkeypatch.setattr("onehouse_tracker.journal.sqlite.write", write)

    assert_seen("were not resumed", "were owed")


def test_an_observer_that_is_believed_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What an observer raises would end the poll that told it, or the tracker.
    """

    def told(observer: Observer, event: Event) -> None:
        with suppress(Exception):
            observer(event)

    monkeypatch.setattr(events, "_told", told)

    assert_seen("PanicError", "GeneratorExit", "counted as on the wire")


def test_an_end_that_nobody_hears_of_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whoever waits for an engine that was cancelled would wait for ever.
    """
    monkeypatch.setattr(Engine, "end", lambda *_: None)

    assert_seen("nothing is left to wake it", seeds=200)


def test_file_left_open_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A journal that is not closed costs a file for each tracker.
    """
    run = World.run
    with ExitStack() as left:

        def leaky(self: World) -> None:
            left.enter_context(Path(__file__).open(encoding="utf-8"))
            run(self)

        monkeypatch.setattr(World, "run", leaky)

        assert_seen("files and threads before", seeds=1)
