"""
Figures that one page quotes from the tables of another are still those of the tables.
"""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT

EXPLANATIONS = ROOT / "docs" / "explanations"
COMPARED = (EXPLANATIONS / "compared-with-others.md").read_text(encoding="utf-8")


def _cells(page: str, row: str) -> list[str]:
    """The cells of the first row of *page* that begins with *row*."""
    text = (EXPLANATIONS / page).read_text(encoding="utf-8")
    found = re.search(rf"^\| {re.escape(row)} \|(.*)\|$", text, re.MULTILINE)
    assert found, f"{page} has no row {row!r}"
    return [cell.strip() for cell in found[1].split("|")]


@pytest.mark.parametrize(
    "row", ["ours", "round robin", "fixed 1 s", "google-api-core", "tenacity"]
)
def test_detection_delays_are_those_of_the_benchmark(row: str) -> None:
    """
    `benchmarks/detection_delay.py` writes the table; what quotes it must follow.
    """
    measured = _cells("what-is-polled-when.md", row)[1].split(" / ")

    assert _cells("compared-with-others.md", row) == measured


def test_what_is_said_about_few_requests_is_measured() -> None:
    """
    This sentence tells people when they do not need us.
    """
    in_turn, ours = (
        _cells("what-is-polled-when.md", row)[0].split(" / ")[0] for row in ("round robin", "ours")
    )

    assert f"With 50 requests round robin is as good: {in_turn} s to our {ours}." in COMPARED


def test_rates_are_those_of_the_benchmark() -> None:
    """
    `benchmarks/budget.py` writes the table of what else one could use.
    """
    sliding = {
        row: _cells("the-budget.md", row)[0].split(", ")
        for row in ("AsyncLimiter(10, 1)", "throttled-py", "pyrate-limiter", "onehouse-tracker")
    }
    refused = [
        sliding[row][1].removesuffix(" %") for row in ("AsyncLimiter(10, 1)", "throttled-py")
    ]

    assert f"had {refused[0]} and {refused[1]} % of their requests refused" in COMPARED
    assert f"`pyrate-limiter` none at {sliding['pyrate-limiter'][0]} requests a second" in COMPARED
    assert f"ours none at {sliding['onehouse-tracker'][0]}." in COMPARED
    assert sliding["pyrate-limiter"][1] == sliding["onehouse-tracker"][1] == "0.0 %"
