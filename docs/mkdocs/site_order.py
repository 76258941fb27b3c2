"""
Which page stands before which, in the navigation and in the results of a search.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["boost", "in_reading_order"]

PACKAGE = "onehouse_tracker"
BOOST = 10.0


def in_reading_order(pages: list[str], readme: str) -> list[str]:
    """
    The pages as the README names them; then the package's own, and the others by their names.
    """

    def place(page: str) -> tuple[int, bool, str]:
        named = readme.find(f"(docs/{page})")
        return (named if named >= 0 else len(readme), Path(page).stem != PACKAGE, page)

    return sorted(pages, key=place)


def boost(page: str) -> float:
    """
    How much more a page counts in the search.

    A word such as "retry" names attributes in the reference, and a subject elsewhere.
    """
    return 1.0 if page.startswith("reference/") else BOOST
