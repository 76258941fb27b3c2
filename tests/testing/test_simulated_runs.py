"""The model of job runs: what starts them, what they say, what is said of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from random import Random
from typing import Any

import pytest

from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing import (
    Kind,
    ListedRun,
    Listing,
    RunKind,
    SimulatedJobs,
    SimulatedProject,
    SimulatedRun,
)
from onehouse_tracker.testing._job_statements import JobAction, JobStatement, job_statement
from onehouse_tracker.testing.listings import SHAPES
from onehouse_tracker.testing.statements import KINDS

PREFIX = "SPARK_JOB_RUN_STATUS_"
FAST = (
    Kind(label="RUN JOB", duration=2),
    Kind(label="CREATE AND RUN JOB", duration=2),
    Kind(label="", duration=1.5),
)
STEADY = (RunKind(queued=4, duration=60),)


def project_of(**jobs: Any) -> SimulatedProject:
    """A project whose first moment is 0 and whose statements take whole seconds."""
    project = SimulatedProject(
        kinds=FAST, jobs=SimulatedJobs(**({"kinds": STEADY} | jobs)), seed=1
    )
    project.begin(lambda: 0.0)
    return project


def ask(project: SimulatedProject, statement: str, at: float) -> tuple[str | None, Any]:
    """Submit *statement* so that it ends at *at*; its last word and the one message in it."""
    request_id = project.submit(statement, at - 1.5).request_id
    reply = project.poll(request_id, at + 100).reply
    assert reply is not None
    status = reply.status and reply.status.removeprefix("API_OPERATION_STATUS_")
    response = dict(reply.response or {})
    return status, response.popitem()[1]


def described(project: SimulatedProject, run: SimulatedRun, at: float) -> str | None:
    """The word that DESCRIBE has for *run* at *at*."""
    name = run.job.replace("'", "''")
    status, found = ask(project, f"DESCRIBE JOB_RUN `{run.run_id}` JOB_NAME = '{name}'", at)
    assert status == "SUCCESS", found
    word: str | None = found["sparkJobRun"].get("status")
    return word and word.removeprefix(PREFIX)


def started(project: SimulatedProject, statement: str = "RUN JOB `nightly`") -> SimulatedRun:
    """The run that *statement*, submitted at 0, has started."""
    request = project.requests[project.submit(statement, 0).request_id]
    (message,) = request.response.values()
    return project.runs[message["jobRunId"]]


# --- how a run goes ----------------------------------------------------------------------


def test_the_request_takes_seconds_and_the_run_minutes() -> None:
    """
    SUCCESS of RUN JOB says that the run was started; only DESCRIBE tells how it ended.
    """
    project = project_of()
    run = started(project)
    request = project.requests[run.request_id or ""]

    assert (request.finished_at, request.status) == (2, ApiStatus.SUCCESS)
    assert (run.created_at, run.queued_at, run.running_at, run.ended_at) == (2, 2, 6, 66)
    words = [described(project, run, at) for at in (2, 5.9, 6, 65.9, 66, 1000)]
    assert words == ["QUEUED", "QUEUED", "RUNNING", "RUNNING", "COMPLETED", "COMPLETED"]


def test_requests_are_short_and_runs_long_unless_a_test_says_otherwise() -> None:
    """
    A project without settings is like the service, as far as that is known.
    """
    rng = Random(1)
    kinds = {kind.label: kind for kind in KINDS}
    for label, median in (("RUN JOB", 2.0), ("CANCEL JOB_RUN", 1.5), ("DESCRIBE", 1.5)):
        drawn = sorted(kinds[label].draw(rng)[0] for _ in range(999))
        assert drawn[499] == pytest.approx(median, rel=0.1)
    runs = sorted(RunKind().draw(rng).ended_after for _ in range(999))
    assert 120 < runs[499] < 300


@pytest.mark.parametrize(
    ("statement", "key"),
    [
        ("RUN JOB `a b`", "runJobApiResponse"),
        ("CREATE AND RUN JOB `a b` TYPE = 'JAR'", "createAndRunJobApiResponse"),
        ("-- why\n create  and run job 'a b' TYPE = 'JAR'", "createAndRunJobApiResponse"),
    ],
)
def test_both_ways_to_start_a_run_give_its_id(statement: str, key: str) -> None:
    """
    A pipeline uses either of them.
    """
    project = project_of()
    run = started(project, statement)

    request = project.requests[run.request_id or ""]
    assert request.response == {key: {"jobRunId": run.run_id}}
    assert request.statement == statement
    assert project.jobs.by_name == {"a b": [run]}


def test_a_statement_that_fails_starts_nothing() -> None:
    """
    The truth must know of no run where there is none.
    """
    project = SimulatedProject(kinds=[Kind(label="RUN JOB", duration=0, failed=1)])
    project.submit("RUN JOB a", 0)

    assert project.runs == {}
    assert ask(project, "SHOW RUNS IN JOB a", 9)[0] == "FAILED"


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (RunKind(), "COMPLETED"),
        (RunKind(failed=1), "FAILED"),
        (RunKind(canceled=1), "CANCELED"),
        (RunKind(other={"INVALID": 1}), "INVALID"),
        (RunKind(other={f"{PREFIX}PAUSED": 1}), "PAUSED"),
        (RunKind(other={None: 1}), None),
        (RunKind(duration=inf), "RUNNING"),
        (RunKind(not_run=inf), "NOT_RUN"),
        (RunKind(queued=inf), "QUEUED"),
    ],
)
def test_a_kind_decides_how_its_runs_end(kind: RunKind, word: str | None) -> None:
    """
    Every end must be had for sure, those that nobody documents included.
    """
    project = project_of(kinds=[RunKind(job="other", failed=1), kind])

    run = started(project)

    assert described(project, run, 1e6) == word
    assert run.over_at(1e6) is (word not in {"RUNNING", "NOT_RUN", "QUEUED"})


def test_the_first_kind_that_fits_the_job_decides() -> None:
    """
    One job fails, all others do not.
    """
    project = project_of(kinds=[RunKind(job="bad_*", failed=1), *STEADY])

    statuses = {name: started(project, f"RUN JOB {name}").status for name in ("bad_1", "good")}

    assert statuses == {"bad_1": f"{PREFIX}FAILED", "good": f"{PREFIX}COMPLETED"}


def test_a_run_can_be_not_run_first() -> None:
    """
    The vendor's sensor waits on at this word.
    """
    project = project_of(kinds=[RunKind(not_run=3, queued=4, duration=60)])
    run = started(project)

    words = [described(project, run, at) for at in (4.9, 5, 9, 69)]
    assert words == ["NOT_RUN", "QUEUED", "RUNNING", "COMPLETED"]


def test_chances_of_runs_are_met_and_do_not_depend_on_each_other() -> None:
    """
    What is drawn is what was asked for, and other chances leave the durations alone.
    """
    kind = RunKind(failed=0.5, canceled=0.25, other={None: 0.125}, unlisted=0.1, vanished=0.2)
    rng, same = Random(1), Random(1)
    plans = [kind.draw(rng) for _ in range(8000)]
    plain = [RunKind().draw(same) for _ in range(8000)]

    ends = [plan.status for plan in plans]
    shares = {word: ends.count(word) / 8000 for word in set(ends)}
    assert shares == pytest.approx(
        {
            f"{PREFIX}FAILED": 0.5,
            f"{PREFIX}CANCELED": 0.25,
            None: 0.125,
            f"{PREFIX}COMPLETED": 0.125,
        },
        abs=0.02,
    )
    assert sum(plan.unlisted_after < inf for plan in plans) / 8000 == pytest.approx(0.1, abs=0.02)
    assert sum(plan.vanished_after < inf for plan in plans) / 8000 == pytest.approx(0.2, abs=0.02)
    for plan, other in zip(plans, plain, strict=True):
        earlier = plan.status == f"{PREFIX}CANCELED"
        assert (
            plan.ended_after < other.ended_after
            if earlier
            else plan.ended_after == other.ended_after
        )


def test_chances_of_runs_beyond_one_are_refused() -> None:
    """
    The last kind of end would never come, silently.
    """
    with pytest.raises(ValueError, match="more than 1"):
        RunKind(failed=0.6, other={None: 0.6})


def test_an_unreachable_run_is_neither_listed_nor_described() -> None:
    """
    Its checks fail, those of others do not.
    """
    project = project_of()
    run, other = started(project), started(project)
    run.unreachable_at = 30

    assert described(project, run, 29) == described(project, other, 40) == "RUNNING"
    request_id = project.submit(f"DESCRIBE JOB_RUN `{run.run_id}`", 40).request_id
    fault = project.poll(request_id, 50).fault
    assert fault is not None
    assert fault.status == 500
    assert project.arrivals[-1].verdict == "fault:refuse"
    assert run.run_id not in show(project, 30)


def test_the_number_of_runs_does_not_change_the_requests() -> None:
    """
    Contestants of a benchmark that look more often meet the same work.
    """

    def durations(kinds: Sequence[RunKind]) -> list[float]:
        project = SimulatedProject(seed=3, jobs=SimulatedJobs(kinds=kinds))
        project.begin(lambda: 0.0)
        ids = [project.submit(f"RUN JOB j{n}", n).request_id for n in range(20)]
        return [project.requests[request_id].duration for request_id in ids]

    assert durations(STEADY) == durations([RunKind(failed=0.5, unlisted=0.5)])


def test_a_run_can_be_changed_while_it_runs() -> None:
    """
    Tests need what no chance brings: an odd word in between, an end at a certain time.
    """
    project = project_of()
    run = started(project)
    run.report("PAUSED", 10, 20)
    run.report(None, 20, 30)
    run.end(40, "FAILED")
    ended_at = run.ended_at

    words = [described(project, run, at) for at in (9.9, 10, 20, 30, 40)]
    assert words == ["RUNNING", "PAUSED", None, "RUNNING", "FAILED"]
    assert ended_at == 40


def test_a_run_of_somebody_else_can_be_added_before_there_is_a_clock() -> None:
    """
    A test arranges its runs before any loop runs, whatever that loop's clock shows.
    """
    project = SimulatedProject(kinds=FAST)
    early = project.add_run("nightly", "r-1", 50, "FAILED", queued=5, not_run=1)
    project.begin(lambda: 1000.0)
    late = project.add_run("nightly", "r-2", inf, created_at=1010)

    times = [early.created_at, early.queued_at, early.running_at, early.ended_at]
    assert times == [1000, 1001, 1006, 1056]
    assert [described(project, early, at) for at in (1000, 1056)] == ["NOT_RUN", "FAILED"]
    assert described(project, late, 1e6) == "RUNNING"
    with pytest.raises(ValueError, match="'r-1' already"):
        project.add_run("nightly", "r-1", 1)


def test_jobs_belong_to_one_project() -> None:
    """
    Two projects would list each other's runs.
    """
    jobs = SimulatedJobs()
    SimulatedProject(jobs=jobs)

    with pytest.raises(ValueError, match="another project"):
        SimulatedProject(jobs=jobs)


def test_speed_divides_what_is_drawn_for_runs_too() -> None:
    """
    A demonstration shows a run of minutes in seconds.
    """
    project = SimulatedProject(kinds=FAST, jobs=SimulatedJobs(kinds=STEADY), speed=2)
    project.begin(lambda: 0.0)

    assert started(project).ended_at == 1 + 2 + 30


# --- DESCRIBE and CANCEL -----------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "DESCRIBE JOB_RUN `unknown` JOB_NAME = 'nightly'",
        "DESCRIBE JOB_RUN `{id}` JOB_NAME = 'weekly'",
        "CANCEL JOB_RUN `unknown` JOB_NAME = 'nightly'",
        "CANCEL JOB_RUN `{id}` JOB_NAME = 'weekly'",
        "SHOW RUNS IN JOB `weekly`",
    ],
)
def test_what_is_unknown_fails_with_a_reason(statement: str) -> None:
    """
    A wrong name must not be answered with a success.
    """
    project = project_of()
    run = started(project)

    status, reason = ask(project, statement.format(id=run.run_id), 10)

    assert status == "FAILED"
    assert "not found" in reason
    assert run.status == f"{PREFIX}COMPLETED"


def test_a_run_is_unknown_before_it_was_created_and_after_it_vanished() -> None:
    """
    The future is in the truth for tests, not in the answers.
    """
    project = project_of()
    run = started(project)
    run.vanished_at = 30
    text = f"DESCRIBE JOB_RUN `{run.run_id}`"

    assert [ask(project, text, at)[0] for at in (1.9, 2, 29, 30)] == [
        "FAILED",
        "SUCCESS",
        "SUCCESS",
        "FAILED",
    ]


def test_a_job_that_is_deleted_takes_its_runs_along() -> None:
    """
    "Renamed or deleted?" is what a tracker has to ask then.
    """
    project = project_of()
    run, other = started(project), started(project, "RUN JOB other")
    project.jobs.delete("nightly", 20)

    assert ask(project, f"DESCRIBE JOB_RUN `{run.run_id}`", 25)[0] == "FAILED"
    assert ask(project, "SHOW RUNS IN JOB nightly", 25)[0] == "FAILED"
    assert described(project, other, 25) == "RUNNING"
    assert ask(project, "SHOW JOBS", 25) == ("SUCCESS", {"jobs": [{"name": "other"}]})


def test_a_canceled_run_stops_some_time_after_its_request() -> None:
    """
    SUCCESS of CANCEL need not mean that it has stopped.
    """
    project = project_of(cancel_takes=3)
    run = started(project)

    status, _ = ask(project, f"CANCEL JOB_RUN `{run.run_id}` JOB_NAME = 'nightly'", 20)

    assert status == "SUCCESS"
    assert [described(project, run, at) for at in (22.9, 23)] == ["RUNNING", "CANCELED"]
    assert run.ended_at == 23


def test_a_cancellation_that_comes_too_late_changes_nothing() -> None:
    """
    The run ended by itself before it could be stopped.
    """
    project = project_of(cancel_takes=3)
    run = started(project)

    assert ask(project, f"CANCEL JOB_RUN `{run.run_id}`", 64)[0] == "SUCCESS"
    assert (run.ended_at, run.status) == (66, f"{PREFIX}COMPLETED")
    assert run.cancel(70) is False


@pytest.mark.parametrize("said", [ApiStatus.SUCCESS, ApiStatus.FAILED, ApiStatus.INVALID])
def test_what_a_cancellation_says_of_an_ended_run_is_a_setting(said: ApiStatus) -> None:
    """
    Nobody knows what the service says.
    """
    project = project_of(cancel_of_ended=said)
    run = started(project)

    status, _ = ask(project, f"CANCEL JOB_RUN `{run.run_id}`", 70)

    assert f"API_OPERATION_STATUS_{status}" == said
    assert run.status == f"{PREFIX}COMPLETED"


def test_a_run_that_is_canceled_in_the_queue_never_runs() -> None:
    """
    The truth says so, too.
    """
    project = project_of()
    run = started(project)
    run.cancel(4)

    assert described(project, run, 5) == "CANCELED"
    assert run.running_at == inf


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN JOB `a b`", JobStatement(JobAction.RUN, "a b", None)),
        ("run\n job a", JobStatement(JobAction.RUN, "a", None)),
        ("CREATE AND RUN JOB 'it''s' TYPE='JAR'", JobStatement(JobAction.RUN, "it's", None)),
        ("SHOW RUNS IN JOB `a`", JobStatement(JobAction.SHOW_RUNS, "a", None)),
        ("SHOW JOBS", JobStatement(JobAction.SHOW_JOBS, None, None)),
        (
            "DESCRIBE JOB_RUN `1b` JOB_NAME = 'it''s'",
            JobStatement(JobAction.DESCRIBE_RUN, "it's", "1b"),
        ),
        (
            "CANCEL JOB_RUN `1b` JOB_NAME='a'",
            JobStatement(JobAction.CANCEL_RUN, "a", "1b"),
        ),
        ("DESCRIBE JOB_RUN '1b'", JobStatement(JobAction.DESCRIBE_RUN, None, "1b")),
        ("DESCRIBE JOB a", None),
        ("SHOW JOBSX", None),
        ("RUN SERVICE IN TABLE `T`", None),
    ],
)
def test_statements_name_jobs_and_runs(text: str, expected: JobStatement | None) -> None:
    """
    In every form that the vendor's clients and people write.
    """
    assert job_statement(text) == expected


# --- SHOW RUNS IN JOB --------------------------------------------------------------------


def strings(value: object) -> Iterator[str]:
    """Every string in *value*, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def show(project: SimulatedProject, at: float, job: str = "nightly") -> list[str]:
    """The strings of a listing that ends at *at*."""
    status, message = ask(project, f"SHOW RUNS IN JOB `{job}`", at)
    assert status == "SUCCESS"
    return list(strings(message))


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_holds_each_run_once_with_its_word(shape: str) -> None:
    """
    A reader that goes by value finds every run in every shape.
    """
    project = project_of(listing=Listing(shape=shape, history=3))  # type: ignore[arg-type]
    first, second = started(project), started(project)
    second.end(10, "FAILED")

    found = show(project, 20)

    assert [found.count(run.run_id) for run in (first, second)] == [1, 1]
    words = [word.removeprefix(PREFIX) for word in found if word.startswith(PREFIX)]
    assert len(words) == 5
    assert words[:2] == ["FAILED", "RUNNING"]  # the newest first


def test_the_shapes_differ_in_keys_and_structure() -> None:
    """
    No reader may get by with one of them.
    """
    outlines = set()
    for shape in SHAPES:
        project = project_of(listing=Listing(shape=shape))
        started(project)
        outlines.add(str(ask(project, "SHOW RUNS IN JOB nightly", 10)[1].keys()) + shape)
    assert len(outlines) == len(SHAPES) >= 4


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("extra", "sign"),
    [
        ("attempts", "attempts"),
        ("retried_from", "retriedFrom"),
        ("previous_status", "previousStatus"),
        ("url", "consoleUrl"),
        ("prefix", None),
    ],
)
def test_each_shape_can_mislead_in_each_way(shape: str, extra: str, sign: str | None) -> None:
    """
    What other services list beside the status is what a reader must not fall for.
    """
    listing = Listing(shape=shape, extras=[extra])  # type: ignore[arg-type, list-item]
    project = project_of(listing=listing)
    runs = [started(project) for _ in range(3)]

    found = show(project, 20)

    assert all(run.run_id in found for run in runs)
    assert sign is None or sign in found
    longer = [text for text in found if text.startswith(runs[1].run_id) and len(text) > 36]
    assert bool(longer) is (extra == "prefix")
    if extra == "retried_from":
        assert found.count(runs[0].run_id) == 3
    if extra == "url":
        assert any(runs[1].run_id in text for text in found if text.startswith("https://"))


def test_a_run_without_a_word_is_listed_without_one() -> None:
    """
    proto3 leaves the zero value of an enum out.
    """
    for shape in SHAPES:
        project = project_of(listing=Listing(shape=shape))
        run = started(project)
        run.report(None, 0)

        found = show(project, 20)

        assert run.run_id in found
        assert not [text for text in found if text.startswith(PREFIX)]


def test_a_listing_lags_in_runs_and_words() -> None:
    """
    It shows neither a run nor an end that is newer than it is.
    """
    project = project_of(listing=Listing(lag=5))
    run = started(project)

    assert run.run_id not in show(project, 6.9)
    assert f"{PREFIX}QUEUED" in show(project, 7)
    assert f"{PREFIX}COMPLETED" not in show(project, 70.9)
    assert f"{PREFIX}COMPLETED" in show(project, 71)
    assert described(project, run, 66) == "COMPLETED"


def test_runs_drop_out_of_a_listing() -> None:
    """
    Because of its length, or for reasons of their own; DESCRIBE knows them all the same.
    """
    project = project_of(listing=Listing(limit=2, history=5))
    runs = [started(project) for _ in range(4)]
    runs[3].unlisted_at = 30

    def seen(at: float) -> list[int]:
        found = show(project, at)
        return [number for number, run in enumerate(runs) if run.run_id in found]

    assert (seen(20), seen(30)) == ([2, 3], [1, 2])
    assert described(project, runs[3], 40) == "RUNNING"
    project.jobs.listing = Listing(limit=0)
    assert seen(40) == []


def test_a_listing_may_differ_by_job_and_change_in_time() -> None:
    """
    A service is updated while runs are open.
    """

    def listing(job: str, moment: float) -> Listing:
        return Listing(shape="keyed" if job == "nightly" and moment >= 30 else "table")

    project = SimulatedProject(kinds=FAST, jobs=SimulatedJobs(kinds=STEADY, listing=listing))
    project.begin(lambda: 0.0)
    started(project)
    started(project, "RUN JOB other")

    outlines = [
        "columns" in show(project, at, job)
        for at, job in (
            (29, "nightly"),
            (30, "nightly"),
            (30, "other"),
        )
    ]
    assert outlines == [True, False, True]


def test_a_listing_may_have_a_shape_of_your_own() -> None:
    """
    Somebody who has seen the real answer writes it down.
    """

    def mine(job: str, runs: Sequence[ListedRun]) -> Mapping[str, Any]:
        return {"mine": {"job": job, "ids": [run.run_id for run in runs]}}

    project = project_of(listing=Listing(shape=mine, newest_first=False))
    runs = [started(project) for _ in range(2)]

    message = ask(project, "SHOW RUNS IN JOB nightly", 9)[1]

    assert message == {"job": "nightly", "ids": [run.run_id for run in runs]}


@pytest.mark.parametrize("settings", [{"shape": "round"}, {"extras": ["noise"]}])
def test_a_misspelt_shape_or_extra_is_refused(settings: dict[str, Any]) -> None:
    """
    It would silently test nothing.
    """
    with pytest.raises(ValueError, match="no such"):
        Listing(**settings)


def test_a_response_of_a_kind_is_what_the_request_answers() -> None:
    """
    A run whose ID does not come back cannot be followed, and runs all the same.
    """
    kinds = [
        Kind(label="RUN JOB", duration=2, response={"runJobApiResponse": {}}),
        Kind(label="SHOW RUNS", duration=1, response={}),
    ]
    project = SimulatedProject(kinds=kinds)
    request_id = project.submit("RUN JOB a", 0).request_id
    listing = project.submit("SHOW RUNS IN JOB a", 5).request_id

    replies = [project.poll(one, 9).reply for one in (request_id, listing)]

    assert [reply and reply.response for reply in replies] == [{"runJobApiResponse": {}}, {}]
    assert len(project.runs) == 1
