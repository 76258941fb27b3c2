"""
Many statements: sent concurrently, or in order; what became of each is known whatever fails.
"""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import (
    AuthenticationError,
    ConfigError,
    InvalidRequestError,
    Outcome,
    PollPolicy,
    RequestFailedError,
    Result,
    SqliteJournal,
    StatementState,
    SubmissionRejectedError,
    SubmissionUnknownError,
    SubmissionUnsentError,
    Tracker,
    TrackerClosedError,
    UnauthorizedError,
    statements_of,
)
from onehouse_tracker.journal import JournalReader
from onehouse_tracker.models import StatusReply
from onehouse_tracker.statement_results import StatementResults
from onehouse_tracker.testing import (
    FaultRule,
    InlineExecutor,
    Kind,
    ScriptedSource,
    SimulatedProject,
    SimulatedSource,
    SlidingLog,
    faults,
)
from tests.engine.disturbed import Turning
from tests.support import FAILED, PENDING, SUCCESS, now, run

ACCEPTED, REFUSED = StatementState.ACCEPTED, StatementState.REFUSED
UNKNOWN, UNSENT = StatementState.UNKNOWN, StatementState.UNSENT

QUICK = Kind(label="", duration=3.0)
FAILS = Kind(label="DROP TABLE", duration=3.0, failed=1.0, partial=0.0)


def _project(**settings: Any) -> SimulatedProject:
    return SimulatedProject(kinds=[FAILS, QUICK], enforcer=SlidingLog(10), **settings)


def _submitted(project: SimulatedProject) -> list[tuple[float, str]]:
    """When statements arrived, and what the server said."""
    return [(at.at, at.verdict) for at in project.arrivals if at.kind == "submit"]


def _states(results: StatementResults[Any]) -> list[StatementState]:
    return [item.state for item in results]


# --- Sending ------------------------------------------------------------------------------


def test_a_round_trip_of_300_ms_costs_none_of_the_rate() -> None:
    """
    One after the other, it would be three a second of ten.
    """
    project = _project()

    async def scenario() -> None:
        async with Tracker(SimulatedSource(project, round_trip=0.3)) as tracker:
            results = await tracker.submit_all([f"SHOW TABLES {n}" for n in range(60)])
            assert project.budget_used(0.5, now()) > 0.93  # some of it for polls
            assert now() < 10
            assert _states(results) == [ACCEPTED] * 60
            ids = [item.request_id for item in results]
            assert ids == list(project.requests)  # in the order given
            assert [handle.request_id for handle in results.handles] == ids
            assert (await tracker.wait_all(results.handles)).ok

    run(scenario())
    assert project.refused == 0


@pytest.mark.parametrize(
    ("in_order", "second_at"), [(False, 0.1), (True, 2.1)], ids=["parallel", "in order"]
)
def test_run_job_waits_for_create_job_where_order_matters(
    *, in_order: bool, second_at: float
) -> None:
    """
    The server answers the first POST after two seconds: without the order the second overtakes.
    """
    project = _project()
    project.add("before", 0.0)

    async def scenario() -> float:
        async with Tracker(SimulatedSource(project, round_trip=0.08)) as tracker:
            await tracker.wait_all(["before"])  # the server is known to answer
            began = now()
            project.script_next([faults.delay(2.0)])
            results = await tracker.submit_all(["CREATE JOB j", "RUN JOB j"], in_order=in_order)
            assert _states(results) == [ACCEPTED, ACCEPTED]
            assert results.ok
            return began

    began = run(scenario())
    assert _submitted(project)[1][0] - began == pytest.approx(second_at, abs=0.2)


def test_in_order_execute_all_sends_the_next_when_the_last_has_ended() -> None:
    """
    RUN JOB makes no sense before CREATE JOB has ended, which is accepted long before.
    """
    project = _project()
    project.script_next([faults.delay(2.0)])

    async def scenario() -> None:
        async with Tracker(SimulatedSource(project, round_trip=0.08)) as tracker:
            results = await tracker.execute_all(["CREATE JOB j", "RUN JOB j"], in_order=True)
            assert results.ok
            assert [item.result.outcome for item in results if item.result] == [
                Outcome.SUCCEEDED
            ] * 2

    run(scenario())
    first, second = project.requests.values()
    assert second.submitted_at is not None
    assert second.submitted_at >= first.finished_at


@pytest.mark.parametrize("method", ["submit_all", "execute_all"])
@pytest.mark.parametrize(
    ("fault", "state", "error"),
    [
        (faults.refuse(400, "no"), REFUSED, SubmissionRejectedError),
        (faults.hang(), UNKNOWN, SubmissionUnknownError),
        (faults.reset(), UNKNOWN, SubmissionUnknownError),
    ],
    ids=["refused", "hangs", "reset"],
)
def test_in_order_the_first_that_is_not_accepted_ends_it(
    method: str, fault: Any, state: StatementState, error: type[Exception]
) -> None:
    """
    The rest is reported as not sent, and never sent.
    """
    project = _project()
    project.rules.append(FaultRule(fault=fault, on="submit", start=0.7))
    statements = [f"CREATE JOB j{n}" for n in range(5)]
    if method == "execute_all":
        project.rules[0] = FaultRule(fault=fault, on="submit", start=2.0)

    async def scenario() -> None:
        source = SimulatedSource(project, round_trip=1.0)
        async with Tracker(source, policy=PollPolicy(poll_timeout=4)) as tracker:
            results = await getattr(tracker, method)(statements, in_order=True)
            assert _states(results) == [ACCEPTED, state, UNSENT, UNSENT, UNSENT]
            assert isinstance(results[1].error, error)
            assert isinstance(results[2].error, SubmissionUnsentError)
            assert "because statement 2" in str(results[4].error)
            with pytest.raises(ExceptionGroup, match="4 of 5") as caught:
                results.raise_for_failures()
            assert caught.value.exceptions[0].__notes__ == ["statement 2"]

    run(scenario())
    assert len(_submitted(project)) == 2


def test_in_order_a_request_that_fails_ends_it() -> None:
    """
    In `execute_all`; `submit_all` knows only that it was accepted.
    """
    statements = ["CREATE TABLE a", "DROP TABLE a", "SHOW TABLES"]

    async def scenario() -> None:
        project = _project()
        async with Tracker(SimulatedSource(project)) as tracker:
            results = await tracker.execute_all(statements, in_order=True)
            assert _states(results) == [ACCEPTED, ACCEPTED, UNSENT]
            assert results[1].result is not None
            assert results[1].result.outcome is Outcome.FAILED
            assert str(results[2].error) == (
                "it was not sent, because statement 2 did not succeed"
            )
            with pytest.raises(ExceptionGroup) as caught:
                results.raise_for_failures()
            assert [type(each) for each in caught.value.exceptions] == [
                RequestFailedError,
                SubmissionUnsentError,
            ]
            assert (await tracker.submit_all(statements, in_order=True)).ok
        assert len(_submitted(project)) == 2 + 3

    run(scenario())


@pytest.mark.parametrize("limit", [1, 3, 20])
def test_no_more_are_open_than_max_running(limit: int) -> None:
    """
    The next one is sent as soon as one has ended, and not before.
    """
    project = _project()
    peak = 0

    async def scenario() -> None:
        nonlocal peak
        async with Tracker(SimulatedSource(project)) as tracker:
            task = asyncio.create_task(
                tracker.execute_all([f"SHOW {n}" for n in range(40)], max_running=limit)
            )
            while not task.done():
                await asyncio.sleep(0.05)
                open_now = sum(each.finished_at > now() for each in project.requests.values())
                peak = max(peak, open_now)
            assert (await task).ok

    run(scenario())
    assert limit * 0.9 <= peak <= limit
    assert len(_submitted(project)) == 40


def test_stop_on_failure_sends_nothing_further_and_waits_for_the_rest() -> None:
    """
    What was accepted by then has its result.
    """
    project = _project()
    statements = ["SHOW a", "DROP TABLE b", *(f"SHOW {n}" for n in range(200))]

    async def scenario() -> StatementResults[Any]:
        async with Tracker(SimulatedSource(project)) as tracker:
            return await tracker.execute_all(statements, stop_on_failure=True)

    results = run(scenario())
    sent = [item for item in results if item.state is ACCEPTED]
    assert len(_submitted(project)) == len(sent) < 60
    assert [item.number for item in sent] == list(range(1, len(sent) + 1))
    assert all(item.result is not None and item.result.outcome.final for item in sent)
    assert {item.state for item in results[len(sent) :]} == {UNSENT}


def test_without_an_order_one_that_is_refused_stops_no_other() -> None:
    """
    Each stands for itself, and none is sent twice.
    """
    project = _project()
    project.script_next([None, faults.refuse(400, "no"), faults.throttled(), None])

    async def scenario() -> StatementResults[Any]:
        async with Tracker(SimulatedSource(project)) as tracker:
            return await tracker.submit_all(["SHOW a", "SHOW b", "SHOW c", "SHOW d"])

    assert _states(run(scenario())) == [ACCEPTED, REFUSED, ACCEPTED, ACCEPTED]
    assert len(_submitted(project)) == 5  # the 429, after which nothing runs, was sent again


# --- Waiting ------------------------------------------------------------------------------


def test_execute_returns_the_result_or_raises_why_there_is_none() -> None:
    """
    The common case, in one line.
    """
    source = ScriptedSource(
        {"s1": [PENDING, SUCCESS], "s2": [PENDING]},
        submissions=["s1", SubmissionRejectedError("syntax"), "s2"],
    )

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            result = await tracker.execute("SHOW TABLES", label="SHOW")
            assert result.ok
            assert result.label == "SHOW"
            with pytest.raises(SubmissionRejectedError, match="syntax"):
                await tracker.execute("SHOW TABLE")
            assert (await tracker.execute("RUN JOB j", timeout=5)).outcome is Outcome.TIMED_OUT

    run(scenario())


def test_on_result_is_called_as_in_wait_all() -> None:
    """
    With its errors in the results, and acknowledgments in the journal.
    """
    seen: list[str] = []

    async def note(result: Result) -> None:
        seen.append(result.request_id)
        raise ValueError

    source = ScriptedSource({"a": [SUCCESS], "b": [FAILED]}, submissions=["a", "b"])

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            results = await tracker.execute_all(["SHOW a", "SHOW b"], on_result=note)
            assert set(results.results.callback_errors) == set(seen) == {"a", "b"}

    run(scenario())


def test_the_deadline_leaves_nothing_open() -> None:
    """
    What is pending is TIMED_OUT, what waits is not sent, what is on the wire gets its answer.
    """
    project = _project()
    project.rules.append(FaultRule(fault=faults.delay(2.0), on="submit", start=2.0))

    async def scenario() -> StatementResults[Any]:
        async with Tracker(SimulatedSource(project)) as tracker:
            return await tracker.execute_all([f"SHOW {n}" for n in range(200)], timeout=2.5)

    results = run(scenario())
    sent = len(_submitted(project))
    assert _states(results) == [ACCEPTED] * sent + [UNSENT] * (200 - sent)
    assert all(item.result is not None for item in results[:sent])
    assert {item.result.outcome for item in results[:sent] if item.result} == {Outcome.TIMED_OUT}
    assert "not sent in time" in str(results[-1].error)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda t: t.submit_all("SHOW TABLES"), InvalidRequestError),
        (lambda t: t.submit_all({"SHOW a": "RUN JOB a"}), InvalidRequestError),
        (lambda t: t.execute_all({"SHOW a": "RUN JOB a"}), InvalidRequestError),
        (lambda t: t.runs.execute_all({"SHOW a": "RUN JOB a"}), InvalidRequestError),
        (lambda t: t.submit_all(["SHOW a", " ; "]), InvalidRequestError),
        (lambda t: t.execute_all(["SHOW a"], label=3), InvalidRequestError),
        (lambda t: t.execute_all(["SHOW a"], max_running=0), ConfigError),
        (lambda t: t.execute_all(["SHOW a"], max_running=2, in_order=True), ConfigError),
        (lambda t: t.execute_all(["SHOW a"], timeout=-1), ConfigError),
    ],
)
def test_a_mistake_costs_no_statement(
    call: Callable[[Tracker], Any], error: type[Exception]
) -> None:
    """
    Everything is checked before anything is sent.
    """
    source = ScriptedSource({}, submissions=["a", "b"])

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            with pytest.raises(error):
                await call(tracker)
            assert list(await tracker.submit_all([])) == []
            assert list(await tracker.execute_all([])) == []

    run(scenario())
    assert not source.submitted


# --- What fails all -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["submit_all", "execute_all"])
def test_wrong_credentials_fail_all_and_say_what_became_of_each(method: str) -> None:
    """
    One POST finds it out; the others are never sent.
    """
    source = ScriptedSource({}, submissions=[UnauthorizedError("no key", http_status=401)])

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            with pytest.raises(AuthenticationError) as caught:
                await getattr(tracker, method)([f"SHOW {n}" for n in range(150)])
            statements = statements_of(caught.value)
            assert statements is not None
            assert _states(statements) == [REFUSED] + [UNSENT] * 149
            assert "1 refused, 149 not sent" in "".join(caught.value.__notes__)
            copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - made in this test
            assert _states(statements_of(copy) or StatementResults()) == _states(statements)

    run(scenario())
    assert len(source.submitted) == 1


def test_a_tracker_that_closes_says_what_became_of_each() -> None:
    """
    What was accepted is named in ``pending``.
    """
    source = ScriptedSource({"a": [PENDING]}, submissions=["a", "b"])

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            task = asyncio.create_task(tracker.execute_all(["SHOW a", "SHOW b"], max_running=1))
            await asyncio.sleep(5)
        with pytest.raises(TrackerClosedError) as caught:
            await task
        assert caught.value.pending == ("a",)
        statements = statements_of(caught.value)
        assert statements is not None
        assert _states(statements) == [ACCEPTED, UNSENT]

    run(scenario())


def test_what_became_of_each_survives_a_timeout_of_asyncio() -> None:
    """
    ``asyncio.timeout`` makes another error of the cancellation.
    """
    source = ScriptedSource({"a": [PENDING]}, submissions=["a"], latency=0.5)

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.3):
                    await tracker.submit_all(["SHOW a"], in_order=True)
            statements = statements_of(caught.value)
            assert statements is not None
            assert _states(statements) == [UNKNOWN]
            assert statements_of(ValueError()) is None

    run(scenario())


# --- At every turn ------------------------------------------------------------------------

EVERY_TURN = bool(os.environ.get("EVERY_TURN"))

STATEMENTS = [f"SHOW {n}" for n in range(4)]


class _Server:
    """Accepts what is sent, and knows what was."""

    def __init__(self) -> None:
        self.sent: dict[str, str] = {}

    async def submit(self, statement: str, /) -> str:
        self.sent[statement] = f"r-{statement}"
        await asyncio.sleep(0.15)
        return self.sent[statement]

    async def fetch(self, request_id: str, /) -> StatusReply:
        await asyncio.sleep(0.05)
        assert request_id in self.sent.values()
        return StatusReply(SUCCESS)


def _cancel(task: asyncio.Task[Any], _leave: asyncio.Event) -> None:
    task.cancel()


def _leave_block(_task: asyncio.Task[Any], leave: asyncio.Event) -> None:
    leave.set()


def _live(
    at: int,
    end: Callable[[asyncio.Task[Any], asyncio.Event], None],
    journal: Path | None,
    method: str,
    **how: Any,
) -> tuple[int, StatementResults[Any], _Server]:
    """Send four statements, and end it before turn *at*: what was told, and what arrived."""
    server = _Server()
    started: list[tuple[asyncio.Task[Any], asyncio.Event]] = []
    kept = None
    if journal is not None:
        journal.unlink(missing_ok=True)
        kept = SqliteJournal(journal, store_statements=True, executor=InlineExecutor())

    async def scenario() -> StatementResults[Any]:
        leave = asyncio.Event()
        async with Tracker(server, journal=kept) as tracker:
            task = asyncio.create_task(getattr(tracker, method)(STATEMENTS, **how))
            task.add_done_callback(lambda _: leave.set())
            started.append((task, leave))
            await leave.wait()
        try:
            told: StatementResults[Any] = await task
        except (TrackerClosedError, asyncio.CancelledError) as error:
            told = statements_of(error) or StatementResults()
        return told

    def what() -> None:
        for each in started:
            end(*each)

    loop = Turning(at, what)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        told = runner.run(scenario())
    assert not loop.complaints, loop.complaints
    return loop.turns, told, server


@pytest.mark.parametrize("end", [_cancel, _leave_block])
@pytest.mark.parametrize("journalled", [False, True], ids=["no journal", "journal"])
@pytest.mark.parametrize(
    ("method", "how"),
    [
        ("submit_all", {}),
        ("submit_all", {"in_order": True}),
        ("execute_all", {"max_running": 2}),
    ],
    ids=["submit_all", "in order", "execute_all"],
)
def test_what_became_of_each_is_told_at_whatever_turn_it_ends(
    end: Any, method: str, how: dict[str, Any], *, journalled: bool, tmp_path: Path
) -> None:
    """
    What is called unsent never arrived, and what arrived is accepted or of unknown fate.
    """
    journal = tmp_path / "journal" if journalled else None
    turns, told, _ = _live(0, end, journal, method, **how)
    assert told.ok
    seen: set[StatementState] = set()
    for turn in range(1, turns + 1, 1 if EVERY_TURN or not journalled else 7):
        _, told, server = _live(turn, end, journal, method, **how)
        if not told:  # it had not begun
            assert not server.sent
            continue
        assert [item.number for item in told] == [1, 2, 3, 4]
        for statement, item in zip(STATEMENTS, told, strict=True):
            seen.add(item.state)
            assert (statement in server.sent) is (item.state is not UNSENT), (turn, item)
            assert (item.request_id is None) is (item.state is not ACCEPTED)
            if item.request_id is not None:
                assert item.request_id == server.sent[statement]
        if journal is not None:
            _judge(journal, told)
    # Without a client that closes under it, what is on the wire gets its answer.
    assert seen == {ACCEPTED, UNSENT} | ({UNKNOWN} if end is _cancel else set())


def _judge(journal: Path, told: StatementResults[Any]) -> None:
    """The journal says the same; what was on the wire when it was closed, is of unknown fate."""
    states = {
        statement.statement: str(statement.state)
        for statement in JournalReader(journal).statements()
    }
    for statement, item in zip(STATEMENTS, told, strict=True):
        if item.state is ACCEPTED:
            assert states[statement] in {"accepted", "sending"}
        elif item.state is UNKNOWN:
            assert states[statement] in {"unknown", "sending"}
        else:
            assert states.get(statement, "unsent") == "unsent"
