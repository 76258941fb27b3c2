"""
What the command writes, it reads; and what is visibly not one request ID, it refuses at once.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.cli._formats import csv_lines
from onehouse_tracker.cli._options import Input
from onehouse_tracker.cli._request_file import RequestFile, list_line, request_of
from onehouse_tracker.cli._terminal import clean
from onehouse_tracker.models import Request
from onehouse_tracker.testing import faults
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from onehouse_tracker.testing.statements import Kind
from tests.cli.harness import run, start

FAST = ("--limit", "1000")


def read(content: bytes, name: str = "ids") -> list[Request]:
    """Read *content* as a file of this name."""
    records = RequestFile(name, Input())
    found = [request for line in content.split(b"\n") for request in records.line(line)]
    return [*found, *records.end()]


@given(label=st.text(st.sampled_from("'=+-@ a\"\n,é") | st.characters(exclude_categories=["Cs"])))
@example("'=x")
@example("'' =x")
def test_every_label_comes_back_from_csv(label: str) -> None:
    """
    The guard against formulas is taken away where it was put, and nowhere else.
    """
    text = "\n".join(csv_lines(["request_id", "label"], [{"request_id": "a", "label": label}]))
    (request,) = read(text.encode(), "results.csv")

    assert (request.label or "") == clean(label).strip()


@given(st.text(st.sampled_from("'=+-@ a\";\n,é"), max_size=12))
def test_no_reader_of_csv_finds_a_formula(label: str) -> None:
    """
    Where a comma is for decimals, a spreadsheet splits at semicolons.
    """
    item = {"request_id": "a", "label": label, "response": {"message": label}}
    _, line = csv_lines(item, [item])

    for delimiter in ",;":
        cells = next(csv.reader([line], delimiter=delimiter))
        assert [cell for cell in cells if cell.lstrip(' "').startswith(tuple("=+-@"))] == []
    *_, response = next(csv.reader([line]))
    assert json.loads(response) == {"message": label}


IDS = st.text(
    st.sampled_from("ab#{[\"',;|=-. /")
    | st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]),
    min_size=1,
    max_size=6,
).filter(lambda text: text == text.strip())
LABELS = st.none() | st.text(
    st.sampled_from("a \t\n\r\u2028\u202e\ufeff") | st.characters(exclude_categories=["Cs"]),
    max_size=4,
)


@given(st.sampled_from(["#hash", "request_id", "x,request_id", "{}", "[1]", "id"]) | IDS, LABELS)
def test_what_is_printed_as_a_list_is_read_back(request_id: str, label: str | None) -> None:
    """
    As it was, or refused by its line where it looks like a mistake: never as another ID, and never
    as none.  No label steers the terminal, and none becomes a line of its own.
    """
    request = Request(request_id, label=label)
    line = list_line(request)

    assert line.replace("\t", "").isprintable()
    try:
        (again,) = read(f"{line}\n".encode())
    except CommandError as error:
        assert "ids, line 1: " in str(error)  # noqa: PT017 - it need not be raised
        return
    assert (again.request_id, again.label or "") == (request_id, (label or "").strip())


@pytest.mark.parametrize("odd", ["#hash", "request_id", "[1]", "a b"])
async def test_an_odd_id_is_submitted_and_followed(odd: str, tmp_path: Path) -> None:
    """
    A list that takes it for a comment would end well, and nobody would know how it ended.
    """
    project = SimulatedProject()
    project.add(odd, 0)
    project.script_next([faults.body(json.dumps({"requestId": odd}).encode())])
    ids = tmp_path / "ids"
    async with SimulatorServer(project) as server:
        submitted = await run("submit", "SHOW A", *FAST, variables=server.environment())
        ids.write_text(submitted.out)
        waited = await run(
            *("wait", "--from", str(ids), "-o", "jsonl", *FAST), variables=server.environment()
        )

    assert (submitted.code, waited.code) == (0, 0)
    assert [item["request_id"] for item in waited.objects()] == [odd]


async def test_an_id_that_nobody_could_read_is_none() -> None:
    """
    It turns the terminal's text around, so it is not printed; and the label, which is the user's
    own, writes no line that looks like one of ours.
    """
    project = SimulatedProject()
    project.script_next([faults.body('{"requestId": "a\u202eb"}'.encode())])
    async with SimulatorServer(project) as server:
        ended = await run(
            *("submit", "SHOW A", "--label", "x\nerror: forged\u202e", *FAST),
            variables=server.environment(),
        )

    assert ended.code == 1
    assert ended.out == ""
    assert "no usable request ID" in ended.err
    assert "\nerror: forged" not in ended.err
    assert "\u202e" not in ended.err


async def test_a_csv_file_of_results_is_read_back(tmp_path: Path) -> None:
    """
    Whatever the size of an answer, and whatever the labels begin with.
    """
    project = SimulatedProject()
    project.add("big", 0, response={"rows": ["é" * 1000] * 700})
    project.add("plain", 0)
    ids = tmp_path / "ids.jsonl"
    ids.write_text(
        '{"request_id": "big", "label": "\'=x"}\n{"request_id": "plain", "label": "=x"}\n'
    )
    results = tmp_path / "results.csv"
    async with SimulatorServer(project) as server:
        first = await run(
            *("wait", "--from", str(ids), "--output", "csv", *FAST),
            variables=server.environment(),
        )
        results.write_text(first.out, newline="")
        second = await run(
            *("wait", "--from", str(results), "--output", "jsonl", *FAST),
            variables=server.environment(),
        )

    assert len(first.out) > 700_000
    assert (second.code, second.err) == (0, "2 succeeded\n")
    labels = {item["request_id"]: item["label"] for item in second.objects()}
    assert labels == {"big": "'=x", "plain": "=x"}


LATIN: Mapping[str, str] = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}


@pytest.mark.parametrize(("output", "label"), [("text", "prüfen ß"), ("csv", "prüfen\nß")])
async def test_what_is_written_to_a_file_is_utf_8(output: str, label: str, tmp_path: Path) -> None:
    """
    Whatever the locale: `--from` reads UTF-8 only, and files travel between machines.
    """
    printed = tmp_path / f"ids.{'csv' if output == 'csv' else 'txt'}"
    kinds = [Kind(label="", duration=0)]
    async with SimulatorServer(SimulatedProject(kinds=kinds)) as server:
        variables = {**server.environment(), **LATIN}
        with printed.open("wb") as file:
            process = await start(
                ["submit", "SHOW A", "--label", label, "--output", output, *FAST],
                variables,
                stdout=file,
            )
            await process.communicate()
        waited = await run(
            "wait", "--from", str(printed), "-o", "jsonl", *FAST, variables=variables
        )

    assert process.returncode == 0
    assert "prüfen ß" in printed.read_text("utf-8")
    assert [item["label"] for item in waited.objects()] == ["prüfen ß"]


async def test_a_terminal_gets_what_its_locale_has() -> None:
    """
    UTF-8 on a terminal that shows something else would be unreadable.
    """
    ours, its = os.openpty()
    try:
        async with SimulatorServer(SimulatedProject()) as server:
            process = await start(
                ["submit", "SHOW A", "--label", "ü", *FAST],
                {**server.environment(), **LATIN},
                stdout=its,
                stderr=its,
            )
            await process.communicate()
        assert process.returncode == 0
        assert b"\xfc" in os.read(ours, 4096).splitlines()[0]
    finally:
        os.close(ours)
        os.close(its)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('"6f1c2a-9b07"', "jq leaves them out with -r"),
        ('"6f1c2a","RUN JOB"', "a CSV file needs a header"),
        ("`6f1c2a`", "the quotes are not part of an ID"),
        ("NULL", "there is no value"),
        ("null", "there is no value"),
        ("None", "there is no value"),
        (r"\N", "there is no value"),
        ("------------", "psql prints none with -At"),
        ("-----+-----", "psql prints none with -At"),
        ("(2 rows)", "psql prints none with -At"),
        ("6f1c2a 9b07de", "more than one ID"),
        ("6f1c2a  RUN JOB\tx", "a label after a tab"),
        ("6f1c2a,RUN JOB", "more than one ID, or an ID and a label"),
        ("6f1c2a,9b07de", "a row of a table"),
        ("6f1c2a;x", "a row of a table"),
        ("6f1c2a|x", "a row of a table"),
        ("\u200b6f1c2a", r"an invisible character in it \(U\+200B\)"),
    ],
)
def test_what_is_visibly_not_one_id_is_refused(line: str, why: str) -> None:
    """
    It costs half a minute to learn it from the server, and the request that was meant is lost.
    """
    with pytest.raises(CommandError, match=rf"^ids, line 2: .*{why}"):
        read(f"first\n{line}\n".encode())


@pytest.mark.parametrize("text", ["'6f1c2a'", "NULL", "-----", "(2 rows)", "\ufeff6f1c2a"])
def test_an_argument_or_cell_that_is_not_an_id_is_refused(text: str) -> None:
    """
    A variable of a shell may be empty in many ways, and a border has as many cells as it wants.
    """
    with pytest.raises(CommandError, match=r"^argument: "):
        request_of(text, "argument")
    with pytest.raises(CommandError, match=r"^ids, line 2: "):
        read(f"label|request_id\n|{text}".encode())


@pytest.mark.parametrize("odd", ["a b", "a,b", "a;b|c"])
async def test_an_odd_id_goes_through_all_that_is_printed(odd: str, tmp_path: Path) -> None:
    """
    IDs are opaque: one that looks like two can be named, and every output names it so.
    """
    project = SimulatedProject()
    project.add(odd, 1e6)
    project.add("x", 1e6)
    given = f'{{"request_id": "{odd}", "label": "A"}}\n{{"request_id": "x", "label": "B"}}'
    table = tmp_path / "results.csv"
    async with SimulatorServer(project) as server:
        first = await run(
            *("wait", "--from", "-", "--timeout", "1", "-o", "csv", *FAST),
            variables=server.environment(),
            given=given,
        )
        table.write_text(first.out, newline="")
        again = await run(
            *("wait", "--from", str(table), "--timeout", "0", "-o", "jsonl", *FAST),
            variables=server.environment(),
        )

    assert (first.code, again.code) == (124, 124)
    assert [item["request_id"] for item in again.objects()] == [odd, "x"]
    printed = first.err.splitlines()[-1].removeprefix("continue with: ").partition(" | oneh")[0]
    shell = await asyncio.create_subprocess_shell(printed, stdout=asyncio.subprocess.PIPE)
    lines, _ = await shell.communicate()
    assert read(lines) == [Request(odd, label="A"), Request("x", label="B")]


def test_a_table_with_a_border_is_refused_by_its_line() -> None:
    """
    As psql prints it: with one column, the border looks like an ID.
    """
    with pytest.raises(CommandError, match=r"^ids, line 2: '------------': .*border of a table"):
        read(b" request_id \n------------\n a\n(1 row)\n")
    with pytest.raises(CommandError, match=r"^ids, line 2: '\(1 row\)': "):
        read(b"request_id\n(1 row)\n")


@pytest.mark.parametrize(
    "content",
    ["7\n", "6f1c2a-9b07.x:y_z\n", "a/b%20c\n", "é\n", "nullable\n", '{"request_id":"a b"}'],
)
def test_an_id_that_may_be_one_is_asked_about(content: str) -> None:
    """
    IDs are opaque: only the server knows which there are.
    """
    assert len(read(content.encode())) == 1


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("ids.txt", b"abc\nNULL\n", "line 2: 'NULL': that is written where there is no value"),
        (
            "ids.txt",
            b"id\nabc\n",
            "line 1: 'id' looks like the header of a table: name the column",
        ),
        ("ids.txt", b"abc,RUN JOB\n", "line 1: 'abc,RUN JOB': that is more than one ID"),
        ("ids.csv", b"abc,RUN JOB\n", "line 1: no column 'request_id'; there are 'abc, RUN JOB'."),
        ("ids.jsonl", b'{"request_id": "null"}\n', "line 1: 'null': that is written where"),
    ],
)
async def test_the_command_names_the_line_and_the_cause(
    name: str, content: bytes, told: str, tmp_path: Path
) -> None:
    """
    Before anything is asked.
    """
    ids = tmp_path / name
    ids.write_bytes(content)
    async with SimulatorServer() as server:
        ended = await run("wait", "--from", str(ids), variables=server.environment())

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {ids}, {told}")
    assert server.seen == []
