"""
Log lines on stderr: for people on a terminal, as JSON elsewhere.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

__all__ = ["configure"]


class _Lines(logging.Formatter):
    """Lines for people: the time, then what the library says."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{_time(record)} {record.levelname.lower():<7} {super().format(record)}"


class _Json(logging.Formatter):
    """One JSON object per line: an event with its fields, or any other message."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": _time(record),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.name),
            **getattr(record, "fields", {"message": super().format(record)}),
        }
        return json.dumps(line)


def configure(*, verbose: bool) -> None:
    """
    Set up logging for this process.

    Without *verbose* the library's own warnings are not shown: the results say the same.
    """
    handler: logging.Handler = logging.NullHandler()
    if sys.stderr is not None:  # else closed by the shell: `2>&-`
        handler = logging.StreamHandler(sys.stderr)
    if not verbose:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    elif sys.stderr is not None and sys.stderr.isatty():
        handler.setFormatter(_Lines())
    else:
        handler.setFormatter(_Json())
    logger = logging.getLogger("onehouse_tracker")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if verbose else logging.ERROR)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
