"""
A file that is damaged, or no history, or cannot be used: it costs one warning and nothing else.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from onehouse_tracker.history import History
from onehouse_tracker.history._file import DamagedError, HistoryFile
from onehouse_tracker.history._records import Lesson


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the history will be; its directory is not there yet."""
    return tmp_path / "state" / "history.db"


_OPEN: list[sqlite3.Connection] = []


def _teach(history: History, name: str, *seconds: float) -> None:
    history.add("p", [Lesson((name,), value, value) for value in seconds], 0.04)


def _garble(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 5000)


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _lose_all_but_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _sql(*statements: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    return damage


_DAMAGES = {
    "garbled": _garble,
    "cut off": _cut_off,
    "header only": _lose_all_but_the_header,
    "text as key": _sql("UPDATE secret SET key = 'sixteen letters!'"),
    "number as key": _sql("UPDATE secret SET key = 16"),
    "absurd number as key": _sql("UPDATE secret SET key = 9000000000000000000"),
    "long key": _sql("UPDATE secret SET key = zeroblob(65)"),
    "empty key": _sql("UPDATE secret SET key = x''"),
    "no key": _sql(
        "DROP TABLE secret", "CREATE TABLE secret (key)", "INSERT INTO secret VALUES (NULL)"
    ),
}


@pytest.mark.parametrize("damage", _DAMAGES.values(), ids=_DAMAGES)
def test_a_damaged_file_costs_one_warning(
    path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is put aside, and a new one is begun at once: what is learned tonight is known tomorrow.
    """
    _teach(History(path), "l:old", 1.0)
    damage(path)
    damaged = path.read_bytes()
    history = History(path)

    contents = history.read("p")
    _teach(history, history.names(contents, "SHOW TABLES", None)[0], 1.0)

    assert contents.records == {}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "history.db.broken" in caplog.text
    assert path.with_name("history.db.broken").read_bytes() == damaged
    caplog.clear()
    tomorrow = History(path).read("p")
    assert tuple(tomorrow.records) == History.names(tomorrow, "show tables", None)
    assert not caplog.records


def test_no_damaged_file_takes_the_place_of_another(path: Path) -> None:
    """
    Somebody may want to look into it, and the name may have been taken by anything.
    """
    path.parent.mkdir()
    path.with_name("history.db.broken").write_text("mine")
    for _ in range(2):
        _teach(History(path), "l:x", 1.0)
        _cut_off(path)
        History(path).read("p")

    found = {each.name: each.stat().st_size for each in path.parent.iterdir()}
    assert found == {
        "history.db": path.stat().st_size,
        "history.db.broken": len("mine"),
        "history.db.broken-2": 5000,
        "history.db.broken-3": 5000,
    }


def test_what_another_process_began_anew_is_not_put_aside(path: Path) -> None:
    """
    Two processes find the same damage; the second one uses the file that the first one began.
    """
    _teach(History(path), "l:x", 1.0)
    _cut_off(path)
    file = HistoryFile(path)
    with pytest.raises(DamagedError) as caught:
        file.read("p")
    _teach(first := History(path), "l:y", 1.0)
    first.read("p")
    _teach(History(path), "l:y", 1.0)

    assert file.set_aside(caught.value) is None
    assert set(file.read("p").records) == {"l:y"}
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_a_link_to_a_damaged_file_stays(path: Path, tmp_path: Path) -> None:
    """
    Somebody keeps the history on another disk; the new one is there, too.
    """
    (disk := tmp_path / "disk").mkdir()
    path.parent.mkdir()
    path.symlink_to(disk / "real.db")
    _teach(History(path), "l:x", 1.0)
    _cut_off(path)
    _teach(history := History(path), "l:x", 1.0)
    assert history.read("p").records == {}

    assert path.is_symlink()
    assert [each.name for each in path.parent.iterdir()] == ["history.db"]
    assert {each.name for each in disk.iterdir()} == {"real.db", "real.db.broken"}


def _text(path: Path) -> None:
    path.write_text("Dear diary, this is no database, and it is long enough to be none.\n" * 9)


def _one_word(path: Path) -> None:
    path.write_text("a")


def _headless(path: Path) -> None:
    History(path).read("p")
    path.write_bytes(bytes(512) + path.read_bytes()[512:])


def _written_ahead(path: Path) -> None:
    """A program has its database open, and SQLite would move what is beside it into it."""
    connection = sqlite3.connect(path, isolation_level=None)
    _OPEN.append(connection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA application_id = 4711")
    connection.execute("CREATE TABLE accounts (name TEXT)")


_FOREIGN = {
    "a text": _text,
    "one word": _one_word,
    "a database": _sql("CREATE TABLE accounts (name TEXT)"),
    "an empty database": _sql("PRAGMA user_version = 1"),
    "a database with an ID": _sql("PRAGMA application_id = 4711", "CREATE TABLE accounts (name)"),
    "a database in use": _written_ahead,
    "without a header": _headless,
}


@pytest.mark.skipif(sys.platform == "win32", reason="no modes")
@pytest.mark.parametrize("foreign", _FOREIGN.values(), ids=_FOREIGN)
def test_a_file_of_something_else_stays_as_it_is(
    path: Path, foreign: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """
    Its name, its content and its mode: somebody may have mistyped a path.
    """
    path.parent.mkdir()
    try:
        foreign(path)
        path.chmod(0o644)
        before = _directory(path.parent)
        history = History(path)
        assert history.read("p").records == {}
        _teach(history, "l:x", 1.0)
        with pytest.raises(OSError, match="no history"):
            history.remembered()
        with pytest.raises(OSError, match="no history"):
            history.forget()
        assert _directory(path.parent) == before
    finally:
        while _OPEN:
            _OPEN.pop().close()

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "choose another path, or remove the file if nobody needs it" in caplog.text


def _directory(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        each.name: (stat.S_IMODE(each.stat().st_mode), each.read_bytes())
        for each in directory.iterdir()
        if not each.name.endswith("-shm")  # shared memory: to read it would need a lock
    }


def test_an_empty_file_becomes_a_history(path: Path) -> None:
    """
    As `mktemp` makes one.
    """
    path.parent.mkdir()
    path.touch()
    _teach(History(path), "l:x", 1.0)

    assert set(History(path).read("p").records) == {"l:x"}


def _of_tomorrow(path: Path) -> None:
    History(path).read("p")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")


def _a_directory(path: Path) -> None:
    path.mkdir(parents=True)


def _locked(path: Path) -> None:
    HistoryFile(path).read("p")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    _OPEN.append(connection)


@pytest.mark.parametrize("trouble", [_of_tomorrow, _a_directory, _locked])
def test_a_file_that_cannot_be_used_costs_one_warning(
    path: Path, trouble: object, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is left as it is: another version, or another process, needs it.
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


@pytest.fixture
def unlocked(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Another process holds the file, until this is called."""
    monkeypatch.setattr("onehouse_tracker.history._file._PATIENCE", 0.05)
    _locked(path)

    def unlock() -> None:
        while _OPEN:
            _OPEN.pop().close()

    yield unlock
    unlock()


def test_one_locked_moment_costs_one_tracker(
    path: Path, unlocked: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    """
    The one that could not read writes nothing; the next one of the same history does.
    """
    history = History(path)
    assert history.read("p").records == {}
    unlocked()
    _teach(history, "l:first", 1.0)
    history.read("q")
    _teach(history, "l:still the first", 1.0)
    history.read("p")
    _teach(history, "l:second", 1.0)

    assert set(History(path).read("p").records) == {"l:second"}
    assert len(caplog.records) == 1


def test_a_write_that_fails_is_not_the_last_one(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A tracker lives for months, and another process holds the file for a moment.

    The same words are said again only after it worked.
    """
    monkeypatch.setattr("onehouse_tracker.history._file._PATIENCE", 0.05)
    history = History(path)
    history.read("p")
    for number in range(2):
        _locked(path)
        for _ in range(3):
            _teach(history, "l:lost", 1.0)
        _OPEN.pop().close()
        _teach(history, f"l:{number}", 1.0)

    assert set(History(path).read("p").records) == {"l:0", "l:1"}
    assert len(caplog.records) == 2


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


_NAMES = {
    "blob": "INSERT INTO runs VALUES ('p', x'6c3a78', 1, 1, 0, 1)",
    "null": "INSERT INTO runs VALUES ('p', NULL, 1, 1, 0, 1)",
    "number": "INSERT INTO runs VALUES ('p', 7, 1, 1, 0, 1)",
    "no UTF-8": "INSERT INTO runs VALUES ('p', CAST(x'6c3aff' AS TEXT), 1, 1, 0, 1)",
    "no project": "INSERT INTO runs VALUES (NULL, 'l:x', 1, 1, 0, 1)",
    "project of bytes": "INSERT INTO runs VALUES (x'70', 'l:x', 1, 1, 0, 1)",
}


@pytest.mark.parametrize("row", _NAMES.values(), ids=_NAMES)
def test_names_that_are_no_text_are_left_out(path: Path, row: str) -> None:
    """
    Nothing else could be compared with a label; to forget everything forgets them, too.
    """
    _teach(History(path), "l:good", 60.0)
    _sql(
        "ALTER TABLE runs RENAME TO old",
        "CREATE TABLE runs (project, name, runs REAL, mean REAL, variance REAL, last,"
        " PRIMARY KEY (project, name))",
        "INSERT INTO runs SELECT * FROM old",
        row,
    )(path)
    history = History(path)

    assert set(history.read("p").records) == {"l:good"}
    assert [known.name for known in history.remembered()] == ["good"]
    assert history.forget() == 2
