"""
Whose a file is that lies where a history is to be: nothing is done to what never was a history.

Somebody may have mistyped a path, and damage must not be a reason to take their file away.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import chain, count
from pathlib import Path

from onehouse_tracker._util.own_files import create_private

__all__ = ["APPLICATION", "ForeignFileError", "free_name", "refuse_other_files"]

APPLICATION = 0x0E704157
"""What SQLite calls the application ID, by which we know our files."""

_BEGINNING = b"SQLite format 3\0"
_APPLICATION_AT = 68


class ForeignFileError(OSError):
    """The file is something else, and so it stays as it is."""

    def __init__(self) -> None:
        super().__init__("it is no history, or one whose beginning is lost")


def refuse_other_files(path: Path) -> None:
    """
    Refuse what is neither a history, damaged or not, nor empty.

    Args:
        path: A regular file that is there, without a link on the way to it.

    Raises:
        OSError: It is something else (`ForeignFileError`), or cannot be read.
    """
    if path.stat().st_size and _application_of(path) != APPLICATION:
        raise ForeignFileError


def _application_of(path: Path) -> int | None:
    # SQLite looks first, at the file as it is: without a lock, and without writing into it what
    # a program left beside it. If we opened and closed it ourselves, all locks that this process
    # has on it would be lost; so we do only where SQLite cannot read it.
    try:
        uri = f"{path.as_uri()}?immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
    except sqlite3.Error:
        with path.open("rb") as file:
            header = file.read(_APPLICATION_AT + 4)
        if not header.startswith(_BEGINNING):
            return None
        return int.from_bytes(header[_APPLICATION_AT:], "big")
    return int(application)


def free_name(path: Path) -> Path:
    """
    A name for the damaged file at *path*; an empty file is made there, so nobody else takes it.

    Raises:
        OSError: It cannot be made.
    """
    endings = chain([""], (f"-{number}" for number in count(2)))
    names = (path.with_name(f"{path.name}.broken{ending}") for ending in endings)
    return next(name for name in names if create_private(name))
