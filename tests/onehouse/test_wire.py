"""
What the server's replies mean, tested with plain bytes and headers.
"""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
import zlib
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker.errors import (
    InvalidRequestError,
    NotFoundError,
    RejectedError,
    StatusError,
    SubmissionError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    ThrottledError,
    TransportError,
    UnauthorizedError,
)
from onehouse_tracker.models import StatusReply
from onehouse_tracker.onehouse._http import wire
from onehouse_tracker.onehouse._http.body import decode_body
from onehouse_tracker.onehouse._http.masking import Masking
from onehouse_tracker.onehouse._http.wire import HttpReply

NOW = 1_800_000_000.0
GZIPPED = gzip.compress(b"abc", mtime=0)
MOVED = {"location": "https://x.example/v1"}
DEEP = b'{"apiStatus":' * 100_000


def ok(body: object, **headers: str) -> HttpReply:
    """A reply 200 with this body: bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status=200, body=data, headers=headers)


def status_error(reply: HttpReply) -> StatusError:
    """The error that this reply to a status request means."""
    with pytest.raises(StatusError) as caught:
        wire.read_status(reply, "r1", now=NOW)
    return caught.value


def submission_error(reply: HttpReply) -> SubmissionError | StatusError:
    """The error that this reply to a submission means."""
    with pytest.raises((SubmissionError, StatusError)) as caught:
        wire.read_submission(reply, now=NOW)
    assert isinstance(caught.value, SubmissionError | StatusError)
    return caught.value


# --- paths and statements ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_id", "encoded"),
    [
        ("abc-123", "abc-123"),
        ("../../v1/resource/", "..%2F..%2Fv1%2Fresource%2F"),
        ("a?b", "a%3Fb"),
        ("a#b", "a%23b"),
        ("%2e%2e", "%252e%252e"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("a b+c", "a%20b%2Bc"),
        ("Zürich", "Z%C3%BCrich"),
    ],
)
def test_no_id_changes_the_shape_of_the_path(request_id: str, encoded: str) -> None:
    """
    An ID that could climb out of its segment would turn a question into another call.
    """
    assert wire.status_path(request_id) == f"/v1/status/{encoded}"


@given(st.text(min_size=1, max_size=256))
def test_every_id_is_one_segment_or_refused(request_id: str) -> None:
    """
    The same, for whatever anybody may come up with; and the server can read it back.
    """
    try:
        path = wire.status_path(request_id)
    except InvalidRequestError:
        return

    segment = path.removeprefix("/v1/status/")
    assert unquote(segment) == request_id
    assert not set(segment) & set("/?#\\ \r\n")
    assert segment.strip(".")


@pytest.mark.parametrize("request_id", ["a\r\nHost: evil", "a\x00", "", "x" * 257])
def test_an_id_that_cannot_travel_is_refused(request_id: str) -> None:
    """
    A line break would end the request line: such an ID never gets as far as a path.
    """
    with pytest.raises(InvalidRequestError):
        wire.status_path(request_id)


def test_a_statement_loses_its_semicolons_and_nothing_else() -> None:
    """
    The API wants one statement without a semicolon; people paste it with one.
    """
    assert wire.submission_body(" SHOW 'a;b' ; \n;") == {"statement": "SHOW 'a;b'"}


@pytest.mark.parametrize("statement", ["", " ;\n; ", None, 5])
def test_no_statement_is_refused(statement: object) -> None:
    """
    Sent all the same, it would cost a slot and come back as a parse error.
    """
    with pytest.raises(InvalidRequestError, match="a statement"):
        wire.submission_body(statement)  # type: ignore[arg-type]


# --- a good reply to a status request -----------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "response"),
    [
        ({"apiStatus": "S", "apiResponse": {"a": [1]}}, "S", {"a": [1]}),
        ({"apiStatus": "S", "more": 1}, "S", None),
        ({"apiStatus": "S", "apiResponse": "text"}, "S", None),
        ({"apiStatus": "S", "apiResponse": None}, "S", None),
        ({"apiStatus": ""}, "", None),
        ({"apiStatus": None}, None, None),
        ({"apiStatus": 5, "apiResponse": {}}, None, {}),
        ({"apiStatus": ["S"]}, None, None),
        ({"apiStatus": True}, None, None),
        ({}, None, None),
    ],
)
def test_a_status_is_read_leniently(
    body: object, status: str | None, response: dict[str, object] | None
) -> None:
    """
    Unknown fields and wrong types must not hide what can be read; a missing status is not
    made up, because proto3 leaves out zero values and PENDING would be waited for in vain.
    """
    assert wire.read_status(ok(body), "r1", now=NOW) == StatusReply(status, response)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b'{"apiStatus": "API_OP', "the body is not JSON"),
        (b'{"apiStatus": NaN}', "the body is not JSON"),
        (b"<html>", "the body is not JSON"),
        (DEEP, "the body is not JSON"),
        (b"[]", "the body is JSON, but not an object"),
        (b'"text"', "the body is JSON, but not an object"),
        (b"null", "the body is JSON, but not an object"),
    ],
)
def test_an_unreadable_body_may_pass(body: bytes, reason: str) -> None:
    """
    A truncated or foreign body says nothing about the request, so it is asked about again.
    """
    error = status_error(ok(body))

    assert type(error) is TransportError
    assert (error.reason, error.request_id, error.http_status) == (reason, "r1", 200)


def test_a_body_that_was_not_read_whole_is_not_believed() -> None:
    """
    What was read of it may parse by accident.
    """
    reply = HttpReply(status=200, body=b'{"apiStatus": "S"}', problem="reset")

    assert status_error(reply).reason == "reset"


@given(
    st.integers(0, 700),
    st.binary(max_size=50)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["apiStatus", "apiResponse", "code", "message", "requestId"]),
                inner,
            )
        ),
        max_leaves=8,
    ).map(lambda content: json.dumps(content).encode()),
    st.dictionaries(
        st.sampled_from(
            ["grpc-status", "grpc-message", "retry-after", "date", "location", "content-type"]
        ),
        st.text(max_size=30) | st.sampled_from(["8", "0", "99", "text/plain", "%GG", "http://["]),
    ),
)
def test_whatever_arrives_nothing_but_our_errors_leaves(
    status: int, body: bytes, headers: Mapping[str, str]
) -> None:
    """
    The engine knows what to do with our errors; with any other, one bad reply could end it.
    """
    reply = HttpReply(status=status, body=body, headers=headers)

    reasons = []
    try:
        assert isinstance(wire.read_status(reply, "r1", now=NOW), StatusReply)
    except StatusError as error:
        reasons.append(error.reason)
    try:
        assert wire.read_submission(reply, now=NOW)
    except (SubmissionError, ThrottledError, UnauthorizedError) as error:
        reasons.append(error.reason)

    assert all(reason.isprintable() and 0 < len(reason) <= 500 for reason in reasons)


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "for_fetch", "for_submit"),
    [
        *((status, MOVED, RejectedError, SubmissionRejectedError) for status in (301, 307, 308)),
        (303, MOVED, RejectedError, SubmissionUnknownError),
        *((status, {}, TransportError, SubmissionUnknownError) for status in (300, 301, 303, 304)),
        (304, {"location": " "}, TransportError, SubmissionUnknownError),
    ],
)
def test_redirect_is_a_refusal_only_if_it_says_where_to(
    status: int,
    headers: dict[str, str],
    for_fetch: type[Exception],
    for_submit: type[Exception],
) -> None:
    """
    With a target the base URL is wrong.  Without one, as in a 304 that nobody asked for, a cache
    or a proxy had a bad moment: the request is asked about again.
    """
    reply = HttpReply(status=status, headers=headers)

    asked, submitted = status_error(reply), submission_error(reply)

    assert (type(asked), asked.http_status, asked.request_id) == (for_fetch, status, "r1")
    assert (type(submitted), submitted.http_status) == (for_submit, status)
    assert ("a redirect to https://x.example" in asked.reason) is (headers is MOVED)


@pytest.mark.parametrize(
    ("status", "for_fetch", "for_submit"),
    [
        (400, RejectedError, SubmissionRejectedError),
        (401, UnauthorizedError, UnauthorizedError),
        (403, UnauthorizedError, UnauthorizedError),
        (404, NotFoundError, SubmissionRejectedError),
        (408, TransportError, SubmissionUnknownError),
        (409, RejectedError, SubmissionRejectedError),
        (418, RejectedError, SubmissionRejectedError),
        (425, TransportError, SubmissionRejectedError),
        (429, ThrottledError, ThrottledError),
        (499, TransportError, SubmissionUnknownError),
        (500, TransportError, SubmissionUnknownError),
        (503, TransportError, SubmissionUnknownError),
        (599, TransportError, SubmissionUnknownError),
        (101, TransportError, SubmissionUnknownError),
        (999, TransportError, SubmissionUnknownError),
    ],
)
def test_each_status_has_its_meaning(
    status: int, for_fetch: type[Exception], for_submit: type[Exception]
) -> None:
    """
    What may pass is asked about again, what is final ends one request; and a submission is
    called refused only where nothing can run.
    """
    reply = HttpReply(status=status)

    asked, submitted = status_error(reply), submission_error(reply)

    assert (type(asked), asked.http_status, asked.request_id) == (for_fetch, status, "r1")
    assert (type(submitted), submitted.http_status) == (for_submit, status)


@pytest.mark.parametrize(
    ("code", "for_fetch", "for_submit"),
    [
        (1, TransportError, SubmissionUnknownError),
        (2, TransportError, SubmissionUnknownError),
        (3, RejectedError, SubmissionRejectedError),
        (5, NotFoundError, SubmissionRejectedError),
        (7, UnauthorizedError, UnauthorizedError),
        (8, ThrottledError, ThrottledError),
        (14, TransportError, SubmissionUnknownError),
        (16, UnauthorizedError, UnauthorizedError),
    ],
)
def test_a_grpc_error_under_http_200_is_an_error(
    code: int, for_fetch: type[Exception], for_submit: type[Exception]
) -> None:
    """
    With gRPC, errors come as HTTP 200; a gateway that lets one through must not turn a
    refusal into a reply without a status.
    """
    reply = ok({}, **{"grpc-status": str(code), "grpc-message": "no%21"})

    asked, submitted = status_error(reply), submission_error(reply)

    assert (type(asked), asked.http_status, asked.grpc_status) == (for_fetch, 200, code)
    assert (type(submitted), submitted.grpc_status) == (for_submit, code)
    assert asked.reason == submitted.reason == "no!"


@pytest.mark.parametrize("value", ["0", "", "17", "x", "-1", "٣"])
def test_a_grpc_status_that_says_nothing_changes_nothing(value: str) -> None:
    """
    0 is OK, and a number that does not exist must not spoil a good reply.
    """
    reply = ok({"apiStatus": "S"}, **{"grpc-status": value})

    assert wire.read_status(reply, "r1", now=NOW).status == "S"


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ({"grpc-message": "line%201%3A %C3%A9"}, b'{"message": "other"}', "line 1: é"),
        ({"grpc-message": "  "}, b'{"message": "from the body"}', "from the body"),
        ({}, b'{"code": 3, "message": "from the body", "details": []}', "from the body"),
        ({}, b'{"message": 5}', "Bad"),
        ({}, b"", "Bad"),
        ({"content-type": "text/plain; charset=utf-8"}, b"upstream\nbusy \xff", "upstream busy �"),
        ({"content-type": "text/html"}, b"<h1>busy</h1>", "Bad"),
        ({"grpc-message": "%ff%1b[31m%0d%0aSet:%e2%80%ae x"}, b"", "� [31m Set: x"),
        ({"grpc-message": "x" * 600}, b"", "x" * 497 + "..."),
    ],
)
def test_the_reason_is_found_wherever_it_stands(
    headers: Mapping[str, str], body: bytes, reason: str
) -> None:
    """
    Bodies are often empty and the reason is in a header; it ends up in terminals and logs, so
    it is one bounded line without control codes.
    """
    reply = HttpReply(status=400, phrase="Bad", headers=headers, body=body)

    assert status_error(reply).reason == reason
    assert submission_error(reply).reason == reason


@pytest.mark.parametrize(
    ("status", "reason"), [(503, "Service Unavailable"), (599, "no reason given")]
)
def test_without_any_words_the_status_speaks(status: int, reason: str) -> None:
    """
    HTTP/2 has no phrase after the status, and gateways speak HTTP/2.
    """
    assert status_error(HttpReply(status=status)).reason == reason


@pytest.mark.parametrize(
    ("headers", "body", "number"),
    [
        ({"grpc-status": "5"}, b'{"code": 3}', 5),
        ({}, b'{"code": 3}', 3),
        ({"grpc-status": "x"}, b'{"code": 3}', 3),
        ({}, b'{"code": 404}', None),
        ({}, b'{"code": "3"}', None),
        ({}, b"", None),
    ],
)
def test_the_grpc_number_comes_from_header_or_body(
    headers: Mapping[str, str], body: bytes, number: int | None
) -> None:
    """
    Support asks for it, and either place may be empty.
    """
    assert status_error(HttpReply(status=400, headers=headers, body=body)).grpc_status == number


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("https://login.example/x?token=s3cret", "a redirect to https://login.example, not"),
        ("/elsewhere?token=s3cret", "a redirect to another path, not"),
        ("http://[", "a redirect to an unreadable place, not"),
    ],
)
def test_a_redirect_names_its_target_and_no_token(location: str, named: str) -> None:
    """
    Where it leads explains the mistake; the rest of the URL may be a secret of somebody.
    """
    error = status_error(HttpReply(status=302, headers={"location": location}))

    assert error.reason.startswith(named)
    assert "s3cret" not in str(error)


def test_a_secret_that_the_server_repeats_is_masked() -> None:
    """
    A server or a proxy that quotes our headers must not put them into our logs.
    """
    reply = HttpReply(
        status=401,
        headers={"grpc-message": quote("no topsecret\u00e9, short")},
        masking=Masking(["topsecret\u00e9", "short"]),
    )

    assert status_error(reply).reason == "no **********, short"


# --- Retry-After --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("1e3", None),
        ("٣", None),
        ("0", 0.0),
        ("-5", 0.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("9" * 400, 365 * 86400.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        (formatdate(NOW + 90), 90.0),
        ("Fri, 15 Jan 2027 08:00:30", 30.0),
        ("Fri, 15 Jan 2027 25:61:00 GMT", None),
        ("Fri, 31 Feb 2027 08:00:00 GMT", None),
    ],
)
def test_retry_after_in_both_forms(value: str | None, seconds: float | None) -> None:
    """
    Zero is an answer and not silence; nonsense is silence; the past is over.
    """
    assert wire.retry_after(value, now=NOW) == seconds


@given(
    st.text() | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,9} [A-Z][a-z]{2} [0-9]{1,9} [0-9:]{1,9}")
)
def test_retry_after_is_none_or_a_bounded_wait(value: str) -> None:
    """
    The limiter sleeps for this long: neither an error nor an endless pause may come of a header.
    """
    wait = wire.retry_after(value, now=NOW)

    assert wait is None or 0 <= wait <= 365 * 86400


def test_a_date_is_measured_by_the_clock_that_wrote_it() -> None:
    """
    A laptop that is an hour slow would otherwise pause for an hour more than it was told.
    """
    headers = {
        "retry-after": formatdate(NOW + 3600 + 10, usegmt=True),
        "date": formatdate(NOW + 3600, usegmt=True),
    }
    error = status_error(HttpReply(status=429, headers=headers))

    assert isinstance(error, ThrottledError)
    assert error.retry_after == 10.0


def test_a_throttled_submission_says_how_long_to_wait() -> None:
    """
    The engine treats it as it treats a throttled poll.
    """
    error = submission_error(HttpReply(status=429, headers={"retry-after": "3"}))

    assert isinstance(error, ThrottledError)
    assert (error.retry_after, error.request_id) == (3.0, "")


# --- submissions --------------------------------------------------------------------------


def test_a_submission_brings_its_request_id() -> None:
    """
    The one thing that the reply is for; more fields may come with it.
    """
    assert wire.read_submission(ok({"requestId": "r9", "more": 1}), now=NOW) == "r9"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"requestId": 7}',
        b'{"requestId": ""}',
        b'{"requestId": "a\\nb"}',
    ],
)
def test_accepted_without_a_usable_id_is_unknown(body: bytes) -> None:
    """
    It runs, most likely, and cannot be followed: to call it rejected would invite a second one.
    """
    assert type(submission_error(ok(body))) is SubmissionUnknownError


# --- compressed bodies --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "encoding", "expected"),
    [
        (b"abc", "", b"abc"),
        (b"abc", "identity", b"abc"),
        (GZIPPED, " GZIP", b"abc"),
        (GZIPPED + gzip.compress(b"d", mtime=0), "gzip", b"abcd"),
        (GZIPPED + bytes(512), "gzip", b"abc"),
        (gzip.compress(b"", mtime=0) * 999 + GZIPPED, "gzip", b"abc"),
        (gzip.compress(b"", mtime=0) * 1001, "gzip", "the compressed body has too many members"),
        (GZIPPED + b"\x1f\x8bxxxxxxxx", "gzip", "the compressed body is damaged"),
        (GZIPPED + b"\x1f\x8b", "gzip", "the compressed body is cut off"),
        (gzip.compress(b"x" * 600, mtime=0) * 2, "gzip", "the body is larger than 1000 bytes"),
        (zlib.compress(b"abc"), "deflate", b"abc"),
        (zlib.compress(b"abc", wbits=-15), "deflate", b"abc"),
        (zlib.compress(b"abc", wbits=-15)[:-2], "deflate", "the compressed body is cut off"),
        (zlib.compress(b"x" * 1001, wbits=-15), "deflate", "the body is larger than 1000 bytes"),
        (zlib.compress(b"abc", wbits=-15), "gzip", "the compressed body is damaged"),
        (b"abc", "gzip", "the compressed body is damaged"),
        (GZIPPED[:-9], "gzip", "the compressed body is cut off"),
        (b"", "gzip", "the compressed body is cut off"),
        (b"abc", "br", "the body has an encoding that was not asked for"),
        (gzip.compress(b"x" * 1001, mtime=0), "gzip", "the body is larger than 1000 bytes"),
        (gzip.compress(b"x" * 1000, mtime=0), "gzip", b"x" * 1000),
    ],
)
def test_a_body_is_decompressed_within_bounds(
    data: bytes, encoding: str, expected: bytes | str
) -> None:
    """
    We ask for none of this, but a proxy may do it all the same, and a bomb must not go off.
    """
    body, problem = decode_body(data, encoding, max_body=1000)

    assert (body, problem) == ((expected, "") if isinstance(expected, bytes) else (b"", expected))


def test_large_members_are_read_one_after_the_other() -> None:
    """
    They are fed in pieces, and a member may end anywhere in one.
    """
    parts = [random.Random(n).randbytes(70_000 + n) for n in range(3)]
    data = b"".join(gzip.compress(part, mtime=0) for part in parts)

    assert decode_body(data, "gzip", max_body=2**20) == (b"".join(parts), "")


def test_a_bomb_is_not_unpacked_to_be_measured() -> None:
    """
    The bound holds for the memory, not only for the verdict.
    """
    bomb = gzip.compress(bytes(16 * 1024 * 1024))

    tracemalloc.start()
    try:
        _, problem = decode_body(bomb, "gzip", max_body=1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert problem == "the body is larger than 1000 bytes"
    assert peak < 1024 * 1024


@given(st.binary(max_size=200))
def test_decompressing_garbage_never_raises(data: bytes) -> None:
    """
    Damage is a reply that cannot be read, not the end of the engine.
    """
    body, problem = decode_body(data, "gzip", max_body=100)

    assert not (body and problem)


def test_an_answer_of_many_thousand_rows_is_read() -> None:
    """
    The bound is for bodies that grow; a history of 26,000 runs is none.
    """
    row = (
        '{"jobRunId": "%036d", "jobName": "nightly", "createdBy": "%s", "sparkJobRun":'
        ' {"status": "SPARK_JOB_RUN_STATUS_COMPLETED", "createdAt": "%s", "cluster": "c"}}'
    )
    rows = ",".join(row % (number, "x" * 34, "y" * 24) for number in range(26_000))
    body = f'{{"apiResponse": {{"runs": [{rows}]}}}}'.encode()

    assert len(body) > 6 * 2**20
    assert decode_body(body, "", max_body=8 * 1024 * 1024) == (body, "")
