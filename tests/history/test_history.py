"""
The file: who may read it, what it costs when it is lost, and that many may write it.
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from onehouse_tracker.history import History
from onehouse_tracker.history._file import HistoryFile, default_path
from onehouse_tracker.history._records import Lesson

COMMON = 0.04


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the history will be; its directory is not there yet."""
    return tmp_path / "state" / "history.db"


def _teach(history: History, name: str, *seconds: float, project: str = "p") -> None:
    history.add(project, [Lesson((name,), value, value) for value in seconds], COMMON)


def test_what_was_taught_is_remembered(path: Path) -> None:
    """
    By project, in the units of people.
    """
    history = History(path)
    _teach(history, "l:nightly", 60.0, 60.0, 60.0)
    _teach(history, "l:nightly", 600.0, project="other")

    record = History(path).read("p").records["l:nightly"]
    assert record.runs == 3.0
    assert math.exp(record.mean) == pytest.approx(60.0)
    other, mine = History(path).remembered()
    assert (other.project, other.runs) == ("other", 1)
    assert other.median == pytest.approx(600.0)
    assert (mine.kind, mine.name) == ("label", "nightly")
    assert mine.median == pytest.approx(60.0)
    assert mine.low < 60 < mine.high
    assert history.forget() == 2
    assert History(path).remembered() == []


def test_nothing_is_there_at_first(path: Path) -> None:
    """
    To look at it makes no file; to read it for a tracker does.
    """
    assert History(path).remembered() == []
    assert History(path).forget() == 0
    assert not path.exists()
    assert History(path).read("p").records == {}
    assert path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no modes")
def test_nobody_else_can_read_it(path: Path) -> None:
    """
    Also where somebody loosened the mode, and in spite of the umask.
    """
    old = os.umask(0)
    try:
        History(path).read("p")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        path.chmod(0o644)
        _teach(History(path), "l:x", 1.0)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(old)


def test_statements_are_stored_as_keyed_hashes(path: Path, tmp_path: Path) -> None:
    """
    Another file has another key: nobody can try statements out. Literals do not count.
    """
    contents, other = History(path).read("p"), History(tmp_path / "other.db").read("p")
    statement, label = "SELECT * FROM t WHERE secret = 'hunter2'", "RUN JOB"

    names = History.names(contents, statement, label)

    assert names == History.names(contents, statement.replace("hunter2", "abc"), label)
    assert names[0] != History.names(other, statement, label)[0]
    assert names[1] == "l:RUN JOB"
    assert History.names(contents, None, None) == ()
    _teach(History(path), names[0], 1.0)
    stored = path.read_bytes()
    assert b"SELECT" not in stored
    assert b"hunter2" not in stored


def _truncate(path: Path) -> None:
    History(path).read("p")
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 5000)


def _replace_by_text(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("Dear diary, this is no database, and it is long enough to be none.\n" * 9)


@pytest.mark.parametrize("damage", [_truncate, _replace_by_text])
def test_a_damaged_file_costs_one_warning(
    path: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is put aside, and the next run begins anew.
    """
    damage(path)  # type: ignore[operator]
    history = History(path)

    assert history.read("p").records == {}
    _teach(history, "l:x", 1.0)

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "history.db.broken" in caplog.text
    caplog.clear()
    assert set(History(path).read("p").records) == {"l:x"}
    assert not caplog.records


def _of_tomorrow(path: Path) -> None:
    History(path).read("p")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")


def _of_somebody_else(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE accounts (name TEXT)")


def _a_directory(path: Path) -> None:
    path.mkdir(parents=True)


def _locked(path: Path) -> None:
    HistoryFile(path).read("p")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    _OPEN.append(connection)


_OPEN: list[sqlite3.Connection] = []


@pytest.mark.parametrize("trouble", [_of_tomorrow, _of_somebody_else, _a_directory, _locked])
def test_a_file_that_cannot_be_used_costs_one_warning(
    path: Path, trouble: object, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is left as it is: another version, or another program, needs it.
    """
    monkeypatch.setattr("onehouse_tracker.history._file._PATIENCE", 0.05)
    trouble(path)  # type: ignore[operator]
    before = path.read_bytes() if path.is_file() else b""
    history = History(path)
    try:
        assert history.read("p").records == {}
        _teach(history, "l:x", 1.0)
        _teach(history, "l:x", 1.0)
    finally:
        while _OPEN:
            _OPEN.pop().close()

    assert len(caplog.records) == 1
    assert "nothing is learned from earlier runs" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING
    assert (path.read_bytes() if path.is_file() else b"") == before


@pytest.mark.parametrize(
    "row",
    [
        ("p", "l:x", math.inf, 1.0, 1.0),
        ("p", "l:x", 1.0, None, 1.0),
        ("p", "l:x", 1.0, 1e300, 1.0),
        ("p", "l:x", 1.0, 1.0, -1.0),
        ("p", "l:x", "many", 1.0, 1.0),
    ],
)
def test_rows_that_make_no_sense_are_left_out(path: Path, row: tuple[object, ...]) -> None:
    """
    A forecast from such numbers would break the order of all polls.
    """
    History(path).read("p")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE runs")
        connection.execute(
            "CREATE TABLE runs (project, name, runs, mean, variance, last,"
            " PRIMARY KEY (project, name))"
        )
        connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, 0)", row)

    assert History(path).read("p").records == {}
    _teach(History(path), "l:x", 60.0)
    assert History(path).read("p").records["l:x"].runs == 1.0


def test_many_processes_write_one_file(path: Path) -> None:
    """
    Rows are merged: no process takes back what another one learned.
    """
    program = (
        "import sys; from onehouse_tracker.history import History;"
        "from onehouse_tracker.history._records import Lesson;"
        "history = History(sys.argv[1]);"
        "[history.add('p', [Lesson(('l:all', f'l:{sys.argv[2]} {n}'), 60.0, 60.0)], 0.04)"
        " for n in range(20)]"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(path), str(number)])
        for number in range(3)
    ]
    assert [process.wait(timeout=30) for process in processes] == [0, 0, 0]

    records = History(path).read("p").records
    assert len(records) == 61
    assert records["l:all"].runs == 10.0


def test_the_names_that_ran_longest_ago_go_first(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A name per request must not fill the disk.
    """
    monkeypatch.setattr("onehouse_tracker.history._file.MOST_NAMES", 3)
    clock = iter(range(100, 200))
    monkeypatch.setattr("onehouse_tracker.history._file.time.time", lambda: float(next(clock)))
    history = History(path)
    for number in range(5):
        _teach(history, f"l:{number}", 1.0)
    _teach(history, "l:3", 1.0)

    assert sorted(history.read("p").records) == ["l:2", "l:3", "l:4"]


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="other places")
@pytest.mark.parametrize(
    ("state", "where"),
    [
        ("/var/state", "/var/state/onehouse-tracker/history.db"),
        ("", "~/.local/state/onehouse-tracker/history.db"),
        ("relative", "~/.local/state/onehouse-tracker/history.db"),
    ],
)
def test_it_is_where_programs_keep_their_state(state: str, where: str) -> None:
    """
    As the XDG base directory specification says.
    """
    assert default_path({"XDG_STATE_HOME": state}) == Path(where).expanduser()
