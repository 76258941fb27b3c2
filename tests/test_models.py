"""
The values that travel through the package, and what can be a request ID.
"""

from __future__ import annotations

import copy
import json
import pickle
import unicodedata
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onehouse_tracker._checks import MAX_ID_LENGTH, check_request_id, check_statement
from onehouse_tracker.errors import InvalidRequestError, RejectedError, TransportError
from onehouse_tracker.models import (
    ApiStatus,
    Outcome,
    Request,
    Result,
    StatusReply,
)

GOOD = st.text(
    st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]),
    min_size=1,
    max_size=MAX_ID_LENGTH,
).filter(lambda text: text == text.strip())
BAD_CHARACTER = st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"])


@given(GOOD)
@example("abc-123")
@example("../../v1/resource/?a=b#c%2e")
@example("a b\u3000c")
@example("#\U0010ffff\ue000")
@example("é" * 256)
def test_any_printable_text_can_be_a_request_id(value: str) -> None:
    """
    The service documents no form, so we must not invent one.
    """
    assert check_request_id(value) is value
    assert Request(value).request_id is value


@given(st.text(max_size=100), BAD_CHARACTER, st.text(max_size=100))
@example("a", "\r", "\nX-Injected: 1")
@example("", "\x00", "")
@example("", "\x7f", "")
@example("", "\x85", "é")
@example("", "\ud800", "")
@example("", "\udfff", "ascii")
@example("", "\ufeff", "r-1")
@example("r-1", "\u202e", "")
@example("r", "\u2028", "1")
def test_what_cannot_be_sent_or_seen_is_refused(before: str, bad: str, after: str) -> None:
    """
    A line break would change the request on the wire; half a character cannot be encoded; and
    what nobody sees, or turns the text around it, is another ID when it is copied.
    """
    with pytest.raises(InvalidRequestError) as caught:
        check_request_id(before + bad + after)

    message = str(caught.value)
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in message)
    assert len(message) <= 200


@pytest.mark.parametrize("value", [" ", " r-1", "r-1 ", "\u00a0r-1", "r-1\u3000"])
def test_spaces_around_an_id_are_refused(value: str) -> None:
    """
    A list of IDs that is read again would make another one of it.
    """
    with pytest.raises(InvalidRequestError, match="no spaces around it: "):
        check_request_id(value)


def test_the_length_is_at_most_256_characters() -> None:
    """
    The bound is inclusive and counts characters, not bytes.
    """
    assert check_request_id("x" * 256) == "x" * 256

    with pytest.raises(InvalidRequestError) as caught:
        check_request_id("x" * 257)

    shown = "'" + 76 * "x" + "..."
    assert str(caught.value) == f"a request ID has at most 256 characters, this one 257: {shown}"


def test_an_empty_id_is_refused() -> None:
    """
    It would ask for the collection instead of a request.
    """
    with pytest.raises(InvalidRequestError, match=r"^a request ID cannot be empty$"):
        check_request_id("")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "a request ID is a str, not NoneType: None"),
        (7, "a request ID is a str, not int: 7"),
        (b"abc", "a request ID is a str, not bytes: b'abc'"),
        (["abc"], "a request ID is a str, not list: ['abc']"),
        (b"x" * 999, "a request ID is a str, not bytes: b'" + 75 * "x" + "..."),
    ],
)
def test_only_text_can_be_a_request_id(value: object, message: str) -> None:
    """
    A forgotten list or ``None`` is told at once, not after a round trip.
    """
    with pytest.raises(InvalidRequestError) as caught:
        check_request_id(value)

    assert str(caught.value) == message


class NotATime(datetime):
    """A stand-in for ``pandas.NaT``: a datetime by its class, and none by what it does."""

    @classmethod
    def nat(cls) -> NotATime:
        """The one there is."""
        return cls(1, 1, 1)

    def utcoffset(self) -> timedelta:
        """As ``pandas.NaT`` does."""
        raise ValueError("NaTType does not support utcoffset")


class Nowhere(tzinfo):
    """A time zone of somebody's own, with a mistake in it."""

    def utcoffset(self, _moment: datetime | None) -> timedelta:
        """Fail."""
        raise KeyError("Mars/Olympus")

    tzname = dst = utcoffset  # type: ignore[assignment] # none of them is to be had


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": 7}, "request r-1: a label is a str, not int"),
        ({"label": "\ud800"}, "request r-1: a label is text in Unicode"),
        (
            {"submitted_at": datetime(2026, 1, 1)},  # noqa: DTZ001
            "needs a time zone: if it is UTC, 2026-01-01T00:00:00Z; in Python, replace.tzinfo=",
        ),
        ({"submitted_at": "2026-01-01"}, "request r-1: submitted_at is a datetime, not str"),
        ({"submitted_at": 1.7e9}, "request r-1: submitted_at is a datetime, not float"),
        (
            {"submitted_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))},
            r"request r-1: submitted_at is no point in time \(OverflowError: .*None where",
        ),
        (
            {"submitted_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))},
            "is no point in time",
        ),
        ({"submitted_at": NotATime.nat()}, "time .ValueError: NaTType does not support utcoffset"),
        ({"submitted_at": datetime(2026, 1, 1, tzinfo=Nowhere())}, "time .KeyError"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    """
    A naive time would shift ages by hours in silence.
    """
    with pytest.raises(InvalidRequestError, match=message):
        Request("r-1", **settings)


@pytest.mark.parametrize("response", [[], ["a"], "text", 7])
def test_a_response_that_is_no_mapping_is_refused_where_it_is_made(response: Any) -> None:
    """
    The engine, and whoever reads a result, look keys up in it.
    """
    with pytest.raises(TypeError, match="a response is a mapping or None, not"):
        StatusReply("PENDING", response)


def test_a_response_that_cannot_be_looked_into_has_no_reason() -> None:
    """
    A mapping of a source's own may raise what it likes.
    """

    class Odd(dict[str, Any]):
        def get(self, *_: object) -> Any:
            raise ConnectionError

    assert Result(request_id="a", outcome=Outcome.FAILED, response=Odd()).reason == ""


def test_a_request_takes_any_time_zone() -> None:
    """
    A moment is a moment, wherever it was written down.
    """
    moment = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-11)))

    request = Request("r-1", label="RUN JOB", submitted_at=moment)

    assert request.submitted_at is moment
    assert request == Request("r-1", label="RUN JOB", submitted_at=moment)
    assert hash(request) == hash(copy.copy(request))


@pytest.mark.parametrize("outcome", Outcome)
def test_which_outcomes_are_ok_and_which_are_finished(outcome: Outcome) -> None:
    """
    ``ok`` decides about exceptions and exit codes, ``finished`` about asking again.
    """
    assert outcome.ok is (outcome in {"SUCCEEDED", "PARTIALLY_SUCCEEDED"})
    assert outcome.finished is (outcome not in {"TIMED_OUT", "UNREACHABLE"})
    result = Result(request_id="r-1", outcome=outcome)
    assert result.ok is outcome.ok
    assert result.partial is (outcome == "PARTIALLY_SUCCEEDED")


def test_the_words_of_the_server() -> None:
    """
    They are compared with what comes over the wire.
    """
    assert [str(status) for status in ApiStatus] == [
        "API_OPERATION_STATUS_PENDING",
        "API_OPERATION_STATUS_SUCCESS",
        "API_OPERATION_STATUS_SUCCESS_PARTIAL",
        "API_OPERATION_STATUS_FAILED",
        "API_OPERATION_STATUS_INVALID",
    ]


def test_each_word_of_the_server_but_pending_is_a_final_outcome() -> None:
    """
    The engine, `status` and the journal all look into this one table.
    """
    assert {str(status): status.outcome for status in ApiStatus} == {
        "API_OPERATION_STATUS_PENDING": None,
        "API_OPERATION_STATUS_SUCCESS": Outcome.SUCCEEDED,
        "API_OPERATION_STATUS_SUCCESS_PARTIAL": Outcome.PARTIALLY_SUCCEEDED,
        "API_OPERATION_STATUS_FAILED": Outcome.FAILED,
        "API_OPERATION_STATUS_INVALID": Outcome.INVALID,
    }
    ours = {outcome for outcome in Outcome if not outcome.final}
    assert ours.isdisjoint({status.outcome for status in ApiStatus})


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (
            Result(
                request_id="r",
                outcome=Outcome.SUCCEEDED,
                status="S",
                response={"message": "done"},
                error=TransportError("earlier"),
            ),
            "",
        ),
        (
            Result(
                request_id="r",
                outcome=Outcome.UNREACHABLE,
                error=TransportError("reset"),
                response={"message": "m"},
            ),
            "reset",
        ),
        (
            Result(request_id="r", outcome=Outcome.FAILED, response={"reason": "r", "error": "e"}),
            "e",
        ),
        (
            Result(
                request_id="r", outcome=Outcome.FAILED, response={"message": "m", "error": "e"}
            ),
            "m",
        ),
        (
            Result(
                request_id="r",
                outcome=Outcome.FAILED,
                response={"errorMessage": "", "message": 7, "error": None},
                status="API_OPERATION_STATUS_FAILED",
            ),
            "API_OPERATION_STATUS_FAILED",
        ),
        (Result(request_id="r", outcome=Outcome.INVALID, status="S"), "S"),
        (Result(request_id="r", outcome=Outcome.TIMED_OUT), ""),
        (
            Result(
                request_id="r",
                outcome=Outcome.REJECTED,
                error=RejectedError(request_id="r", http_status=409),
            ),
            "HTTP 409",
        ),
        (Result(request_id="r", outcome=Outcome.TIMED_OUT, error=TransportError()), ""),
        (
            Result(
                request_id="r", outcome=Outcome.FAILED, response={"error": "a\n\x1b[2Jb\u202e"}
            ),
            "a [2Jb",
        ),
        (
            Result(request_id="r", outcome=Outcome.FAILED, response={"error": "x" * 9_000_000}),
            "x" * 497 + "...",
        ),
    ],
)
def test_the_reason_is_the_best_we_know(result: Result, reason: str) -> None:
    """
    An error of ours first, then what the response says, then the bare status; one short line,
    since it goes into errors, logs and terminals.
    """
    assert result.reason == reason


@pytest.mark.parametrize(
    ("response", "run_id"),
    [
        ({"runJobApiResponse": {"jobRunId": "run-1"}}, "run-1"),
        ({"createAndRunJobApiResponse": {"jobRunId": "run-1"}}, "run-1"),
        ({"runJobApiResponse": {"jobRunId": ""}}, None),
        ({"runJobApiResponse": {"jobRunId": 7}}, None),
        ({"runJobApiResponse": "run-1"}, None),
        ({"jobRunId": "run-1"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_success_of_what_started_a_run_says_no_more_than_that(
    response: dict[str, Any] | None, run_id: str | None
) -> None:
    """
    The run may fail hours later: whoever shows the result must be able to say so.
    """
    result = Result(request_id="r", outcome=Outcome.SUCCEEDED, response=response)
    failed = replace(result, outcome=Outcome.FAILED)

    assert result.started_run == run_id
    assert result.reason == ("" if run_id is None else f"started run {run_id}")
    assert failed.started_run is None
    assert "started" not in failed.reason


def test_a_result_as_plain_data() -> None:
    """
    It must go into JSON as it is, and the keys are a promise to scripts.
    """
    moment = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
    result = Result(
        request_id="r-1",
        outcome=Outcome.FAILED,
        label="RUN JOB",
        status="API_OPERATION_STATUS_FAILED",
        response={"message": "no table"},
        polls=3,
        first_polled_at=moment,
        detected_at=moment + timedelta(seconds=2),
        waited=2.2500001,
        delay_bound=0.1234567,
    )

    data = result.to_dict()

    assert data == {
        "request_id": "r-1",
        "label": "RUN JOB",
        "outcome": "FAILED",
        "ok": False,
        "status": "API_OPERATION_STATUS_FAILED",
        "reason": "no table",
        "response": {"message": "no table"},
        "polls": 3,
        "first_polled_at": "2026-03-01T12:00:00.250000+00:00",
        "detected_at": "2026-03-01T12:00:02.250000+00:00",
        "waited_s": 2.25,
        "delay_bound_s": 0.123457,
    }
    assert type(data["outcome"]) is str
    assert json.loads(json.dumps(data)) == data


def test_an_empty_result_as_plain_data() -> None:
    """
    What is unknown is null, never an empty string or a zero.
    """
    data = Result(request_id="r-1", outcome=Outcome.TIMED_OUT).to_dict()

    unknown = {key for key, value in data.items() if value is None}
    assert unknown == {
        "label",
        "status",
        "reason",
        "response",
        "first_polled_at",
        "detected_at",
        "delay_bound_s",
    }


def test_values_do_not_show_responses() -> None:
    """
    A response may hold a fresh token, and a `repr` ends in logs.
    """
    response = {"createApiTokenApiResponse": {"secret": "hunter2-hunter2"}}

    result = Result(request_id="r-1", outcome=Outcome.SUCCEEDED, response=response)

    assert "hunter2" not in repr(result)
    assert "hunter2" not in repr(StatusReply("S", response))
    assert result.response is response


def test_values_are_frozen_hashable_and_pickle() -> None:
    """
    Results are shared among tasks and processes, and users collect them in sets.
    """
    result = Result(request_id="r-1", outcome=Outcome.SUCCEEDED, response={"a": [1]}, polls=2)
    reply = StatusReply("S", {"a": [1]})

    for value in (result, reply, Request("r-1", label="x")):
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - made in this test
        assert copy.deepcopy(value) == value
        assert len({value, copy.copy(value)}) == 1
    with pytest.raises(FrozenInstanceError):
        result.polls = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "statement",
    ["RUN JOB 'é\u200b😀'", " \tRUN JOB a;\n", "-- a\r\nRUN JOB a", "SET x = '\x01'"],
)
def test_a_statement_is_taken_as_it_is(statement: str) -> None:
    """
    It is sent as it was written, so it is not cleaned either.
    """
    assert check_statement(statement) is statement


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (None, "a statement is a str, not NoneType"),
        (b"RUN JOB a", "a statement is a str, not bytes"),
        ("", "cannot be empty"),
        (" ;\n; ", "cannot be empty"),
        ("RUN JOB '\udce9'", r"bytes that are not Unicode text in it \(character 10\)"),
        ("R\0U\0N\0", r"a NUL character in it \(character 2\)"),
        ("\ufeffRUN JOB a", r"cannot begin with an invisible character \(U\+FEFF\)"),
        ("RUN JOB a;\u200b", r"cannot end with an invisible character \(U\+200B\)"),
        ("RUN JOB a\n\x1a", r"cannot end with an invisible character \(U\+001A\)"),
        ("\u200b", r"invisible character \(U\+200B\)"),
    ],
)
def test_what_cannot_be_sql_is_no_statement(statement: object, why: str) -> None:
    """
    Bytes in another encoding and what is left of files would be sent, and nobody sees them.
    """
    with pytest.raises(InvalidRequestError, match=why):
        check_statement(statement)
