"""
Where a file of SQL is cut, compared with a second reader on random texts.

The property: a text is cut where all readings end a statement, and what is sent is the text
between these places, byte for byte; where two readings differ, nothing is sent.

``SQL_TEXTS=200000`` asks for more texts than the default run has time for.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.cli._readings import Choice
from onehouse_tracker.cli._statements import split
from tests.cli.second_reader import CHOICES, expected, readings_of

TEXTS = int(os.environ.get("SQL_TEXTS", "20000"))

COMMON = [" ", "a", "1", "\n", ";", ";", "'", '"', "`", "'a'", '"a;"']
THEMES = [
    ["\\", "\\'", '\\"', "\\`", "\\\\"],
    ["r'", "e'", 'E"', "br'", "\\'"],
    ["/*", "*/", "/*+", "/*!", "*", "/"],
    ["--", "-- ", "--a", "-", "--\\\n", "\\\r\n"],
    ["#", "//", "/", "--"],
    ["$$", "$", "$a$", "a$$", "''"],
    ["{{", "}}", "{#", "#}", "{%", "%}"],
    ["\r", "\r\n", "\u2028", "\f", "--"],
]
PAIRS = [COMMON + one + other for one in THEMES for other in THEMES]


PIECES = 9
AT_ONCE = 10


PIECES = 9
AT_ONCE = 10


@st.composite
def texts(draw: Callable[[st.SearchStrategy[Any]], Any]) -> list[str]:
    """Some texts of pieces in which readers may differ, of one or two sorts."""
    pieces = ["", *PAIRS[draw(st.integers(0, len(PAIRS) - 1))]]
    # Drawing takes longer than all that is done with a text, and some bytes are drawn as fast as
    # a single piece.
    size = PIECES * AT_ONCE
    drawn = [pieces[byte % len(pieces)] for byte in draw(st.binary(min_size=size, max_size=size))]
    return ["".join(drawn[begin : begin + PIECES]) for begin in range(0, size, PIECES)]


def test_random_texts_are_cut_where_all_readings_agree(capsys: pytest.CaptureFixture[str]) -> None:
    """
    A wrong cut runs a statement that nobody wrote, and no list of examples is complete.
    """
    tried: Counter[str] = Counter()

    @settings(max_examples=-(-TEXTS // AT_ONCE), database=None)
    @given(texts())
    def compare(drawn: list[str]) -> None:
        for text in drawn:
            found: list[str] | None = None
            with suppress(CommandError):
                found = [statement.text for statement in split(text)]
            assert (text, found) == (text, expected(text))
            tried["texts"] += 1
            tried["cut" if found is not None else "refused"] += 1
            tried["readings"] += sum(1 for _ in readings_of(text))

    compare()

    with capsys.disabled():
        print(
            f"\n{tried['texts']} texts, {tried['readings']} readings of them:"
            f" {tried['cut']} cut, {tried['refused']} refused"
        )
    assert tried["texts"] >= TEXTS
    # Neither may be a rare exception, or there would be nothing to compare.
    assert min(tried["cut"], tried["refused"]) > TEXTS / 10


def test_the_second_reader_knows_every_choice() -> None:
    """
    A choice that only one of them knows would not be compared.
    """
    assert len(CHOICES) == len(Choice)
