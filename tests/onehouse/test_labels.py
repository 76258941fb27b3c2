"""
One rule gives a statement its label, in the command, in Airflow and in the journal.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker.journal import Intended, JournalReader, SqliteJournal
from onehouse_tracker.onehouse.labels import label_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

LABELS = [
    ("RUN JOB nightly", "RUN JOB"),
    ("run  job nightly", "RUN JOB"),
    ("  CREATE\n  CLUSTER x TYPE = 'a'", "CREATE CLUSTER"),
    ("SHOW TABLES;", "SHOW TABLES"),
    ("SHOW TABLES--all", "SHOW TABLES"),
    ("SHOW", "SHOW"),
    ("x", "X"),
    ("-- note\n  DESCRIBE /* x */ JOB_RUN 'a'", "DESCRIBE JOB_RUN"),
    ("/* */ SHOW", "SHOW"),
    ("CREATE API TOKEN 'a'", "CREATE API TOKEN"),
    ("CREATE SERVICE PRINCIPAL a", "CREATE SERVICE PRINCIPAL"),
    ("API", "API"),
    ("SELECT 1", "SELECT"),
    ("SELECT 'secret'", "SELECT"),
    ("SELECT hunter2", "SELECT"),
    ("SET token=hunter", "SET"),
    ("SET 'hunter'", "SET"),
    ("CREATE lake.table", "CREATE"),
    ("count(*)", "COUNT"),
    ("x" * 31, None),
    ("-- password hunter2", None),
    ("/* never closed RUN JOB", None),
    ("(SELECT 1)", None),
    ("", None),
]


@pytest.mark.parametrize(("statement", "label"), LABELS)
def test_the_leading_words_are_the_label(statement: str, label: str | None) -> None:
    """
    Requests with one label take about equally long; names and values are no part of it.
    """
    assert label_of(statement) == label


def test_a_journal_names_a_statement_by_the_same_rule(tmp_path: Path) -> None:
    """
    What `journal` shows is what the schedule learned by.
    """
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    journal.open()
    journal.write(
        [Intended(str(n), statement, None, NOON) for n, (statement, _) in enumerate(LABELS)]
    )
    journal.close()

    kinds = [item.kind for item in JournalReader(path).statements()]
    assert kinds == [label for _, label in LABELS]


@given(st.text())
def test_any_text_has_a_short_label_or_none(text: str) -> None:
    """
    It goes into metrics, file names of logs and a database of others.
    """
    label = label_of(text)

    assert label is None or (label.isascii() and 0 < len(label) <= 92 and label == label.upper())
