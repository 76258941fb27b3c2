"""
Each output format has one writer, which every command uses.
"""

from __future__ import annotations

import csv
import io
import json

import pytest

from onehouse_tracker.cli._options import Output
from onehouse_tracker.cli._output import Item, open_item, request_row, result_item
from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.cli._writers import writer_of
from onehouse_tracker.models import Outcome, Request, Result

RESULT = Result(request_id="a", outcome=Outcome.FAILED, label="RUN JOB", polls=3, waited=61.0)
ITEMS = [
    result_item(RESULT),
    open_item(Request("b")),
    Item({"request_id": "c"}, request_row(Request("c"))),
    Item({"sha256": "f" * 64}, in_csv=False),
]


def table(text: str) -> list[str]:
    """What people read, line by line."""
    return text.splitlines()


def cells(text: str) -> list[str]:
    """The request IDs of a CSV file."""
    return [row["request_id"] for row in csv.DictReader(io.StringIO(text), strict=True)]


@pytest.mark.parametrize("output", Output)
async def test_every_format_prints_what_it_was_given(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    One that printed nothing would exit with 0 all the same.
    """
    writer = writer_of(Terminal(), output)
    printed = [await writer.line(item) for item in ITEMS]
    before = capsys.readouterr().out
    await writer.finish()
    after = capsys.readouterr().out

    assert printed == [writer.at_once] * len(ITEMS)
    assert (before != "") is writer.at_once
    match output:
        case Output.TEXT:
            assert table(after) == [
                "REQUEST  OUTCOME  LABEL    POLLS  WAITED",
                "a        FAILED   RUN JOB  3      1 min 01 s",
                "c        PENDING",
            ]
        case Output.JSONL:
            assert [json.loads(line) for line in table(before)] == [item.data for item in ITEMS]
            assert after == ""
        case Output.JSON:
            assert json.loads(after) == [item.data for item in ITEMS]
        case Output.CSV:
            assert cells(after) == ["a", "b", "c"]


@pytest.mark.parametrize("output", Output)
async def test_every_format_can_be_empty(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A program that parses it expects a value, whatever was found.
    """
    await writer_of(Terminal(), output, ["request_id"]).finish()

    printed = {Output.TEXT: "", Output.JSONL: "", Output.JSON: "[]\n", Output.CSV: "request_id\n"}
    assert capsys.readouterr().out == printed[output]
