"""
What happened, as objects: frozen, without secrets, passed to everyone who wants to know.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import pickle

import pytest

from onehouse_tracker import events
from onehouse_tracker.models import Outcome
from onehouse_tracker.run_results import RunOutcome

EXAMPLES: list[events.Event] = [
    events.Event(at=1.0),
    events.RequestJoined(at=1.0, request_id="r-1", label="RUN JOB", age=2.0),
    events.PollFinished(
        at=1.0, request_id="r-1", attempt=1, took=0.25, status=None, error="E", reason="R"
    ),
    events.RequestEnded(
        at=1.0,
        request_id="r-1",
        label=None,
        outcome=Outcome.FAILED,
        reason="R",
        polls=3,
        waited=9.0,
        delay_bound=None,
    ),
    events.RequestDropped(at=1.0, request_id="r-1", label="RUN JOB", timed_out=True, reason="R"),
    events.RequestOverdue(at=1.0, request_id="r-1", label="RUN JOB", age=900.0, usual=60.0),
    events.WaitBegan(at=1.0, wait=1, requests=2, request_ids=("r-1", "r-2"), label=None),
    events.WaitEnded(
        at=1.0,
        wait=1,
        took=9.0,
        succeeded=1,
        failed=1,
        unfinished=0,
        not_ok=(("r-1", Outcome.FAILED),),
        error=None,
    ),
    events.RunFollowed(at=1.0, job="nightly", run_id="run-1", request_id="r-1", label=None),
    events.RunDropped(
        at=1.0, job="nightly", run_id="run-1", request_id=None, label=None, timed_out=True
    ),
    events.RunEnded(
        at=1.0,
        job="nightly",
        run_id="run-1",
        request_id="r-1",
        label=None,
        outcome=RunOutcome.FAILED,
        reason="no memory",
        checks=3,
        waited=60.0,
        delay_bound=4.0,
    ),
    events.RunOverdue(
        at=1.0,
        job="nightly",
        run_id="run-1",
        request_id=None,
        label=None,
        age=900.0,
        usual=60.0,
    ),
    events.CheckEnded(
        at=1.0, job="nightly", run_id=None, runs=3, polls=2, took=1.8, outcome="SUCCEEDED"
    ),
    events.StatementSubmitted(at=1.0, request_id="r-1", label=None),
    events.BudgetRefused(at=1.0, request_id="", retry_after=None, paused_for=0.2, margin=0.03),
    events.BudgetDegraded(at=1.0, limiter="redis", rate=3.0),
    events.BudgetRestored(at=1.0, limiter="redis", rate=9.8),
    events.OutageBegan(at=1.0, reason="down"),
    events.OutageEnded(at=1.0, lasted=30.0),
    events.CredentialsDoubted(at=1.0, request_id="r-1", reason="no"),
    events.ProjectFailed(at=1.0, error="OutageError", message="down", pending=7),
    events.CallbackFailed(at=1.0, request_id="r-1", error="ValueError"),
    events.JournalFailed(at=1.0, path="j.db", error="JournalWriteError", message="full", lost=3),
    events.JournalRecovered(at=1.0, path="j.db", lost=3),
    events.SubmissionsInterrupted(at=1.0, path="j.db", count=1),
]


def _ignore(event: events.Event) -> None:
    """Take no interest."""


def test_every_event_has_an_example_here() -> None:
    """
    An event that is added must not escape the tests of this file.
    """
    kinds = {
        value
        for value in vars(events).values()
        if isinstance(value, type) and issubclass(value, events.Event)
    }

    assert {type(example) for example in EXAMPLES} == kinds
    assert {kind.__name__ for kind in kinds} <= set(events.__all__)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_events_are_small_frozen_values(event: events.Event) -> None:
    """
    Observers keep them, compare them, and send them to other processes.
    """
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.at = 2.0  # type: ignore[misc]

    assert not hasattr(event, "__dict__")
    assert pickle.loads(pickle.dumps(event)) == event  # noqa: S301 - made in this test
    assert len({event, copy.copy(event)}) == 1
    assert event.at == 1.0


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_no_event_has_room_for_a_secret(event: events.Event) -> None:
    """
    Events end in logs and in other systems: responses, headers and statements stay out.
    """
    names = {field.name for field in dataclasses.fields(event)}

    assert not names & {"response", "result", "headers", "statement", "body", "credentials"}


def test_an_emitter_without_observers_is_false() -> None:
    """
    Nobody builds events for nobody: a poll costs less.
    """
    assert not events.Emitter()
    assert events.Emitter([_ignore])

    events.Emitter()(EXAMPLES[0])


def test_everyone_is_told_in_order() -> None:
    """
    Observers see each event once, in the order in which they were given.
    """
    told: list[tuple[str, events.Event]] = []
    emit = events.Emitter(
        [lambda event: told.append(("a", event)), lambda event: told.append(("b", event))]
    )

    emit(EXAMPLES[0])
    emit(EXAMPLES[1])

    assert told == [
        ("a", EXAMPLES[0]),
        ("b", EXAMPLES[0]),
        ("a", EXAMPLES[1]),
        ("b", EXAMPLES[1]),
    ]


def test_an_observer_that_fails_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """
    A broken progress bar must not stop the polling, nor hide events from the log.
    """
    told: list[events.Event] = []

    def broken(event: events.Event) -> None:
        raise ValueError("no terminal")

    emit = events.Emitter([broken, told.append])
    with caplog.at_level(logging.ERROR, "onehouse_tracker"):
        emit(EXAMPLES[1])

    assert told == [EXAMPLES[1]]
    record = caplog.records[0]
    assert record.name == "onehouse_tracker.events"
    assert record.getMessage() == "an observer failed on RequestJoined"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_observer_cannot_swallow_an_interruption(
    interruption: type[BaseException],
) -> None:
    """
    Ctrl-C that happens to arrive inside of an observer is still Ctrl-C.
    """

    def interrupted(event: events.Event) -> None:
        raise interruption

    with pytest.raises(interruption):
        events.Emitter([interrupted])(EXAMPLES[0])


class Picky:
    """Listens to outages only."""

    def listens_to(self, kind: type[events.Event]) -> bool:
        """Whether it is one."""
        return kind is events.OutageBegan

    def __call__(self, event: events.Event) -> None:
        """Take note of nothing."""


def test_events_that_nobody_listens_to_need_not_be_made() -> None:
    """
    Of a million requests that are dropped at once, each would be one.
    """
    picky = events.Emitter([Picky()])

    assert picky.wants(events.OutageBegan)
    assert not picky.wants(events.RequestDropped)
    assert events.Emitter([Picky(), _ignore]).wants(events.RequestDropped)
    assert not events.Emitter().wants(events.OutageBegan)
