"""
Pages and code are written in plain words, in American spelling, and pages name files that exist.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, name_of

TEXTS = [*PAGES, ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
PACKAGE = ROOT / "src" / "onehouse_tracker"
CODE = sorted(
    path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".mjs", ".html", ".css"}
)

PLAIN = {
    "acknowledgement": "acknowledgment",
    "all is well": "everything works",
    "ask(s|ed|ing)? about": "poll",
    "behaviour": "behavior",
    "colour": "color",
    "favour": "favor",
    "for ever": "forever",
    "goes on": "continues",
    "honour(s|ed)?": "honor",
    "in peace": "cleanly",
    "mend(s|ed|ing)?": "correct",
    "must stand": "must be",
    "of ours": "our",
    "recognis(e|es|ed|ing)": "recognize",
    "stands? in": "is in",
    "time-outs?": "timeout",
    "whoever": "say who, or 'all'",
    "whom": "say which",
}
"""What no page says, as regular expressions, and what to say for it."""

_NAMES_A_FILE = re.compile(r"`([\w./-]+\.(?:py|js|css|md|toml|txt|json|dict))`")


def _found(text: str) -> list[str]:
    """The lines of *text* that have one of the words, with the better one."""
    return [
        f"{number}: {match[0]} -> {better}"
        for number, line in enumerate(text.splitlines(), 1)
        for word, better in PLAIN.items()
        for match in re.finditer(rf"(?<![\w`/-]){word}(?!\w|\.\w)", line, re.IGNORECASE)
    ]


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_a_page_says_it_in_plain_words(page: Path) -> None:
    """
    Most readers have learned English as their second language, and all are in a hurry.
    """
    assert _found(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_code_says_it_in_plain_words(path: Path) -> None:
    """
    Docstrings, messages and comments are read by the same people.
    """
    assert _found(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    ["Whoever asks.", "what goes on", "the colour is red", "It stands in the table.", "Whom?"],
)
def test_other_words_are_found(line: str) -> None:
    """
    So that the test above can fail.
    """
    assert len(_found(f"fine\n{line}\n")) == 1


def test_the_recipes_name_files_that_exist() -> None:
    """
    Who follows a recipe must not search for the file first; files move.
    """
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = [path for path in _NAMES_A_FILE.findall(text) if "NAME" not in path]

    missing = [
        path
        for path in paths
        if not (ROOT / path).exists() and not (ROOT / "src" / "onehouse_tracker" / path).exists()
    ]

    assert missing == []
    assert len(paths) > 30
