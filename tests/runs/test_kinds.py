"""What job runs are: which statements start them, how they are asked about, where the ID is."""

from __future__ import annotations

from typing import Any

import pytest

from onehouse_tracker.errors import InvalidRequestError
from onehouse_tracker.run_results import JobRun, RunOutcome
from onehouse_tracker.runs._kinds import JOB_RUNS, Meaning


@pytest.mark.parametrize(
    ("statement", "job"),
    [
        ("RUN JOB nightly", "nightly"),
        ("run job nightly", "nightly"),
        ("RUN JOB `nightly load`", "nightly load"),
        ("RUN JOB 'nightly load';", "nightly load"),
        ('RUN JOB "it"', "it"),
        ("RUN JOB 'it''s'", "it's"),
        ("  -- first\n RUN /* the */ JOB\n`x`", "x"),
        ("RUN JOB a-b_c.d", "a-b_c.d"),
        ("RUN JOB`x`", "x"),
        ("CREATE AND RUN JOB `x` TYPE='JAR' PARAMETERS=('a') CLUSTER='c'", "x"),
        ("create and run job x type = 'PYTHON'", "x"),
        ("RUN JOB näme", "näme"),
        ("RUN JOBS x", None),
        ("RUN SERVICE IN TABLE `T`", None),
        ("SHOW RUNS IN JOB x", None),
        ("-- RUN JOB x", None),
        ("SELECT 'RUN JOB x'", None),
        ("CREATE JOB x", None),
        ("", None),
    ],
)
def test_name_of_the_job_is_read_from_the_statement(statement: str, job: str | None) -> None:
    """
    The answer holds the run ID only, and whoever asks about a run must name its job.
    """
    assert JOB_RUNS.starts(statement) == job


@pytest.mark.parametrize(
    "statement",
    [
        "RUN JOB",
        "RUN JOB ;",
        "RUN JOB ``",
        "RUN JOB `a``b`",
        "RUN JOB `a\nb`",
        "RUN JOB `a;b`",
        "RUN JOB ` a`",
        "RUN JOB `open",
        "RUN JOB `a`b",
        "RUN JOB (x)",
    ],
)
def test_job_that_could_not_be_followed_is_refused_before_it_is_started(statement: str) -> None:
    """
    Once it runs it is too late to learn that nobody can ask about it.
    """
    with pytest.raises(InvalidRequestError):
        JOB_RUNS.starts(statement)


def test_names_are_quoted() -> None:
    """
    A name is one name to the server, whatever is in it.
    """
    assert JOB_RUNS.show_one("it's a job", "r 1") == (
        "DESCRIBE JOB_RUN `r 1` JOB_NAME = 'it''s a job'"
    )
    assert JOB_RUNS.cancel is not None
    assert JOB_RUNS.show_many is not None
    assert JOB_RUNS.cancel("a", "r") == "CANCEL JOB_RUN `r` JOB_NAME = 'a'"
    assert JOB_RUNS.show_many("it's a job") == "SHOW RUNS IN JOB `it's a job`"


@pytest.mark.parametrize(
    ("job", "run_id"),
    [("", "r"), ("a`b", "r"), ("a;b", "r"), ("a\nb", "r"), ("a", ""), ("a", "r`"), ("a", "r\n")],
)
def test_run_that_cannot_be_named_is_refused(job: str, run_id: str) -> None:
    """
    Text that ends a quotation would become another statement.
    """
    with pytest.raises(InvalidRequestError):
        JobRun(job, run_id)


@pytest.mark.parametrize(
    ("response", "run_id"),
    [
        ({"runJobApiResponse": {"jobRunId": "r"}}, "r"),
        ({"createAndRunJobApiResponse": {"jobRunId": "r"}}, "r"),
        ({"somethingNew": {"deep": [{"jobRunId": "r"}]}}, "r"),
        ({"a": {"jobRunId": "r"}, "b": {"jobRunId": "r"}}, "r"),
        ({"a": {"jobRunId": "r"}, "b": {"jobRunId": "s"}}, None),
        ({"runJobApiResponse": {"jobRunId": ""}}, None),
        ({"runJobApiResponse": {"jobRunId": 7}}, None),
        ({"runJobApiResponse": {"jobRunId": "r`s"}}, None),
        ({"runJobApiResponse": {"id": "r"}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_run_id_is_found_in_the_response(
    response: dict[str, Any] | None, run_id: str | None
) -> None:
    """
    At the known place, or under the known key if that is clear; nothing is guessed.
    """
    assert JOB_RUNS.identity_in(response) == run_id


def test_every_word_has_a_meaning() -> None:
    """
    A word that nobody knows, and no word, are never taken for an end.
    """
    assert JOB_RUNS.meaning("SPARK_JOB_RUN_STATUS_COMPLETED") is RunOutcome.SUCCEEDED
    assert JOB_RUNS.meaning("SPARK_JOB_RUN_STATUS_CANCELED") is RunOutcome.CANCELED
    assert JOB_RUNS.meaning("SPARK_JOB_RUN_STATUS_NOT_RUN") is Meaning.NOT_YET
    for word in ("SPARK_JOB_RUN_STATUS_CANCELLED", "SPARK_JOB_RUN_STATUS_INVALID", "", None):
        assert JOB_RUNS.meaning(word) is Meaning.UNKNOWN
