"""
Files that cannot be used: each is a clear error that names the file, and harms nothing.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from onehouse_tracker.errors import JournalCorruptError, JournalError, JournalWriteError
from onehouse_tracker.journal import JournalReader, SqliteJournal
from onehouse_tracker.journal._errors import translated
from tests.journal.files import added, opened, recorded, state

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal will be."""
    return tmp_path / "journal.db"


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can reach, unlike pytest's."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom modes concern: root may write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_full_disk_is_an_error_and_loses_nothing_that_was_written(path: Path) -> None:
    """
    What is on disk stays, what is not was never confirmed, and room made later is used.
    """
    with closing(opened(path)) as journal:
        journal.write([added("a")])
        connection = journal._connection
        assert connection is not None
        connection.execute("PRAGMA max_page_count = 1")
        many = [added(f"id-{number}") for number in range(5000)]

        with pytest.raises(JournalWriteError, match=r"journal\.db: the disk is full: make room"):
            journal.write(many)

        assert state(path) == {"a": "pending"}
        connection.execute("PRAGMA max_page_count = 1000000")
        journal.write(many)
        assert len(state(path)) == 5001


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_write_that_the_system_refuses_is_an_error(path: Path) -> None:
    """
    A quota fails in the middle of a write; the file stays sound, and the error says so.
    """
    program = """
import resource, sys
from datetime import datetime, UTC
from onehouse_tracker.errors import JournalWriteError
from onehouse_tracker.journal import Added, SqliteJournal
from onehouse_tracker.models import Request
journal = SqliteJournal(sys.argv[1])
journal.open()
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
written = 0
try:
    while True:
        journal.write([Added(Request(f"id-{written + n}"), datetime.now(UTC)) for n in range(50)])
        written += 50
except JournalWriteError as error:
    print(written, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )

    written, _, message = done.stdout.partition(" ")
    assert f"journal {path}: the disk" in message
    assert len(state(path)) == int(written) > 0
    opened(path).close()


@pytest.mark.skipif(sys.platform == "win32", reason="modes are a matter of POSIX")
def test_read_only_file_is_an_error(public: Path) -> None:
    """
    A journal that takes nothing is no journal.
    """
    path = public / "journal.db"
    opened(path).close()
    public.chmod(0o777)
    path.chmod(0o444)
    (public / "journal.db-lock").unlink()

    with unprivileged(), pytest.raises(JournalWriteError, match=r"journal\.db: .*(user|writable)"):
        opened(path)


@pytest.mark.skipif(sys.platform == "win32", reason="modes are a matter of POSIX")
def test_directory_that_may_not_be_written_to_is_an_error(public: Path) -> None:
    """
    Named before anything is asked, with what to do.
    """
    with unprivileged(), pytest.raises(JournalWriteError, match="Permission denied; choose a dir"):
        opened(public / "journal.db")


@pytest.mark.parametrize(
    "content",
    [b"request-1\nrequest-2\n" * 200, b"SQLite format 3\x00" + b"\xff" * 4096],
    ids=["text", "damaged head"],
)
def test_file_that_is_no_database_is_left_alone(path: Path, content: bytes) -> None:
    """
    A list of IDs given by mistake, or a damaged journal, must not be overwritten.
    """
    path.write_bytes(content)

    with pytest.raises(JournalCorruptError, match="it was left as it is"):
        opened(path)
    with pytest.raises(JournalCorruptError, match="it was left as it is"):
        SqliteJournal.read(path)

    assert path.read_bytes() == content


def test_damage_inside_is_an_error_where_it_is_met(path: Path) -> None:
    """
    A page that does not make sense is not read over.
    """
    with closing(opened(path)) as journal:
        journal.write([added(f"id-{number}") for number in range(9000)])
    damaged = bytearray(path.read_bytes())
    damaged[200_000:300_000] = b"\xff" * 100_000
    path.write_bytes(damaged)

    with pytest.raises(JournalCorruptError, match="recover"):
        SqliteJournal.read(path)
    with closing(opened(path)) as journal, pytest.raises(JournalCorruptError, match="recover"):
        journal.pending(0, 9000)


def test_database_of_another_program_is_left_alone(path: Path) -> None:
    """
    It would not thank us for tables of ours.
    """
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    content = path.read_bytes()

    with pytest.raises(JournalCorruptError, match="another program's SQLite database"):
        opened(path)
    with pytest.raises(JournalCorruptError, match="another program's SQLite database"):
        SqliteJournal.read(path)

    assert path.read_bytes() == content


def test_row_that_makes_no_sense_is_an_error(path: Path) -> None:
    """
    Whoever edits the file by hand is told, instead of losing a request.
    """
    with closing(opened(path)) as journal:
        journal.write([recorded("a")])
        assert journal._connection is not None
        journal._connection.execute("UPDATE requests SET detected_at = 'noon'")

        with pytest.raises(JournalCorruptError, match="a row does not make sense"):
            journal.unacknowledged(0, 9)
    with pytest.raises(JournalCorruptError, match="a row does not make sense"):
        SqliteJournal.read(path)


def test_places_that_cannot_hold_a_file_are_named(tmp_path: Path) -> None:
    """
    The most common mistake is a path that is none.
    """
    (tmp_path / "directory").mkdir()

    with pytest.raises(JournalWriteError, match="it is a directory"):
        opened(tmp_path / "directory")
    with pytest.raises(JournalWriteError, match="No such file or directory; choose a directory"):
        opened(tmp_path / "missing" / "journal.db")
    with pytest.raises(JournalError, match="there is no such file"):
        SqliteJournal.read(tmp_path / "missing.db")
    assert not (tmp_path / "missing.db").exists()


def test_file_that_another_program_writes_to_is_an_error(path: Path) -> None:
    """
    A shell that was left open in a transaction blocks every write.
    """
    with closing(opened(path)) as journal, closing(sqlite3.connect(path)) as shell:
        assert journal._connection is not None
        journal._connection.execute("PRAGMA busy_timeout = 10")
        shell.execute("BEGIN IMMEDIATE")

        with pytest.raises(JournalWriteError, match="another program holds it locked"):
            journal.write([added("a")])

        shell.execute("ROLLBACK")
        journal.write([added("a")])


def test_journal_that_is_not_open_says_so(path: Path) -> None:
    """
    It is the tracker that opens and closes it.
    """
    journal = SqliteJournal(path)

    assert repr(journal) == f"<SqliteJournal {path}: closed>"
    with pytest.raises(JournalWriteError, match="not open"):
        journal.write([added("a")])


def test_failure_to_open_leaves_nothing_locked(path: Path) -> None:
    """
    After the cause is mended, the same object opens.
    """
    path.write_bytes(b"no database at all, only words" * 10)
    journal = SqliteJournal(path)
    with pytest.raises(JournalCorruptError):
        journal.open()

    path.unlink()

    assert journal.open() == 0
    assert repr(journal) == f"<SqliteJournal {path}: open>"
    journal.close()


@pytest.mark.skipif(sys.platform == "win32", reason="modes are a matter of POSIX")
def test_reading_where_nobody_may_write_says_what_to_do(public: Path) -> None:
    """
    SQLite needs two files beside a journal that was not closed.
    """
    path = public / "journal.db"
    with closing(opened(path)) as journal:
        journal.write([added("a")])
        shutil.copy(path, public / "copy.db")
        shutil.copy(public / "journal.db-wal", public / "copy.db-wal")
    copy = public / "copy.db"
    copy.chmod(0o644)
    (public / "copy.db-wal").chmod(0o644)
    public.chmod(0o555)

    with unprivileged(), pytest.raises(JournalError, match="copy it, with the -wal file"):
        SqliteJournal.read(copy)


def test_every_complaint_names_the_file_and_is_pickled(path: Path) -> None:
    """
    Whatever SQLite or the system may say ends as one of our errors.
    """
    strange = sqlite3.OperationalError("strange")
    for error in (strange, OSError(errno.EROFS, "Read-only file system"), OSError("odd")):
        translation = translated(error, path)
        assert isinstance(translation, JournalWriteError)
        assert str(path) in str(translation)
        assert translation.path == str(path)


@pytest.mark.parametrize(
    ("place", "advice"),
    [(".", "it is a directory"), ("no/j.db", "does not exist: create it"), ("j.db", "open files")],
)
def test_file_that_cannot_be_opened_has_a_reason(tmp_path: Path, place: str, advice: str) -> None:
    """
    SQLite says the same sentence for all of them.
    """
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN

    assert advice in str(translated(error, tmp_path / place))


def test_reader_of_a_file_says_which() -> None:
    """
    For logs.
    """
    assert repr(JournalReader("/data/j.db")) == "<JournalReader /data/j.db>"
