"""
The host limiter: one budget in one file, between limiters on a virtual clock and real processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import math
import os
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.limiters import HostLimiter, _budget_file
from tests.support import now, run

INTERVAL = 1 / 9.8
"""Seconds between two slots at 10 requests a second, less 2 %: 102.04 ms."""

WORKER = Path(__file__).with_name("host_worker.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """
    A budget file of the test's own, not made yet.
    """
    return tmp_path / "some" / "where" / "p.budget"


@contextlib.asynccontextmanager
async def _limiters(
    path: Path, count: int = 1, **settings: Any
) -> AsyncIterator[list[HostLimiter]]:
    clock = asyncio.get_running_loop().time
    limiters = [HostLimiter(path=path, clock=clock, **settings) for _ in range(count)]
    async with contextlib.AsyncExitStack() as stack:
        for limiter in limiters:
            await limiter.start()
            stack.push_async_callback(limiter.aclose)
        yield limiters


async def _spend(limiters: list[HostLimiter], each: int) -> list[tuple[float, int]]:
    grants: list[tuple[float, int]] = []

    async def spend(number: int, limiter: HostLimiter) -> None:
        for _ in range(each):
            await limiter.acquire()
            grants.append((now(), number))

    await asyncio.gather(*(spend(number, limiter) for number, limiter in enumerate(limiters)))
    return grants


# --- One budget --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 8])
def test_all_who_share_take_turns_at_an_even_pace(path: Path, count: int) -> None:
    """
    Together they send what one may send, and nobody gets more than the others.
    """

    async def scenario() -> list[tuple[float, int]]:
        async with _limiters(path, count) as limiters:
            return await _spend(limiters, 10)

    grants = run(scenario())

    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(grants)]
    assert gaps == pytest.approx([INTERVAL] * (10 * count - 1), abs=1e-4)
    # The first has its first slot, and books the next, before the others have begun.
    turns = [number for _, number in grants]
    assert turns == [0, *range(count)] + list(range(count)) * 8 + list(range(1, count))


def test_the_budget_outlives_those_who_spend_it(path: Path) -> None:
    """
    A script that is run again and again must not send one request more each time.
    """

    async def scenario() -> list[float]:
        times = []
        for _ in range(4):
            async with _limiters(path) as (limiter,):
                await limiter.acquire()
                times.append(now())
        return times

    times = run(scenario())

    assert [b - a for a, b in pairwise(times)] == pytest.approx([INTERVAL] * 3, abs=1e-4)


def test_time_spent_idle_is_not_saved(path: Path) -> None:
    """
    A burst after a rest is what fixed limiters refuse.
    """

    async def scenario() -> list[tuple[float, int]]:
        async with _limiters(path, 2) as limiters:
            await limiters[0].acquire()
            await asyncio.sleep(100)
            return await _spend(limiters, 2)

    grants = run(scenario())

    assert [b[0] - a[0] for a, b in pairwise(grants)] == pytest.approx([INTERVAL] * 3, abs=1e-4)


def test_who_gives_up_costs_its_slot_and_no_more(path: Path) -> None:
    """
    A tracker that is closed while it waits must not hold up the others.
    """

    async def scenario() -> float:
        async with _limiters(path, 3) as (one, two, three):
            await one.acquire()
            begin = now()
            quitter = asyncio.ensure_future(two.acquire())
            await asyncio.sleep(0.01)
            quitter.cancel()
            await asyncio.gather(quitter, return_exceptions=True)
            await three.acquire()
            return now() - begin

    assert run(scenario()) == pytest.approx(2 * INTERVAL, abs=1e-4)


def test_a_slot_that_comes_too_late_is_dropped(path: Path) -> None:
    """
    A process that was stopped for a while would come too close to the next one's slot.
    """

    async def scenario() -> tuple[float, int]:
        late = 0.0
        loop = asyncio.get_running_loop()
        limiter = HostLimiter(path=path, clock=lambda: loop.time() + late)
        await limiter.start()
        await limiter.acquire()
        waiting = asyncio.ensure_future(limiter.acquire())
        await asyncio.sleep(0.01)
        # The timer fires on the loop's clock; for the others half a second went by.
        limiter._is_usable = _late_once(limiter)  # type: ignore[method-assign]
        await waiting
        await limiter.aclose()
        return now(), limiter.stats().dropped

    at, dropped = run(scenario())

    assert dropped == 1
    assert at == pytest.approx(2 * INTERVAL, abs=1e-4)


def _late_once(limiter: HostLimiter) -> Any:
    original = limiter._is_usable
    delays = [0.011]

    def is_usable(slot: float) -> bool:
        return original(slot - (delays.pop() if delays else 0.0))

    return is_usable


# --- Pauses and the margin ---------------------------------------------------------------


def test_a_pause_stops_everybody_even_who_has_booked(path: Path) -> None:
    """
    The server refuses the project, not the process.
    """

    async def scenario() -> list[float]:
        async with _limiters(path, 3) as limiters:
            await _spend(limiters, 1)
            waiting = [asyncio.ensure_future(_spend([limiter], 1)) for limiter in limiters[1:]]
            await asyncio.sleep(0.01)
            begin = now()
            limiters[0].throttled(begin - 0.1, 2.0)
            await asyncio.gather(*waiting)
            await limiters[0].acquire()
            assert {round(limiter.stats().margin, 6) for limiter in limiters} == {0.03}
            return [task.result()[0][0] - begin for task in waiting]

    first, second = sorted(run(scenario()))

    assert 2.0 <= first <= 2.1 + 1e-4  # a little is added, so that not all come back at once
    assert second - first == pytest.approx(1 / 9.7, abs=1e-4)


def test_refusals_of_several_processes_are_one_episode(path: Path) -> None:
    """
    They say the same thing once, whoever hears it.
    """

    async def scenario() -> None:
        async with _limiters(path, 3) as limiters:
            await _spend(limiters, 1)
            sent_at = now() - 0.1
            for limiter in limiters:
                limiter.throttled(sent_at, None)
            await _spend(limiters, 1)
            assert limiters[0].stats().margin == pytest.approx(0.03)
            assert sum(limiter.stats().refusals for limiter in limiters) == 3

    run(scenario())


def test_pauses_double_for_all_until_a_good_reply(path: Path) -> None:
    """
    The length of the next pause belongs to the project, as the pause does.
    """

    async def scenario() -> list[float]:
        pauses = []
        async with _limiters(path, 2) as (one, other):
            for limiter in (one, other, one):
                await limiter.acquire()
                limiter.throttled(now(), None)
                pauses.append(round(limiter.stats().paused_for, 3))
            await other.acquire()
            other.answered(now())
            await other.acquire()
            await one.acquire()
            one.throttled(now(), None)
            pauses.append(round(one.stats().paused_for, 3))
        return pauses

    assert run(scenario()) == [0.2, 0.4, 0.8, 0.2]


def test_a_refusal_reaches_the_file_when_the_lock_is_free_again(path: Path) -> None:
    """
    Nobody waits for the lock in the middle of a reply.
    """

    async def scenario() -> float:
        async with _limiters(path, 2) as (one, other):
            await one.acquire()
            with path.open() as holder:
                fcntl.flock(holder, fcntl.LOCK_EX)
                one.throttled(now(), 1.0)
                assert one.paused_until > now()
                asyncio.get_running_loop().call_later(0.5, fcntl.flock, holder, fcntl.LOCK_UN)
                waiting = asyncio.ensure_future(one.acquire())
                await asyncio.sleep(0.6)
            await other.acquire()
            await waiting
            return other.stats().margin

    assert run(scenario()) == pytest.approx(0.03)


# --- What a crash leaves behind ----------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        '{"version": []}',
        '{"version": 2}',
        '{"version": 1, "boot": "%s"}',
        '{"version": 1, "boot": "%s", "next_slot": "x", "pace": {}, "born_at": 0, "at": 0}',
        '{"version": 1, "boot": "%s", "next_slot": 0, "pace": {"margin": "x"}}',
    ],
)
def test_a_file_that_cannot_be_read_begins_anew(path: Path, content: str) -> None:
    """
    Half a record, or none, must not stop anybody.
    """
    path.parent.mkdir(parents=True)
    path.write_text(content.replace("%s", _budget_file.boot_id()))

    async def scenario() -> float:
        async with _limiters(path) as (limiter,):
            await limiter.acquire()
            await limiter.acquire()
            return now()

    assert run(scenario()) == pytest.approx(INTERVAL, abs=1e-4)


def _rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "ahead",
    [
        {"next_slot": 1e9},
        {"next_slot": math.inf},
        {"next_slot": math.nan},
        {"next_slot": 10**400},
        {"born_at": 1e9},
        {"born_at": math.nan},
        {"paused_until": 1e9},
        {"paused_until": math.inf},
        {"paused_until": math.nan},
        {"paused_until": 10**400},
        {"refused_at": 1e9},
        {"reacted_at": math.nan},
        {"next_pause": 1e9},
    ],
)
def test_a_number_that_nobody_can_have_written_is_not_believed(
    path: Path, ahead: dict[str, float]
) -> None:
    """
    One such record would stop every process that shares the budget, for good and in silence.
    """

    def spoil() -> None:
        record = json.loads(path.read_text())
        pace = record["pace"]
        for name, value in ahead.items():
            (pace if name in pace else record)[name] = value
        path.write_text(json.dumps(record))

    async def scenario() -> float:
        async with _limiters(path) as (limiter,):
            await limiter.acquire()
        spoil()
        began = now()
        async with _limiters(path) as (limiter,), asyncio.timeout(3):
            await limiter.acquire()
            limiter.throttled(now(), None)
            await limiter.acquire()
        return now() - began

    took = run(scenario())
    record = json.loads(path.read_text())

    # The pause after a refusal that we know nothing about, and no more than that.
    assert took == pytest.approx(0.2, abs=0.01)
    assert record["next_slot"] < 10
    assert record["pace"]["reacted_at"] < 10


def test_a_file_that_is_nested_too_deeply_begins_anew(path: Path) -> None:
    """
    Who reads it must not fall over it.
    """
    path.parent.mkdir(parents=True)
    path.write_text('{"a":' * 204)

    async def scenario() -> float:
        async with _limiters(path) as (limiter,):
            await limiter.acquire()
            return now()

    assert run(scenario()) == 0.0


@pytest.mark.parametrize(
    ("limit", "max_pause", "ahead"),
    [(10.0, 120.0, 3500), (10.0, 7200.0, 7000), (0.01, 120.0, 9e4)],
)
def test_a_slot_that_may_be_so_far_ahead_is_waited_for(
    path: Path, limit: float, max_pause: float, ahead: float
) -> None:
    """
    A long queue at a low limit, and a pause that the user allows, are no damage.
    """

    async def scenario() -> float:
        async with _limiters(path, limit=limit, max_pause=max_pause) as (limiter,):
            await limiter.acquire()
            _rewrite(path, next_slot=ahead)
            await limiter.acquire()
            return now()

    assert run(scenario()) == pytest.approx(ahead)


def test_nothing_of_another_boot_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The clock begins anew with each boot: what was booked on the old one means nothing.
    """

    async def scenario() -> float:
        async with _limiters(path) as (limiter,):
            await limiter.acquire()
        _rewrite(path, boot="another", next_slot=1e6, written=0)
        async with _limiters(path) as (limiter,):
            await limiter.acquire()
            return now()

    assert run(scenario()) == pytest.approx(0.0, abs=1e-4)


def test_a_boot_without_an_id_is_known_by_its_clock(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    Not every system tells its boots apart; but a clock that went back was started again.
    """
    monkeypatch.setattr(_budget_file, "_BOOT_ID", tmp_path / "missing")

    async def scenario() -> float:
        async with _limiters(path) as (limiter,):
            await asyncio.sleep(1000)
            await limiter.acquire()
        clock = asyncio.get_running_loop().time
        limiter = HostLimiter(path=path, clock=lambda: clock() - 900)
        await limiter.start()
        await limiter.acquire()
        await limiter.aclose()
        return now()

    assert run(scenario()) == pytest.approx(1000.0, abs=1e-3)


def test_a_file_of_another_machine_is_refused(path: Path) -> None:
    """
    Two machines have two clocks; on a shared directory they would overwrite each other.
    """
    path.parent.mkdir(parents=True)
    record = {"version": 1, "boot": "another", "written": time.time()}
    path.write_text(json.dumps(record))

    with pytest.raises(ConfigError, match="another machine"):
        run(HostLimiter(path=path).start())


def test_a_file_that_was_removed_is_made_again(path: Path) -> None:
    """
    Whoever cleans up splits the processes: all must find each other in the new file, and
    what was booked in the old one is given a second to pass.
    """

    async def scenario() -> list[tuple[float, int]]:
        async with _limiters(path, 2) as limiters:
            await _spend(limiters, 2)
            os.unlink(path)  # noqa: PTH108 - the linter takes a Path's for slow
            begin = now()
            grants = await _spend(limiters, 2)
            return [(at - begin, number) for at, number in grants]

    grants = run(scenario())

    assert len({number for _, number in grants}) == 2
    assert grants[0][0] >= 1.0
    assert all(b[0] - a[0] >= INTERVAL - 1e-4 for a, b in pairwise(grants))


def test_a_lock_that_is_held_is_waited_for(path: Path) -> None:
    """
    It is held for microseconds, and a process that dies gives it back.
    """

    async def scenario() -> float:
        async with _limiters(path) as (limiter,):
            await limiter.acquire()
            with path.open() as holder:
                fcntl.flock(holder, fcntl.LOCK_EX)
                asyncio.get_running_loop().call_later(0.5, fcntl.flock, holder, fcntl.LOCK_UN)
                await limiter.acquire()
                return now()

    assert run(scenario()) == pytest.approx(0.5, abs=0.01)


# --- The file ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_the_file_has_the_mode_that_was_asked_for(path: Path, mode: int) -> None:
    """
    Others may share the budget only where somebody decided so, whatever the umask.
    """
    before = os.umask(0o077)
    try:
        run(_start_and_close(HostLimiter(path=path, mode=mode)))
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == mode


async def _start_and_close(limiter: HostLimiter) -> None:
    await limiter.start()
    await limiter.aclose()
    await limiter.aclose()  # twice does no harm


def test_without_a_path_each_user_has_one_file_per_project() -> None:
    """
    Processes that were told nothing but the project must meet.
    """
    one, same, other = (HostLimiter(project=name) for name in ("a", "a", "b"))

    assert one.path == same.path != other.path
    assert str(os.getuid()) in str(one.path)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    The directory of this user in a ``/tmp`` of the test's own, not made yet.
    """
    monkeypatch.setattr(_budget_file, "_TEMPORARY", tmp_path)
    return tmp_path / f"onehouse-tracker-{os.getuid()}"


def test_the_directory_without_a_path_is_for_its_owner_alone(temporary: Path) -> None:
    """
    Its name can be guessed, and everybody may write beside it.
    """
    limiter = HostLimiter(project="p")

    for _ in range(2):  # made, then found
        run(_start_and_close(limiter))

    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700
    assert limiter.path.parent == temporary


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_can_write_to_is_refused(temporary: Path, mode: int) -> None:
    """
    Who can replace the file decides how fast we send, and whether we send at all.
    """
    temporary.mkdir()
    temporary.chmod(mode)

    with pytest.raises(ConfigError, match=r"can be written to by others.*remove it, or name a"):
        run(HostLimiter(project="p").start())
    assert not list(temporary.iterdir())


def test_a_directory_of_another_user_is_refused(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever made it before us owns what is in it.
    """
    somebody = os.getuid() + 1
    temporary.with_name(f"onehouse-tracker-{somebody}").mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: somebody)

    with pytest.raises(ConfigError, match="belongs to another user"):
        run(HostLimiter(project="p").start())


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_is_no_directory_is_refused(temporary: Path, tmp_path: Path, kind: str) -> None:
    """
    A link may lead to a directory of ours that is for something else.
    """
    if kind == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        temporary.symlink_to(tmp_path / "elsewhere")
    else:
        temporary.touch()

    with pytest.raises(ConfigError, match="is no directory"):
        run(HostLimiter(project="p").start())
    assert kind == "file" or not list((tmp_path / "elsewhere").iterdir())


def test_a_directory_that_was_named_may_belong_to_anybody(tmp_path: Path) -> None:
    """
    That is how users of one group share a budget.
    """
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)

    run(_start_and_close(HostLimiter(path=shared / "p.budget", mode=0o660)))

    assert (shared / "p.budget").exists()


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    """
    In a directory where others can write, it may lead to a file that is not theirs to change.
    """
    path.parent.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)

    with pytest.raises(ConfigError, match="cannot be used"):
        run(HostLimiter(path=path).start())
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("content", ["precious", "[]", "{}" + " " * 2000, "SQLite format 3\0"])
def test_what_holds_something_else_is_left_alone(path: Path, content: str) -> None:
    """
    A report or a list of IDs, named by mistake, would lose its first thousand bytes.
    """
    path.parent.mkdir(parents=True)
    path.write_text(content)

    with pytest.raises(ConfigError, match="holds something else, and was left as it is"):
        run(HostLimiter(path=path).start())
    assert path.read_text() == content


def test_a_second_name_of_another_file_is_refused(path: Path, tmp_path: Path) -> None:
    """
    Where the system lets others make hard links to our files.
    """
    path.parent.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.touch()
    os.link(victim, path)

    with pytest.raises(ConfigError, match="hard link"):
        run(HostLimiter(path=path).start())
    assert victim.read_bytes() == b""


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file_is_refused(path: Path, kind: str) -> None:
    """
    A mistyped path is told at the start, in a sentence.
    """
    path.parent.mkdir(parents=True)
    if kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)

    with pytest.raises(ConfigError, match="budget file"):
        run(HostLimiter(path=path).start())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """
    Some network file systems have none: the error says what to do instead.
    """

    def flock(fd: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)

    with pytest.raises(ConfigError, match="has no locks: name a budget file on a local disk"):
        run(HostLimiter(path=path).start())


def test_a_system_without_locks_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Not every operating system has them.
    """
    monkeypatch.setattr(_budget_file, "fcntl", None)

    with pytest.raises(ConfigError, match="this system has no file locks"):
        HostLimiter(path=path)
    with pytest.raises(ConfigError, match="this system has no file locks"):
        HostLimiter(project="p")


def test_other_errors_of_the_lock_name_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What we cannot explain the system says in its own words.
    """

    def flock(fd: int, operation: int) -> None:
        raise OSError(errno.EIO, "disk on fire")

    monkeypatch.setattr(fcntl, "flock", flock)

    with pytest.raises(ConfigError, match="cannot be used: disk on fire"):
        run(HostLimiter(path=path).start())


def test_a_limiter_needs_a_place_and_a_start(path: Path) -> None:
    """
    Both are mistakes of the program, told at once.
    """
    with pytest.raises(ConfigError, match="needs a path, or a project"):
        HostLimiter()
    with pytest.raises(RuntimeError, match="not started"):
        run(HostLimiter(path=path).acquire())


def test_the_statistics_tell_the_budget(path: Path) -> None:
    """
    Users must see which limiter it is and what it does.
    """

    async def scenario() -> None:
        async with _limiters(path, share=0.5) as (limiter,):
            await limiter.acquire()
            await limiter.acquire()
            stats = limiter.stats()
            assert (stats.kind, stats.granted, stats.degraded) == ("host", 2, False)
            assert stats.rate == pytest.approx(4.9)
            assert stats.waited == pytest.approx(1 / 4.9, abs=1e-4)
            assert limiter.limit == 5.0
            assert repr(limiter) == "<HostLimiter: 5 requests/s, 2 granted>"

    run(scenario())


# --- Real processes ----------------------------------------------------------------------


def _start_workers(path: Path, count: int, limit: float) -> list[subprocess.Popen[str]]:
    command = [sys.executable, str(WORKER), str(path), str(limit)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    return workers


def _kill(worker: subprocess.Popen[str]) -> list[float]:
    worker.kill()
    out, _ = worker.communicate()
    return [float(line) for line in out.splitlines(keepends=True) if line.endswith("\n")]


def test_processes_share_one_stream_and_survive_each_other(path: Path) -> None:
    """
    SIGKILL, at whatever moment, costs the others the slot that was booked and no more.
    """
    workers = _start_workers(path, 3, 50.0)
    try:
        time.sleep(0.5)
        killed_at = time.monotonic()
        lists = [_kill(workers[0])]
        time.sleep(0.6)
    finally:
        lists += [_kill(worker) for worker in workers[1:]]

    grants = sorted(at for times in lists for at in times)
    gaps = [later - earlier for earlier, later in pairwise(grants)]
    assert min(gaps) >= 1 / 49 - 0.012
    counts = Counter(
        number for number, times in enumerate(lists) for at in times if at < killed_at
    )
    assert max(counts.values()) - min(counts.values()) <= 5
    after = [later - earlier for earlier, later in pairwise(grants) if later > killed_at]
    # The slot of the one that was killed; on a busy machine, some more that came too late.
    assert max(after) <= 0.3


def test_what_one_process_takes_back_the_others_take_back_too(path: Path) -> None:
    """
    The margin is shared, and so is the knowledge that one request was refused for itself.
    """

    async def scenario() -> None:
        async with _limiters(path, 2) as (one, other):
            one.throttled(now(), None)
            await other.acquire()
            assert other.stats().margin == pytest.approx(0.03)

            one.forgive(1)
            await one.acquire()
            await other.acquire()
            assert other.stats().margin == pytest.approx(0.02)

    run(scenario())
