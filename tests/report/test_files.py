"""
Where reports are written, and what is never replaced by one.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onehouse_tracker import ConfigError
from onehouse_tracker.report import Recording, check_report_path, write_report


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
            write_report(path, Recording())
    assert pipe.is_fifo()
    assert link.is_symlink()


def test_a_link_to_a_report_stays_a_link(tmp_path: Path) -> None:
    """
    The latest report is often found through one.
    """
    target, link = tmp_path / "target.html", tmp_path / "link.html"
    link.symlink_to(target)

    write_report(link, Recording())

    assert link.is_symlink()
    assert target.read_text().startswith("<!doctype html>")
