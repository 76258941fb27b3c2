"""
The live display: what it says, how it fits, and that it leaves nothing behind.
"""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import termios
from dataclasses import replace

import pytest

from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.models import ApiStatus, Outcome
from onehouse_tracker.observers._progress import (
    Pace,
    Snapshot,
    duration,
    snapshot_of,
    status_parts,
)
from onehouse_tracker.results import TimeLeft
from onehouse_tracker.stats import TrackerStats
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from tests.cli.harness import PATIENCE, STILL_PENDING, start

BUSY = Snapshot(
    total=6000,
    complete=True,
    done=1250,
    not_ok=37,
    sent_rate=9.62,
    budget=9.8,
    refusals=3,
    round_time=484.7,
    paused_for=0,
    outage=False,
    left=1503,
)


def shown(snapshot: Snapshot, width: int) -> str:
    """The status line as text."""
    return "  ".join(text for text, _ in status_parts(snapshot, width))


def test_a_wide_terminal_shows_everything() -> None:
    """
    The round time tells users why 6,000 requests need patience.
    """
    assert shown(BUSY, 199) == (
        "4750 pending  1213 ok  37 not ok  9.6 of 9.8/s  3 refused"
        "  round 8 min 05 s  about 25 min 03 s left"
    )


def test_earlier_runs_give_a_range_and_what_is_overdue() -> None:
    """
    The range is part of the time left; who looks must see that something hangs.
    """
    known = replace(BUSY, left=130.0, likely=(70.0, 20 * 60.0), overdue=2)
    assert shown(known, 199).endswith(
        "about 2 min 10 s left (1 min 10 s to 20 min 00 s)  2 overdue"
    )
    assert "2 overdue" in shown(known, 60)


async def test_the_time_left_is_that_of_earlier_runs_where_they_know_it() -> None:
    """
    From the first moment, and not only once some have ended; not while more may come.
    """
    stats = TrackerStats(
        pending=3,
        in_flight=0,
        ended=0,
        polls=0,
        refusals=0,
        outage=False,
        round_time=0.3,
        limiter=LocalLimiter(10).stats(),
        left=TimeLeft(median=60.0, low=40.0, high=90.0),
        overdue=1,
    )
    known, growing = (
        snapshot_of(stats, Pace(), 0.0, total=3, outcomes={}, complete=complete)
        for complete in (True, False)
    )
    assert (known.left, known.likely, known.overdue) == (60.0, (40.0, 90.0), 1)
    assert (growing.left, growing.likely) == (None, None)


@pytest.mark.parametrize("width", range(1, 120))
def test_parts_are_left_out_and_never_cut(width: int) -> None:
    """
    Half a number is a wrong number.
    """
    whole = [text for text, _ in status_parts(BUSY, 199)]
    parts = [text for text, _ in status_parts(BUSY, width)]

    assert len("  ".join(parts)) <= width or len(parts) == 1
    assert [text for text in whole if text in parts] == parts
    assert width < 30 or "4750 pending" in parts
    assert width < 80 or "about 25 min 03 s left" in parts


def test_how_they_ended_is_told_where_there_is_room() -> None:
    """
    Failed is not timed out: what to do about them differs.
    """
    outcomes = {
        Outcome.TIMED_OUT: 2,
        Outcome.FAILED: 35,
        Outcome.SUCCEEDED: 1201,
        Outcome.PARTIALLY_SUCCEEDED: 12,
    }
    detailed = replace(BUSY, outcomes=outcomes)

    assert shown(detailed, 199).startswith(
        "4750 pending  1213 ok (12 partially)  37 not ok (35 failed, 2 timed out)  9.6 of"
    )
    assert shown(detailed, 105) == shown(BUSY, 105)


def test_a_budget_that_is_no_longer_shared_is_told() -> None:
    """
    Whoever watches sees why it is slower than it was.
    """
    alone = replace(BUSY, degraded=True)

    assert "budget not shared" in shown(alone, 199)
    assert "budget not shared" not in shown(BUSY, 199)


def test_an_outage_and_a_pause_are_told_instead_of_the_time_left() -> None:
    """
    Nobody should wonder why nothing happens.
    """
    quiet = {name: getattr(BUSY, name) for name in Snapshot.__slots__}

    outage = Snapshot(**{**quiet, "outage": True, "paused_for": 5.0})
    paused = Snapshot(**{**quiet, "paused_for": 5.0})

    assert shown(outage, 199).endswith("server does not answer")
    assert shown(paused, 199).endswith("paused 5.0 s")


def test_the_pace_is_that_of_the_last_seconds() -> None:
    """
    A rate since the start would hide that nothing moves any more.
    """
    pace = Pace()
    for second in range(60):
        pace.note(second, sent=10 * min(second, 30), ended=2 * second)

    assert pace.sent_rate == 0
    assert pace.left(100) == 50


def test_too_few_ends_give_no_estimate() -> None:
    """
    An estimate from two requests would be a guess.
    """
    pace = Pace()
    assert pace.left(10) is None
    pace.note(0, sent=0, ended=0)
    pace.note(10, sent=100, ended=4)
    assert pace.left(10) is None
    pace.note(20, sent=200, ended=5)
    assert pace.left(10) == 40


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (3599.6, "1 h 00 min")],
)
def test_durations_read_well_at_their_borders(seconds: float, text: str) -> None:
    """
    No "60.0 s", and no "60 min".
    """
    assert duration(seconds) == text


async def terminal(
    arguments: list[str], variables: dict[str, str], columns: int, *, interrupt: bool = False
) -> tuple[int, str]:
    """Run the command on a terminal of its own; return its exit code and all it wrote."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = await start(
        arguments,
        {"TERM": "xterm-256color", "LANG": "C.UTF-8", **variables},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    written = b""

    def read() -> bytes:
        try:
            return os.read(master, 65536)
        except OSError:  # Linux: the other side is closed
            return b""

    async with asyncio.timeout(PATIENCE):
        while chunk := await asyncio.to_thread(read):
            written += chunk
            if interrupt and b"1 pending" in written:
                process.send_signal(signal.SIGINT)
                interrupt = False
        code = await process.wait()
    os.close(master)

    return code, written.decode()


CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.mark.parametrize("columns", [80, 200])
async def test_a_terminal_shows_progress_and_then_the_table(columns: int) -> None:
    """
    The display is erased at the end, and no line of it is wider than the terminal.
    """
    project = SimulatedProject()
    identifier = "6f1c2a9b-4b1e-4f60-8a60-0123456789ab"
    project.add(identifier, 0)
    project.script(identifier, [STILL_PENDING] * 2)
    project.add("bad", 0, ApiStatus.FAILED, response={"message": "no space left " * 10})
    async with SimulatorServer(project) as server:
        code, written = await terminal(["wait", identifier, "bad"], server.environment(), columns)

    assert code == 1
    lines = CONTROL.sub("", written).replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= columns
    assert any("1 pending  0 ok  1 not ok" in text for text in lines)
    table = written.rpartition("\x1b[?25h")[2]  # the cursor is shown again, then the rest
    assert identifier in table
    assert "\x1b[31mFAILED" in table
    assert "pending" not in table


async def test_without_colour_and_without_utf8_the_display_is_plain() -> None:
    """
    NO_COLOR is honored, and a terminal without UTF-8 gets nothing that it cannot show.
    """
    project = SimulatedProject()
    project.add("first", 0)
    project.add("slow", 0)
    project.script("slow", [STILL_PENDING] * 2)
    async with SimulatorServer(project) as server:
        variables = {
            **server.environment(),
            "NO_COLOR": "1",
            "LANG": "C",
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
            "PYTHONIOENCODING": "ascii",
        }
        code, written = await terminal(["wait", "first", "slow"], variables, 80)

    assert code == 0
    assert "1 pending" in written
    assert written.isascii()
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", written)


@pytest.mark.parametrize("arguments", [["--quiet"], []])
async def test_quiet_and_dumb_terminals_get_no_display(arguments: list[str]) -> None:
    """
    A terminal that cannot move its cursor would fill with copies of one line.
    """
    project = SimulatedProject()
    project.add("done", 0)
    project.script("done", [STILL_PENDING])
    async with SimulatorServer(project) as server:
        variables = server.environment()
        if not arguments:
            variables["TERM"] = "dumb"
        code, written = await terminal(["wait", "done", *arguments], variables, 80)

    assert code == 0
    assert "pending" not in written
    assert "\x1b[?25l" not in written


async def test_an_interruption_leaves_the_terminal_as_it_was() -> None:
    """
    Without a cursor, the next prompt is hard to find.
    """
    project = SimulatedProject()
    project.add("slow", 1e6)
    async with SimulatorServer(project) as server:
        code, written = await terminal(
            ["wait", "slow", "--output", "jsonl"], server.environment(), 80, interrupt=True
        )

    assert code == 130
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    assert "continue with: onehouse-tracker wait --output jsonl slow\r\n" in written


async def test_json_lines_on_a_terminal_stand_above_the_display() -> None:
    """
    Result and display share the screen; neither may tear the other apart.
    """
    project = SimulatedProject()
    project.add("first", 0)
    project.script("first", [STILL_PENDING])
    project.add("slow", 0)
    project.script("slow", [STILL_PENDING] * 2)
    async with SimulatorServer(project) as server:
        code, written = await terminal(
            ["wait", "first", "slow", "-o", "jsonl"], server.environment(), 400
        )

    assert code == 0
    plain = CONTROL.sub("", written).replace("\r", "\n").splitlines()
    assert [text[:22] for text in plain if text.startswith("{")] == [
        '{"request_id": "first"',
        '{"request_id": "slow",',
    ]
