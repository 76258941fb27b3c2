"""
What a trigger tells its operator: bounded, storable, and not for the triggerer's log.
"""

import json

import pytest

from onehouse_tracker.errors import ConfigError, RejectedError
from onehouse_tracker.integrations.airflow._event_payload import (
    EventPayload,
    counted,
    describe_ids,
    json_of,
)
from onehouse_tracker.integrations.airflow._task_result import (
    TaskResult,
    check_on_partial,
    ended_wrong,
)
from onehouse_tracker.models import Outcome, Result

OK = Result(
    request_id="a",
    outcome=Outcome.SUCCEEDED,
    label="RUN JOB",
    status="API_OPERATION_STATUS_SUCCESS",
    response={"runJobApiResponse": {"jobRunId": "7"}},
)
PLAIN = Result(request_id="p", outcome=Outcome.SUCCEEDED, label="SHOW")
ONLY_STARTED = "only started a run, which may still run: until='end' waits for its end"
BAD = Result(
    request_id="b",
    outcome=Outcome.FAILED,
    status="API_OPERATION_STATUS_FAILED",
    response={"errorMessage": "no such table"},
)
LATE = Result(request_id="c", outcome=Outcome.TIMED_OUT)
PARTLY = Result(request_id="d", outcome=Outcome.PARTIALLY_SUCCEEDED)
SENSELESS = Result(request_id="e", outcome=Outcome.INVALID)


def test_it_holds_what_an_operator_needs() -> None:
    """
    Absent values take no room: a thousand requests are told in one row of a database.
    """
    news = EventPayload.of([OK, BAD, LATE])

    assert news == {
        "results": [
            {
                "request_id": "a",
                "outcome": "SUCCEEDED",
                "label": "RUN JOB",
                "status": "API_OPERATION_STATUS_SUCCESS",
                "response": {"runJobApiResponse": {"jobRunId": "7"}},
            },
            {
                "request_id": "b",
                "outcome": "FAILED",
                "status": "API_OPERATION_STATUS_FAILED",
                "reason": "no such table",
                "response": {"errorMessage": "no such table"},
                "number": 2,
            },
            {"request_id": "c", "outcome": "TIMED_OUT", "number": 3},
        ],
        "count": 3,
    }


def test_it_stays_small_whatever_the_server_answers() -> None:
    """
    Ten thousand responses of 8 MB each must not end in one row; what fits is kept.
    """
    big = {"rows": "x" * 100_000}
    results = [
        Result(request_id=f"{i}", outcome=Outcome.SUCCEEDED, response=big) for i in range(1000)
    ]
    reason = RejectedError("y" * 500)
    results += [
        Result(request_id=f"f{i}", outcome=Outcome.REJECTED, error=reason) for i in range(9000)
    ]

    news = EventPayload.of(results)

    kept = [item for item in news["results"] if "response" in item]
    left_out = [item for item in news["results"] if item.get("response_left_out")]
    assert (len(kept), len(left_out)) == (5, 995)
    assert len(news["results"]) == 10_000
    assert len(json.dumps(news)) < 512 * 1024 + 10_000 * 90


@pytest.mark.parametrize(
    "response",
    [
        {"text": "a\x00b"},
        {"nul\x00": 1},
        {"deep": [{"text": "\x00"}]},
        {"text": "half a pair: \ud800"},
        {"number": float("nan")},
        {"odd": object()},
    ],
    ids=["NUL", "NUL in a key", "NUL below", "surrogate", "NaN", "no JSON"],
)
def test_what_a_database_refuses_is_left_out(response: dict[str, object]) -> None:
    """
    PostgreSQL would refuse the row, and with it the triggerer would fail again and again.
    """
    [item] = EventPayload.of(
        [Result(request_id="a", outcome=Outcome.SUCCEEDED, response=response)]
    )["results"]

    assert item == {"request_id": "a", "outcome": "SUCCEEDED", "response_left_out": True}


def test_what_only_looks_like_nul_is_kept() -> None:
    """
    A backslash and the characters u0000 are six harmless characters.
    """
    assert json_of({"text": "\\u0000"}) == '{"text": "\\\\u0000"}'


def test_words_of_the_server_are_one_line() -> None:
    """
    They go into logs and into the database.
    """
    result = Result(request_id="a", outcome=Outcome.UNRECOGNIZED, status="a\nb\x00\ud800c")

    [item] = EventPayload.of([result])["results"]

    assert item["status"] == "a b  c"


def test_it_does_not_show_what_it_holds() -> None:
    """
    The triggerer logs each event, and a response may hold a secret.
    """
    news = EventPayload.of([OK, BAD], error="nothing answered", pending=["c"])

    assert repr(news) == "<1 SUCCEEDED, 1 FAILED; nothing answered>"
    assert repr(EventPayload.of([])) == "<no outcome>"


def test_a_line_names_some_and_counts_the_rest() -> None:
    """
    A thousand IDs in a line of a log hide what it says.
    """
    assert describe_ids("abc") == "a, b, c"
    assert describe_ids("abcde") == "a, b, c and 2 more"


def test_all_ok_is_ok() -> None:
    """
    Partial success is one, unless the user wants otherwise.
    """
    news = EventPayload.of([OK, PARTLY])

    assert TaskResult.of(news, on_partial="succeed").ok
    assert TaskResult.of(news, on_partial="fail") == TaskResult(
        ok=False,
        message="1 of 2 requests did not succeed:\n"
        "  request d (request 2 of 2) ended PARTIALLY_SUCCEEDED: the server gave no reason",
    )


@pytest.mark.parametrize(
    ("results", "message", "is_partial"),
    [
        ([], "there were no requests", False),
        ([PLAIN], "the request succeeded", False),
        ([PLAIN, PLAIN], "all 2 requests succeeded", False),
        ([PARTLY], "0 of 1 request succeeded, and 1 only partly: d", True),
        ([PLAIN, PARTLY, PLAIN], "2 of 3 requests succeeded, and 1 only partly: d", True),
        ([OK], f"the request succeeded; it {ONLY_STARTED}", False),
        ([OK, PLAIN], f"all 2 requests succeeded; 1 of them {ONLY_STARTED}", False),
    ],
)
def test_a_success_says_how_many_succeeded_only_partly(
    results: list[Result], message: str, *, is_partial: bool
) -> None:
    """
    The task succeeds, and yet a part of its work was not done.
    """
    assert TaskResult.of(EventPayload.of(results), on_partial="succeed") == TaskResult(
        ok=True, message=message, is_partial=is_partial
    )


def test_one_of_many_statements_is_named_by_its_number() -> None:
    """
    A user knows statements, and not request IDs.
    """
    ids = [f"r{number}" for number in range(1, 61)]
    failed = Result(request_id="r37", outcome=Outcome.FAILED, label="RUN JOB")
    payload = EventPayload.of([failed], order=ids, error="nothing answered", pending=["r60"])

    message = TaskResult.of(payload, on_partial="succeed", noun="statement").message

    assert message == (
        "1 of 60 statements did not succeed:\n"
        "  request r37 (statement 37 of 60, RUN JOB) ended FAILED: the server gave no reason\n"
        "tracking stopped with 1 request pending (r60): nothing answered"
    )


def test_what_was_pending_at_the_deadline_names_the_limit() -> None:
    """
    People have to know which number to raise, and that the statement is not over.
    """
    payload = EventPayload.of([LATE], limit="execution_timeout of 10 s")

    assert TaskResult.of(payload, on_partial="succeed").message == (
        "the request did not succeed:\n"
        "  request c was still pending at the end of execution_timeout of 10 s;"
        " it continues on the server"
    )
    # A limit that was not reached says nothing.
    assert "limit" not in EventPayload.of([OK], limit="execution_timeout of 10 s")


def test_one_is_not_several() -> None:
    """
    The messages are read by people.
    """
    assert counted(1, "request") == "1 request"
    assert [counted(number, "request") for number in (0, 2)] == ["0 requests", "2 requests"]


def test_the_message_tells_who_failed_and_why() -> None:
    """
    It is what people see of a failed task.
    """
    verdict = TaskResult.of(EventPayload.of([OK, BAD, LATE]), on_partial="succeed")

    assert verdict.message.splitlines() == [
        "2 of 3 requests did not succeed:",
        "  request b (request 2 of 3) ended FAILED: no such table",
        (
            "  request c (request 3 of 3) was still pending when tracking stopped;"
            " it continues on the server"
        ),
    ]
    assert not verdict.hopeless


def test_the_message_is_bounded() -> None:
    """
    It is stored, mailed, and shown in a list.
    """
    many = [Result(request_id=f"{i}", outcome=Outcome.FAILED, label="x") for i in range(1000)]

    verdict = TaskResult.of(EventPayload.of(many), on_partial="succeed")

    assert len(verdict.message.splitlines()) == 12
    assert verdict.message.endswith("  and 990 more")
    assert "request 0 (request 1 of 1000, x) ended FAILED" in verdict.message


def test_what_makes_no_sense_is_not_tried_again() -> None:
    """
    A syntax error stays one; where something else went wrong too, a retry may help that.
    """
    assert TaskResult.of(EventPayload.of([OK, SENSELESS]), on_partial="succeed").hopeless
    assert not TaskResult.of(EventPayload.of([BAD, SENSELESS]), on_partial="succeed").hopeless
    cut_short = EventPayload.of([SENSELESS], error="nothing answered", pending=["c", "d"])
    assert not TaskResult.of(cut_short, on_partial="succeed").hopeless
    assert TaskResult.of(
        EventPayload.of([], error="no key", hopeless=True), on_partial="succeed"
    ).hopeless


def test_a_tracking_that_stopped_says_what_is_pending() -> None:
    """
    The requests continue on the server: their IDs are what people need then.
    """
    news = EventPayload.of([OK], error="nothing answered", pending=["c", "d"])

    assert TaskResult.of(news, on_partial="succeed").message == (
        "tracking stopped with 2 requests pending (c, d): nothing answered"
    )


def test_only_what_certainly_ended_is_submitted_again() -> None:
    """
    Of a request that was not found nobody knows whether it runs.
    """
    again = {
        outcome
        for outcome in Outcome
        if ended_wrong({"outcome": outcome}, "fail") and not outcome.ok
    }

    assert again == {Outcome.FAILED, Outcome.INVALID}
    assert ended_wrong({"outcome": "PARTIALLY_SUCCEEDED"}, "fail")
    assert not ended_wrong({"outcome": "PARTIALLY_SUCCEEDED"}, "succeed")


def test_there_are_two_words_for_a_partial_success() -> None:
    """
    A third one would silently mean one of them.
    """
    check_on_partial("succeed")
    check_on_partial("fail")
    with pytest.raises(ConfigError, match="on_partial"):
        check_on_partial("ignore")
