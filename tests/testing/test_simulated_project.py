"""The model of the service, fed with plain numbers."""

from __future__ import annotations

import math
from random import Random

import pytest

from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing import (
    FaultRule,
    Kind,
    SimulatedProject,
    SlidingLog,
    faults,
    lognormal,
    outage,
)
from onehouse_tracker.testing.faults import FaultKind
from onehouse_tracker.testing.records import Answer
from onehouse_tracker.testing.statements import KINDS, kind_of, response_key

PENDING = "API_OPERATION_STATUS_PENDING"
SUCCESS = "API_OPERATION_STATUS_SUCCESS"


def started(**settings: object) -> SimulatedProject:
    """A project whose first moment is 0."""
    project = SimulatedProject(**settings)  # type: ignore[arg-type]
    project.begin(lambda: 0.0)
    return project


def words(answers: list[Answer]) -> list[str | None]:
    """What a client would see of each answer: the status, or the kind of fault."""
    return [
        answer.fault.kind.value
        if answer.fault
        else answer.reply.status
        if answer.reply
        else answer.request_id
        for answer in answers
    ]


def test_a_request_is_pending_until_its_duration_is_over() -> None:
    """
    The truth by which every detection delay is judged.
    """
    project = started()
    project.add("a", 0.3, submitted_at=0.1, response={"x": 1})

    replies = [project.poll("a", at).reply for at in (0.1, 0.399, 0.4, 9.0)]

    assert [reply and reply.status for reply in replies] == [PENDING, PENDING, SUCCESS, SUCCESS]
    assert replies[2] is not None
    assert replies[2].response == {"x": 1}
    assert project.finished_at("a") == 0.4


def test_what_the_server_saw_is_written_down() -> None:
    """
    Benchmarks are judged by this record, not by what the client believes.
    """
    project = started(enforcer=SlidingLog(3))
    project.add("a", 0.5, submitted_at=0)
    for at in (0.0, 0.4, 0.8, 0.9, 1.5):
        project.poll("a", at)
    project.poll("b", 2.5)

    assert [(arrival.at, arrival.verdict) for arrival in project.arrivals] == [
        (0.0, "pending"),
        (0.4, "pending"),
        (0.8, "final"),
        (0.9, "refused"),
        (1.5, "final"),
        (2.5, "unknown"),
    ]
    request = project.requests["a"]
    assert (request.polls, request.final_replies, request.first_final_at) == (5, 2, 0.8)
    assert (project.arrived, project.refused) == (6, 1)
    assert project.times("a") == [0.0, 0.4, 0.8, 0.9, 1.5]
    assert project.peak_in_any_second() == 4
    assert project.budget_used(0, 1, limit=3) == 1.0
    assert project.budget_used(0, 2, limit=4) == 0.5


def test_an_empty_record_has_no_peak() -> None:
    """
    A run that sent nothing is judged too.
    """
    assert SimulatedProject().peak_in_any_second() == 0


def test_the_record_can_be_left_out_and_the_counters_stay() -> None:
    """
    A day of ten polls a second must not fill the memory.
    """
    project = started(enforcer=SlidingLog(1), record=False)
    project.add("a", 1)

    words([project.poll("a", 0), project.poll("a", 0.1)])

    assert project.arrivals == []
    assert (project.arrived, project.refused) == (2, 1)


def test_a_refused_poll_learns_nothing_and_is_not_spoilt() -> None:
    """
    The limit stands before everything else: a fault of the script waits for its turn.
    """
    project = started(enforcer=SlidingLog(1), refusal=faults.throttled(2.0))
    project.add("a", 0)
    project.script("a", [faults.reset()])

    first, second = project.poll("a", 0), project.poll("a", 0.1)

    assert words([first, second]) == ["reset", "refuse"]
    assert second.fault is not None
    assert (second.fault.status, second.fault.retry_after) == (429, 2.0)
    assert project.requests["a"].first_final_at is None


def test_requests_added_before_the_clock_are_submitted_at_its_first_moment() -> None:
    """
    A test arranges its requests before any loop runs, whatever that loop's clock shows.
    """
    project = SimulatedProject()
    project.add("a", 5)
    assert project.status("a", 100.0) is None
    assert math.isinf(project.finished_at("a"))

    project.begin(lambda: 1000.0)
    project.add("b", 7)

    assert (project.finished_at("a"), project.finished_at("b")) == (1005, 1007)


def test_a_second_clock_does_not_move_what_is_there() -> None:
    """
    A server that is restarted goes on where it was.
    """
    project = SimulatedProject(rules=[outage(0, 10)])
    project.add("a", 5)
    project.begin(lambda: 100.0)
    project.begin(lambda: 105.0)

    assert project.finished_at("a") == 105
    assert words([project.poll("a", 109), project.poll("a", 110)]) == ["refuse", SUCCESS]


def test_a_request_is_not_found_right_after_submission() -> None:
    """
    A 404 may only be early; how long is the project's setting, or the request's.
    """
    project = started(visible_after=2)
    project.add("a", 0)
    project.add("b", 0, visible_after=0)

    assert words([project.poll("a", 1.9), project.poll("a", 2.0)]) == ["refuse", SUCCESS]
    assert words([project.poll("b", 0)]) == [SUCCESS]


def test_one_id_is_one_request() -> None:
    """
    A misspelt test must not silently replace a request.
    """
    project = started()
    project.add("a", 1)

    with pytest.raises(ValueError, match="'a' already"):
        project.add("a", 2)


def test_faults_come_as_the_script_says() -> None:
    """
    For each ID its own, for the next requests of any kind before those.
    """
    project = started()
    project.add("a", 0)
    project.add("b", 0)
    project.script("a", [faults.unavailable(), None, faults.hang()])
    project.script_next([None, faults.redirect("http://elsewhere.test/")])

    seen = [project.poll(request_id, 0) for request_id in "aabaaa"]

    assert words(seen) == [SUCCESS, "redirect", SUCCESS, "refuse", SUCCESS, "hang"]
    assert project.arrivals[1].verdict == "fault:redirect"
    assert words([project.poll("a", 1)]) == [SUCCESS]


def test_faults_by_chance_hit_their_share_and_their_window_only() -> None:
    """
    A rate is a rate, and an outage begins and ends when it should.
    """
    project = started(
        rules=[FaultRule(fault=faults.reset(), rate=0.25, start=10, end=20, request_ids={"a"})]
    )
    for request_id in "ab":
        project.add(request_id, 0)

    def hits(request_id: str, start: float) -> int:
        answers = [project.poll(request_id, start + place / 1000) for place in range(4000)]
        return sum(answer.fault is not None for answer in answers)

    assert 900 < hits("a", 10) < 1100
    assert hits("b", 10) == 0
    assert hits("a", 0) == 0
    assert hits("a", 20) == 0


@pytest.mark.parametrize(
    ("on", "expected"),
    [("status", [True, False]), ("submit", [False, True]), ("any", [True, True])],
)
def test_a_rule_hits_what_it_is_for(on: str, expected: list[bool]) -> None:
    """
    Polls and submissions fail differently, so each must be spoilt alone.
    """
    project = started(rules=[FaultRule(fault=faults.reset(), on=on)])  # type: ignore[arg-type]
    project.add("a", 0)

    answers = [project.poll("a", 0), project.submit("SHOW CLUSTERS", 0)]

    assert [answer.fault is not None for answer in answers] == expected


def test_one_seed_is_one_history() -> None:
    """
    Contestants of a benchmark meet the same requests, and a failing seed comes back.
    """

    def history(seed: int, rate: float) -> tuple[list[str | None], list[float]]:
        rule = FaultRule(fault=faults.unavailable(), rate=rate)
        project = started(seed=seed, rules=[rule])
        seen, durations = [], []
        for number in range(20):
            request_id = project.submit(f"RUN JOB {number}", number).request_id
            durations.append(project.requests[request_id].duration)
            seen.append(project.poll(request_id, 60))
        return words(seen), durations

    assert history(1, 0.5) == history(1, 0.5)
    assert history(1, 0.5) != history(2, 0.5)
    # Other faults, same durations: the faults of a rate of 1 are not drawn.
    assert history(1, 0.5)[1] == history(1, 1.0)[1]


def test_a_submission_becomes_a_request_of_its_kind() -> None:
    """
    From submission to outcome, as the service does it.
    """
    project = started(kinds=[Kind(label="RUN JOB", duration=40)], speed=10)

    answer = project.submit("  run  job nightly", 2.0)

    request = project.requests[answer.request_id]
    assert (request.label, request.submitted_at, request.finished_at) == ("RUN JOB", 2.0, 6.0)
    assert len(answer.request_id) == 36
    assert [arrival[1:] for arrival in project.arrivals] == [
        ("submit", answer.request_id, "accepted")
    ]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Kind(label="A", duration=1, failed=1), ApiStatus.FAILED),
        (Kind(label="A", duration=1, invalid=1), ApiStatus.INVALID),
        (Kind(label="A", duration=1, partial=1), ApiStatus.SUCCESS_PARTIAL),
        (Kind(label="A", duration=1), ApiStatus.SUCCESS),
    ],
)
def test_a_kind_decides_how_its_requests_end(kind: Kind, status: ApiStatus) -> None:
    """
    Tests of outcomes need requests that surely end in a certain way.
    """
    project = started(kinds=[kind])

    request = project.requests[project.submit("A b", 0).request_id]

    assert request.status == status


def test_chances_are_met_in_the_long_run() -> None:
    """
    Half, a quarter, an eighth: what is drawn is what was asked for.
    """
    kind = Kind(label="", duration=lognormal(10, 1), failed=0.5, invalid=0.25, partial=0.125)
    rng = Random(1)
    drawn = [kind.draw(rng) for _ in range(8000)]

    counts = {status: sum(end == status for _, end in drawn) / 8000 for status in ApiStatus}
    assert counts[ApiStatus.FAILED] == pytest.approx(0.5, abs=0.02)
    assert counts[ApiStatus.INVALID] == pytest.approx(0.25, abs=0.02)
    assert counts[ApiStatus.SUCCESS_PARTIAL] == pytest.approx(0.125, abs=0.02)
    assert sorted(duration for duration, _ in drawn)[4000] == pytest.approx(10, rel=0.05)


def test_chances_beyond_one_are_refused() -> None:
    """
    The last kind of end would never come, silently.
    """
    with pytest.raises(ValueError, match="more than 1"):
        Kind(label="A", duration=1, failed=0.6, partial=0.6)


def test_the_longest_label_decides() -> None:
    """
    ``CREATE CLUSTER`` takes minutes, any other ``CREATE`` seconds; ``SHOWER`` is no ``SHOW``.
    """
    labels = [
        kind.label if kind else None
        for kind in (
            kind_of("create  cluster x", KINDS),
            kind_of("CREATE TABLE t", KINDS),
            kind_of("SHOWER", KINDS),
            kind_of("SHOW", KINDS),
            kind_of("SHOW", [Kind(label="RUN", duration=1)]),
        )
    ]

    assert labels == ["CREATE CLUSTER", "CREATE", "", "SHOW", None]


def test_a_statement_of_no_known_kind_runs_all_the_same() -> None:
    """
    The service knows more statements than a test lists.
    """
    project = started(kinds=[Kind(label="RUN JOB", duration=1)])

    answer = project.submit("SHOW CLUSTERS", 0)

    assert answer.request_id in project.requests


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("  ", "statement is empty"),
        ("SHOW CLUSTERS;", "syntax error at position 13: unexpected ';'"),
        ("SHOW syntax  error", "syntax error at position 5: unexpected 'syntax  error'"),
    ],
)
def test_a_parse_error_is_refused_with_its_reason(statement: str, reason: str) -> None:
    """
    The vendor answers 400 at once, and nothing runs.
    """
    project = started()

    answer = project.submit(statement, 0)

    assert answer.fault is not None
    assert (answer.fault.status, answer.fault.message) == (400, reason)
    assert project.requests == {}
    assert project.arrivals[0].verdict == "malformed"


@pytest.mark.parametrize(
    ("fault", "executed"),
    [
        (faults.unavailable(), False),
        (faults.redirect("http://elsewhere.test/"), False),
        (faults.reset(), True),
        (faults.hang(), True),
        (faults.truncated(), True),
    ],
)
def test_only_a_refusal_keeps_a_statement_from_running(
    fault: faults.Fault, *, executed: bool
) -> None:
    """
    A client that submits again after a reset creates a duplicate; the record must show it.
    """
    project = started()
    project.script_next([fault])

    answer = project.submit("RUN JOB a", 0)

    assert bool(project.requests) is executed
    assert (answer.request_id in project.requests) is executed
    assert [arrival.verdict for arrival in project.arrivals] == [f"fault:{fault.kind}"]


@pytest.mark.parametrize(
    ("statement", "key"),
    [
        ("RUN JOB nightly", "runJobApiResponse"),
        ("describe job_run 'x'", "describeJobRunApiResponse"),
        ("create and run job x TYPE='JAR'", "createAndRunJobApiResponse"),
        ("SHOW CLUSTERS", "showClustersApiResponse"),
        ("SHOW", "showApiResponse"),
        ("42", "statementApiResponse"),
    ],
)
def test_the_response_is_keyed_by_its_command(statement: str, key: str) -> None:
    """
    Clients look for one message per command.
    """
    assert response_key(statement) == key


def test_a_response_can_be_chosen_and_belongs_to_success() -> None:
    """
    What failed has nothing to say, as far as the API is known.
    """
    response: dict[str, object] = {"showClustersApiResponse": {"clusters": []}}
    project = started(
        kinds=[
            Kind(label="SHOW", duration=0, response=response),
            Kind(label="DELETE", duration=0, failed=1, response=response),
        ]
    )

    ids = [project.submit(text, 0).request_id for text in ("SHOW CLUSTERS", "DELETE JOB a")]

    assert [project.requests[request_id].response for request_id in ids] == [response, {}]


def test_a_delay_is_constant_or_drawn() -> None:
    """
    Latency is a fault like any other.
    """
    project = started(seed=3)

    assert project.delay_of(faults.delay(1.5)) == 1.5
    drawn = [project.delay_of(faults.delay(lognormal(1, 0.5))) for _ in range(3)]
    assert len(set(drawn)) == 3


def test_whoever_is_turned_away_costs_no_budget() -> None:
    """
    A request without credentials never reaches the limiter.
    """
    project = started(enforcer=SlidingLog(1))
    project.add("a", 0)

    project.turn_away("status", "a", 0, "unauthorized")

    assert words([project.poll("a", 0)]) == [SUCCESS]
    assert project.budget_used(0, 1, limit=1) == 1


def test_a_fault_knows_its_grpc_status() -> None:
    """
    HTTP and gRPC codes go together; what has none of its own is UNKNOWN.
    """
    codes = [faults.refuse(status).grpc_status for status in (400, 404, 429, 503, 418)]

    assert codes == [3, 5, 8, 14, 2]
    assert faults.delay(1).kind is FaultKind.DELAY


def test_a_huge_body_has_room_for_its_frame() -> None:
    """
    It must stay valid JSON, or another rule would refuse it.
    """
    with pytest.raises(ValueError, match="at least"):
        faults.pending_body(10)


def test_its_repr_tells_the_state() -> None:
    """
    It shows up in failing assertions.
    """
    project = started()
    project.add("a", 0)
    project.poll("a", 0)

    assert repr(project) == "<SimulatedProject: 1 requests, 1 arrivals, 0 refused>"
