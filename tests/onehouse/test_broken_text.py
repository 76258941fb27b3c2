"""
Replies whose text is broken, on the wire or by their author: what can be read of them is.
"""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from onehouse_tracker.cli._formats import to_json
from onehouse_tracker.errors import TransportError
from onehouse_tracker.models import StatusReply
from onehouse_tracker.onehouse._http import wire
from onehouse_tracker.onehouse._http.repair import MAX_REPAIRED, repaired
from onehouse_tracker.onehouse._http.wire import HttpReply

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b'"caf\xe9"', "caf\ufffd"),
        (b'"cut in \xe2\x82"', "cut in \ufffd"),
        (rb'"\ud800"', "\ufffd"),
        (rb'"\udc00\ud800x"', "\ufffd\ufffdx"),
        (rb'"\ud83d\ude00 \\ud800 \ud83d"', "\U0001f600 \\ud800 \ufffd"),
        (rb'"C:\data\new"', "C:\\data\new"),
        (rb'"\u12 \" \\"', '\\u12 " \\'),
        (b'"two\nlines\tand \x00"', "two\nlines\tand \0"),
        (b"1e400", "1e400"),
        (b"-1.5E+999", "-1.5E+999"),
        (b"1" + b"0" * 400 + b".0", "1" + "0" * 400 + ".0"),
        (b"1" + b"0" * 250 + b"e99", "1" + "0" * 250 + "e99"),
        (b"9" * 5_000, "9" * 5_000),
        (
            b'[1e308, "1e400", 1e400, {"1e999": -1e999}]',
            [1e308, "1e400", "1e400", {"1e999": "-1e999"}],
        ),
    ],
)
def test_broken_text_does_not_hide_the_status(written: bytes, read: object) -> None:
    """
    The server writes it again however often it is asked: the request would never end, and once
    it is the only one left, the project would be given up.
    """
    body = b'{"apiStatus": "S", "apiResponse": {"message": ' + written + b"}}"

    reply = wire.read_status(HttpReply(status=200, body=body), "r1", now=NOW)

    assert reply == StatusReply("S", {"message": read})
    assert json.loads(json.dumps(reply.response, allow_nan=False)) == reply.response


def test_large_answer_with_a_broken_byte_is_read() -> None:
    """
    In half a megabyte of log lines one is in Latin-1.
    """
    lines = b'"caf\xe9", ' + b'"ok", ' * (2 * MAX_REPAIRED // 6)
    body = b'{"apiStatus": "S", "apiResponse": {"lines": [' + lines + b"0]}}"

    response = wire.read_status(HttpReply(status=200, body=body), "r1", now=NOW).response

    assert response is not None
    assert response["lines"][:2] == ["caf\ufffd", "ok"]


def test_byte_order_mark_is_ignored() -> None:
    """
    RFC 8259 allows that, and .NET services write one.
    """
    body = b'\xef\xbb\xbf{"apiStatus": "S"}'

    assert wire.read_status(HttpReply(status=200, body=body), "r1", now=NOW).status == "S"
    with pytest.raises(TransportError, match="the body is empty"):
        wire.read_status(HttpReply(status=200, body=b"\xef\xbb\xbf"), "r1", now=NOW)


@given(st.binary(max_size=60).map(lambda data: data.replace(b"x", b'"').replace(b"y", b"\\")))
def test_mending_changes_no_json_and_ends_soon(data: bytes) -> None:
    """
    What a strict parser reads, it reads as before.
    """
    try:
        content = from_json(data, allow_inf_nan=False)
        json.dumps(content, allow_nan=False)
    except ValueError:
        repaired(data)
    else:
        assert from_json(repaired(data)) == content


@pytest.mark.parametrize("part", [b'"', b'\\"', b"\\", b'"\\', b"1e", b"9", rb'"\ud800', b'"a\\"'])
def test_mending_takes_no_longer_than_reading_twice(part: bytes) -> None:
    """
    One pass, whatever the bytes are: quadratic time would stop the event loop for hours.
    """
    began = time.thread_time()
    repaired(part * (MAX_REPAIRED // len(part)))

    assert time.thread_time() - began < 1


def test_output_is_json_whatever_a_source_answered() -> None:
    """
    A source of one's own may say infinity, and so may a journal of an earlier version.
    """
    data = {"a": [float("inf"), float("-inf"), {"b": (float("nan"), 1.5)}], "c": NOW}

    assert json.loads(to_json(data)) == {"a": [None, None, {"b": [None, 1.5]}], "c": NOW}
    assert to_json({"a": "é"}) == json.dumps({"a": "é"})
