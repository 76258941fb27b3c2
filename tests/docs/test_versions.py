"""
The table of versions says what is installed by the commands at the heads of its columns.
"""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.docs.pages import ROOT
from tests.test_pins import lines_of, pins

PAGE = (ROOT / "docs" / "reference" / "versions.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = {
    "aiohttp": "aiohttp",
    "pydantic": "pydantic",
    "typer": "typer",
    "redis-py": "redis",
    "OpenTelemetry": "opentelemetry-api",
    "Airflow": "apache-airflow",
}


def table() -> dict[str, list[str]]:
    """The cells of each row."""
    rows = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("|")]
    heads = [number for number, row in enumerate(rows) if not row[0].strip()]
    (first,) = heads
    until = first + 2 + len(PACKAGES) + 1
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows[first + 2 : until]}


def lower_bounds() -> dict[str, str]:
    """The lowest version of each package that `pyproject.toml` allows."""
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for name in extras for line in extras[name])]
    return {
        found[1]: found[2] for line in lines if (found := re.match(r"([\w-]+)>=([\d.]+)", line))
    }


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (0, "constraints.txt"),
        (3, "tests/airflow/requirements-airflow3.txt"),
        (4, "tests/airflow/requirements-airflow2.txt"),
    ],
)
def test_a_column_shows_what_is_pinned(column: int, name: str) -> None:
    """
    A figure that is copied is old after the next update.
    """
    pinned = pins(lines_of(name))

    shown = {package: table()[row][column] for row, package in PACKAGES.items()}
    assert shown == {package: pinned.get(package, "-") for package in shown}


def test_the_lowest_versions_are_those_of_the_project() -> None:
    """
    Airflow has environments of its own.
    """
    lowest = lower_bounds()

    shown = {package: table()[row][2] for row, package in PACKAGES.items()}
    assert shown == {package: lowest[package] for package in shown} | {"apache-airflow": "-"}


def test_the_classifiers_are_the_pythons_that_were_run() -> None:
    """
    Nobody should be promised a Python on which nothing was run.
    """
    promised = {
        found[1]
        for line in PROJECT["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    }
    text = PAGE.partition("## Systems")[0]
    run = set(re.findall(r"\b3\.1[0-9]\b(?!\.\d)(?!t)", text.partition("Python 3.15")[0]))

    assert PROJECT["requires-python"] == f">={min(promised)}"
    assert promised == run
