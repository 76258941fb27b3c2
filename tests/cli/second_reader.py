"""
A second reader of SQL, to compare the first with: one reading at a time, character by character.

It shares no code with the command, and nothing of its method: no regular expressions that jump,
no sets of states.  What is open is a stack of the strings that close it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

__all__ = ["CHOICES", "Outcome", "expected", "read", "readings_of"]

TEMPLATES = {"{{": "}}", "{%": "%}", "{#": "#}"}
END_OF_LINE = "end of line"
END_OF_HINT = "end of hint"
ESCAPES = {"'": "single", '"': "double", "`": "backtick"}

# Each choice, and a pattern without which a text does not depend on it.
CHOICES = {
    "single": r"\\[^\w\s]",
    "double": r"\\[^\w\s]",
    "backtick": r"\\`",
    "prefix": r"(?s)[rReE]['\"`].*\\['\"`]",
    "bare": r"\\[^\w\s]",
    "nested": r"(?s)/\*.*/\*",
    "hint": r"/\*[+!]",
    "hash": "#",
    "slashes": "//",
    "minus": r"--\S",
    "dollar": r"\$\w*\$",
    "dollar in word": r"\w\$\w*\$",
    "template": r"\{[{%#]",
    "carriage return": "\r",
    "other line end": "[\v\f\x85\u2028\u2029]",
    "continued": r"\\\r?\n",
}


class Outcome(NamedTuple):
    """What one reading makes of a text."""

    cuts: tuple[int, ...]
    """Where statements end; the last one at the end of the text, unless a semicolon ends it."""

    filled: tuple[bool, ...]
    """Of each, whether there is more in it than comments."""

    closed: bool
    """Whether nothing is open at the end."""


def readings_of(text: str) -> Iterator[frozenset[str]]:
    """All readings that can differ on *text*, as the choices to which they say yes."""
    open_ones = [name for name, pattern in CHOICES.items() if re.search(pattern, text)]
    for count in range(len(open_ones) + 1):
        yield from map(frozenset, combinations(open_ones, count))


def read(text: str, yes: frozenset[str]) -> Outcome:  # noqa: C901, PLR0912, PLR0915 - as plain as can be
    """Read *text* in one way."""
    cuts: list[int] = []
    filled: list[bool] = []
    closers: list[str] = []
    escaping = False
    full = False
    at = 0
    while at < len(text):
        one, two = text[at], text[at : at + 2]
        following = text[at + 1 : at + 2]
        closer = closers[-1] if closers else END_OF_HINT
        in_code = closer == END_OF_HINT
        length = 1
        if closer in TEMPLATES.values():
            if two == closer:
                closers.pop()
                length = 2
        elif two in TEMPLATES and "template" in yes:
            full = full or (in_code and two == "{{")
            closers.append(TEMPLATES[two])
            length = 2
        elif closer == END_OF_LINE:
            if one == "\\" and text[at + 1 : at + 3].startswith(("\n", "\r\n")):
                if "continued" in yes:
                    length = 2 if following == "\n" else 3
            elif (
                one == "\n"
                or (one == "\r" and following != "\n" and "carriage return" in yes)
                or (one in "\v\f\x85\u2028\u2029" and "other line end" in yes)
            ):
                closers.pop()
        elif closer == "*/":
            hint = text[at + 2 : at + 3] in ("+", "!") and "hint" in yes
            if two == "*/":
                closers.pop()
                length = 2
            elif two == "/*" and "nested" in yes and not hint:
                closers.append("*/")
                length = 2
        elif closer in ESCAPES:
            if one == "\\" and escaping and following in ("\\", closer):
                length = 2
            elif one == closer:
                closers.pop()
        elif not in_code:  # dollars
            if text.startswith(closer, at):
                closers.pop()
                length = len(closer)
        elif one == ";":
            cuts.append(at)
            filled.append(full)
            full = False
        elif one in ESCAPES:
            full = True
            closers.append(one)
            escaping = ESCAPES[one] in yes
            prefix = re.search(r"(?:^|\W)b?([re])$", text[:at], re.IGNORECASE)
            if prefix and "prefix" in yes:
                escaping = prefix[1] in "eE" or (escaping and prefix[1] not in "rR")
        elif one == "\\":
            full = True
            length = 2 if {"bare", "single", "double"} <= yes else 1
        elif (one == "#" and "hash" in yes) or (two == "//" and "slashes" in yes):
            closers.append(END_OF_LINE)
            length = 1 if one == "#" else 2
        elif two == "--":
            if "minus" in yes and _may_be_minus(text, at):
                full = True
            else:
                closers.append(END_OF_LINE)
                length = 2
        elif two == "/*":
            if text[at + 2 : at + 3] in ("+", "!") and "hint" in yes:
                full = True
                closers.append(END_OF_HINT)
                length = 3
            else:
                closers.append("*/")
                length = 2
        elif two == "*/" and closers:
            closers.pop()
            length = 2
        elif one == "$" and (mark := _dollars(text, at, yes)):
            full = True
            closers.append(mark)
            length = len(mark)
        else:
            full = full or not one.isspace()
        at += length
    cuts.append(len(text))
    filled.append(full)

    return Outcome(tuple(cuts), tuple(filled), closers in ([], [END_OF_LINE]))


def _may_be_minus(text: str, at: int) -> bool:
    before = text[:at].rsplit("\n", maxsplit=1)[-1].rstrip("- \t")
    after = text[at + 2 : at + 3]
    return (
        bool(before) and (before[-1].isalnum() or before[-1] in "_'\"`)]") and bool(after.strip())
    )


def _dollars(text: str, at: int, yes: frozenset[str]) -> str:
    if "dollar" not in yes:
        return ""
    word_before = at > 0 and (text[at - 1].isalnum() or text[at - 1] == "_")
    if word_before and "dollar in word" not in yes:
        return ""
    name, mark, _ = text[at + 1 :].partition("$")
    if not mark or (name and not name.isidentifier()):
        return ""
    return f"${name}$"


def expected(text: str) -> list[str] | None:
    """
    The statements on which all readings agree; `None` if they do not.

    A reading in which something is open at the end counts like the others, but for the last
    semicolons, after which nothing comes: whether these are inside of something, makes no
    difference.
    """
    outcomes = {read(text, yes) for yes in readings_of(text)}
    tail = re.search(r";[\s;]*\Z", text)
    last = len(text) if tail is None else tail.start()
    agreed = {_up_to(last, outcome) for outcome in outcomes}
    if len(agreed) > 1 or not any(outcome.closed for outcome in outcomes):
        return None
    cuts, filled, _ = min(outcome for outcome in outcomes if outcome.closed)
    starts = [0, *(cut + 1 for cut in cuts)]
    return [
        text[start:cut].strip()
        for start, cut, full in zip(starts, cuts, filled, strict=False)
        if full
    ]


def _up_to(last: int, outcome: Outcome) -> Outcome:
    """*outcome* without what it makes of the last semicolons."""
    cuts = tuple(cut for cut in outcome.cuts if cut < last)
    return Outcome(cuts, outcome.filled[: len(cuts) + 1], closed=True)
