"""
Writes reports to disk: whole, or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from onehouse_tracker._checks import user_path
from onehouse_tracker._util.own_files import followed, write_whole
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.journal import JournalReader
from onehouse_tracker.report._observer import ReportObserver
from onehouse_tracker.report._render import render
from onehouse_tracker.report._stored import journal_view, results_view, run_results_view
from onehouse_tracker.results import Results
from onehouse_tracker.run_results import RunResults

__all__ = ["check_report_path", "write_report"]


def write_report(
    path: str | os.PathLike[str],
    source: ReportObserver | JournalReader | Results | RunResults,
    *,
    title: str = "onehouse-tracker report",
    delays: Mapping[str, float] | None = None,
) -> None:
    """
    Write a report: one HTML file that needs nothing but a browser.

    It holds request IDs, labels and the reasons that the server gave, and no response.  It
    blocks: a service calls it in a thread.

    Args:
        path: The file; an older one is replaced.  Only its owner may read it, unless an older
            one of the same owner could be read by others.

        source: A recording tells most.  A journal and results know neither the use of the
            budget nor outages, and the report says so.

        title: Its heading.

        delays: True delays in seconds by request ID, where somebody knows them; of a
            recording only.

    Raises:
        ConfigError: Jinja2 is missing, or the file cannot be written.

        JournalError: The journal cannot be read.
    """
    if isinstance(source, ReportObserver):
        view = source.view(delays=delays)
    elif isinstance(source, JournalReader):
        view = journal_view(source)
    elif isinstance(source, RunResults):
        view = run_results_view(source)
    else:
        view = results_view(source)
    _replace(user_path(path), render(view, title=title))


def check_report_path(path: str | os.PathLike[str]) -> None:
    """
    Do nothing if a report can be written to *path*, as far as that can be known before.

    Raises:
        ConfigError: It cannot.
    """
    _checked(user_path(path))


def _checked(path: Path) -> Path:
    try:
        target = followed(path)  # a link of our own stays one
    except OSError as error:
        raise ConfigError(f"cannot write the report {path}: {error.strerror}") from error
    if target.is_dir():
        raise ConfigError(f"cannot write the report {path}: it is a directory")
    # Asked of the path as it was given: /dev/stdout leads to no name that can be resolved.
    if path.exists() and not path.is_file():
        raise ConfigError(f"cannot write the report {path}: it is no regular file")
    if not target.parent.is_dir():
        raise ConfigError(f"cannot write the report {path}: there is no such directory")
    if not os.access(target.parent, os.W_OK):
        raise ConfigError(f"cannot write the report {path}: the directory is read-only")
    return target


def _replace(path: Path, text: str) -> None:
    target = _checked(path)
    try:
        # The name of a file need not be text that can be encoded, and may be part of the title.
        write_whole(target, text.encode("utf-8", "replace").decode())
    except OSError as error:
        raise ConfigError(f"cannot write the report {path}: {error.strerror}") from error
