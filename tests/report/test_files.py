"""
Where reports are written, and what is never replaced by one.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from onehouse_tracker import ConfigError
from onehouse_tracker.report import ReportObserver, check_report_path, write_report

NOBODY = 65534
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


def mode_of(path: Path) -> int:
    """Who may read and write it."""
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    """
    A device or a pipe that became a file would break whoever else uses it.
    """
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)

    for path in (pipe, link):
        with pytest.raises(ConfigError, match="no regular file"):
            check_report_path(path)
        with pytest.raises(ConfigError, match="no regular file"):
            write_report(path, ReportObserver())
    assert pipe.is_fifo()
    assert link.is_symlink()


def test_a_link_to_a_report_stays_a_link(tmp_path: Path) -> None:
    """
    The latest report is often found through one.
    """
    target, link = tmp_path / "target.html", tmp_path / "link.html"
    link.symlink_to(target)

    write_report(link, ReportObserver())

    assert link.is_symlink()
    assert target.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_report_is_private(tmp_path: Path, umask: int) -> None:
    """
    It holds the reasons that the server gave, which may quote a statement.
    """
    path = tmp_path / ("r" * 250 + ".html")  # as long as a name can be
    before = os.umask(umask)
    try:
        write_report(path, ReportObserver())
    finally:
        os.umask(before)

    assert mode_of(path) == 0o600


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o604, 0o400])
def test_an_older_report_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    """
    Who published it wants the next one to be seen too; and nobody else.
    """
    path = tmp_path / "r.html"
    path.write_text("old")
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, -1, NOBODY)
    group = path.stat().st_gid

    write_report(path, ReportObserver())

    assert path.read_text() != "old"
    assert mode_of(path) == mode
    assert path.stat().st_gid == group
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]


@as_root
def test_a_group_that_cannot_be_kept_is_not_replaced_by_another(public: Path) -> None:
    """
    The mode is meant for the old group.
    """
    path = public / "r.html"
    path.write_text("old")
    os.chown(path, NOBODY, 12345)
    path.chmod(0o660)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        write_report(path, ReportObserver())
    finally:
        os.seteuid(0)
        os.setegid(0)

    assert mode_of(path) == 0o600
    assert path.stat().st_gid == NOBODY


@as_root
def test_a_planted_file_does_not_keep_its_owner(public: Path) -> None:
    """
    Who put it there would read the report.
    """
    path = public / "r.html"
    path.touch()
    path.chmod(0o666)
    os.chown(path, NOBODY, NOBODY)

    write_report(path, ReportObserver())

    assert path.stat().st_uid == os.geteuid()
    assert mode_of(path) == 0o600


@as_root
def test_a_link_of_another_user_is_not_followed(public: Path, tmp_path: Path) -> None:
    """
    It leads to a private file of ours, which the report would replace.
    """
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (public / "r.html").symlink_to(victim)
    (public / "dir").symlink_to(tmp_path)
    for link, path in [("r.html", public / "r.html"), ("dir", public / "dir" / "victim")]:
        os.lchown(public / link, NOBODY, NOBODY)

        with pytest.raises(ConfigError, match=f"{public / link} is a link that belongs to"):
            check_report_path(path)
        with pytest.raises(ConfigError, match="is a link that belongs to another user"):
            write_report(path, ReportObserver())

    assert victim.read_text() == "precious"


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_a_name_that_is_taken_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """
    It cannot be guessed; and if it could, what is there is left alone.
    """
    names: list[int] = []

    def guessed(size: int) -> str:
        names.append(size)
        return "guessed"

    monkeypatch.setattr(secrets, "token_hex", guessed)
    victim = tmp_path / "victim"
    plant = tmp_path / ".onehouse-tracker-guessed"
    if kind != "dangling link":
        victim.write_text("precious")
    if kind == "file":
        plant.write_text("theirs")
    else:
        plant.symlink_to(victim)

    with pytest.raises(ConfigError, match="File exists"):
        write_report(tmp_path / "r.html", ReportObserver())

    assert names[-1] == 8
    assert not (tmp_path / "r.html").exists()
    assert plant.read_text() == "theirs" if kind == "file" else plant.is_symlink()
    assert victim.exists() == (kind != "dangling link")


def test_a_disk_that_is_full_leaves_the_old_report(tmp_path: Path) -> None:
    """
    And nothing beside it.
    """
    path = tmp_path / "r.html"
    path.write_text("old")
    program = f"""
import resource, signal
from onehouse_tracker import ConfigError
from onehouse_tracker.report import ReportObserver, write_report
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_report({str(path)!r}, ReportObserver())
except ConfigError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert f"cannot write the report {path}: File too large" in done.stdout
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]
