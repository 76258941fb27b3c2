"""
Recordings: all that a page needs, bounded and cheap.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest

from onehouse_tracker import ConfigError, Outcome, Tracker, TransportError, events
from onehouse_tracker.report import ReportObserver, View
from onehouse_tracker.report._series import Series
from onehouse_tracker.report._view import named_rows
from onehouse_tracker.testing import After, ScriptedSource
from onehouse_tracker.testing.scripted import hang
from tests.report.batches import NOON, batch
from tests.support import FAILED, PENDING, SUCCESS, run


def joined(number: int, at: float = 100.0, label: str | None = None) -> events.RequestJoined:
    """A request comes."""
    return events.RequestJoined(at=at, request_id=f"r-{number}", label=label, age=0.0)


def polled(number: int, at: float, attempt: int = 1, **other: Any) -> events.PollFinished:
    """A poll that took half a second says PENDING."""
    told: dict[str, Any] = {"status": PENDING, "error": None, "reason": None} | other
    return events.PollFinished(at=at, request_id=f"r-{number}", attempt=attempt, took=0.5, **told)


def ended(
    number: int, at: float, outcome: Outcome = Outcome.SUCCEEDED, reason: str | None = None
) -> events.RequestEnded:
    """A request ends after three polls."""
    return events.RequestEnded(
        at=at,
        request_id=f"r-{number}",
        label=None,
        outcome=outcome,
        reason=reason,
        polls=3,
        waited=at - 100,
        delay_bound=0.25,
    )


def dropped(number: int, at: float, *, timed_out: bool) -> events.RequestDropped:
    """Nobody waits for a request any more."""
    return events.RequestDropped(
        at=at, request_id=f"r-{number}", label=None, timed_out=timed_out, reason="HTTP 503"
    )


def refused(at: float, paused_for: float) -> events.BudgetRefused:
    """The server refuses a request for its rate."""
    return events.BudgetRefused(
        at=at, request_id="r-1", retry_after=None, paused_for=paused_for, margin=0.03
    )


def recorded(happened: Iterable[events.Event], **settings: Any) -> ReportObserver:
    """A recording of what happened."""
    recording = ReportObserver(wall_clock=lambda: NOON, **settings)
    for event in happened:
        recording(event)
    return recording


def rows(view: View) -> dict[str, dict[str, Any]]:
    """The rows of a view by request ID."""
    return {row["request_id"]: row for row in named_rows(view)}


def test_a_request_is_told_from_joining_to_its_end() -> None:
    """
    Times count from the first event, because the clock of a loop begins anywhere.
    """
    recording = recorded(
        [
            joined(1, label="RUN JOB"),
            polled(1, 101.0),
            polled(1, 103.0, 2),
            ended(1, 105.0, Outcome.FAILED, "no cluster"),
        ],
        limit=9.5,
    )

    view = recording.view()

    assert named_rows(view) == [
        {
            "number": 1,
            "request_id": "r-1",
            "label": "RUN JOB",
            "joined": 0.0,
            "first": 0.5,
            "ended": 5.0,
            "state": "FAILED",
            "job": None,
            "run_id": None,
            "reason": "no cluster",
            "polls": 3,
            "checks": None,
            "waited": 5.0,
            "expected": None,
            "expected_low": None,
            "expected_high": None,
            "usual": None,
            "delay_bound": 0.25,
            "delay": None,
        }
    ]
    assert view["head"]["started_at"] == "2026-05-04T12:00:00.000+00:00"
    assert view["head"]["now"] == 5.0
    assert (view["head"]["polls"], view["head"]["limit"]) == (2, 9.5)


def test_what_the_outcome_says_already_is_no_reason() -> None:
    """
    Where the server gave no reason its status word would look like one.
    """
    happened = [
        joined(1),
        joined(2),
        ended(1, 101, Outcome.FAILED, "API_OPERATION_STATUS_FAILED"),
        ended(2, 101, Outcome.UNRECOGNIZED, "API_OPERATION_STATUS_NEW"),
    ]

    found = rows(recorded(happened).view())

    assert found["r-1"]["reason"] is None
    assert found["r-2"]["reason"] == "API_OPERATION_STATUS_NEW"


@pytest.mark.parametrize(("timed_out", "state"), [(True, "TIMED_OUT"), (False, "OPEN")])
def test_what_is_let_go_has_ended_without_an_outcome(*, timed_out: bool, state: str) -> None:
    """
    A deadline is an outcome for people; an interruption leaves the request open.
    """
    found = rows(recorded([joined(1), dropped(1, 104, timed_out=timed_out)]).view())["r-1"]

    assert found == {
        "number": 1,
        "request_id": "r-1",
        "label": None,
        "joined": 0.0,
        "first": None,
        "ended": 4.0,
        "state": state,
        "job": None,
        "run_id": None,
        "reason": "HTTP 503",
        "polls": 0,
        "checks": None,
        "waited": 4.0,
        "expected": None,
        "expected_low": None,
        "expected_high": None,
        "usual": None,
        "delay_bound": None,
        "delay": None,
    }


def test_a_request_that_is_followed_again_goes_on_in_its_row() -> None:
    """
    After a time-out people wait again: that is one request, and all its polls count.
    """
    happened = [
        joined(1),
        polled(1, 101),
        dropped(1, 102, timed_out=True),
        joined(1, 110),
        polled(1, 111, error="TransportError", reason="", status=None),
    ]

    recording = recorded(happened)
    again = rows(recording.view())["r-1"]
    recording(ended(1, 120))

    assert again == {
        "number": 1,
        "request_id": "r-1",
        "label": None,
        "joined": 0.0,
        "first": 0.5,
        "ended": None,
        "state": "PENDING",
        "job": None,
        "run_id": None,
        "reason": "TransportError",
        "polls": 2,
        "checks": None,
        "waited": None,
        "expected": None,
        "expected_low": None,
        "expected_high": None,
        "usual": None,
        "delay_bound": None,
        "delay": None,
    }
    at_last = rows(recording.view())["r-1"]
    assert (at_last["ended"], at_last["state"]) == (20.0, "SUCCEEDED")
    assert (at_last["reason"], at_last["polls"]) == (None, 4)


def test_a_failure_of_the_project_closes_what_is_open_and_is_told() -> None:
    """
    After it nothing is followed: a page must not show it as pending for ever.
    """
    happened: list[events.Event] = [
        joined(1),
        joined(2),
        ended(1, 101),
        events.OutageBegan(at=102, reason="down"),
        events.ProjectFailed(at=110, error="OutageError", message="no good reply", pending=1),
    ]

    view = recorded(happened).view()

    assert {key: row["state"] for key, row in rows(view).items()} == {
        "r-1": "SUCCEEDED",
        "r-2": "OPEN",
    }
    assert view["head"]["failure"] == "no good reply"
    assert view["outages"] == [{"began": 2.0, "ended": 10.0, "reason": "down"}]


def test_a_failure_is_over_when_the_server_answers_again() -> None:
    """
    A service follows requests for months: what failed in spring is no news in autumn.
    """
    happened = [
        joined(1),
        events.ProjectFailed(at=110, error="OutageError", message="no good reply", pending=1),
        joined(2),
        polled(2, 200, error="TransportError", status=None),
    ]
    assert recorded(happened).view()["head"]["failure"] == "no good reply"

    assert recorded([*happened, polled(2, 201)]).view()["head"]["failure"] is None


def test_polls_submissions_and_refusals_are_counted_when_they_were_sent() -> None:
    """
    The use of the budget is judged by what left, not by what came back late.
    """
    view = recorded(
        [
            joined(1),
            polled(1, 102.2),
            events.StatementSubmitted(at=102.9, request_id="r-2", label=None),
            refused(103.0, 0.2),
        ]
    ).view()

    assert view["budget"] == {
        "width": 1.0,
        "first": 0,
        "polls": [0, 1],
        "submissions": [0, 0, 1],
        "refusals": [0, 0, 0, 1],
        "paused": [0, 0, 0, 0.2],
    }
    assert view["head"]["submissions"] == view["head"]["refusals"] == 1


def test_refusals_of_one_episode_are_one_pause() -> None:
    """
    Each of them tells how long the pause still lasts: adding these up would exaggerate.
    """
    view = recorded([joined(1, 0), refused(1.5, 2.0), refused(1.6, 1.9), refused(5, 0.5)]).view()

    assert view["head"]["paused"] == 2.5
    assert view["budget"]["paused"] == [0, 0.5, 1.0, 0.5, 0, 0.5]


def test_an_outage_that_ended_is_told_with_its_reason() -> None:
    """
    One that lasts has no end yet.
    """
    happened: list[events.Event] = [
        joined(1),
        events.OutageBegan(at=103, reason="connection refused"),
        events.OutageEnded(at=109, lasted=7),
        events.OutageBegan(at=120, reason="HTTP 503"),
        events.CallbackFailed(at=121, request_id="r-1", error="ValueError"),  # of no interest
    ]

    view = recorded(happened).view()

    assert view["outages"] == [
        {"began": 3.0, "ended": 9.0, "reason": "connection refused"},
        {"began": 20.0, "ended": None, "reason": "HTTP 503"},
    ]
    assert view["head"]["now"] == 20.0


def test_what_is_told_of_unknown_requests_does_no_harm() -> None:
    """
    An observer may be added while requests are under way.
    """
    view = recorded([polled(7, 101), ended(7, 102), dropped(8, 103, timed_out=True)]).view()

    assert view["rows"] == []
    assert view["head"]["polls"] == 1


# --- Bounds --------------------------------------------------------------------------------


def test_memory_is_bounded_and_failures_are_kept_longest() -> None:
    """
    A service follows millions; what ended well long ago is only counted.
    """
    recording = ReportObserver(keep=10)
    for number in range(100):
        recording(joined(number, 100 + number, label="A" if number % 2 else None))
        bad = number in {0, 50}
        recording(ended(number, 100 + number, Outcome.FAILED if bad else Outcome.SUCCEEDED))

    view = recording.view()

    assert list(rows(view)) == ["r-0", "r-50", *(f"r-{n}" for n in range(92, 100))]
    assert view["head"]["folded"] == [
        {"label": "A", "state": "SUCCEEDED", "count": 46},
        {"label": None, "state": "SUCCEEDED", "count": 44},
    ]


def test_what_is_followed_is_never_given_up() -> None:
    """
    Pending requests are few compared to those that ended, and the page is about them.
    """
    happened = [joined(n) for n in range(50)] + [ended(n, 101, Outcome.FAILED) for n in range(5)]

    found = rows(recorded(happened, keep=2).view())

    assert sum(row["state"] == "PENDING" for row in found.values()) == 45
    assert [key for key, row in found.items() if row["state"] == "FAILED"] == ["r-3", "r-4"]


def test_labels_that_are_never_the_same_do_not_fill_the_memory() -> None:
    """
    Somebody will use the request ID as the label.
    """
    recording = ReportObserver(keep=1)
    for number in range(1000):
        recording(joined(number, label=f"label {number}"))
        recording(ended(number, 101))

    folded = recording.view()["head"]["folded"]

    assert len(folded) == 201
    assert folded[-1] == {"label": "other labels", "state": "SUCCEEDED", "count": 799}


def test_polls_of_a_long_run_take_no_memory() -> None:
    """
    A day of polling is 864,000 polls; their counts stay few, and none is lost.
    """
    recording = recorded([joined(1, 0)])
    for second in range(86_400):
        recording(polled(1, second + 0.5))

    budget = recording.view()["budget"]

    assert budget["width"] == 256
    assert len(budget["polls"]) <= 480
    assert sum(budget["polls"]) == 86_400


def test_a_series_becomes_coarser_and_loses_nothing() -> None:
    """
    Every two buckets become one when there is no room for the next.
    """
    series = Series(["a", "b"], buckets=4)
    for at in (0.5, 1.5, 3.9):
        series.add("a", at)
    fine = series.packed()
    series.spread("b", 3.5, 6.5)

    assert fine == {"width": 1.0, "first": 0, "a": [1, 1, 0, 1], "b": []}
    assert series.packed() == {"width": 2.0, "first": 0, "a": [2, 1], "b": [0, 0.5, 2, 0.5]}
    assert series.packed(4.2) == {"width": 2.0, "first": 2, "a": [], "b": [2, 0.5]}


@pytest.mark.parametrize("settings", [{"keep": 0}, {"limit": 0}, {"limit": float("nan")}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    """
    At once, and not with the first event.
    """
    with pytest.raises(ConfigError):
        ReportObserver(**settings)


# --- Changes -------------------------------------------------------------------------------


def by_number(view: View) -> dict[int, dict[str, Any]]:
    """The rows of a view by their number."""
    return {row["number"]: row for row in named_rows(view)}


def merged(view: View, changes: View) -> dict[int, dict[str, Any]]:
    """What a page has after it took *changes* to *view*."""
    known = by_number(view) | by_number(changes)
    return {number: row for number, row in known.items() if number not in changes["gone"]}


def test_changes_since_a_view_are_few_and_complete() -> None:
    """
    A page with thousands of requests gets what changed, and has the same then as a new one.
    """
    recording = recorded([joined(n) for n in range(1000)])
    before = recording.view()
    for event in (polled(3, 101), ended(5, 102), joined(2000, 103)):
        recording(event)

    changes = recording.view(since=before["head"]["version"])

    assert set(rows(changes)) == {"r-3", "r-5", "r-2000"}
    assert merged(before, changes) == by_number(recording.view())
    assert recording.view(since=changes["head"]["version"])["rows"] == []


def test_what_is_gone_is_told() -> None:
    """
    A page must not grow for ever either.
    """
    recording = recorded([joined(n) for n in range(20)], keep=5)
    before = recording.view()
    for number in range(20):
        recording(ended(number, 101))

    changes = recording.view(since=before["head"]["version"])

    assert sorted(changes["gone"]) == list(range(1, 16))
    assert merged(before, changes) == by_number(recording.view())


@pytest.mark.parametrize(
    "since", ["", "x", "x-1-1", "{token}", "{token}-", "{token}-9999999-0", "{token}--1-0"]
)
def test_a_version_that_is_not_ours_gets_everything(since: str) -> None:
    """
    It comes from a browser: of an earlier run on the same port, or of anybody.
    """
    recording = recorded([joined(1), joined(2)])
    token = recording.view()["head"]["version"].split("-")[0]

    view = recording.view(since=since.format(token=token))

    assert len(view["rows"]) == 2
    assert "since" not in view


def test_whoever_was_away_too_long_gets_everything() -> None:
    """
    What is gone is remembered for a while only.
    """
    recording = recorded([joined(0)], keep=1)
    before = recording.view()["head"]["version"]
    for number in range(1, 5_003):
        recording(joined(number))
        recording(ended(number, 101))

    assert "since" not in recording.view(since=before)


def test_the_budget_is_sent_from_a_little_before_the_last_view() -> None:
    """
    Polls are counted when they end, at the time when they were sent.
    """
    recording = recorded([joined(1, 0.0), polled(1, 300.0)])
    before = recording.view()["head"]["version"]
    recording(polled(1, 301.0))

    assert recording.view(since=before)["budget"]["first"] == 180


# --- With the real engine ------------------------------------------------------------------


def test_the_engine_tells_a_recording_all_that_results_know() -> None:
    """
    Events are the one seam: what stands in results must arrive through them.
    """
    recording, results, delays = batch(120, 9, trouble=True)

    view = recording.view(delays=delays)

    found = rows(view)
    assert list(found) == list(results)
    for request_id, result in results.items():
        row = found[request_id]
        assert row["label"] == result.label
        assert (row["state"], row["polls"]) == (result.outcome, result.polls)
        assert row["waited"] == round(result.waited, 3)
        assert row["delay_bound"] == (
            None if result.delay_bound is None else round(result.delay_bound, 3)
        )
        assert row["delay"] == round(delays[request_id], 3)
        if result.outcome is Outcome.FAILED:
            assert row["reason"] == result.reason
    assert view["head"]["polls"] == sum(result.polls for result in results.values())
    assert sum(view["budget"]["polls"]) == view["head"]["polls"]
    assert view["head"]["refusals"] >= 1
    assert len(view["outages"]) == 1
    json.dumps(view, allow_nan=False)


def test_the_deadline_of_the_last_who_waits_is_told() -> None:
    """
    While somebody else waits on, the request is not timed out for the report.
    """
    recording = ReportObserver()
    source = ScriptedSource({"a": [After(10, SUCCESS)], "b": [TransportError("HTTP 503"), hang]})

    async def scenario() -> None:
        async with Tracker(source, observers=[recording]) as tracker:
            handle = tracker.track("a")
            await tracker.wait_all(["a", "b"], timeout=5)
            await handle

    run(scenario())
    found = rows(recording.view())

    assert (found["a"]["state"], found["b"]["state"]) == ("SUCCEEDED", "TIMED_OUT")


def test_closing_the_tracker_leaves_requests_open() -> None:
    """
    The server goes on with them, and so may the next run.
    """
    recording = ReportObserver()

    async def scenario() -> None:
        source = ScriptedSource({"a": [PENDING, hang], "b": [FAILED]})
        async with Tracker(source, observers=[recording]) as tracker:
            handle = tracker.track("a")
            await tracker.wait_all(["b"])
            assert handle.request_id == "a"

    run(scenario())

    assert [row["state"] for row in named_rows(recording.view())] == ["OPEN", "FAILED"]


def test_its_repr_says_how_much_it_holds() -> None:
    """
    For a notebook.
    """
    assert re.fullmatch(r"<ReportObserver of 2 requests>", repr(recorded([joined(1), joined(2)])))
