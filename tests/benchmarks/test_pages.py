"""
What benchmarks do with what they found.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks.pages import END, begin, tell


@pytest.mark.parametrize(
    ("missed", "check", "code"),
    [([], True, 0), (["the mean"], True, 1), (["the mean"], False, 0)],
)
def test_what_is_missed_is_named_and_decides_if_it_was_to_be_checked(
    missed: list[str], *, check: bool, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The figures come in any case.
    """
    options = argparse.Namespace(page=None, json=True, check=check)

    assert tell({"mean": 1.5, "missed": missed}, "a table", "some.py", options) == code

    out, err = capsys.readouterr()
    assert json.loads(out) == {"mean": 1.5, "missed": missed}
    assert err == "".join(f"missed: {one}\n" for one in missed)


def test_the_table_goes_into_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    And is printed for people.
    """
    page = tmp_path / "page.md"
    page.write_text(f"above\n{begin('some.py')}\n\nold\n{END}\nbelow\n")
    options = argparse.Namespace(page=page, json=False, check=True)

    assert tell({"missed": []}, "a table", "some.py", options) == 0

    assert capsys.readouterr().out == "a table\n"
    assert page.read_text() == f"above\n{begin('some.py')}\n\na table\n{END}\nbelow\n"
