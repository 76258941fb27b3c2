"""
Tells what is visibly not one request ID, and where it probably comes from.

IDs are opaque, and the server knows which there are.  But to ask it about a border of a table
costs half a minute and ends NOT_FOUND, and the request that was meant is not tracked.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["looks_like_header", "why_not_one_id"]

_ORDINARY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:~+-]*[A-Za-z0-9])?")
# What programs write where there is no value.
_NO_VALUE = frozenset(
    {
        *("null", "nil", "none", "nan", "nat", "na", "n/a", "undefined", "\\n"),
        *("<na>", "<null>", "[null]", "(null)", "empty", "missing"),
    }
)
_HEADERS = frozenset({"id", "request", "requestid", "request id", "request-id", "uuid"})
_QUOTES = "\"'`"
_ROWS = re.compile(r"\(\d+ rows?\)")
_DELIMITERS = ",;|"


def why_not_one_id(text: str, *, exact: bool = True) -> str | None:
    """
    Say why *text* cannot be meant as one request ID; `None` if it can.

    Args:
        text: What is written where an ID should be.

        exact: Whether it is certain where it begins and ends, as in JSON, in a cell and for an
            argument: then it may have spaces and commas in it.  In a list it may not.
    """
    if text.casefold() in _NO_VALUE:
        return "that is written where there is no value: find out why there was no request ID"
    if not text or _ORDINARY.fullmatch(text):
        return None
    return _why_none(text) or (None if exact else _why_not_one(text))


def _why_none(text: str) -> str | None:
    for character in text:
        if unicodedata.category(character) == "Cf":
            return f"it has an invisible character in it (U+{ord(character):04X}): remove it"
    if not any(character.isalnum() for character in text):
        return "that is no ID but perhaps the border of a table; psql prints none with -At"
    if text[0] in _QUOTES or text[-1] in _QUOTES:
        return (
            "the quotes are not part of an ID: jq leaves them out with -r, and a CSV file needs a"
            " header, such as request_id,label"
        )
    if _ROWS.fullmatch(text):
        return "that is the last line of a table; psql prints none with -At"
    return None


def _why_not_one(text: str) -> str | None:
    if len(text.split()) > 1:
        return (
            "that is more than one ID, or an ID and a label: write one ID a line, and a label"
            " after a tab"
        )
    if any(delimiter in text for delimiter in _DELIMITERS):
        return (
            "that is more than one ID, or a row of a table: write one ID a line, or put a header"
            " before the table, such as request_id,label"
        )
    return None


def looks_like_header(text: str) -> bool:
    """Whether a list begins with what is no ID but the name of a column."""
    return text.strip().casefold() in _HEADERS
