"""
Many projects in one process: each as if it were alone, opened once, closed with the others.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pool as benchmark
from onehouse_tracker import (
    AuthenticationError,
    ConfigError,
    Credentials,
    InvalidRequestError,
    JournalLockedError,
    JournalWriteError,
    OutageError,
    Outcome,
    PollPolicy,
    PoolResults,
    Request,
    Result,
    Results,
    SqliteJournal,
    TrackerClosedError,
    TrackerPool,
)
from onehouse_tracker.errors import UnauthorizedError
from onehouse_tracker.history import History
from onehouse_tracker.limiters import LocalLimiter, RateLimiterStats
from onehouse_tracker.onehouse._http.connections import Connector
from onehouse_tracker.testing import (
    InlineExecutor,
    ScriptedSource,
    SimulatedProject,
    SimulatedSource,
    SimulatorServer,
    SlidingLog,
    faults,
    outage,
)
from tests.support import FAILED, PENDING, SUCCESS, now, run


def credentials(
    project: str = "p", base_url: str = "http://127.0.0.1:1", key: str = "k"
) -> Credentials:
    """Made up."""
    return Credentials(
        base_url=base_url,
        project_uid=project,
        account_uid="a",
        link_uid="l",
        region="r",
        user_uid="u",
        api_key=key,
        api_secret="s",
    )


def succeeding(*request_ids: str) -> ScriptedSource:
    """A project where everything has ended."""
    return ScriptedSource({request_id: [SUCCESS] for request_id in request_ids})


class _SlowLimiter:
    """A limiter that takes a second to open, counts that, and may fail to open or to close."""

    limit = 10.0
    paused_until = 0.0

    def __init__(self, *, failures: int = 0, bad_end: bool = False) -> None:
        self.failures = failures
        self.bad_end = bad_end
        self.starts = 0
        self.stops = 0
        self.open = 0
        self._limiter = LocalLimiter()

    async def start(self) -> None:
        self.starts += 1
        await asyncio.sleep(1)
        if self.starts <= self.failures:
            raise ConfigError("the limiter is stuck")
        self.open += 1
        await self._limiter.start()

    async def acquire(self) -> None:
        await self._limiter.acquire()

    def throttled(self, sent_at: float, retry_after: float | None) -> None:
        self._limiter.throttled(sent_at, retry_after)

    def forgive(self, refusals: int) -> None:
        pass

    def answered(self, sent_at: float) -> None:
        self._limiter.answered(sent_at)

    def stats(self) -> RateLimiterStats:
        return self._limiter.stats()

    async def aclose(self) -> None:
        self.stops += 1
        self.open -= 1
        await asyncio.sleep(1)
        await self._limiter.aclose()
        if self.bad_end:
            raise OSError("the limiter does not close")


# --- as if each were alone -----------------------------------------------------------------------


def test_eight_projects_do_not_notice_each_other() -> None:
    """
    The server's record: nobody over its budget, and every final reply when it came alone.
    """
    figures = benchmark.compare(projects=8, ids=30, duration=10.0)

    assert figures["ids"] == 240
    assert figures["refused"] == 0
    assert figures["most_in_a_second"] <= 10
    assert figures["differs_from_alone_at_most_s"] <= 0.001


def test_the_comparison_notices_a_project_that_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A benchmark that cannot be missed proves nothing: here all projects share one limiter's pace.
    """
    turn = asyncio.Lock()
    acquire = LocalLimiter.acquire

    async def in_turn(limiter: LocalLimiter) -> None:
        async with turn:
            await acquire(limiter)

    monkeypatch.setattr(LocalLimiter, "acquire", in_turn)
    together = benchmark.Worlds(5, 10, duration=5.0)
    run(benchmark.together(together))
    monkeypatch.undo()
    single = benchmark.Worlds(5, 10, duration=5.0)
    for number in range(5):
        run(benchmark.alone(single, number))
    expected = single.delays()
    later = max(delay - expected[name] for name, delay in together.delays().items())
    virtual = {"refused": 0, "most_in_a_second": 10, "later_than_alone_at_most_s": later}

    assert later > benchmark.LATER_AT_MOST
    assert len(list(benchmark.Numbers("3.11", 2, virtual).missed())) == 1


def test_a_project_that_fails_disturbs_no_other() -> None:
    """
    Wrong credentials and an outage of ten minutes: the third project ends on time, and the
    errors say which IDs are open.
    """

    async def scenario() -> tuple[PoolResults, float]:
        good = SimulatedProject(enforcer=SlidingLog(10))
        for number in range(50):
            good.add(f"r{number}", 30.0)
        down = SimulatedProject(rules=[outage(5.0, 10_000.0)])
        down.add("early", 1.0)
        down.add("never", 60.0)
        refused = ScriptedSource({"x": [UnauthorizedError("no")]})
        ended_at = 0.0

        async def note(name: str, _: Result) -> None:
            nonlocal ended_at
            if name == "good":
                ended_at = now()

        async with TrackerPool() as pool:
            pool.add("good", SimulatedSource(good))
            pool.add("down", SimulatedSource(down))
            pool.add("refused", refused)
            results = await pool.wait_all(
                {
                    "refused": ["x"],
                    "good": [f"r{number}" for number in range(50)],
                    "down": ["early", "never"],
                },
                on_result=note,
            )
        assert good.refused == 0
        return results, ended_at

    results, ended_at = run(scenario())

    assert list(results) == ["refused", "good", "down"]
    assert results["good"].ok
    assert ended_at < 37
    assert isinstance(results.errors["refused"], AuthenticationError)
    assert results.errors["refused"].pending == ("x",)
    assert isinstance(results.errors["down"], OutageError)
    assert results.errors["down"].pending == ("never",)
    assert results["down"]["early"].outcome is Outcome.SUCCEEDED
    assert not results.ok
    assert repr(results) == (
        "<PoolResults: 3 projects, 0 with requests that are not ok, 2 that failed>"
    )


def test_everything_that_went_wrong_is_raised_by_project() -> None:
    """
    One exception for all, in which each project can be found.
    """

    async def scenario() -> PoolResults:
        async with TrackerPool() as pool:
            pool.add("a", ScriptedSource({"x": [FAILED], "y": [SUCCESS]}))
            pool.add("b", ScriptedSource({"x": [UnauthorizedError("no")]}))
            pool.add("c", succeeding("x"))
            return await pool.wait_all({"a": ["x", "y"], "b": ["x"], "c": ["x"]})

    results = pickle.loads(pickle.dumps(run(scenario())))  # noqa: S301 - our own
    for _ in range(2):  # notes do not gather
        with pytest.raises(ExceptionGroup) as caught:
            results.raise_for_failures()
        assert [error.__notes__ for error in caught.value.exceptions] == [
            ["in project 'a'"],
            ["in project 'b'"],
        ]
    PoolResults({"c": results["c"]}).raise_for_failures()


def test_what_could_not_be_acknowledged_is_raised_after_all_was_tried() -> None:
    """
    One full disk among three does not keep the others' results from being written down.
    """
    acknowledged: list[str] = []

    def acknowledging(name: str) -> Results:
        async def acknowledge(_: Iterable[str]) -> None:
            if name == "b":
                raise JournalWriteError("disk full", path=name)
            acknowledged.append(name)

        return Results(acknowledge=acknowledge)

    async def scenario() -> None:
        await PoolResults({name: acknowledging(name) for name in "abc"}).ack_and_wait()

    with pytest.raises(ExceptionGroup) as caught:
        run(scenario())
    assert [str(error) for error in caught.value.exceptions] == ["disk full"]
    assert acknowledged == ["a", "c"]


def test_one_deadline_holds_for_all_and_for_the_opening() -> None:
    """
    Who asks for ten seconds gets an answer after ten, also from a project that opens late.
    """

    async def scenario() -> tuple[PoolResults, float]:
        async with TrackerPool() as pool:
            pool.add("slow", succeeding("x"), limiter=_SlowLimiter())
            pool.add("a", ScriptedSource({"x": [PENDING] * 1000}))
            results = await pool.wait_all({"slow": [Request("x")], "a": ["x"]}, timeout=10)
            at = now()
            late = await pool.wait_all({"a": ["x"]}, timeout=0)
            assert late["a"]["x"].outcome is Outcome.TIMED_OUT
            return results, at

    results, at = run(scenario())

    assert at == 10
    assert results["slow"].ok
    assert results["a"]["x"].outcome is Outcome.TIMED_OUT
    assert not results.errors


def test_bad_input_is_refused_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One name misspelt among two hundred must not leave a hundred half-way.
    """
    monkeypatch.setenv("ONEHOUSE_CREDENTIALS_FILE", str(_profiles(tmp_path)))
    source = succeeding("x")

    async def scenario() -> None:
        async with TrackerPool() as pool:
            pool.add("a", source)
            with pytest.raises(ConfigError, match="misspelt"):
                await pool.wait_all({"a": ["x"], "misspelt": ["x"]})
            with pytest.raises(InvalidRequestError):
                await pool.wait_all({"a": ["x"], "prod": "x"})
            with pytest.raises(ConfigError):
                await pool.wait_all({"a": ["x"]}, timeout=-1)
            assert pool.stats().projects == {}

    run(scenario())
    assert source.calls == []


def test_an_async_iterable_feeds_one_project() -> None:
    """
    What `Tracker.wait_all` takes, the pool takes; where nothing can be opened it is not read.
    """

    async def produce() -> object:
        await asyncio.sleep(3)
        yield "x"

    async def scenario() -> PoolResults:
        async with TrackerPool() as pool:
            pool.add("a", succeeding("x"))
            pool.add("b", succeeding("x"), limiter=_SlowLimiter(failures=1))
            return await pool.wait_all({"a": produce(), "b": produce()})  # type: ignore[dict-item]

    results = run(scenario())
    assert results["a"].ok
    assert isinstance(results.errors["b"], ConfigError)


def test_stats_add_up() -> None:
    """
    A dashboard wants one number and where it comes from; a project that is not open costs none.
    """

    async def scenario() -> None:
        async with TrackerPool() as pool:
            assert repr(pool) == "<TrackerPool: 0 projects, 0 open>"
            for name in "ab":
                pool.add(name, ScriptedSource({"x": [PENDING] * 1000, "y": [SUCCESS]}))
            down = SimulatedProject(rules=[outage(0.0, 10_000.0)])
            down.add("x", 1.0)
            pool.add("down", SimulatedSource(down))
            pool.add("unused", succeeding())
            waiting = asyncio.create_task(
                pool.wait_all({"a": ["y", "x"], "b": ["y", "x"], "down": ["x"]}, timeout=600)
            )
            await asyncio.sleep(300)
            stats = pool.stats()
            assert list(stats.projects) == ["a", "b", "down"]
            assert stats.pending == 3
            assert stats.ended == 2
            assert stats.polls == sum(one.polls for one in stats.projects.values()) > 100
            assert stats.in_flight == sum(one.in_flight for one in stats.projects.values())
            assert stats.refusals == 0
            assert stats.outages == ("down",)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert repr(pool) == "<TrackerPool: 4 projects, 3 open>"
        assert repr(pool) == "<TrackerPool: closed>"

    assert repr(TrackerPool()) == "<TrackerPool: not open>"
    run(scenario())


# --- one project, one tracker --------------------------------------------------------------------


def test_a_project_has_one_tracker_under_all_its_names() -> None:
    """
    Two trackers of one project would spend its budget twice.
    """

    async def scenario() -> None:
        async with TrackerPool() as pool:
            pool.add("a", credentials())
            pool.add("a", credentials())
            pool.add("b", credentials())
            pool.add("c", credentials("another"))
            assert await pool.tracker("a") is await pool.tracker("b")
            assert await pool.tracker("a") is not await pool.tracker("c")
            with pytest.raises(
                ConfigError, match="'a' is in the pool with other settings: client;"
            ):
                pool.add("b", credentials(key="rotated"))
            with pytest.raises(ConfigError, match="limit, policy"):
                pool.add("d", credentials(), limit=5, policy=PollPolicy(gap_max=5))

    run(scenario())


def test_what_belongs_to_one_project_is_not_given_to_two(tmp_path: Path) -> None:
    """
    A limiter has one waiter, a journal one writer.
    """
    pool = TrackerPool()
    limiter, journal = LocalLimiter(), SqliteJournal(tmp_path / "a.db")
    pool.add("a", credentials("a"), limiter=limiter, journal=journal)

    with pytest.raises(ConfigError, match="the limiter is that of project 'a'"):
        pool.add("b", credentials("b"), limiter=limiter)
    with pytest.raises(ConfigError, match="the journal is that of project 'a'"):
        pool.add("b", credentials("b"), journal=journal)
    with pytest.raises(ConfigError, match="redis"):
        pool.add("b", credentials("b"), limiter="no such limiter")
    pool.add("b", credentials("b"), limiter="host")
    pool.add("c", credentials("c"), limiter="host")


def _profiles(directory: Path) -> Path:
    path = directory / "credentials"
    names = (
        "account_uid",
        "project_uid",
        "api_key",
        "api_secret",
        "link_uid",
        "region",
        "user_uid",
    )
    path.write_text(
        "\n".join(
            f"[{profile}]\n" + "\n".join(f"{name} = {profile}-{name}" for name in names)
            for profile in ("prod", "staging")
        )
    )
    path.chmod(0o600)
    return path


def test_a_name_is_a_profile_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With the credentials in the environment every name would be one project, and IDs of one
    would be asked for at another.
    """
    monkeypatch.setenv("ONEHOUSE_CREDENTIALS_FILE", str(_profiles(tmp_path)))
    monkeypatch.setenv("ONEHOUSE_PROJECT_UID", "of the environment")
    monkeypatch.setenv("ONEHOUSE_PROFILE", "staging")

    async def scenario() -> None:
        async with TrackerPool() as pool:
            prod, staging = await pool.tracker("prod"), await pool.tracker("staging")
            assert prod is not staging
            assert prod._client.credentials.project_uid == "prod-project_uid"  # type: ignore[attr-defined]
            assert await pool.tracker("prod") is prod

    run(scenario())


# --- opening, closing, cancelling ----------------------------------------------------------------


def test_a_project_is_opened_once_however_many_ask() -> None:
    """
    Fifty requests of a web service come in the same moment.
    """
    limiter = _SlowLimiter()

    async def scenario() -> None:
        async with TrackerPool() as pool:
            pool.add("a", succeeding("x"), limiter=limiter)
            trackers = await asyncio.gather(*(pool.tracker("a") for _ in range(50)))
            assert len(set(map(id, trackers))) == 1
            assert now() == 1
        assert (limiter.starts, limiter.stops) == (1, 1)

    run(scenario())


@pytest.mark.parametrize("seed", range(20))
def test_who_is_cancelled_while_it_opens_takes_nothing_from_the_others(seed: int) -> None:
    """
    The first request to ask is the one whose client hangs up.
    """
    limiter = _SlowLimiter()

    async def scenario() -> None:
        async with TrackerPool() as pool:
            pool.add("a", succeeding("x"), limiter=limiter)
            first = asyncio.create_task(pool.tracker("a"))
            second = asyncio.create_task(pool.tracker("a"))
            await asyncio.sleep(0.5 * (seed % 3))
            first.cancel()
            await asyncio.wait([first, second])
            assert second.result() is await pool.tracker("a")
        assert (limiter.starts, limiter.stops) == (1, 1)

    run(scenario(), seed=seed)


class _OfProject(ScriptedSource):
    """A source that knows which project it asks."""

    def __init__(self, project: str) -> None:
        super().__init__({"r": [PENDING, SUCCESS]})
        self.credentials = credentials(project, "https://api.example.com")


def test_projects_share_a_history_and_learn_apart(tmp_path: Path) -> None:
    """
    A label of one project says nothing about that of another; a project without one keeps none.
    """
    history = History(tmp_path / "history.db", executor=InlineExecutor())
    started = datetime.now(UTC)

    async def scenario() -> None:
        async with TrackerPool() as pool:
            for name in ("a", "b"):
                pool.add(name, _OfProject(name), history=history)
                pool.add(name, pool._projects[name].settings.client, history=history)
            pool.add("c", _OfProject("c"))
            with pytest.raises(ConfigError, match="other settings: history;"):
                pool.add("a", pool._projects["a"].settings.client)
            results = await pool.wait_all(
                {
                    name: [Request("r", label=f"{name} nightly", submitted_at=started)]
                    for name in ("a", "b", "c")
                }
            )
            assert results.ok

    run(scenario())

    keys = {name: _OfProject(name).credentials.project_key for name in ("a", "b")}
    assert {(known.project, known.name, known.runs) for known in history.remembered()} == {
        (keys[name], f"{name} nightly", 1) for name in ("a", "b")
    }


def test_an_opening_that_fails_fails_for_all_who_wait_and_is_tried_again(tmp_path: Path) -> None:
    """
    Somebody else writes to the journal; when it is free, the next call succeeds.
    """
    path = tmp_path / "a.db"
    other = SqliteJournal(path)
    other.open()

    async def scenario() -> None:
        async with TrackerPool() as pool:
            journal = SqliteJournal(path, executor=InlineExecutor())
            pool.add("a", succeeding("x"), journal=journal)
            pool.add("b", succeeding("x"))
            errors = await asyncio.gather(
                *(pool.tracker("a") for _ in range(3)), return_exceptions=True
            )
            assert len({id(error) for error in errors}) == 3
            assert {type(error) for error in errors} == {JournalLockedError}
            results = await pool.wait_all({"a": ["x", Request("y")], "b": ["x"]})
            failure = results.errors["a"]
            assert isinstance(failure, JournalLockedError)
            assert failure.pending == ("x", "y")
            assert results["b"].ok
            other.close()
            results = await pool.wait_all({"a": ["x"]})
            assert results.ok
            await results.ack_and_wait()

    run(scenario())
    assert SqliteJournal.read(path)["x"].outcome is Outcome.SUCCEEDED


def test_a_project_whose_engine_failed_is_opened_anew() -> None:
    """
    A budget file that could not be read for a moment must not cost the project for good, nor
    the others their statistics.
    """

    class Breaking(LocalLimiter):
        broken = False

        async def acquire(self) -> None:
            if self.broken:
                raise OSError("no space left")
            await super().acquire()

    limiter = Breaking()

    async def scenario() -> None:
        async with TrackerPool() as pool:
            pool.add("a", ScriptedSource({"1": [SUCCESS], "2": [SUCCESS]}), limiter=limiter)
            pool.add("b", succeeding("1", "2", "3"))
            await pool.wait_all({"a": ["1"], "b": ["1"]})
            limiter.broken = True
            during = await pool.wait_all({"a": ["2"], "b": ["2"]})
            assert list(during.errors) == ["a"]
            assert isinstance(during.errors["a"], TrackerClosedError)
            assert list(pool.stats().projects) == ["b"]
            assert repr(pool) == "<TrackerPool: 2 projects, 1 open>"
            limiter.broken = False

            after = await pool.wait_all({"a": ["2"], "b": ["3"]})

            assert after.ok
            assert list(pool.stats().projects) == ["a", "b"]

    run(scenario())


@pytest.mark.parametrize("seed", range(20))
def test_closing_while_projects_open_leaves_nothing_open(seed: int) -> None:
    """
    A service is stopped in its first second.
    """
    limiters = [_SlowLimiter() for _ in range(5)]

    async def scenario() -> None:
        async with TrackerPool() as pool:
            for number, limiter in enumerate(limiters):
                pool.add(f"p{number}", succeeding("x"), limiter=limiter)
            waiting = [asyncio.create_task(pool.tracker(f"p{number}")) for number in range(5)]
            results = asyncio.create_task(pool.wait_all({"p0": ["x"]}))
            await asyncio.sleep(0.5 * (seed % 3))
        for task in waiting:
            with pytest.raises(TrackerClosedError):
                await task
        # At 1 s the opening is just over: it may have ended, or not.
        assert all(limiter.open == 0 for limiter in limiters)
        if not results.done():
            await asyncio.wait([results])
        with pytest.raises(TrackerClosedError, match="closed"):
            await pool.tracker("p0")
        with pytest.raises(TrackerClosedError):
            pool.add("p9", succeeding("x"))

    run(scenario(), seed=seed)


def test_what_closing_raises_keeps_nothing_else_open() -> None:
    """
    Two of five limiters do not close: three are closed, and the group names the two.
    """
    limiters = [_SlowLimiter(bad_end=number in (1, 3)) for number in range(5)]

    async def scenario() -> None:
        async with TrackerPool() as pool:
            for number, limiter in enumerate(limiters):
                pool.add(f"p{number}", succeeding("x"), limiter=limiter)
            await pool.wait_all({f"p{number}": ["x"] for number in range(5)})
            began = now()
            try:
                await pool.__aexit__(None, None, None)
            finally:
                assert now() - began == 1  # all at once
                assert [limiter.open for limiter in limiters] == [0] * 5

    with pytest.raises(ExceptionGroup) as caught:
        run(scenario())
    assert [error.__notes__ for error in caught.value.exceptions] == [
        ["in project 'p1'"],
        ["in project 'p3'"],
    ]


def test_an_exception_of_the_block_goes_before_what_closing_raises(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A cancellation that became a group of errors would be lost.
    """

    async def scenario() -> None:
        async with TrackerPool() as pool:
            pool.add("a", succeeding("x"), limiter=_SlowLimiter(bad_end=True))
            await pool.tracker("a")
            raise ValueError("the user's own")

    with pytest.raises(ValueError, match="the user's own"):
        run(scenario())
    assert "closing failed in project 'a': the limiter does not close" in caplog.text


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("again", [0.0, 0.5])
def test_cancelling_again_while_it_closes_leaves_nothing_open(seed: int, again: float) -> None:
    """
    Ctrl-C twice: even a closing that has not begun when the second one comes is begun.
    """
    limiters = [_SlowLimiter() for _ in range(3)]

    async def body() -> None:
        async with TrackerPool() as pool:
            for number, limiter in enumerate(limiters):
                pool.add(f"p{number}", succeeding("x"), limiter=limiter)
                await pool.tracker(f"p{number}")
            await asyncio.sleep(3600)

    async def scenario() -> None:
        task = asyncio.create_task(body())
        await asyncio.sleep(10)
        task.cancel()
        if again:
            await asyncio.sleep(again)
        else:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert [limiter.open for limiter in limiters] == [0] * 3

    run(scenario(), seed=seed)


def test_cancelling_a_wait_stops_all_of_it() -> None:
    """
    Nobody is asked about any more, and the projects stay open.
    """

    async def scenario() -> None:
        async with TrackerPool() as pool:
            for name in "ab":
                pool.add(name, ScriptedSource({"x": [PENDING] * 1000}))
            task = asyncio.create_task(pool.wait_all({"a": ["x"], "b": ["x"]}))
            await asyncio.sleep(5)
            assert pool.stats().pending == 2
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert pool.stats().pending == 0

    run(scenario())


def test_a_removed_project_can_be_added_with_new_credentials() -> None:
    """
    Keys are rotated while the service runs.
    """
    limiter = _SlowLimiter()

    async def scenario() -> None:
        async with TrackerPool() as pool:
            pool.add("a", credentials(), limiter=limiter)
            pool.add("b", credentials(), limiter=limiter)
            old = await pool.tracker("a")
            removing = asyncio.create_task(pool.remove("b"))
            await asyncio.sleep(0.5)
            with pytest.raises(TrackerClosedError, match="'a' was closed"):
                await pool.tracker("a")
            with pytest.raises(TrackerClosedError, match="being removed"):
                pool.add("a", credentials(), limiter=limiter)
            removing.cancel()  # ends the waiting, not the closing
            await asyncio.sleep(1)
            assert limiter.open == 0
            pool.add("a", credentials(key="rotated"), limiter=limiter)
            assert await pool.tracker("a") is not old
            with pytest.raises(KeyError):
                await pool.remove("b")
            limiter.bad_end = True
            with pytest.raises(OSError, match="does not close"):
                await pool.remove("a")

    run(scenario())


def test_a_pool_is_entered_once_and_belongs_to_one_loop() -> None:
    """
    Each way to use it wrongly has an error that says what to do.
    """
    pool = TrackerPool()

    async def scenario() -> None:
        with pytest.raises(TrackerClosedError, match="not open"):
            await pool.tracker("a")
        async with pool:
            with pytest.raises(TrackerClosedError, match="only once"):
                await pool.__aenter__()

            def elsewhere() -> None:
                asyncio.run(pool.wait_all({}))

            with pytest.raises(TrackerClosedError, match="another event loop"):
                await asyncio.to_thread(elsewhere)

    run(scenario())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
# Another test may have left a thread in a pool: from Python 3.12 on that is worth a warning.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_is_told_to_make_its_own() -> None:
    """
    It has the parent's object and neither its loop nor the right to its connections.
    """
    pool = TrackerPool()

    async def scenario() -> None:
        async with pool:
            pool.add("a", succeeding("x"))
            await pool.tracker("a")
            child = os.fork()
            if not child:
                os._exit(_in_child(pool))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0  # noqa: ASYNC222 - short
            assert (await pool.wait_all({"a": ["x"]})).ok

    run(scenario())


def _in_child(pool: TrackerPool) -> int:
    async def ask() -> None:
        with pytest.raises(TrackerClosedError, match="forked"):
            await pool.tracker("a")
        async with TrackerPool() as own:
            own.add("a", succeeding("x"))
            assert (await own.wait_all({"a": ["x"]})).ok

    try:
        asyncio.run(ask())
    except BaseException:  # noqa: BLE001 - only the exit code reaches the parent
        traceback.print_exc()
        return 1
    return 0


# --- over real sockets -------------------------------------------------------------------------


async def test_projects_share_connections_and_one_that_hangs_takes_none_of_them() -> None:
    """
    Nine projects against one server, one of which never answers: the others are as quick as ever.
    """
    project = SimulatedProject()
    names = [f"p{number}" for number in range(8)]
    for name in names:
        for number in range(20):
            project.add(f"{name}-{number}", 0.0)
    for number in range(30):
        project.add(f"hangs-{number}", 0.0)
        project.script(f"hangs-{number}", [faults.hang()] * 9)

    async with SimulatorServer(project) as server, TrackerPool() as pool:
        for name in (*names, "hangs"):
            pool.add(name, credentials(name, server.url), limit=100.0)
        hanging = asyncio.create_task(
            pool.wait_all({"hangs": [f"hangs-{number}" for number in range(30)]})
        )
        await asyncio.sleep(0.1)
        results = await pool.wait_all(
            {name: [f"{name}-{number}" for number in range(20)] for name in names}, timeout=1.5
        )
        assert server._runner is not None
        assert server._runner.server is not None
        # Those that hang, and of the others far fewer than four each.
        assert len(server._runner.server.connections) < 30 + 8 + 16
        keys = {request.headers["x-onehouse-project-uid"] for request in server.seen}
        hanging.cancel()
        await asyncio.wait([hanging])

    assert results.ok
    assert keys == {*names, "hangs"}


async def test_a_connection_that_another_project_left_behind_may_be_stale() -> None:
    """
    Whoever takes it must know that it was used: then its loss costs nothing, and no half minute.
    """

    class Server(asyncio.Protocol):
        """Answers the first request of each connection, and hangs up at the second."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport
            self.requests = 0

        def data_received(self, data: bytes) -> None:
            self.requests += 1
            if self.requests > 1:
                self.transport.abort()
                return
            body = f'{{"apiStatus": "{SUCCESS}"}}'
            reply = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            self.transport.write(reply.encode())

    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, TrackerPool() as pool:
        for name in "ab":
            pool.add(name, credentials(name, url), policy=PollPolicy(failure_base=30.0))
        assert (await pool.wait_all({"a": ["x"]})).ok
        results = await pool.wait_all({"b": ["x"]}, timeout=1.5)

    assert results["b"].ok
    assert results["b"]["x"].polls == 2


async def test_the_first_polls_of_many_projects_find_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Forty start together where a handshake takes 60 ms: a poll that shook hands after its slot
    would come late, and the eleventh less than a second after it.  Ahead of the polls no more
    than 16 connections are opened at once.
    """
    shaking = most = late = 0
    create = Connector._create_connection

    async def slow(*args: Any) -> Any:
        nonlocal shaking, most, late
        task = asyncio.current_task()
        # Not the name, which an eager task gets after its first step.
        if task is not None and "Engine._poll" in repr(task.get_coro()):
            late += 1
            return await create(*args)
        shaking += 1
        most = max(most, shaking)
        try:
            await asyncio.sleep(0.06)
            return await create(*args)
        finally:
            shaking -= 1

    monkeypatch.setattr(Connector, "_create_connection", slow)
    loop = asyncio.get_running_loop()
    projects = {f"p{number}": SimulatedProject() for number in range(40)}

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            request_id = data.split(b"/v1/status/")[1].split(b" ")[0].decode()
            projects[request_id.partition("-")[0]].poll(request_id, loop.time())
            body = f'{{"apiStatus": "{SUCCESS}"}}'
            reply = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            loop.call_later(0.04, self.transport.write, reply.encode())

    server = await loop.create_server(Server, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, TrackerPool() as pool:
        for name, project in projects.items():
            pool.add(name, credentials(name, url))
            project.begin(loop.time)
        ids = {name: [f"{name}-{number}" for number in range(11)] for name in projects}
        results = await pool.wait_all(ids)

    assert results.ok
    assert most == 16
    # Some when a busy machine has a hiccup, but not the first one of each project.
    assert late < len(projects)
