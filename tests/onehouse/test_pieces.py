"""
A large body is parsed a piece at a time, into exactly what it is as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from onehouse_tracker.onehouse._http import pieces
from onehouse_tracker.onehouse._http.pieces import parse_in_pieces
from onehouse_tracker.testing.listings import Listing, history_of, listed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=30,
)


def _no_pause() -> None:
    """Nobody else wants to run."""


@pytest.fixture(autouse=True, scope="module")
def _small_pieces() -> Iterator[None]:
    """Pieces so small that every value is cut somewhere."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(pieces, "_PIECE", 8)
        yield


@given(VALUES, st.sampled_from([None, 1]), st.booleans())
def test_what_is_json_is_parsed_as_in_one_go(value: Any, indent: int | None, ascii: bool) -> None:  # noqa: A002, FBT001 - as json.dumps has it
    """
    Wherever the pieces begin and end, in whatever characters and blanks.
    """
    body = json.dumps(value, indent=indent, ensure_ascii=ascii).encode(errors="surrogatepass")
    try:
        whole = from_json(body, allow_inf_nan=False)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - whichever
            parse_in_pieces(body, _no_pause)
    else:
        assert parse_in_pieces(b" " + body + b"\n", _no_pause) == whole


@given(VALUES, st.integers(0, 400), st.binary(max_size=2))
def test_what_is_no_json_is_refused_or_read_alike(value: Any, at: int, damage: bytes) -> None:
    """
    It is never taken for something else: a body that is refused here is parsed as a whole.
    """
    body = json.dumps(value).encode()
    at = min(at, len(body))
    body = body[:at] + damage + body[at + len(damage) :]
    try:
        found = parse_in_pieces(body, _no_pause)
    except ValueError:
        return
    assert found == from_json(body, allow_inf_nan=False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[",
        b"{",
        b"[1,]",
        b'{"a":1,}',
        b"[1 2]",
        b"{1:2}",
        b'{"a" 1}',
        b"[] []",
        b"[NaN]",
        b"[Infinity]",
        b'["\xff"]',
        b'["\\ud800"]',
        b'["' + b"x" * 50 + b"\n" + b'"]',
        b"[" * 1_000 + b"]" * 1_000,
        b"[" * 100_000,
        b'[1, {"a": ' * 150 + b"1" + b"}]" * 150,
        b'{"' + b"k" * 50 + b'" 1}',
        b"[" + b"x" * 50 + b"]",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_the_parser_refuses_is_refused(body: bytes) -> None:
    """
    Neither deeper nor looser than what a small body may be.
    """
    with pytest.raises(ValueError):  # noqa: PT011 - whichever
        from_json(body, allow_inf_nan=False)
    with pytest.raises(ValueError):  # noqa: PT011 - whichever
        parse_in_pieces(body, _no_pause)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": [2, 3, 4, 5, 6, 7, 8, 9], "a": {"b": "ccccccccccccccc"}}',
        b'["' + b"x" * 50 + b'", 1.5e10, -12345678901234567890, true]',
        b"[" * 190 + b"]" * 190,
        '{"ключ-ключ-ключ": "значение", "\U0001f600\U0001f600": ["é", "\\u00e9"]}'.encode(),
        b"[[],{},[[],{}],[]]",
        b"12345678901",
        b'"a long text of its own"',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_odd_and_good_is_parsed_alike(body: bytes) -> None:
    """
    Keys that come twice, large scalars, depth, wide characters, and what is no container.
    """
    assert parse_in_pieces(body, _no_pause) == from_json(body, allow_inf_nan=False)
    assert parse_in_pieces(bytearray(body), _no_pause) == from_json(body, allow_inf_nan=False)


@pytest.mark.parametrize("shape", ["nested", "flat", "table", "cells", "keyed"])
def test_no_step_takes_long(shape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Between two steps the event loop has its turn: none is larger than a piece, in any shape.
    """
    sizes: list[int] = []

    def noted(content: bytes, **settings: Any) -> Any:
        sizes.append(len(content))
        return from_json(content, **settings)

    monkeypatch.setattr(pieces, "_PIECE", 4096)
    monkeypatch.setattr(pieces, "from_json", noted)
    listing = listed(Listing(shape=shape), "job", history_of("job", 1_000))
    body = json.dumps({"apiStatus": "x", "apiResponse": listing}).encode()
    pauses: list[None] = []
    assert parse_in_pieces(body, lambda: pauses.append(None)) == json.loads(body)
    assert len(pauses) >= len(body) // 4096
    assert len(body) > 20 * 4096
    assert max(sizes) < 4096 + 20
    assert sum(sizes) < 1.1 * len(body)
