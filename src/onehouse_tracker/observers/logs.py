"""
Log lines: every event, on the standard library's logger ``onehouse_tracker``.

Nothing is printed until the application configures logging: the package has put a handler
there that swallows everything.  Then each event is one record:
its message is the event's name and its fields as ``key=value``, its attributes ``event`` and
``fields`` hold the same as data, for formatters that write JSON.
"""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, final

from onehouse_tracker import events

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

__all__ = ["LogObserver", "event_fields", "event_name", "level_of", "with_logs"]

_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
# Keys carry their unit.
_SECONDS = frozenset(
    {"age", "took", "waited", "delay_bound", "retry_after", "paused_for", "lasted", "usual"}
)

_ABOVE_STRUCTLOG: Final = 4
"""How many calls `logging` goes up to find who logs: past structlog, to this module."""

# What is raised at a waiter too is not our error; what the module concerned says in
# words already is for those who look at everything.
_LEVELS: Final[dict[type[events.Event], int]] = {
    events.WaitBegan: logging.INFO,
    events.WaitEnded: logging.INFO,
    events.RequestEnded: logging.INFO,
    events.RunEnded: logging.INFO,
    events.StatementSubmitted: logging.INFO,
    events.OutageEnded: logging.INFO,
    events.RequestOverdue: logging.WARNING,
    events.RunOverdue: logging.WARNING,
    events.BudgetRefused: logging.WARNING,
    events.OutageBegan: logging.WARNING,
    events.CredentialsDoubted: logging.WARNING,
    events.ProjectFailed: logging.WARNING,
}


def event_name(event: events.Event) -> str:
    """Name the kind of *event* in a log: ``poll.finished`` for `PollFinished`."""
    return ".".join(_HUMP.split(type(event).__name__)).lower()


def event_fields(event: events.Event) -> dict[str, object]:
    """What a log line tells about *event*: what is known, durations in seconds as ``..._s``."""
    found: dict[str, object] = {}
    for item in fields(event):
        value = getattr(event, item.name)
        # A log has a time of its own, and lists of requests would fill it.
        if item.name == "at" or value is None or isinstance(value, tuple):
            continue
        if item.name in _SECONDS:
            found[f"{item.name}_s"] = round(value, 3)
        else:
            found[item.name] = value if isinstance(value, int | float) else str(value)
    return found


def level_of(event: events.Event) -> int:
    """The level of *event*, as `logging` counts: ``DEBUG`` unless people should know."""
    return _LEVELS.get(type(event), logging.DEBUG)


@final
class LogObserver:
    """
    Writes each event to a logger, by structlog.

    Every tracker has one, unless an observer of this class is given to it.  While the logger
    is off, an event costs one look at its level.

    Args:
        logger: Where the lines go.
    """

    def __init__(self, logger: logging.Logger | str = "onehouse_tracker") -> None:
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self._bound: BoundLogger | None = None

    def listens_to(self, kind: type[events.Event]) -> bool:
        """Whether anybody reads lines about events of this *kind*."""
        return self._logger.isEnabledFor(_LEVELS.get(kind, logging.DEBUG))

    def __call__(self, event: events.Event) -> None:
        """Write *event*, if anybody reads it."""
        level = level_of(event)
        if self._logger.isEnabledFor(level):
            if self._bound is None:
                self._bound = _bound(self._logger)
            self._bound.log(level, event_name(event), **event_fields(event))


def with_logs(observers: Sequence[events.Observer]) -> tuple[events.Observer, ...]:
    """*observers*, and one that logs if there is none among them."""
    if any(isinstance(observer, LogObserver) for observer in observers):
        return tuple(observers)
    return (LogObserver(), *observers)


def _bound(logger: logging.Logger) -> BoundLogger:
    import structlog  # noqa: PLC0415 - slow to import, and of no use while logging is off

    # Everything is said here: how the application configured structlog for itself does not
    # change what arrives at its handlers.
    bound: BoundLogger = structlog.wrap_logger(
        logger,
        processors=[structlog.contextvars.merge_contextvars, _render],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return bound


def _render(
    _: object, __: str, event: MutableMapping[str, Any]
) -> tuple[tuple[str], dict[str, Any]]:
    name = event.pop("event")
    # Not as they are: a reason may hold line breaks, or what a terminal obeys.
    text = " ".join([name, *(f"{key}={value!r}" for key, value in event.items())])

    extra = {"event": name, "fields": dict(event)}
    return (text,), {"extra": extra, "stacklevel": _ABOVE_STRUCTLOG}
