"""
The record of what a task has submitted: no statement twice, wherever a worker dies.
"""

import itertools
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NoReturn

import pytest

from onehouse_tracker import sync
from onehouse_tracker.errors import (
    InvalidRequestError,
    SubmissionError,
    TransportError,
)
from onehouse_tracker.integrations.airflow import _worker
from onehouse_tracker.integrations.airflow._request_ids import request_ids_in
from onehouse_tracker.integrations.airflow._submissions import (
    FateUnknownError,
    Known,
    Store,
    Submissions,
    TaskKey,
)
from onehouse_tracker.integrations.airflow._worker import (
    StoppedError,
    WatchedClient,
    submit_missing,
    track_here,
)
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.models import ApiStatus, Outcome, Request, StatusReply
from onehouse_tracker.onehouse.client import OnehouseClient
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.policy import PollPolicy
from onehouse_tracker.testing import Fault, FaultKind, SimulatedProject, SimulatorServer
from onehouse_tracker.testing.threaded import RunningSimulator

KEY = TaskKey("dag", "task", "run", -1)
LOG = logging.getLogger("a task")


class DiedError(BaseException):
    """The worker is gone."""


class Variables(dict[str, str]):
    """Variables that outlive a worker, which may die before or after a write."""

    def __init__(self) -> None:
        super().__init__()
        self.steps_left: float = float("inf")

    def step(self) -> None:
        """Die, if it is time to."""
        self.steps_left -= 1
        if self.steps_left < 0:
            raise DiedError

    def write(self, key: str, value: str, description: str) -> None:
        """Write one."""
        assert description == "Onehouse: DAG dag, task task, run run"
        self.step()
        self[key] = value
        self.step()

    def delete(self, key: str) -> None:
        """Delete one."""
        self.step()
        self.pop(key, None)
        self.step()


def _record(variables: Variables, statements: Sequence[str], life: int = 0) -> Submissions:
    store = Store(
        read=variables.get,
        write=variables.write,
        delete=variables.delete,
        name=_name,
        kind="Airflow Variable",
    )
    return Submissions(KEY, statements, life=life, store=store)


def _name(block: int) -> str:
    return f"record_{block}"


def _try(variables: Variables, statements: Sequence[str], sent: list[str], life: int = 0) -> str:
    """What a try of the task does; `sent` is what the server got."""
    record = _record(variables, statements, life)
    known = record.known()
    for index, statement in enumerate(statements):
        if index not in known:
            record.intend(index)
            variables.step()
            sent.append(statement)
            variables.step()
            record.accept(index, f"id of {statement}")
    record.flush()
    assert [one.request_id for one in record.known().values()] == [
        f"id of {statement}" for statement in statements
    ]
    return "succeeded"


@pytest.mark.parametrize("count", [1, 3, 120])
def test_wherever_a_worker_dies_nothing_is_submitted_twice(count: int) -> None:
    """
    After a death at any step, the next try continues, or says that it cannot know.
    """
    statements = [f"RUN JOB {i}" for i in range(count)]
    for steps in itertools.count():
        variables, sent = Variables(), list[str]()
        variables.steps_left = steps
        try:
            _try(variables, statements, sent)
        except DiedError:
            variables.steps_left = float("inf")
        else:
            break
        try:
            _try(variables, statements, sent)
        except FateUnknownError:
            # True: nobody wrote down how the last of them ended.
            assert len(sent) <= count
        assert len(sent) == len(set(sent))
    # Each statement takes an intent, its sending and its answer; with one write for two steps.
    assert steps > 3 * count


@pytest.mark.parametrize("life", [0, 1], ids=["a retry", "cleared"])
def test_after_the_last_statement_nothing_is_submitted_again(life: int) -> None:
    """
    A task may fail, or its worker die, before Airflow knows of the success: the record stays.
    """
    variables, sent = Variables(), list[str]()

    _try(variables, ["RUN JOB a"], sent, life=0)
    _try(variables, ["RUN JOB a"], sent, life=life)

    assert sent == ["RUN JOB a"]


@pytest.mark.parametrize("deleted", [1, 2, 3])
def test_a_task_that_succeeded_and_is_cleared_submits_again(deleted: int) -> None:
    """
    A user who clears it wants it to run once more: all of it, also where the worker died while
    it deleted the record.
    """
    statements = [f"RUN JOB {i}" for i in range(120)]
    variables, sent = Variables(), list[str]()

    _try(variables, statements, sent, life=0)
    names = _record(variables, ()).names
    assert sorted(names) == sorted(variables)
    for name in names[:deleted]:
        del variables[name]
    variables.steps_left = 3
    with pytest.raises(DiedError):
        _try(variables, statements, sent, life=1)
    variables.steps_left = float("inf")

    # What the first life wrote into the second block is not taken for the second life's.
    with pytest.raises(FateUnknownError, match="statement 1 of 120"):
        _record(variables, statements, life=1).known()
    name = _name(0)
    content = json.loads(variables[name])
    content["statements"]["0"]["request_id"] = "of the second life"
    variables[name] = json.dumps(content)
    assert list(_record(variables, statements, life=1).known()) == [0]


def test_a_task_that_failed_and_is_cleared_goes_on() -> None:
    """
    What it submitted runs, or ran, whatever became of the task.
    """
    variables = Variables()
    record = _record(variables, ["RUN JOB a"], life=0)
    record.intend(0)
    record.accept(0, "a")
    record.flush()

    known = _record(variables, ["RUN JOB a"], life=1).known()

    assert known[0].request_id == "a"
    assert (datetime.now(UTC) - known[0].submitted_at).total_seconds() < 60


def test_what_is_forgotten_is_submitted_again() -> None:
    """
    What ended FAILED does not run any more: a retry is there to run it again.
    """
    variables = Variables()
    record = _record(variables, ["RUN JOB a", "RUN JOB b"])
    for index in (0, 1):
        record.intend(index)
        record.accept(index, f"{index}")
    record.forget([0])

    assert list(_record(variables, ["RUN JOB a", "RUN JOB b"]).known()) == [1]


def test_a_request_is_forgotten_by_its_id() -> None:
    """
    Whoever learns that it failed may know its statement no more: a template rendered another.
    """
    variables = Variables()
    statements = [f"RUN JOB {i}" for i in range(60)]
    _try(variables, statements, [])

    _record(variables, ()).forget_requests(["id of RUN JOB 3", "id of RUN JOB 55", "of none"])

    assert set(range(60)) - set(_record(variables, statements).known()) == {3, 55}


def test_another_statement_in_its_place_is_not_submitted() -> None:
    """
    What runs is not what stands there now: only its owner can tell what is wanted.
    """
    variables = Variables()
    record = _record(variables, ["RUN JOB a"])
    record.intend(0)
    record.accept(0, "the-request")
    record.flush()

    with pytest.raises(FateUnknownError, match="as request the-request, and it may run"):
        _record(variables, ["RUN JOB b"]).known()
    with pytest.raises(FateUnknownError, match="with another text"):
        _record(variables, []).known()


def test_the_advice_of_an_unknown_fate_works() -> None:
    """
    People do what the message says: give the entry its request ID, or remove it.
    """
    variables = Variables()
    _record(variables, ["RUN JOB a"]).intend(0)
    [name] = variables
    with pytest.raises(FateUnknownError, match=name) as caught:
        _record(variables, ["RUN JOB a"]).known()
    assert 'entry "0"' in str(caught.value)

    content = json.loads(variables[name])
    content["statements"]["0"]["request_id"] = "found-in-the-console"
    variables[name] = json.dumps(content)
    assert _record(variables, ["RUN JOB a"]).known()[0].request_id == "found-in-the-console"

    del content["statements"]["0"]
    variables[name] = json.dumps(content)
    assert _record(variables, ["RUN JOB a"]).known() == {}


def test_the_record_holds_no_statement() -> None:
    """
    A statement may hold a secret, and Variables are seen by many.
    """
    variables = Variables()
    _record(variables, ["CREATE SECRET marked"]).intend(0)

    assert "marked" not in str(variables)


def test_a_task_is_named_by_all_that_tells_it_apart() -> None:
    """
    It describes the record for people.
    """
    assert str(TaskKey("d", "t", "r", 7)) == "DAG d, task t, run r, map index 7"
    assert str(TaskKey("d", "t", "r", -1)) == "DAG d, task t, run r"


@pytest.mark.parametrize("count", [1, 120])
def test_a_record_that_holds_nothing_is_deleted(count: int) -> None:
    """
    A task whose statements all failed, and that nobody clears, would leave it for ever.
    """
    statements = [f"RUN JOB {number}" for number in range(count)]
    variables, sent = Variables(), list[str]()
    _try(variables, statements, sent)
    assert variables

    record = _record(variables, ())
    record.forget_requests(f"id of {statement}" for statement in statements)

    assert variables == {}
    # It can be written again.
    _try(variables, statements, sent)
    assert len(sent) == 2 * count


def test_a_variable_stays_small() -> None:
    """
    On MySQL it must fit into 64 KB.
    """
    variables, sent = Variables(), list[str]()

    _try(variables, [f"RUN JOB {i}" for i in range(1000)], sent)

    assert len(variables) == 20
    assert max(map(len, variables.values())) < 8192


@pytest.mark.parametrize(
    "value",
    [
        ["a", "b", "a"],
        "['a', 'b']",
        ("a", "b"),
        [{"request_id": "a", "outcome": "SUCCEEDED"}, {"request_id": "b"}],
        "[{'request_id': 'a', 'response': None}, {'request_id': 'b'}]",
        [["a"], ["b"]],
        '["a", "b"]',
        '[{"request_id": "a", "response": null}, {"request_id": "b", "response": {"ok": true}}]',
    ],
    ids=str,
)
def test_ids_are_found_in_what_a_task_pushed(value: object) -> None:
    """
    A template makes a text of a list, and mapped tasks push one list each.
    """
    assert request_ids_in(value) == ["a", "b"]


def _nest(depth: int) -> object:
    nest: object = "a"
    for _ in range(depth):
        nest = [nest]
    return nest


def test_one_id_is_one_id() -> None:
    """
    What is no list is an ID as it stands.
    """
    assert request_ids_in("a-b-c") == ["a-b-c"]
    assert request_ids_in({"request_id": "a"}) == ["a"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        [None],
        "[a",
        "{'x': 1}",
        [{"x": 1}],
        "",
        [""],
        "None",
        "null",
        ["None"],
        [{"request_id": "None"}],
        "{[1]: 2}",
        pytest.param("[" * 5000 + "]" * 5000, id="a nest as text"),
        pytest.param(_nest(5000), id="a nest"),
    ],
    ids=str,
)
def test_what_holds_no_id_is_refused(value: object) -> None:
    """
    An operator that finds nothing to follow must not succeed.
    """
    with pytest.raises(InvalidRequestError):
        request_ids_in(value)


# --- With a server -----------------------------------------------------------------------


def _submit(
    simulator: RunningSimulator, variables: Variables, statements: Sequence[str]
) -> list[Known]:
    client = WatchedClient(_client(simulator))
    with sync.Tracker(client, limiter=_fast()) as tracker:
        return _submit_missing(tracker, client, variables, statements)


def _submit_missing(
    tracker: sync.Tracker, client: WatchedClient, variables: Variables, statements: Sequence[str]
) -> list[Known]:
    return submit_missing(
        tracker,
        client,
        statements,
        _record(variables, statements),
        LOG,
        on_accepted=lambda _: None,
    )


def _client(simulator: RunningSimulator) -> OnehouseClient:
    return OnehouseClient(Credentials.from_env(environ=simulator.environ), request_timeout=0.5)


def _fast() -> LocalLimiter:
    return LocalLimiter(500)


def test_each_is_submitted_once() -> None:
    """
    The second call is a retry that finds everything submitted.
    """
    variables = Variables()
    with RunningSimulator() as simulator:
        first = _submit(simulator, variables, ["RUN JOB a", "RUN JOB b"])
        again = _submit(simulator, variables, ["RUN JOB a", "RUN JOB b"])

    assert first == again
    assert len(simulator.project.requests) == 2


@pytest.mark.parametrize(
    ("fault", "error", "again"),
    [
        (Fault(kind=FaultKind.HANG), FateUnknownError, False),
        (Fault(kind=FaultKind.RESET), FateUnknownError, False),
        (Fault(kind=FaultKind.REFUSE, status=400), SubmissionError, True),
    ],
    ids=["hangs", "is reset", "is refused"],
)
def test_only_what_certainly_does_not_run_is_submitted_again(
    fault: Fault, error: type[Exception], *, again: bool
) -> None:
    """
    After a time-out nobody knows; after a refusal nothing runs.
    """
    variables = Variables()
    project = SimulatedProject()
    project.script_next([None, fault])
    with RunningSimulator(SimulatorServer(project)) as simulator:
        with pytest.raises(error):
            _submit(simulator, variables, ["RUN JOB a", "RUN JOB b", "RUN JOB c"])
        posts = [one for one in project.arrivals if one.kind == "submit"]
        assert len(posts) == 2
        if again:
            assert len(_submit(simulator, variables, ["RUN JOB a", "RUN JOB b", "RUN JOB c"])) == 3
        else:
            with pytest.raises(FateUnknownError, match="statement 2 of 3"):
                _submit(simulator, variables, ["RUN JOB a", "RUN JOB b", "RUN JOB c"])
    assert len([one for one in project.arrivals if one.kind == "submit"]) == (4 if again else 2)


def _stop_when(project: SimulatedProject, arrived: int) -> None:
    """Press Ctrl-C a moment after so many statements have reached the server."""
    deadline = time.monotonic() + 8
    while project.arrived < arrived and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)  # the answer to the first one is recorded
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("rate", "may_run"), [(500, True), (0.5, False)], ids=["on the wire", "waiting for a slot"]
)
def test_a_worker_that_is_told_to_stop(rate: float, *, may_run: bool) -> None:
    """
    Only a statement that was on its way is of unknown fate; one that waited for its slot is not.
    """
    variables = Variables()
    project = SimulatedProject()
    project.script_next([None, Fault(kind=FaultKind.HANG)])
    statements = ["RUN JOB a", "RUN JOB b"]
    with RunningSimulator(SimulatorServer(project)) as simulator:
        client = WatchedClient(
            OnehouseClient(Credentials.from_env(environ=simulator.environ), request_timeout=10)
        )
        stop = threading.Thread(target=_stop_when, args=(project, 2 if may_run else 1))
        with sync.Tracker(client, limiter=LocalLimiter(rate)) as tracker:
            tracker.stats()
            stop.start()
            with pytest.raises(KeyboardInterrupt):
                _submit_missing(tracker, client, variables, statements)
        stop.join()

    if may_run:
        with pytest.raises(FateUnknownError, match="statement 2 of 2"):
            _record(variables, statements).known()
    else:
        assert list(_record(variables, statements).known()) == [0]


def test_an_intent_that_was_not_written_is_forgotten() -> None:
    """
    Airflow's server is away for a moment: nothing was sent, and a retry submits it.
    """

    class Away(Variables):
        """Variables of which the first cannot be written."""

        def write(self, key: str, value: str, description: str) -> None:
            self.steps_left -= 1
            if self.steps_left == 0:
                raise OSError("the server is away")
            self[key] = value

        def delete(self, key: str) -> None:
            self.pop(key, None)

    variables = Away()
    variables.steps_left = 1
    with RunningSimulator() as simulator:
        with pytest.raises(OSError, match="away"):
            _submit(simulator, variables, ["RUN JOB a"])
        assert simulator.project.arrived == 0
        assert _record(variables, ["RUN JOB a"]).known() == {}
        assert len(_submit(simulator, variables, ["RUN JOB a"])) == 1


def test_a_statement_that_says_nothing_is_not_of_unknown_fate() -> None:
    """
    Nothing is sent for it: its author is told so, and not sent to the console.
    """
    variables = Variables()
    with RunningSimulator() as simulator:
        with pytest.raises(InvalidRequestError):
            _submit(simulator, variables, [" ; "])
        assert simulator.project.arrived == 0
    assert _record(variables, [" ; "]).known() == {}


def test_a_statement_that_was_accepted_at_the_last_moment_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The worker is interrupted when the answer is there: it must not get lost.
    """
    submit = sync.Tracker.submit

    def interrupted(tracker: sync.Tracker, statement: str, *, label: str) -> NoReturn:
        submit(tracker, statement, label=label)
        raise KeyboardInterrupt

    monkeypatch.setattr(sync.Tracker, "submit", interrupted)
    variables = Variables()
    with RunningSimulator() as simulator, pytest.raises(KeyboardInterrupt):
        _submit(simulator, variables, ["RUN JOB a"])

    assert [_record(variables, ["RUN JOB a"]).known()[0].request_id] == list(
        simulator.project.requests
    )


@contextmanager
def _told_to_end(client: WatchedClient, after: float, variables: Variables) -> Iterator[list[str]]:
    """Airflow 3: the handler of SIGTERM calls `on_kill`, and returns if that does."""
    found: list[str] = []

    def handle(*_: object) -> None:
        # What a SIGKILL would leave behind.
        found.extend(variables.values())
        client.stop()

    before = signal.signal(signal.SIGTERM, handle)
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    try:
        yield found
    finally:
        timer.join()
        signal.signal(signal.SIGTERM, before)


def test_a_task_that_is_told_to_end_gives_up_what_waits() -> None:
    """
    At once, and until then nothing says of a statement without a slot that it may run: not even
    what a SIGKILL would leave behind.  The next try continues.
    """
    variables = Variables()
    statements = ["RUN JOB a", "RUN JOB b"]
    with RunningSimulator() as simulator:
        client = WatchedClient(_client(simulator))
        began = time.monotonic()
        with (
            sync.Tracker(client, limiter=LocalLimiter(0.2)) as tracker,
            _told_to_end(client, 0.4, variables) as found,
            pytest.raises(StoppedError),
        ):
            _submit_missing(tracker, client, variables, statements)
        assert time.monotonic() - began < 3
        [first] = simulator.project.requests
        assert [json.loads(text)["statements"] for text in found] == [
            json.loads(text)["statements"] for text in variables.values()
        ]
        assert _record(variables, statements).known()[0].request_id == first
        assert len(_submit(simulator, variables, statements)) == 2
        assert len(simulator.project.requests) == 2


def test_a_task_that_is_told_to_end_waits_for_the_answer() -> None:
    """
    Airflow kills some seconds later: an answer that comes before is worth more than none.
    """
    variables = Variables()
    project = SimulatedProject()
    project.script_next([Fault(kind=FaultKind.DELAY, seconds=0.8)])
    statements = ["RUN JOB a", "RUN JOB b"]
    with RunningSimulator(SimulatorServer(project)) as simulator:
        client = WatchedClient(
            OnehouseClient(Credentials.from_env(environ=simulator.environ), request_timeout=5)
        )
        with (
            sync.Tracker(client, limiter=_fast()) as tracker,
            _told_to_end(client, 0.4, variables),
            pytest.raises(StoppedError),
        ):
            _submit_missing(tracker, client, variables, statements)

    assert [one.request_id for one in _record(variables, statements).known().values()] == list(
        project.requests
    )
    assert len(project.requests) == 1


def test_a_refusal_for_the_rate_leaves_no_intent() -> None:
    """
    The pause that follows may be long, and a worker that dies in it has sent nothing.
    """
    variables = Variables()
    project = SimulatedProject()
    project.script_next([Fault(kind=FaultKind.REFUSE, status=429, retry_after=30)])
    with RunningSimulator(SimulatorServer(project)) as simulator:
        client = WatchedClient(_client(simulator))
        with (
            sync.Tracker(client, limiter=_fast()) as tracker,
            _told_to_end(client, 0.5, variables) as found,
            pytest.raises(StoppedError),
        ):
            _submit_missing(tracker, client, variables, ["RUN JOB a"])

    assert project.arrived == 1
    assert found == []
    assert project.requests == {}


def test_an_intent_that_took_too_long_is_not_carried_out() -> None:
    """
    The time for an answer was over before the question: nothing is sent, and a retry may.
    """

    class Slow(Variables):
        """Variables that take a second to write."""

        def write(self, key: str, value: str, description: str) -> None:
            time.sleep(0.4)
            super().write(key, value, description)

    variables = Slow()
    with RunningSimulator() as simulator:
        client = WatchedClient(_client(simulator))
        policy = PollPolicy(poll_timeout=0.2)
        with (
            sync.Tracker(client, limiter=_fast(), policy=policy) as tracker,
            pytest.raises(SubmissionError),
        ):
            _submit_missing(tracker, client, variables, ["RUN JOB a"])
        assert simulator.project.arrived == 0
    assert _record(variables, ["RUN JOB a"]).known() == {}


def test_who_waits_here_says_what_is_pending(caplog: pytest.LogCaptureFixture) -> None:
    """
    A worker that waits fills a slot: its log says for what.
    """
    caplog.set_level(logging.INFO)
    project = SimulatedProject()
    project.add("quick", 0)
    project.add("slow", 3600)
    told: list[list[str]] = []
    with (
        RunningSimulator(SimulatorServer(project)) as simulator,
        sync.Tracker(_client(simulator), limiter=_fast()) as tracker,
    ):
        news = track_here(
            tracker,
            [Request("quick"), Request("slow")],
            timeout=0.5,
            log=LOG,
            on_pending=told.append,
        )

    assert {one["request_id"]: one["outcome"] for one in news["results"]} == {
        "quick": Outcome.SUCCEEDED,
        "slow": Outcome.TIMED_OUT,
    }
    assert told[0] == ["quick", "slow"]
    assert "2 of 2 requests pending: quick, slow" in caplog.text


def test_who_waits_here_does_not_wait_for_what_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    One ID that the server cannot answer, while it answers others, has an outcome: UNREACHABLE.
    """

    class Answers:
        """A server that fails for one ID, and knows the other, which runs."""

        async def fetch(self, request_id: str) -> StatusReply:
            if request_id == "bad":
                raise TransportError("HTTP 500", request_id=request_id)
            self.polls += 1
            return StatusReply(ApiStatus.PENDING if self.polls < 100 else ApiStatus.SUCCESS)

        polls = 0

    monkeypatch.setattr(_worker, "_REPORT", 0.2)
    policy = PollPolicy(failure_base=0.001, failure_max=0.01, gap_min=0.01, gap_max=0.01)
    with sync.Tracker(Answers(), limiter=LocalLimiter(1000), policy=policy) as tracker:
        news = track_here(
            tracker,
            [Request("bad"), Request("other")],
            timeout=20,
            log=LOG,
            on_pending=lambda _: None,
        )

    assert {one["request_id"]: one["outcome"] for one in news["results"]} == {
        "bad": Outcome.UNREACHABLE,
        "other": Outcome.SUCCEEDED,
    }


def test_who_waits_here_with_wrong_credentials_is_told() -> None:
    """
    The requests continue: their IDs are part of the payload.
    """
    server = SimulatorServer(SimulatedProject(), expected_headers={"x-onehouse-api-key": "right"})
    with (
        RunningSimulator(server) as simulator,
        sync.Tracker(
            OnehouseClient(
                Credentials.from_env(environ={**simulator.environ, "ONEHOUSE_API_KEY": "wrong"})
            ),
            limiter=_fast(),
        ) as tracker,
    ):
        news = track_here(
            tracker, [Request("a")], timeout=None, log=LOG, on_pending=lambda _: None
        )

    assert "credentials" in news["error"]
    assert news["pending"] == ["a"]
