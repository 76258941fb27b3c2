"""
Points in time by the wall clock: always UTC, and written in ISO 8601.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload

__all__ = ["iso", "utc_now"]


def utc_now() -> datetime:
    """What the wall clock says."""
    return datetime.now(UTC)


@overload
def iso(moment: datetime, timespec: str = "auto") -> str: ...


@overload
def iso(moment: datetime | None, timespec: str = "auto") -> str | None: ...


def iso(moment: datetime | None, timespec: str = "auto") -> str | None:
    """*moment* in UTC, with all its digits or as *timespec* says; `None` stays what it is."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec=timespec)
