"""
The order of the pages, and which of them a search shows first.
"""

from __future__ import annotations

import pytest

from docs.mkdocs.site_order import boost, in_reading_order
from tests.docs.pages import ROOT


def test_pages_stand_in_the_order_of_the_readme() -> None:
    """
    Which has thought about what comes first; names of files have not.
    """
    pages = ["how-to/airflow.md", "how-to/new.md", "how-to/a-new-one.md", "how-to/the-command.md"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert in_reading_order(pages, readme) == [
        "how-to/the-command.md",
        "how-to/airflow.md",
        "how-to/a-new-one.md",
        "how-to/new.md",
    ]


def test_the_package_stands_before_its_modules() -> None:
    """
    What is imported first stands first in the reference.
    """
    pages = ["reference/errors.md", "reference/onehouse_tracker.md", "reference/sync.md"]

    assert in_reading_order(pages, "") == [pages[1], pages[0], pages[2]]


@pytest.mark.parametrize("page", ["index.md", "how-to/airflow.md", "explanations/the-budget.md"])
def test_a_search_shows_explanations_before_attributes(page: str) -> None:
    """
    Who searches for "retry" wants to know what is retried, not the attribute `retry_after`.
    """
    assert boost(page) > boost("reference/errors.md")
