"""
When each request or run of a trigger began, so that it takes little room in Airflow's database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

from onehouse_tracker.errors import ConfigError, InvalidRequestError

__all__ = ["Starts", "moment", "packed_starts", "unpacked_starts"]

_ROOM: Final = 1500
"""Characters for them, as JSON: a thousand statements that were sent at ten a second."""

Starts = str | Mapping[str, Any] | None
"""One time for all, in ISO 8601 with a time zone; or what `packed_starts` made of many."""


def packed_starts(starts: Sequence[datetime | None]) -> Starts:
    """
    Write the first time, and by how many seconds the others are later.

    `None` where one is not known, or where they would take too much room: they make forecasts
    better, and nothing depends on them.
    """
    known = [start for start in starts if start is not None]
    if not known or len(known) < len(starts):
        return None
    first = min(known)
    later = [round((start - first).total_seconds()) for start in known]
    if not any(later):
        return first.isoformat()
    # Neighbors began together: so many seconds later, and how many of them.
    each = [[seconds, len(list(same))] for seconds, same in groupby(later)]
    packed = {"first": first.isoformat(), "later": each}
    return packed if len(json.dumps(packed)) <= _ROOM else None


def unpacked_starts(name: str, starts: Starts, count: int) -> list[datetime | None]:
    """
    Return the start of each of *count* requests or runs; `None` where it is not known.

    *name* is that of the argument, for messages.

    Raises:
        ConfigError: Something is no time, or has no time zone.

        InvalidRequestError: There are more of them, or fewer.
    """
    if not isinstance(starts, Mapping):
        return [moment(name, starts)] * count
    first = moment(name, starts["first"])
    if first is None or sum(same for _, same in starts["later"]) != count:
        raise InvalidRequestError(f"{name} must have as many times as there are IDs")
    return [
        first + timedelta(seconds=seconds)
        for seconds, same in starts["later"]
        for _ in range(same)
    ]


def moment(name: str, text: str | None) -> datetime | None:
    """
    Read a time in ISO 8601.

    Raises:
        ConfigError: It is none, or has no time zone.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} is a time in ISO 8601, not {text!r}") from None
    if found.tzinfo is None:
        raise ConfigError(f"{name} needs a time zone: {text}")
    return found
