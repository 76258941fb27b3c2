"""
One tracker per process and settings, for the functions of this package.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Unpack

from onehouse_tracker._engine.open_tracker.statements import Label
from onehouse_tracker.models import RequestLike, Result
from onehouse_tracker.onehouse._credential_sources.fields import BY_NAME
from onehouse_tracker.onehouse._credential_sources.hidden import hide_settings
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.results import RequestStatus, Results
from onehouse_tracker.settings import TrackerSettings
from onehouse_tracker.statement_results import StatementResults
from onehouse_tracker.sync.handles import Handle
from onehouse_tracker.sync.tracker import OnResult, Tracker

__all__ = ["execute", "execute_all", "status", "submit", "submit_all", "wait_all"]

_Key = tuple[Credentials, frozenset[tuple[str, Hashable]]]

_OF_CREDENTIALS = {*BY_NAME, "profile", "environ", "credentials_file"}


@dataclass
class _Shared:
    """A tracker, and how many calls are using it."""

    tracker: Tracker
    users: int = 0


_lock = threading.Lock()
_trackers: Final[dict[_Key, _Shared]] = {}
_inherited: Final[list[_Shared]] = []
"""Kept in a child so that nothing of its parent's is finalized there."""


def wait_all(
    request_ids: Iterable[RequestLike],
    *,
    timeout: float | None = None,
    default_label: str | None = None,
    on_result: OnResult | None = None,
    progress: bool | None = None,
    **settings: Unpack[TrackerSettings],
) -> Results:
    """
    Wait until every request has an outcome, on a tracker that all callers share.

    The first call with certain credentials and settings opens a tracker, later ones use it,
    and it is closed when the interpreter exits.  Threads may call at the same time.

    Args:
        request_ids: What to wait for; read to its end before anything is asked.

        timeout: Seconds; `None` waits without limit.

        default_label: The label of requests that have none of their own.

        on_result: Called with each result as it is known.

        progress: Show how far it is: `None` in a notebook, `True` on a terminal too.

        **settings: Keywords of ``onehouse_tracker.Tracker.from_env``, e.g. ``profile="staging"``.

    Returns:
        What `Tracker.wait_all` returns.

    Raises:
        ConfigError: Credentials are missing, or a setting makes no sense.

        ProjectError: As `Tracker.wait_all` does.

        KeyboardInterrupt: Ctrl-C; the requests go on at the server.
    """
    settings = hide_settings(settings)
    with _lease(settings) as tracker:
        return tracker.wait_all(
            request_ids,
            timeout=timeout,
            default_label=default_label,
            on_result=on_result,
            progress=progress,
        )


def submit(
    statement: str, *, label: str | None = None, **settings: Unpack[TrackerSettings]
) -> Handle:
    """
    Submit one statement and follow it, on the tracker that `wait_all` uses too.

    Args:
        statement: One SQL statement.

        label: Your name for this kind of statement.

        **settings: Keywords of ``onehouse_tracker.Tracker.from_env``.

    Returns:
        A handle: ``handle.result()`` waits for the result.

    Raises:
        ConfigError: Credentials are missing, or a setting makes no sense.

        TrackerError: As `Tracker.submit` does.
    """
    settings = hide_settings(settings)
    with _lease(settings) as tracker:
        return tracker.submit(statement, label=label)


def submit_all(
    statements: Iterable[str],
    *,
    label: Label = None,
    in_order: bool = False,
    **settings: Unpack[TrackerSettings],
) -> StatementResults[Handle]:
    """Submit many statements, on the tracker that `wait_all` uses; see `Tracker.submit_all`."""
    settings = hide_settings(settings)
    with _lease(settings) as tracker:
        return tracker.submit_all(statements, label=label, in_order=in_order)


def execute(
    statement: str,
    *,
    label: str | None = None,
    timeout: float | None = None,
    **settings: Unpack[TrackerSettings],
) -> Result:
    """Submit one statement and wait for its result; see `Tracker.execute`."""
    settings = hide_settings(settings)
    with _lease(settings) as tracker:
        return tracker.execute(statement, label=label, timeout=timeout)


def execute_all(
    statements: Iterable[str],
    *,
    label: Label = None,
    max_running: int | None = None,
    in_order: bool = False,
    stop_on_failure: bool = False,
    timeout: float | None = None,
    on_result: OnResult | None = None,
    **settings: Unpack[TrackerSettings],
) -> StatementResults[Handle]:
    """Submit many statements and wait for all; see `Tracker.execute_all`."""
    settings = hide_settings(settings)
    with _lease(settings) as tracker:
        return tracker.execute_all(
            statements,
            label=label,
            max_running=max_running,
            in_order=in_order,
            stop_on_failure=stop_on_failure,
            timeout=timeout,
            on_result=on_result,
        )


def status(
    request_ids: Iterable[RequestLike],
    *,
    label: str | None = None,
    **settings: Unpack[TrackerSettings],
) -> dict[str, RequestStatus]:
    """Poll each request once; see `Tracker.status`."""
    settings = hide_settings(settings)
    with _lease(settings) as tracker:
        return tracker.status(request_ids, label=label)


@contextmanager
def _lease(settings: TrackerSettings) -> Iterator[Tracker]:
    """The tracker for these settings, which stays open while it is used."""
    candidate = Tracker.from_env(**settings)  # nothing starts before its first use
    # What the settings lead to, not what they are: who corrects a credential in the
    # environment and tries again must not get the tracker that failed.
    key = (
        candidate._credentials(),  # noqa: SLF001 - of our own kind
        frozenset(
            (name, _hashable(value))
            for name, value in settings.items()
            if name not in _OF_CREDENTIALS
        ),
    )
    with _lock:
        shared = _trackers.get(key)
        if shared is None or shared.tracker.closed:
            _close_idle(key[0].project_key)
            shared = _trackers[key] = _Shared(candidate)
        shared.users += 1
    try:
        yield shared.tracker
    finally:
        with _lock:
            shared.users -= 1


def _close_idle(project_key: str) -> None:
    """Close what nobody uses any more of a project: two limiters would spend twice its budget."""
    for key, shared in tuple(_trackers.items()):
        if key[0].project_key != project_key:
            continue
        if not shared.tracker.closed:
            tracker = shared.tracker
            if shared.users or tracker.stats().pending or tracker.runs.followed:
                continue
            shared.tracker.close()
        del _trackers[key]


def _hashable(value: object) -> Hashable:
    return tuple(value) if isinstance(value, list) else value


def _forked() -> None:
    global _lock  # noqa: PLW0603 - a thread that is gone in the child may have held it
    _lock = threading.Lock()
    _inherited.extend(_trackers.values())
    _trackers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
