"""
The documentation as the tests see it: pages, the blocks of code in them, and their markers.

A marker is a comment on the line above a block, where readers of the built page never see it:

    <!-- not run: REASON -->     for what needs a cluster, or downloads something
    <!-- continues -->           Python that goes on where the Python before it ended
    <!-- exits: 1 -->            the exit code that the last command must have, if not 0
    <!-- background: TEXT -->    commands that go on; they are ready when they print TEXT
    <!-- output -->              text that the block before must print
    <!-- hidden                  a block inside of a comment: it runs, and is not shown

Several stand in one comment with semicolons between them.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LANGUAGES", "PAGES", "ROOT", "Block", "blocks_of", "name_of"]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]

LANGUAGES = frozenset({"python", "console", "text", "toml", "ini", "json", "sql"})
MARKERS = frozenset({"not run", "continues", "exits", "background", "output", "hidden"})

_FENCE = re.compile(r"^(?P<indent>\s*)(?P<fence>`{3,}|~{3,})(?P<language>[^\s`]*)(?P<rest>.*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_COMMENT = re.compile(r"^\s*<!--\s*(?P<markers>.*?)\s*(?P<end>-->)?\s*$")


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    title: str | None
    """A file name: the block is saved under it, where the blocks below find it."""

    markers: Mapping[str, str]

    @property
    def says_something(self) -> bool:
        """Whether it can be wrong: a drawing cannot."""
        return self.language != "text" or "output" in self.markers

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """The page as people call it."""
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


def blocks_of(page: Path) -> list[Block]:
    """
    Every block of *page*, from top to bottom.

    Raises:
        ValueError: A block does not end, or something about it is not known; the text tells
            where.
    """
    return list(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        opened = _FENCE.match(lines[number])
        number += 1
        if opened is None:
            continue
        first = number
        while number < len(lines) and lines[number].strip() != opened["fence"]:
            number += 1
        where = f"{name_of(page)}:{first}"
        if number == len(lines):
            raise ValueError(f"{where}: the block does not end")
        if opened["language"] not in LANGUAGES:
            raise ValueError(
                f"{where}: nothing knows how to check a block of {opened['language']!r};"
                f" there are {', '.join(sorted(LANGUAGES))}"
            )
        title = _TITLE.search(opened["rest"])
        yield Block(
            page=page,
            line=first,
            language=opened["language"],
            text=textwrap.dedent("\n".join(lines[first:number])) + "\n",
            title=title[1] if title else None,
            markers=_markers(lines[first - 2] if first > 1 else "", where),
        )
        number += 1


def _markers(line: str, where: str) -> dict[str, str]:
    comment = _COMMENT.match(line)
    if comment is None:
        return {}
    text = comment["markers"]
    # A reason is a sentence, which may hold a semicolon.
    parts = [text] if text.startswith("not run") else text.split(";")
    pairs = (part.partition(":") for part in parts)
    markers = {name.strip(): value.strip() for name, _, value in pairs}
    unknown = markers.keys() - MARKERS
    if unknown:
        raise ValueError(f"{where}: there is no marker {', '.join(sorted(unknown))}")
    if ("hidden" in markers) == bool(comment["end"]):
        raise ValueError(f"{where}: a block is hidden by a comment that ends below it")
    if markers.get("not run") == "":
        raise ValueError(f"{where}: say why it is not run")
    return markers
