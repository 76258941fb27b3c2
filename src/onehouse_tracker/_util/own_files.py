"""
Which files are ours to write: what others may have put in our way is refused, not written to.

In a directory where others may write, such as /tmp, a name that we are about to use may be taken
already: by a link to another of our files, or by a file that somebody else can read.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

__all__ = [
    "create_private",
    "followed",
    "is_ours",
    "make_private",
    "refuse_foreign",
    "sync_directory",
    "write_whole",
]

_MOST_LINKS = 40
_OPEN_TO_OTHERS = 0o077


def followed(path: str | os.PathLike[str]) -> Path:
    """
    Where *path* leads, absolute, links followed: as `os.path.realpath`, but only through links
    that this user or root made.

    Raises:
        OSError: A link on the way belongs to another user, or they go round in a circle.
    """
    start = Path.cwd() / path
    here, links = Path(start.anchor), 0
    ahead = list(reversed(start.parts[1:]))
    while ahead:
        part = ahead.pop()
        there = here.parent if part == ".." else here / part
        try:
            found = there.lstat()
        except OSError:  # nothing is there, or nothing can be seen: opening it will fail
            here = there
            continue
        if not stat.S_ISLNK(found.st_mode):
            here = there
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(start))
        if not (is_ours(found) or found.st_uid == 0):
            raise _refusal(there, "is a link that belongs to another user")
        target = here / there.readlink()
        here = Path(target.anchor)
        ahead += reversed(target.parts[1:])
    return here


def refuse_foreign(path: Path) -> bool:
    """
    Refuse to write to *path* if it is there and not ours alone.

    Returns:
        Whether it is there.

    Raises:
        OSError: It is no regular file, belongs to another user, or has a second name, which
            may be that of any of our files.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory", str(path))
    if not stat.S_ISREG(found.st_mode):
        raise _refusal(path, "is no regular file")
    if not is_ours(found):
        raise _refusal(path, "belongs to another user")
    if found.st_nlink != 1:
        raise _refusal(path, "has another name too (a hard link)")
    return True


def make_private(path: Path) -> None:
    """
    Let nobody else read *path*, if it is there; it is not opened.

    To close it again would drop every lock that this process has on it.

    Raises:
        OSError: As `refuse_foreign`; or its mode cannot be changed.
    """
    if refuse_foreign(path) and path.lstat().st_mode & _OPEN_TO_OTHERS:
        with suppress(FileNotFoundError):  # SQLite removed it just now
            path.chmod(0o600)


def create_private(path: Path) -> bool:
    """
    Create an empty file that only its owner may read, unless there is one.

    An existing file is not even opened: to close it again would drop every lock that this
    process has on it.

    Raises:
        OSError: It cannot be created.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return False
    os.close(descriptor)
    return True


def write_whole(path: Path, text: str) -> None:
    """
    Write *text* to *path*, wholly or not at all.

    Our own file that was there keeps its mode and its group; any other is replaced by one
    that only its owner may read.  Nothing is ever written through a link, nor to a file that
    was there.

    Raises:
        OSError: It cannot be written.
    """
    mode, group = _access_of(path)
    # Not named after the file: a long name would become too long.
    temporary = path.with_name(f".onehouse-tracker-{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        _give_access(temporary, mode, group)
        temporary.replace(path)  # one step: nobody reads half of it
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _access_of(path: Path) -> tuple[int, int | None]:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0o600, None
    if not (stat.S_ISREG(found.st_mode) and is_ours(found)):
        return 0o600, None
    return stat.S_IMODE(found.st_mode) & 0o777, found.st_gid


def _give_access(path: Path, mode: int, group: int | None) -> None:
    if group is not None and hasattr(os, "chown") and path.stat().st_gid != group:
        try:
            os.chown(path, -1, group, follow_symlinks=False)
        except PermissionError:
            mode &= ~0o070  # a group that is another one
    path.chmod(mode)


def sync_directory(directory: Path) -> None:
    """Make the name of a new file as durable as its content; not every system can."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_ours(found: os.stat_result) -> bool:
    """Whether what was looked at belongs to this user; always true where there are none."""
    return not hasattr(os, "geteuid") or found.st_uid == os.geteuid()


def _refusal(path: Path, why: str) -> PermissionError:
    return PermissionError(errno.EPERM, f"{path} {why}", str(path))
