"""
A process that is stopped while it holds the lock of the budget file: the others go on.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from onehouse_tracker.limiters import HostLimiter, host
from onehouse_tracker.limiters._stuck_lock import holder_of, replace_file

WORKER = Path(__file__).with_name("stopped_worker.py")
LIMIT = 50.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """
    A budget file that is not there yet.
    """
    return tmp_path / "p.budget"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_STUCK", 0.3)


def test_others_go_on_without_a_process_that_is_stopped(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    They put a new file in its place; what it writes when it goes on reaches nobody, and then it
    shares the budget again.
    """
    worker = subprocess.Popen(
        [sys.executable, str(WORKER), str(path), str(LIMIT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    grants: list[float] = []

    async def spend(limiter: HostLimiter, slots: int) -> None:
        await limiter.start()
        for _ in range(slots):
            await limiter.acquire()
            grants.append(time.monotonic())
        await limiter.aclose()

    try:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        worker.stdin.write("\n")
        worker.stdin.flush()
        os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WNOWAIT)
        inode = path.stat().st_ino
        limiters = [HostLimiter(LIMIT, path=path, mode=0o640) for _ in range(3)]

        async def spend_all() -> None:
            async with asyncio.timeout(5):
                await asyncio.gather(*(spend(limiter, 5) for limiter in limiters))

        asyncio.run(spend_all())
        assert path.stat().st_ino != inode
        assert caplog.text.count("a new file is in its place now") == 1
        assert f"process {worker.pid}, which is stopped, has held the lock" in caplog.text

        os.kill(worker.pid, signal.SIGCONT)
        asyncio.run(spend(limiters[0], 10))
    finally:
        worker.kill()
        out, _ = worker.communicate()

    theirs = [float(line) for line in out.splitlines(keepends=True) if line.endswith("\n")]
    assert any(at > grants[15] for at in theirs)
    gaps = [later - earlier for earlier, later in pairwise(sorted(grants + theirs))]
    assert min(gaps) >= 1 / 49 - 0.012
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name]


async def test_slot_of_a_file_that_was_replaced_is_dropped(path: Path) -> None:
    """
    It was booked where nobody looks any more, and may be somebody else's now.
    """
    limiter = HostLimiter(5.0, path=path)
    await limiter.start()
    await limiter.acquire()
    began = time.monotonic()
    waiting = asyncio.ensure_future(limiter.acquire())
    await asyncio.sleep(0.05)
    assert limiter._file is not None
    assert limiter._file.take_over()
    await waiting
    await limiter.aclose()

    assert time.monotonic() - began > 0.39  # the one after that


async def test_what_cannot_be_replaced_is_said_and_waited_for(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    In a directory of somebody else's there is no other way; but not without a word.
    """

    def refuse(*_: object) -> bool:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("onehouse_tracker.limiters._budget_file.replace_file", refuse)
    limiter = HostLimiter(LIMIT, path=path)
    await limiter.start()
    with path.open() as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        asyncio.get_running_loop().call_later(0.8, fcntl.flock, holder, fcntl.LOCK_UN)
        await limiter.acquire()
    await limiter.aclose()

    assert caplog.text.count("so nobody can send") == 1
    assert "Operation not permitted" in caplog.text


def test_only_one_of_many_replaces_the_file(path: Path) -> None:
    """
    A second new file would lose what was booked in the first.
    """
    path.write_text("{}")
    path.chmod(0o640)
    with path.open() as mine, path.open() as other:
        directory = os.open(path.parent, os.O_RDONLY)
        fcntl.flock(directory, fcntl.LOCK_EX)
        assert not replace_file(path, mine.fileno(), b"new")
        os.close(directory)
        assert replace_file(path, mine.fileno(), b"new")
        assert replace_file(path, other.fileno(), b"newer")  # it is done already
        assert path.read_bytes() == b"new"
        assert path.stat().st_mode & 0o777 == 0o640
        path.unlink()
        assert not replace_file(path, other.fileno(), b"newest")
    assert not list(path.parent.iterdir())


def test_holder_is_named_as_far_as_it_is_known(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    From within a container the process may not be seen, and other systems tell nothing.
    """
    with path.open("w") as file, path.open() as holder:
        assert holder_of(file.fileno()) == "another process"
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert holder_of(file.fileno()) == f"process {os.getpid()}"
        monkeypatch.setattr("onehouse_tracker.limiters._stuck_lock._LOCKS", path.parent / "none")
        assert holder_of(file.fileno()) == "another process"
