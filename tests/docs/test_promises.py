"""
Each promise of the security page names the tests that hold it, and there are such tests.
"""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "explanations" / "security.md").read_text(encoding="utf-8")
HEAD = "| promise | shown by |"
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
_PLACE = re.compile(r"`(tests/[^`]*)`")


def _promises(page: str) -> list[tuple[str, str]]:
    """The rows of all tables of promises: what is promised, and what shows it."""
    rows, in_table = [], False
    for line in page.splitlines():
        if line == HEAD:
            in_table = True
        elif not line.startswith("|"):
            in_table = False
        elif in_table and not line.startswith("|---"):
            promise, _, shown_by = line.strip("| ").rpartition(" | ")
            rows.append((promise, shown_by))
    return rows


@cache
def _tests_of(path: str) -> frozenset[str]:
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    return frozenset(
        node.name
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def _problems(promise: str, shown_by: str) -> list[str]:
    """What is wrong with the tests that this promise names."""
    named = _TEST.findall(shown_by)
    found = [f"there is no {path}::{name}" for path, name in named if name not in _tests_of(path)]
    if not promise:
        found.append("there is no promise")
    if not named:
        found.append("it names no test as `tests/PATH.py::test_NAME`")
    whole = {f"{path}::{name}" for path, name in named}
    found += [f"{place} is no test" for place in _PLACE.findall(shown_by) if place not in whole]
    return found


@pytest.mark.parametrize(("promise", "shown_by"), _promises(PAGE))
def test_a_promise_names_tests_that_exist(promise: str, shown_by: str) -> None:
    """
    A promise that no test holds is a hope; and names change.
    """
    assert _problems(promise, shown_by) == []


def test_all_tables_of_the_page_are_looked_at() -> None:
    """
    A table with another head would escape the test above.
    """
    tables = re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)

    assert len(tables) >= 5
    assert {table.splitlines()[0] for table in tables} == {HEAD}
    assert len(_promises(PAGE)) == sum(len(table.splitlines()) - 2 for table in tables)


HERE = "`tests/docs/test_promises.py::test_all_tables_of_the_page_are_looked_at`"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (f"| We keep it. | {HERE} |", ""),
        (f"| We keep it. | {HERE}; `make fuzz` goes on |", ""),
        ("| We keep it. | `tests/docs/test_promises.py` |", "names no test"),
        ("| We keep it. | `tests/docs/` |", "names no test"),
        ("| We keep it. |  |", "names no test"),
        ("| We keep it. | `tests/docs/test_promises.py::test_gone` |", "there is no tests/docs"),
        ("| We keep it. | `tests/docs/test_gone.py::test_gone` |", "there is no tests/docs"),
        (f"| We keep it. | {HERE}, `tests/docs/test_pages.py` |", "is no test"),
        (f"|  | {HERE} |", "there is no promise"),
    ],
)
def test_a_row_without_a_test_is_found(row: str, problem: str) -> None:
    """
    So that the test above can fail.
    """
    ((promise, shown_by),) = _promises(f"{HEAD}\n|---|---|\n{row}\n")

    assert any(problem in each for each in _problems(promise, shown_by)) == bool(problem)
    assert bool(_problems(promise, shown_by)) == bool(problem)
