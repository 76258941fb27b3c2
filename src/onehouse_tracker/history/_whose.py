"""
Whose a file is that lies where a history is to be: nothing is done to what never was a history.

Somebody may have mistyped a path, and damage must not be a reason to take their file away.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import chain, count
from pathlib import Path

from onehouse_tracker._util.own_files import create_private
from onehouse_tracker._util.posix import fcntl

__all__ = ["APPLICATION", "ForeignFileError", "alone_in", "free_name", "refuse_other_files"]

_PATIENCE, _PAUSE = 2.0, 0.005
"""Seconds to wait for another process that puts a file aside, and between two tries."""

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
    seen = path.stat()
    while seen.st_size and _application_of(path) != APPLICATION:
        # Another process may have put a damaged history aside after the first look, and what it
        # began in its place is empty at first, or was when we looked into it.
        now = path.stat()
        if os.path.samestat(now, seen) and now.st_size:
            raise ForeignFileError
        seen = now


def _application_of(path: Path) -> int | None:
    # SQLite looks first, at the file as it is: without a lock, and without writing into it what
    # a program left beside it. If we opened and closed it ourselves, all locks that this process
    # has on it would be lost; so we do only where SQLite cannot read it.
    try:
        uri = f"{path.as_uri()}?mode=ro&immutable=1"  # it may be gone, and is not made
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


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """
    Let one process at a time put files of *directory* aside, where the system can do that.

    Nobody else may stop us, so the lock of somebody who keeps it does not count.
    """
    descriptor = None
    with suppress(OSError):
        descriptor = None if fcntl is None else os.open(directory, os.O_RDONLY)
    try:
        until = time.monotonic() + _PATIENCE
        while descriptor is not None and time.monotonic() < until:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_PAUSE)
            except OSError:  # not every file system can
                break
            else:
                break
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
