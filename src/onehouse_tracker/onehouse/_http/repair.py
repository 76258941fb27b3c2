"""
Makes JSON of what is nearly JSON: a text that is broken must not hide what the server said.

A server that once wrote such a reply writes it again each time it is asked.
"""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = ["MAX_REPAIRED", "repaired"]

MAX_REPAIRED: Final = 256 * 1024
_MAX_DECODED: Final = 4 * 1024 * 1024
"""Bytes.  In a larger body only UTF-8 is repaired, and in one that is larger still not even that:
it would stop the event loop for too long."""

_MAX_DIGITS: Final = 4_000  # Python refuses longer whole numbers

# Up to the end where no quote closes a string, or each quote would be tried anew.
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\(?:.|\Z))*(?:"|\Z)|-?[0-9][0-9.eE+-]*', re.DOTALL)
_SUSPICIOUS: Final = re.compile(r"[\\\x00-\x1f]")
_PAIR: Final = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF: Final = r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
_ESCAPE: Final = r'\\u[0-9a-fA-F]{4}|\\["\\/bfnrt]'
_CHARACTER: Final = re.compile(
    rf"(?P<good>{_PAIR})|(?P<half>{_HALF})|(?P<also_good>{_ESCAPE})|\\|[\x00-\x1f]"
)


def repaired(body: bytes | bytearray) -> bytes | bytearray:
    """
    Return *body* with what no parser reads replaced.

    Bytes that are no UTF-8, and halves of surrogate pairs, become U+FFFD; control characters and
    stray backslashes in strings are escaped; a number that no float can hold becomes a string, as
    it was written.  What is cut off, or no JSON otherwise, stays so.
    """
    if len(body) > _MAX_DECODED:
        return body
    text = body.decode("utf-8", errors="replace")
    if len(body) <= MAX_REPAIRED:
        text = _TOKEN.sub(_repair_token, text)
    return text.encode()


def _repair_token(match: re.Match[str]) -> str:
    token = match.group()
    if token.startswith('"'):
        return _CHARACTER.sub(_repair_character, token) if _SUSPICIOUS.search(token) else token
    return f'"{token}"' if _is_too_large(token) else token


def _repair_character(match: re.Match[str]) -> str:
    found = match.group()
    if match["half"]:
        return "\\ufffd"
    if match["good"] or match["also_good"]:
        return found
    return f"\\u{ord(found):04x}"


def _is_too_large(token: str) -> bool:
    try:
        return len(token) > _MAX_DIGITS or math.isinf(float(token))
    except ValueError:
        return False  # it is no number either
