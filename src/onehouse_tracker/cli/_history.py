"""
What earlier runs took: where commands keep it, what is known, and how to forget it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple, TypeVar

from onehouse_tracker._util.text import reason_of
from onehouse_tracker.cli._codes import CommandError, ExitCode
from onehouse_tracker.cli._command_settings import HISTORY_VARIABLE, CommandSettings
from onehouse_tracker.cli._connectivity import Finding, State
from onehouse_tracker.cli._output import Item, TableColumn
from onehouse_tracker.cli._terminal import Terminal, clean
from onehouse_tracker.cli._writers import writer_of
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.history import History, Remembered
from onehouse_tracker.history._file import default_path
from onehouse_tracker.observers._progress import duration
from onehouse_tracker.onehouse._credential_sources.environment import is_quoted, plain
from onehouse_tracker.onehouse.credentials import Credentials

__all__ = ["Forgotten", "forget_history", "history_finding", "history_of", "show_history"]

_T = TypeVar("_T")
_LEAST_OF_KEY = 8
"""So many characters of a project's key the table shows."""


class Forgotten(NamedTuple):
    """What `history forget` is to forget: everything, if nothing is named."""

    labels: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    project: str | None = None
    """Its UID, or the beginning of its key."""


class _Place(NamedTuple):
    """Where the history of this user is."""

    path: Path | None
    why_not: str = ""
    """Why there is none, where there is none."""


_OFF: Final = frozenset({"off", "false", "no", "none", "0"})
_ON: Final = frozenset({"", "on", "true", "yes", "1"})


def _place() -> _Place:
    """
    Where the history is; that a file which somebody chose can be written is not checked.

    Raises:
        CommandError: The variable says something that is no file.
    """
    chosen = plain(os.environ.get(HISTORY_VARIABLE, ""))
    if chosen.lower() in _OFF:
        return _Place(None, f"{HISTORY_VARIABLE} is off")
    try:
        if chosen.lower() not in _ON:
            return _Place(_as_path(chosen))
        path = default_path()
    except RuntimeError:
        return _Place(None, "there is no home directory to keep it in")
    try:
        nearest = _nearest(path)
        usable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    except OSError as error:  # a folder above it may not be searched
        return _Place(None, f"{path} cannot be reached: {reason_of(error)}")
    return _Place(path) if usable else _Place(None, f"{nearest} cannot be written to")


def _as_path(chosen: str) -> Path:
    path = Path(chosen).expanduser()
    # A word alone is an error in spelling "off" more often than the name of a file.
    if is_quoted(chosen) or (path.name == chosen and not path.suffix):
        advice = (
            "remove the quotes around it" if is_quoted(chosen) else f"write ./{chosen} for one"
        )
        raise CommandError(
            f"environment variable {HISTORY_VARIABLE}: {chosen!r} is neither 'off' nor plainly"
            f" the path of a file; {advice}"
        )
    return path


def _nearest(path: Path) -> Path:
    """The folder above *path* that is there."""
    return next(folder for folder in path.parents if folder.exists())


def history_of(settings: CommandSettings) -> History | None:
    """
    The history that *settings* and the environment choose, if any.

    Raises:
        CommandError: The environment says something that is no file.
    """
    path = None if settings.no_history else _place().path
    return None if path is None else History(path)


def history_finding() -> Finding:
    """Where the history is, for `doctor`."""
    try:
        path, why_not = _place()
    except CommandError as error:
        return Finding(check="history", state=State.ERROR, found=str(error))
    if path is None:
        return Finding(check="history", state=State.OK, found=f"none: {why_not}")
    try:
        _try_to_write(path)
    except OSError as error:
        advice = f"let this user write it, or set {HISTORY_VARIABLE} to another file or to off"
        return _unusable(path, "written", error, advice)
    try:
        if not path.exists():
            found = f"nothing yet; the first run with real credentials writes {path}"
            return Finding(check="history", state=State.OK, found=found)
        known = len(History(path).remembered())
    except (OSError, sqlite3.Error) as error:
        advice = (
            f"remove it if nobody needs it, or set {HISTORY_VARIABLE} to another file or to off"
        )
        return _unusable(path, "read", error, advice)
    return Finding(check="history", state=State.OK, found=f"{known} names in {path}")


def _try_to_write(path: Path) -> None:
    """
    Raise `OSError` if *path* cannot be written, or nothing beside it; leave no trace.

    It is tried, because what a system allows is more than the modes of files say.
    """
    if path.exists():
        path.open("r+b").close()
    with TemporaryDirectory(prefix=".onehouse-tracker-", dir=_nearest(path)):
        pass


def _unusable(path: Path, how: str, error: Exception, advice: str) -> Finding:
    return Finding(
        check="history",
        state=State.WARNING,
        found=f"{path} cannot be {how}: {reason_of(error)}; nothing is learned from earlier runs",
        advice=advice,
    )


async def show_history(terminal: Terminal, settings: CommandSettings, some: Forgotten) -> ExitCode:
    """
    Print what is remembered of every statement, label and job.

    Raises:
        CommandError: There is no history, or its file cannot be read; or *some* is named, which
            only `forget` takes.
    """
    if some != Forgotten():
        raise CommandError("--label, --job and --project belong to `history forget`")
    history = _chosen()
    known = await _do(history, history.remembered)
    writer = writer_of(terminal, settings.output, tuple(_KEYS), _TABLE)
    for each in known:
        row = {column.title: column.cell(each) for column in _TABLE}
        await writer.line(Item(_data(each), row))
    await writer.finish()
    terminal.note(f"{len(known)} names in {history.path}")
    return ExitCode.OK


async def forget_history(terminal: Terminal, some: Forgotten) -> ExitCode:
    """
    Forget what is named, or everything that is remembered, of all projects.

    Raises:
        CommandError: There is no history, its file cannot be written, or nothing is remembered
            of what is named: then nothing is forgotten.
    """
    history = _chosen()
    if some == Forgotten():  # an empty name is one, too: that of a variable that is not set
        count = await _do(history, history.forget)
        terminal.note(f"forgot {_names(count)} in {history.path}")
        return ExitCode.OK
    known = await _do(history, history.remembered)
    project = None if some.project is None else _project(known, some.project)
    for kind, names in (("label", some.labels), ("job", some.jobs)):
        there = {
            each.name for each in known if each.kind == kind and project in {None, each.project}
        }
        if unknown := [name for name in names if name not in there]:
            raise CommandError(
                f"nothing is remembered of {kind} {unknown[0]!r}"
                f"{'' if some.project is None else ' in this project'}, so nothing was forgotten;"
                " `onehouse-tracker history` shows what is remembered"
            )
    named = bool(some.labels or some.jobs)
    labels, jobs = (some.labels, some.jobs) if named else (None, None)
    forget = partial(history.forget, project=project, labels=labels, jobs=jobs)
    count = await _do(history, forget)
    terminal.note(f"forgot {count} of {_names(len(known))} in {history.path}")
    return ExitCode.OK


def _names(count: int) -> str:
    return f"{count} name{'' if count == 1 else 's'}"


def _project(known: list[Remembered], chosen: str) -> str:
    """The key of the project that *chosen* means."""
    keys = {each.project for each in known}
    meant = {key for key in keys if len(chosen) >= _LEAST_OF_KEY and key.startswith(chosen)}
    if chosen.strip():  # else it would be the UID that the environment has
        with suppress(ConfigError):  # it takes the base URL to make a key of a UID
            meant |= keys & {Credentials.from_env(project_uid=chosen).project_key}
    if len(meant) != 1:
        raise CommandError(
            f"{'several projects begin with' if meant else 'nothing is remembered of project'}"
            f" {chosen!r}, so nothing was forgotten; `onehouse-tracker history --output jsonl`"
            " shows the keys of projects (a UID needs the project's credentials, too)"
        )
    return meant.pop()


def _chosen() -> History:
    path, why_not = _place()
    if path is None:
        raise CommandError(f"there is no history: {why_not}")
    return History(path)


async def _do(history: History, work: Callable[[], _T]) -> _T:
    try:
        return await asyncio.to_thread(work)
    except (OSError, sqlite3.Error) as error:
        raise CommandError(
            f"cannot read the history {history.path}: {reason_of(error)}"
        ) from error


_KEYS: Final = ("project", "kind", "name", "runs", "median_s", "low_s", "high_s")


def _data(known: Remembered) -> dict[str, Any]:
    values = (
        known.project,
        known.kind,
        known.name,
        known.runs,
        round(known.median, 3),
        round(known.low, 3),
        round(known.high, 3),
    )
    return dict(zip(_KEYS, values, strict=True))


_TABLE: Final = (
    TableColumn("NAME", lambda known: clean(known.name)),
    TableColumn("KIND", lambda known: known.kind),
    TableColumn("RUNS", lambda known: str(known.runs), right=True),
    TableColumn("MEDIAN", lambda known: duration(known.median), right=True),
    TableColumn("10 %", lambda known: duration(known.low), right=True, spare=1),
    TableColumn("90 %", lambda known: duration(known.high), right=True, spare=1),
    TableColumn("PROJECT", lambda known: known.project[:8], spare=2),
)
