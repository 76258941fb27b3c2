"""
The file: who may read it, what it costs when it is lost, and that many may write it.
"""

from __future__ import annotations

import math
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker.errors import InvalidRequestError
from onehouse_tracker.history import History
from onehouse_tracker.history._file import Contents, default_path
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


def test_no_statement_is_named_without_a_key() -> None:
    """
    Where there is no file there is no key, and anybody could try out statements.
    """
    assert History.names(Contents(b"", {}), "DROP TABLE customers", "DROP") == ("l:DROP",)


def test_a_statement_that_is_no_unicode_has_a_name() -> None:
    """
    Whatever a source of somebody's own accepts: to remember it must not fail.
    """
    contents = Contents(bytes(16), {})
    first, second = (History.names(contents, text, None) for text in ("\ud800", "\ud801"))

    assert len(first) == len(second) == 1
    assert first != second


@pytest.mark.parametrize("given", ["12", b"12", {"1": "2"}, ["1", 2]])
@pytest.mark.parametrize("what", ["labels", "jobs"])
def test_one_name_is_not_taken_for_many(path: Path, what: str, given: Any) -> None:
    """
    The characters of a name are names of others, and what was forgotten is gone.
    """
    history = History(path)
    for name in ("l:1", "l:2", "j:1", "j:2"):
        _teach(history, name, 1.0)

    with pytest.raises(InvalidRequestError, match=f"list of {what}|is a str, not int"):
        history.forget(**{what: given})

    assert len(history.remembered()) == 4


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
