"""
Request IDs out of lists, tables and JSON: what is read, and what is refused with its line.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.cli._options import Input
from onehouse_tracker.cli._request_file import RequestFile
from onehouse_tracker.models import Request

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def read(text: str, name: str = "ids", **columns: Any) -> list[Request]:
    """Read *text* as a file called *name*."""
    records = RequestFile(name, Input(**columns))
    found = [request for line in text.encode().split(b"\n") for request in records.line(line)]
    return [*found, *records.end()]


A, B = Request("a", label="RUN JOB"), Request("b")


@pytest.mark.parametrize(
    "text",
    [
        "a\tRUN JOB\nb\n",
        "\ufeff# from the nightly run\n\n a \tRUN JOB\r\nb\t\r\n",
        '{"request_id": "a", "label": "RUN JOB", "outcome": null}\n\n{"request_id": "b"}',
        'a\tRUN JOB\n{"request_id": "b", "label": null}',
        '[{"request_id": "a", "label": "RUN JOB"},\n\n {"request_id": "b"}]\n',
        "request_id,label\na,RUN JOB\nb,\n",
        "\ufeffn;label;request_id\r\n1;RUN JOB; a \r\n\r\n2;;b\r\n",
        'label\trequest_id\tnote\n"RUN JOB"\ta\t"two\nlines, ""quoted"""\n\tb\t\n',
        "# exported\nrequest_id|label\na|RUN JOB\nb|\n",
    ],
)
def test_the_format_is_told_from_the_first_line(text: str) -> None:
    """
    Nobody should have to say what can be seen; line ends and marks of other systems included.
    """
    assert read(text) == [A, B]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("runs.CSV", 'id,kind\n"a",RUN JOB\n'),
        ("runs.tsv", "kind\tid\nRUN JOB\ta\n"),
        ("runs.jsonl", '{"id": "a", "kind": "RUN JOB"}\n'),
        ("runs", "x,id,kind\n,a,RUN JOB\n"),
    ],
)
def test_other_columns_are_named(name: str, text: str) -> None:
    """
    Exports of a scheduler or a warehouse call their columns what they like.
    """
    assert read(text, name, field="id", label_field="kind") == [A]


def test_the_time_of_submission_comes_along() -> None:
    """
    The schedule asks sooner about what is old.
    """
    found = [
        *read("request_id,submitted_at\na,2026-01-31T12:00:00Z\n"),
        *read('{"request_id": "a", "submitted_at": "2026-01-31T13:00:00+01:00"}'),
        *read("request_id,when\na,2026-01-31 12:00Z\n", submitted_field="when"),
    ]

    assert found == [Request("a", submitted_at=NOON)] * 3
    # A column of this name that holds something else is no obstacle.
    assert read("request_id,submitted_at\na,noon\n", submitted_field="") == [Request("a")]


def test_json_says_where_an_id_ends() -> None:
    """
    IDs are opaque: one that looks like two can be given there.
    """
    assert read('{"request_id": "a b,c"}') == [Request("a b,c")]


@pytest.mark.parametrize(
    ("text", "columns", "complaint"),
    [
        ("request_id\na\n\nb,c\n", {}, "ids, line 4: 2 cells, the header has 1"),
        ("request_id,label\n,x\n", {}, "ids, line 2: no request ID in 'request_id'"),
        ('request_id,label\na,"x\n\nb,\n', {}, "ids, line 2: a quote is not closed"),
        ('request_id\n"a\nb"c\n', {}, "ids, line 2: "),
        ("id,label\na,b\n", {"field": "x"}, "ids, line 1: no column 'x'; there are 'id, label'"),
        ("request_id,request_id\n", {}, "ids, line 1: more than one column 'request_id'"),
        ("request_id\na\n", {"label_field": "kind"}, "ids, line 2: no field 'kind'"),
        ("request_id,submitted_at\na,noon\n", {}, "ids, line 2: 'noon' is no time like 2026-"),
        ("request_id,submitted_at\na,2026-01-31\n", {}, "ids, line 2: request a: submitted_at"),
        ('{"request_id": "a"}\nb\n', {}, "ids, line 2: no JSON object on one line"),
        ('{"request_id": 7}\n', {}, "ids, line 1: a request ID is a str, not int"),
        ('{"request_id": "a", "label": ["x"]}\n', {}, "ids, line 1: 'label' is not one value"),
        ('["a"]', {}, "ids, item 1: no object with the fields of a request"),
        ('[{"request_id": "a"},\n {"request_id": ""}]', {}, "ids, item 2: no request ID in"),
        ('\n[{"request_id": "a"},\n{"request_id" "b"}]', {}, "ids, line 3: no JSON: "),
        ("a\n\nb\x07\n", {}, "ids, line 3: a request ID has no control characters"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(
    text: str, columns: dict[str, Any], complaint: str
) -> None:
    """
    Nothing is skipped: an ID that is lost is a request that nobody follows.
    """
    with pytest.raises(CommandError) as caught:
        read(text, **columns)

    assert str(caught.value).startswith(complaint)
