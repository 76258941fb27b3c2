"""
The files of a journal are ours alone: what others put in their place is refused.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from onehouse_tracker._util.own_files import create_private
from onehouse_tracker.errors import JournalWriteError
from onehouse_tracker.journal import sqlite
from tests.journal.files import added, opened, recorded, state

NOBODY = 65534
ENDINGS = ("", "-wal", "-shm", "-journal", "-lock")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="owners are a matter of POSIX")
as_root = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can act for two users"
)


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory where everybody may write, as /tmp."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o1777)
    yield directory
    shutil.rmtree(directory)


def planted(path: Path, ending: str, owner: int | None = None) -> Path:
    """An empty file that everybody may read and write, where a file of the journal will be."""
    plant = path.with_name(f"{path.name}{ending}")
    plant.touch()
    plant.chmod(0o666)
    if owner is not None:
        os.chown(plant, owner, owner)
    return plant


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_restored_file_is_made_private(tmp_path: Path, ending: str) -> None:
    """
    A backup often forgets modes, and answers are written into these files.
    """
    path = tmp_path / "journal.db"
    plant = planted(path, ending)

    with closing(opened(path)) as journal:
        journal.write([added("a")])
        modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}

        assert modes == {0o600}
        assert ending == "-journal" or plant.exists()


@as_root
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_of_another_user_is_refused(public: Path, ending: str) -> None:
    """
    Its owner would read the answers; and a journal of another user is not ours to fill.
    """
    path = public / "journal.db"
    plant = planted(path, ending, NOBODY)

    with pytest.raises(JournalWriteError, match=f"{plant} belongs to another user"):
        opened(path)

    assert plant.read_bytes() == b""
    assert stat.S_IMODE(plant.stat().st_mode) == 0o666


@pytest.mark.parametrize("ending", ["-wal", "-shm"])
def test_who_is_faster_than_sqlite_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """
    Between our look and the moment in which SQLite makes its files; no answer is written yet.
    """
    path, victim = tmp_path / "journal.db", tmp_path / "victim"
    victim.touch()

    def create_and_be_followed(file: Path) -> bool:
        created = create_private(file)
        os.link(victim, path.with_name(f"{path.name}{ending}"))
        return created

    monkeypatch.setattr(sqlite, "create_private", create_and_be_followed)

    with pytest.raises(JournalWriteError, match="hard link"):
        opened(path)


@as_root
def test_root_does_not_write_to_the_journal_of_a_user(public: Path) -> None:
    """
    What root adds there, the user's own tracker would follow and deliver.
    """
    path = public / "journal.db"
    with closing(opened(path)) as journal:
        journal.write([recorded("a")])
    os.chown(path, NOBODY, NOBODY)
    (public / "journal.db-lock").unlink()

    with pytest.raises(JournalWriteError, match="belongs to another user"):
        opened(path)
    assert state(path) == {"a": "recorded"}  # reading changes nothing


def _linked(victim: Path, plant: Path) -> None:
    plant.symlink_to(victim)


def _hard_linked(victim: Path, plant: Path) -> None:
    os.link(victim, plant)


@pytest.mark.parametrize(
    ("link", "ending"),
    # A link of our own to the journal itself is followed.
    [(_hard_linked, ""), *((link, e) for link in (_linked, _hard_linked) for e in ENDINGS[1:])],
)
def test_a_link_to_another_file_of_ours_is_refused(
    tmp_path: Path, link: Callable[[Path, Path], None], ending: str
) -> None:
    """
    SQLite would empty it, or fill it.
    """
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    victim.chmod(0o640)
    path = tmp_path / "journal.db"
    link(victim, path.with_name(f"{path.name}{ending}"))

    with pytest.raises(JournalWriteError, match=r"regular file|hard link"):
        opened(path)

    assert victim.read_bytes() == b""
    assert stat.S_IMODE(victim.stat().st_mode) == 0o640


@as_root
def test_a_link_of_another_user_is_not_followed(public: Path, tmp_path: Path) -> None:
    """
    It leads where that user wants, and an empty file of ours would become a journal.
    """
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    for link, path in [
        (public / "journal.db", public / "journal.db"),
        (public / "logs", public / "logs" / "victim"),
    ]:
        link.symlink_to(victim if link == path else tmp_path)
        os.lchown(link, NOBODY, NOBODY)

        with pytest.raises(JournalWriteError, match=f"{link} is a link that belongs to another"):
            opened(path)

    assert [file.name for file in tmp_path.iterdir()] == ["victim"]


def test_a_link_of_our_own_is_followed(tmp_path: Path) -> None:
    """
    A journal may lie on another disk.
    """
    there = tmp_path / "there"
    there.mkdir()
    link = tmp_path / "link"
    link.symlink_to("there")

    with closing(opened(link / ".." / "link" / "journal.db")) as journal:
        journal.write([added("a")])

    assert state(there / "journal.db") == {"a": "pending"}


def test_links_in_a_circle_are_told(tmp_path: Path) -> None:
    """
    Nobody makes them on purpose.
    """
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    with pytest.raises(JournalWriteError, match="symbolic links"):
        opened(tmp_path / "a")


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_no_file_is_refused(tmp_path: Path, ending: str) -> None:
    """
    Who opens a pipe may wait for ever.
    """
    path = tmp_path / "journal.db"
    os.mkfifo(path.with_name(f"{path.name}{ending}"))

    with pytest.raises(JournalWriteError, match="is no regular file"):
        opened(path)
