"""
Reports and live pages: of a run while it lasts and when it ends, and of a journal.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from onehouse_tracker._checks import user_path
from onehouse_tracker.cli._codes import CommandError, ExitCode
from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.errors import ConfigError, JournalError
from onehouse_tracker.journal import JournalReader
from onehouse_tracker.report import ReportObserver, check_renderer, check_report_path, write_report
from onehouse_tracker.tracker import Tracker

__all__ = ["recorded", "report_journal", "served"]


@contextmanager
def recorded(
    terminal: Terminal,
    path: str | None,
    *,
    limit: float,
    journal: str | None = None,
    title: str = "onehouse-tracker report",
    delays: Callable[[], Mapping[str, float]] | None = None,
) -> Iterator[list[ReportObserver]]:
    """
    Record what happens in the block, and write a report when it ends, however it ends.

    Where nothing happened, nothing is written: an older report tells more than an empty one.

    Args:
        terminal: Where to say that it is there.

        path: The file; `None` records and writes nothing.

        limit: Requests per second that may be sent.

        journal: What must not be overwritten, if there is one.

        title: Its heading.

        delays: Tells the true delays by request ID, where they are known.

    Returns:
        The observers that a tracker needs for it.

    Raises:
        ConfigError: A report cannot be written: known before anything is done.

        CommandError: It would overwrite the journal; or it could not be written in the end.
    """
    if path is None:
        yield []
        return
    check_renderer()
    check_report_path(path)
    if journal is not None:
        _check_not_journal(path, journal, "--report")
    recording = ReportObserver(limit=limit)
    try:
        yield [recording]
    except ConfigError:
        raise  # it did not begin
    except BaseException:
        # What ended the run matters more than a report that cannot be written.
        try:
            _write(terminal, path, recording, title, delays)
        except CommandError as error:
            terminal.say(f"error: {error}")
        raise
    _write(terminal, path, recording, title, delays)


@asynccontextmanager
async def served(
    terminal: Terminal, tracker: Tracker, port: int | None, *, title: str = "onehouse-tracker"
) -> AsyncIterator[None]:
    """
    Serve a live page while *tracker* is open, and say where it is; `None` serves nothing.

    Raises:
        ConfigError: It cannot be served: known before anything is asked.
    """
    if port is not None:
        page = await tracker.serve_page(port, title=title)
        terminal.note(f"live page: {page.url}")
    yield


def _write(
    terminal: Terminal,
    path: str,
    recording: ReportObserver,
    title: str,
    delays: Callable[[], Mapping[str, float]] | None,
) -> None:
    if recording.version == 0:
        terminal.note(f"no report: nothing happened that {path} could show")
        return
    known = None if delays is None else delays()
    try:
        write_report(path, recording, title=title, delays=known)
    except ConfigError as error:
        raise CommandError(str(error)) from error
    terminal.note(f"report: {path}")


async def report_journal(terminal: Terminal, journal: str, path: str | None) -> ExitCode:
    """
    Write a report of what the journal holds, and print where it is.

    Raises:
        CommandError: There is no such journal, or it cannot be read.

        ConfigError: The report cannot be written.
    """
    check_renderer()
    target = str(user_path(journal).with_suffix(".html")) if path is None else path
    _check_not_journal(target, journal, "--out")
    check_report_path(target)
    try:
        write_report(target, JournalReader(journal), title=f"Journal {Path(journal).name}")
    except JournalError as error:
        raise CommandError(str(error)) from None
    await terminal.emit(target)

    return ExitCode.OK


def _check_not_journal(path: str, journal: str, option: str) -> None:
    for ending in ("", "-wal", "-shm", "-journal", "-lock"):
        if _is_same(path, f"{journal}{ending}"):
            what = "the journal itself" if not ending else f"a file of the journal {journal}"
            raise CommandError(f"{path} is {what}: choose another {option}")


def _is_same(one: str, other: str) -> bool:
    """Whether both name one file, however they are spelt, and though it may not be there yet."""
    try:
        return user_path(one).samefile(user_path(other))
    except OSError:
        return os.path.realpath(user_path(one)) == os.path.realpath(user_path(other))
