"""
A process that is killed at any moment loses nothing, and repeats only what it may.

``KILL_ROUNDS=200`` asks for more rounds than the default run has time for.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from onehouse_tracker.history import History
from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing import RunningSimulator, SimulatedProject, SimulatorServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork and no SIGKILL")

ROUNDS = int(os.environ.get("KILL_ROUNDS", "20"))
IDS = 40
WAYS = ("iterate", "call_back", "hold", "gather")
OUTCOMES = {
    ApiStatus.SUCCESS: "SUCCEEDED",
    ApiStatus.FAILED: "FAILED",
    ApiStatus.SUCCESS_PARTIAL: "PARTIALLY_SUCCEEDED",
}


class Killer:
    """Starts victims, and kills them."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        script = Path(__file__).with_name("kill_child.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, order: dict[str, object], moment: Moment | None) -> str:
        """Run one victim, kill it at its *moment* unless it ended before, and say how it ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order | {"environ": self.environ}) + "\n")
        self.process.stdin.flush()
        victim = int(self.process.stdout.readline())
        over = threading.Event()
        murder = threading.Thread(
            target=_kill, args=[victim, moment, Path(str(order["log"])), over], daemon=True
        )
        if moment is not None:
            murder.start()
        end = self.process.stdout.readline().strip()
        over.set()
        if moment is not None:
            murder.join()
        return end

    def close(self) -> None:
        """End the process that forks."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@dataclass
class Moment:
    """When a victim dies: when its log has so many lines, and so many seconds later."""

    lines: int
    seconds: float
    writing: Path | None = None
    """Not before this history is written for the next time."""


def _kill(victim: int, moment: Moment, log: Path, over: threading.Event) -> None:
    while not _has_come(moment, log):
        if over.wait(0.0005):
            return
    if not over.wait(moment.seconds):
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(victim, signal.SIGKILL)


def _has_come(moment: Moment, log: Path) -> bool:
    if moment.lines and not (log.exists() and log.read_bytes().count(b"\n") >= moment.lines):
        return False
    # The first transaction only makes the file: it teaches nothing.
    return moment.writing is None or (
        rollback_journal(moment.writing).exists() and moment.writing.stat().st_size > 0
    )


def rollback_journal(database: Path) -> Path:
    """Where SQLite keeps what undoes the transaction that is being written."""
    return database.with_name(f"{database.name}-journal")


@dataclass
class Round:
    """What one round brought to light."""

    lost: set[str] = field(default_factory=set)
    """Requests that the server was asked about, and whose result never arrived."""

    repeated: set[str] = field(default_factory=set)
    """Results that came again although they were acknowledged."""

    wrong: set[str] = field(default_factory=set)
    """Results that are not the truth."""

    kills: int = 0
    midway: int = 0
    """Kills of a victim that had got some results, and not all."""

    again: int = 0
    """Results that came again, as they may."""

    broken: list[str] = field(default_factory=list)
    """What was wrong with the history after a kill."""

    learned: dict[str, int] = field(default_factory=dict)
    """Runs of each name that the history remembers."""

    cut_off: bool = False
    """Whether a victim left a history in the middle of a transaction."""


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    """A server without a limit."""
    with RunningSimulator(SimulatorServer(SimulatedProject(), record=False)) as running:
        yield running


@pytest.fixture(scope="module")
def killer(simulator: RunningSimulator) -> Iterator[Killer]:
    """Who starts and kills."""
    killer = Killer(simulator.environ)
    yield killer
    killer.close()


def play(
    number: int,
    simulator: RunningSimulator,
    killer: Killer,
    directory: Path,
    *,
    way: str | None = None,
    sabotage: str | None = None,
) -> Round:
    """One job, killed up to four times at random moments, and then let finish."""
    luck = random.Random(number)
    project = simulator.project
    truth = {}
    ids = [f"{directory.name}-{number}-{index}" for index in range(IDS)]
    for request_id in ids:
        status = luck.choice(list(OUTCOMES))
        truth[request_id] = OUTCOMES[status]
        project.add(request_id, luck.uniform(0, 0.3), status)
    order: dict[str, object] = {
        "journal": str(directory / f"{number}.db"),
        "history": str(history := directory / f"{number}-history.db"),
        "ids": ids,
        "way": way or WAYS[number % len(WAYS)],
        "sabotage": sabotage,
    }

    found = Round()
    delivered: dict[str, int] = {}
    acknowledged: set[str] = set()
    for attempt in range(6):
        log = directory / f"{number}-{attempt}.log"
        last = attempt == 5
        # Half of the kills hit anything, starting and ending included; the others hit the
        # milliseconds in which one result is used, acknowledged, and the next handed out, or
        # those in which the history is written.
        moment = Moment(0, luck.uniform(0.0, 0.3))
        if luck.random() < 0.5:
            moment = Moment(luck.randint(1, IDS), luck.uniform(0.0, 0.005))
        elif attempt == 0 and luck.random() < 0.5:
            moment = Moment(luck.randint(1, IDS // 2), luck.uniform(0.0, 0.002), history)
        end = killer.run(order | {"log": str(log)}, None if last else moment)
        order["ids"] = []
        lines = log.read_text().split("\n")[:-1] if log.exists() else []
        assert end == "killed" or lines[-1:] == ["end"], f"{end}: {lines}"
        taken = judge(lines, str(order["way"]) if attempt == 0 else "iterate", truth, found)
        look_into(history, lines, found)
        for request_id in taken:
            if request_id in acknowledged:
                found.repeated.add(request_id)
            found.again += delivered.get(request_id, 0)
            delivered[request_id] = 1
        acknowledged |= known_acknowledged(lines, taken, attempt, str(order["way"]))
        found.kills += end == "killed"
        found.midway += end == "killed" and 0 < len(taken) < IDS
        if end != "killed":
            break
    polled = {request_id for request_id in ids if project.requests[request_id].polls}
    found.lost = polled - set(delivered)
    return found


def look_into(history: Path, lines: list[str], found: Round) -> None:
    """
    Read the history that a victim left, and compare it with what was there before.

    A copy is read: to open a file that was left in the middle of a write repairs it, and the
    next victim shall do that itself.
    """
    found.broken += [line for line in lines if line.startswith("warning ")]
    if not history.exists():  # it was killed before it had a tracker
        return
    copy = history.with_name(f"copy-of-{history.name}")
    shutil.copyfile(history, copy)
    rollback_journal(copy).unlink(missing_ok=True)
    if rollback_journal(history).exists():
        shutil.copyfile(rollback_journal(history), rollback_journal(copy))
        found.cut_off = True
    try:
        with closing(sqlite3.connect(copy)) as connection:
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        learned = {known.name: known.runs for known in History(copy).remembered()}
    except sqlite3.DatabaseError as error:
        problems, learned = [str(error)], {}
    found.broken += [problem for problem in problems if problem != "ok"]
    found.broken += [
        f"{name}: {runs} runs became {learned.get(name)}"
        for name, runs in found.learned.items()
        if learned.get(name, 0) < runs
    ]
    found.learned = learned


def judge(lines: list[str], way: str, truth: dict[str, str], found: Round) -> list[str]:
    """What one victim got, in order; what is wrong goes into *found*."""
    taken = []
    for line in lines:
        if not line.startswith("+"):
            continue
        request_id, _, outcome = line[1:].partition(" ")
        if truth[request_id] != outcome:
            found.wrong.add(request_id)
        if request_id in taken:
            found.repeated.add(request_id)
        taken.append(request_id)
    return taken


def known_acknowledged(lines: list[str], taken: list[str], attempt: int, way: str) -> set[str]:
    """What must never come again: all that was acknowledged before the last line."""
    if "end" in lines:
        return set(taken)
    explicit = attempt == 0 and way in {"hold", "gather"}
    if explicit:
        upto = len(lines) - lines[::-1].index("ack") if "ack" in lines else 0
        # What `resume` delivered behind the last acknowledgment was acknowledged one by one.
        return {line[1:].partition(" ")[0] for line in lines[:upto] if line.startswith("+")}
    return set(taken[:-1])


@pytest.mark.parametrize("number", range(ROUNDS))
def test_kill_loses_nothing(
    number: int, simulator: RunningSimulator, killer: Killer, tmp_path: Path
) -> None:
    """
    Every result of a request that was ever asked about arrives, true, and again only where
    it was not acknowledged; the history stays readable, and nothing that it learned is lost.
    """
    found = play(number, simulator, killer, tmp_path)

    assert not found.wrong
    assert not found.lost
    assert not found.repeated
    assert not found.broken
    assert not list(tmp_path.glob("*.broken"))


def test_rounds_kill_in_the_middle(
    simulator: RunningSimulator, killer: Killer, tmp_path: Path
) -> None:
    """
    Rounds in which everybody finishes, or nobody begins, would prove nothing.
    """
    rounds = [play(1000 + number, simulator, killer, tmp_path) for number in range(8)]

    assert sum(found.midway for found in rounds) >= 4
    # Five are acknowledged together at most.
    assert sum(found.again for found in rounds) <= sum(found.kills for found in rounds) * 5


def test_rounds_cut_off_what_is_learned(
    simulator: RunningSimulator, killer: Killer, tmp_path: Path
) -> None:
    """
    Rounds in which nothing is learned, or none dies while that is written, would prove nothing.
    """
    for number in range(3000, 3040):
        found = play(number, simulator, killer, tmp_path)
        if found.cut_off and found.learned:
            return
    pytest.fail("no history was cut off in 40 rounds")


def test_control_breaks_a_history(
    simulator: RunningSimulator, killer: Killer, tmp_path: Path
) -> None:
    """
    The same rounds see it where a history is written over in place.
    """
    for number in range(4000, 4040):
        if play(number, simulator, killer, tmp_path, sabotage="learn").broken:
            return
    pytest.fail("no history broke in 40 rounds")


@pytest.mark.parametrize("sabotage", ["acknowledge", "tell"])
def test_control_loses_something(
    sabotage: str, simulator: RunningSimulator, killer: Killer, tmp_path: Path
) -> None:
    """
    The same rounds see the loss where acknowledging comes before using, or asking before
    the ID is on disk.
    """
    for number in range(2000, 2040):
        way = "iterate" if sabotage == "acknowledge" else None
        if play(number, simulator, killer, tmp_path, way=way, sabotage=sabotage).lost:
            return
    pytest.fail("nothing was lost in 40 rounds")
