"""
A small file that processes of one machine share and change one at a time.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from onehouse_tracker._util.posix import fcntl, posix
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.limiters._pace import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MARGIN_CEILING,
    MARGIN_FLOOR,
    PaceState,
)
from onehouse_tracker.limiters._stuck_lock import holder_of, replace_file

__all__ = ["Budget", "BudgetFile", "boot_id", "default_path", "refuse_without_locks"]

_VERSION = 1
_SIZE = 1024
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TEMPORARY = Path("/tmp")  # noqa: S108 - the directory in it is looked at before it is used
_ANOTHER_HOST = 60.0
"""Seconds.  A file that another boot wrote so long after ours began is in use elsewhere."""


@dataclass(slots=True, kw_only=True)
class Budget:
    """What the file holds.  Times are seconds on the clock that one boot shares."""

    next_slot: float
    """When the next slot is free."""

    pace: PaceState = field(default_factory=PaceState)
    """The margin and the pause."""

    born_at: float
    """When this record began."""

    epoch: str = field(default_factory=lambda: secrets.token_hex(8))
    """Tells this record from one that was lost."""

    at: float
    """When it was last changed."""


class BudgetFile:
    """
    The file, open, with a lock that the kernel releases when its process dies.

    Nothing here waits: a lock that somebody else holds is reported, not waited for.

    Args:
        path: Where it is.  It is made, with its directory, if it is not there.

        mode: Its permissions if it is made here, e.g. 0o660 to share it with a group.

        boot: The boot of this machine, see `boot_id`.

        horizon: Seconds ahead, at most, of a slot or the end of a pause that is believed.

        private: Whether nobody else may have a hand in its directory.

    Raises:
        ConfigError: It cannot be opened, is not one of our files, or another machine uses it.
    """

    def __init__(
        self,
        path: Path,
        *,
        mode: int = 0o600,
        boot: str,
        horizon: float,
        private: bool = False,
    ) -> None:
        self._path = path
        self._mode = mode
        self._boot = boot
        self._horizon = horizon
        self._private = private
        self._fd = -1

    def open(self) -> Self:
        """
        Open the file, and try its lock once.

        Raises:
            ConfigError: See the class; or the file system has no locks.
        """
        self.close()
        try:
            if self._private:
                _make_private(self._path.parent)
            self._fd = _open(self._path, self._mode)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            with self.locked():
                self._refuse_foreign_file()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Close the file.  Closing twice does no harm."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """
        Hold the lock; what is yielded is false if somebody else holds it at this moment.

        Raises:
            ConfigError: The file system has no locks.
        """
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise self._unusable(error) from error
            raise ConfigError(
                f"the file system of {self._path} has no locks: name a budget file on a local"
                " disk, or share the budget through Redis"
            ) from error
        try:
            yield True
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def take_over(self) -> bool:
        """
        Put a copy in the place of this file, because its lock is not given back.

        The holder of the lock writes to a file that nobody else opens any more.

        Returns:
            False if somebody else is about to do so.

        Raises:
            ConfigError: It cannot be done, for want of a permission for example.
        """
        try:
            return replace_file(self._path, self._fd, self._bytes())
        except OSError as error:
            raise self._unusable(error) from error

    def holder(self) -> str:
        """Say who holds the lock, as far as this system tells."""
        return holder_of(self._fd)

    def is_current(self) -> bool:
        """Whether the path still leads to the file that is open here."""
        try:
            there, here = self._path.stat(), os.fstat(self._fd)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unusable(error) from error
        return (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev)

    def read(self, now: float) -> Budget | None:
        """
        Read the record; `None` if there is none of this boot that can be believed.

        Raises:
            ConfigError: The file cannot be read any more.
        """
        content = self._content()
        if content.get("version") != _VERSION or content.get("boot") != self._boot:
            return None
        try:
            budget = Budget(
                next_slot=float(content["next_slot"]),
                pace=PaceState(*(_number(content["pace"][name]) for name in PaceState._fields)),
                born_at=float(content["born_at"]),
                epoch=str(content["epoch"]),
                at=float(content["at"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        return budget if self._is_sane(budget, now) else None

    def write(self, budget: Budget) -> None:
        """
        Replace the record.  Hold the lock.

        Raises:
            ConfigError: The file cannot be written any more: the disk is full, for example.
        """
        pace = {name: _plain(value) for name, value in budget.pace._asdict().items()}
        content = asdict(budget) | {
            "pace": pace,
            "version": _VERSION,
            "boot": self._boot,
            "written": round(time.time()),
        }
        # One write of one size: a reader without the lock sees the old record or the new
        # one, and a process that is killed leaves one of them.
        record = json.dumps(content).encode().ljust(_SIZE - 1) + b"\n"
        try:
            posix.pwrite(self._fd, record, 0)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> ConfigError:
        reason = error.strerror or str(error)
        return ConfigError(f"the budget file {self._path} cannot be used: {reason}")

    def _is_sane(self, budget: Budget, now: float) -> bool:
        """Whether one of us can have written it: what nobody wrote would stop us forever."""
        pace = budget.pace
        latest = now + self._horizon
        return (
            # The clock of one boot never goes back: this is a boot that has no ID of its own.
            all(
                then <= now
                for then in (budget.at, budget.born_at, pace.refused_at, pace.reacted_at)
            )
            and math.isfinite(budget.next_slot)
            and budget.next_slot <= latest
            and pace.paused_until <= latest
            and MARGIN_FLOOR <= pace.margin <= MARGIN_CEILING
            and FIRST_PAUSE <= pace.next_pause <= LONGEST_PAUSE
        )

    def _content(self) -> dict[str, Any]:
        try:
            content = json.loads(self._bytes() or b"{}")
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def _bytes(self) -> bytes:
        try:
            found: bytes = posix.pread(self._fd, _SIZE, 0)
        except OSError as error:
            raise self._unusable(error) from error
        return found

    def _refuse_foreign_file(self) -> None:
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{self._path} is not a regular file: name another budget file")
        if found.st_nlink > 1:
            raise ConfigError(
                f"{self._path} has another name too (a hard link): name another budget file"
            )
        start = posix.pread(self._fd, _SIZE, 0).strip(b"\0 \n")
        if found.st_size > _SIZE or (start and not start.startswith(b"{")):
            raise ConfigError(
                f"{self._path} holds something else, and was left as it is: name another budget"
                " file, or remove it"
            )
        content = self._content()
        boot, written = content.get("boot"), content.get("written")
        if not isinstance(boot, str) or not isinstance(written, int | float):
            return
        booted_at = time.time() - time.monotonic()
        if boot and boot != self._boot and written > booted_at + _ANOTHER_HOST:
            raise ConfigError(
                f"another machine uses the budget file {self._path} too, and its clock is not"
                " ours: share the budget through Redis"
            )


def default_path(project: str) -> Path:
    """
    Where the processes of one user keep the budget of *project*, on this machine.

    Raises:
        ConfigError: This system cannot share a file in the way we need.
    """
    refuse_without_locks()
    # Not $XDG_RUNTIME_DIR: a cron job has none, and would keep a budget of its own.  Not the
    # home directory: several machines may share it.
    return _TEMPORARY / f"onehouse-tracker-{posix.getuid()}" / f"{project}.budget"


def refuse_without_locks() -> None:
    """
    Make sure that this system has the locks we need.

    Raises:
        ConfigError: It has not.
    """
    if fcntl is None:
        raise ConfigError(
            "this system has no file locks of the kind we need: share the budget through Redis"
        )


def boot_id() -> str:
    """Tell which boot of this machine this is; empty where the system does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _make_private(directory: Path) -> None:
    """Have *directory* there, ours alone: its name can be guessed, and others write to /tmp."""
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        problem = "is no directory"
    elif found.st_uid != posix.getuid():
        problem = "belongs to another user"
    elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        problem = "can be written to by others"
    else:
        return
    raise ConfigError(
        f"{directory} {problem}, so the budget is not safe in it: remove it, or name a budget"
        " file in a directory that is yours (host:PATH)"
    )


def _open(path: Path, mode: int) -> int:
    # Not through a link: the directory may be one where others can put something.
    flags = os.O_RDWR | posix.O_CLOEXEC | posix.O_NOFOLLOW
    for _ in range(3):
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # somebody was faster
            fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
            posix.fchmod(fd, mode)  # whatever the umask
            return fd
    raise FileNotFoundError(errno.ENOENT, "it disappears as soon as it is made", str(path))


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: object) -> float:
    if value is None:
        return -math.inf
    if not isinstance(value, int | float):
        raise TypeError("not a number")
    return float(value)
