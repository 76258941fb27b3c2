"""
What to do about a lock that is held and not given back: by a process that was stopped.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from onehouse_tracker._util.posix import fcntl, posix

__all__ = ["holder_of", "replace_file"]

_LOCKS = Path("/proc/locks")


def holder_of(fd: int) -> str:
    """Say who holds the lock of an open file, as far as this system tells."""
    inode = os.fstat(fd).st_ino
    try:
        lines = [line.split() for line in _LOCKS.read_text(encoding="ascii").splitlines()]
        # 1: FLOCK  ADVISORY  WRITE 4242 08:01:131090 0 EOF; waiters have an arrow in place 1.
        pids = {
            line[4]
            for line in lines
            if line[1] == "FLOCK" and line[5].rpartition(":")[2] == str(inode)
        }
        (pid,) = pids
        # 4242 (name) T ...: its name may hold anything, parentheses too.
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError, IndexError):
        return "another process"
    is_stopped = state.rpartition(")")[2].split()[:1] in (["T"], ["t"])
    return f"process {pid}, which is stopped," if is_stopped else f"process {pid}"


def replace_file(path: Path, fd: int, content: bytes) -> bool:
    """
    Put a new file with *content* in the place of *path*, if *fd* is still what is there.

    The holder of the lock of the old one continues with a file that has no name any more.

    Returns:
        False if somebody else is about to do so.

    Raises:
        OSError: It cannot be done; all is as it was.
    """
    directory = os.open(path.parent, os.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        # Of all who are fed up at the same moment, one.
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        there, here = path.stat(), os.fstat(fd)
        if (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev):
            _write_and_rename(path, content, here)
    except (BlockingIOError, FileNotFoundError):
        return False
    finally:
        os.close(directory)
    return True


def _write_and_rename(path: Path, content: bytes, like: os.stat_result) -> None:
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | posix.O_CLOEXEC, 0o600)
    try:
        os.write(fd, content)
        if os.fstat(fd).st_gid != like.st_gid:
            posix.fchown(fd, -1, like.st_gid)
        posix.fchmod(fd, stat.S_IMODE(like.st_mode))
        fresh.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    finally:
        os.close(fd)
