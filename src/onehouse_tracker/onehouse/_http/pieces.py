"""
Parses large JSON a piece at a time.

A parser in C keeps all other threads waiting until it returns, the event loop's too: a tenth of
a second for some megabytes.  Between two pieces they get their turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pydantic_core import from_json

__all__ = ["parse_in_pieces"]

_PIECE: Final = 64 * 1024
"""Characters that are parsed in one go, where no string is longer: about a millisecond."""

_BLANKS: Final = re.compile(r"[ \t\n\r]*")
_ends_at: Final = json.JSONDecoder().raw_decode
"""Only where a value ends counts: what it is, says the parser of all other bodies."""


def parse_in_pieces(body: bytes | bytearray, pause: Callable[[], object]) -> Any:
    """
    Parse *body*: what ``from_json`` makes of it, but in many short steps.

    Args:
        body: JSON.

        pause: Called after each step.

    Raises:
        ValueError: It is not JSON, or not as far as can be told a piece at a time.
    """
    # One character for each byte: it is no larger, and finds the same ends.
    given = _Given(body, body.decode("latin-1"), pause)
    try:
        value, end = _value(given, _skip(given.text, 0), 0)
    except (IndexError, RecursionError) as error:
        raise ValueError("cut off, or nested too deeply") from error
    if _skip(given.text, end) < len(body):
        raise ValueError("something follows")
    return value


class _Given(NamedTuple):
    """What is parsed: its structure is looked for in the text, what it says is in the body."""

    body: bytes | bytearray
    text: str
    pause: Callable[[], object]


class _Batch(NamedTuple):
    """Members of a container that are whole within one piece."""

    end: int
    """Where the last of them ends; 0 if none is whole."""

    after: int
    """Where the next one begins, or what follows the container."""

    is_last: bool
    """Whether the container ends behind them."""


def _skip(text: str, at: int) -> int:
    """Where the blanks at *at* end."""
    found = _BLANKS.match(text, at)
    return at if found is None else found.end()


def _value(given: _Given, at: int, depth: int) -> tuple[Any, int]:
    """The value at *at*, and where it ends."""
    if given.text[at] in "[{":
        return _container(given, at, depth)
    _, end = _ends_at(given.text, at)
    return from_json(given.body[at:end], allow_inf_nan=False), end


def _container(given: _Given, at: int, depth: int) -> tuple[Any, int]:
    text = given.text
    found: Any = [] if text[at] == "[" else {}
    opening, closing = (b"[", "]") if text[at] == "[" else (b"{", "}")
    at = _skip(text, at + 1)
    if text[at] == closing:
        return found, at + 1
    while True:
        batch = _whole(text[at : at + _PIECE], closing)
        if batch.end:
            # As deep as it is: the parser's own bound must hold for the whole.
            before, after = b"[" * depth + opening, closing.encode() + b"]" * depth
            members = given.body[at : at + batch.end]
            _add(found, _unwrapped(before + members + after, depth))
            given.pause()
            at += batch.after
            if batch.is_last:
                return found, at
            at = _skip(text, at)  # there may be blanks behind the piece
            continue
        at = _one_more(given, at, found, depth)
        if text[at] == closing:
            return found, at + 1
        at = _behind(text, at, ",")


def _one_more(given: _Given, at: int, found: Any, depth: int) -> int:
    """Add a member that is larger than a piece; return where it ends, behind blanks."""
    text = given.text
    if isinstance(found, list):
        value, end = _value(given, at, depth + 1)
        found.append(value)
        return _skip(text, end)
    begins = _behind_key(text, at)
    key = from_json(given.body[at : _ends_at(text, at)[1]])
    found[key], end = _value(given, begins, depth + 1)
    return _skip(text, end)


def _whole(piece: str, closing: str) -> _Batch:
    """The members at the beginning of *piece* that are whole; it begins with one."""
    end = begins = 0
    while True:
        try:
            at = begins if closing == "]" else _behind_key(piece, begins)
            _, ended = _ends_at(piece, at)
            at = _skip(piece, ended)
            if piece[at] == closing:
                return _Batch(ended, at + 1, is_last=True)
            end, begins = ended, _behind(piece, at, ",")
        except (IndexError, ValueError):
            # It ends behind the piece, or is no JSON: parsed alone, it tells.
            return _Batch(end, begins, is_last=False)


def _behind_key(text: str, at: int) -> int:
    """Where the value begins whose key is at *at*."""
    if text[at] != '"':
        raise ValueError("no key")
    return _behind(text, _skip(text, _ends_at(text, at)[1]), ":")


def _behind(text: str, at: int, sign: str) -> int:
    """Where the blanks after *sign* end, which is at *at*."""
    if text[at] != sign:
        raise ValueError(f"no {sign}")
    return _skip(text, at + 1)


def _unwrapped(content: bytes, depth: int) -> Any:
    value = from_json(content, allow_inf_nan=False)
    for _ in range(depth):
        value = value[0]
    return value


def _add(found: Any, more: Any) -> None:
    if isinstance(found, list):
        found += more
    else:
        found.update(more)
