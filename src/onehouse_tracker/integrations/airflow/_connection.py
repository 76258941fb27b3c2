"""
From an Airflow connection to a tracker: credentials, rate limit and patience of one project.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, Self

from onehouse_tracker import sync
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.history import History
from onehouse_tracker.limiters import RateLimiter, limiter_from
from onehouse_tracker.onehouse._credential_sources.hidden import hide, tell
from onehouse_tracker.onehouse.client import OnehouseClient
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.policy import PollPolicy
from onehouse_tracker.tracker import Tracker

__all__ = ["Connection", "Project"]

_CREDENTIALS: Final = {
    "account_uid": "account_uid",
    "project_uid": "project_uid",
    "api_key": "api_key",
    "api_secret": "api_secret",
    "link_uid": "link_uid",
    "region": "region",
    "user_uid": "user_uid",
    "user_id": "user_uid",
    "bearer_token": "bearer_token",
}
"""Our name for each credential in the extra field."""

_LONGEST_DEFERRAL: Final = 50.0
"""Less than the grace after which Airflow ends a trigger whose deadline has passed."""

_IN_EXTRA: Final = {ours: name for name, ours in _CREDENTIALS.items()}


class Connection(Protocol):
    """What is read of an Airflow connection."""

    host: str | None
    port: int | None
    schema: str | None

    @property
    def extra_dejson(self) -> Mapping[str, Any]:
        """The extra field."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """
    One Onehouse project, as a connection describes it.

    Equal connections give equal projects, which share one tracker.
    """

    credentials: Credentials
    limiter: str = field(default="host", repr=False)
    """The rate limiter, see ``limiters.limiter_from``: ``host`` because a machine that runs
    Airflow runs many processes.  It may hold the password of a Redis."""
    limit: float = 10.0
    share: float = 1.0
    processes: int = 4
    patience: float = 600.0
    history: str | None = None
    """The file that remembers how long requests took; `None` remembers nothing.

    Records are in Airflow's database, which is no place for it: what a triggerer has on its own
    disk, and whether that outlives it, only its users know."""
    min_deferral: float | None = field(default=None, compare=False)
    """Seconds that each deferral takes at least; `None` if the connection says nothing."""

    @classmethod
    def from_connection(cls, connection: Connection) -> Self:
        """
        Read a connection: its host, and its extra field.

        Raises:
            ConfigError: Credentials are missing, or a value makes no sense.  No value is part
                of the message.
        """
        extra = _hidden(connection.extra_dejson)
        given = {ours: extra[name] for name, ours in _CREDENTIALS.items() if name in extra}
        _refuse_missing(given)
        if base_url := hide(_base_url(connection) or None):
            given["base_url"] = base_url
        credentials = Credentials(**given)
        project = cls(
            credentials=credentials,
            limiter=tell(extra.get("limiter")) or cls.limiter,
            limit=_number(extra, "limit", cls.limit),
            share=_number(extra, "share", cls.share),
            processes=int(_number(extra, "processes", cls.processes)),
            patience=_number(extra, "patience", cls.patience),
            history=_history(extra),
            min_deferral=_min_deferral(extra),
        )
        # Refused here, and not by the first task that uses it.
        project.make_limiter()
        project.make_policy()

        return project

    def make_limiter(self) -> RateLimiter:
        """Make the limiter; the caller opens it."""
        return limiter_from(
            self.limiter,
            project=self.credentials.project_key,
            limit=self.limit,
            share=self.share,
            processes=self.processes,
        )

    def make_policy(self) -> PollPolicy:
        """When to poll again."""
        return PollPolicy(patience=self.patience)

    def make_history(self) -> History | None:
        """What remembers how long requests took, if the connection names a file for it."""
        return None if self.history is None else History(self.history)

    @asynccontextmanager
    async def tracker(self) -> AsyncIterator[Tracker]:
        """Open a tracker, and the client that belongs to it."""
        async with (
            self.client() as client,
            Tracker(
                client,
                limiter=self.make_limiter(),
                policy=self.make_policy(),
                history=self.make_history(),
            ) as tracker,
        ):
            yield tracker

    def blocking_tracker(self) -> sync.Tracker:
        """Make a tracker for callers that block; use it with ``with``."""
        return sync.Tracker(
            self.client(),
            limiter=self.make_limiter(),
            policy=self.make_policy(),
            history=self.make_history(),
        )

    def client(self) -> OnehouseClient:
        """Make a client; the caller opens it."""
        # At ten requests a second one connection does, and a second one when a reply is slow;
        # there are more when they are needed.
        return OnehouseClient(self.credentials, ready_connections=1)


def _hidden(extra: Mapping[str, Any]) -> dict[str, Any]:
    """The extra field, in which nothing that may be secret is empty or shows itself."""
    secret = {*_CREDENTIALS, "limiter"}
    return {
        name: hide(value) if name in secret else value
        for name, value in extra.items()
        if value or name not in secret
    }


def _refuse_missing(given: Mapping[str, Any]) -> None:
    needed = ["project_uid", "region", "user_uid"]
    if "bearer_token" not in given:
        needed += ["api_key", "api_secret"]
    missing = [_IN_EXTRA[name] for name in needed if name not in given]
    if missing:
        raise ConfigError(
            f"the connection's extra field lacks {', '.join(missing)}"
            ' (link_uid, which the console calls "RequestID", and account_uid belong there too)'
        )


def _base_url(connection: Connection) -> str | None:
    host = connection.host
    if not host or "://" in host:
        return host
    # As in a connection that is written as a URI, where the scheme has a field of its own.
    scheme = connection.schema or "https"
    port = f":{connection.port}" if connection.port else ""

    return f"{scheme}://{host}{port}"


def _history(extra: Mapping[str, Any]) -> str | None:
    path = extra.get("history")
    if path is None or path == "":
        return None
    if not isinstance(path, str) or not Path(path).is_absolute():
        raise ConfigError("history in the connection's extra field is the absolute path of a file")
    return path


def _min_deferral(extra: Mapping[str, Any]) -> float | None:
    if extra.get("min_deferral") in {None, ""}:
        return None
    seconds = _number(extra, "min_deferral", 0.0)
    if not 0 <= seconds <= _LONGEST_DEFERRAL:
        raise ConfigError(
            "min_deferral in the connection's extra field is between 0 and"
            f" {_LONGEST_DEFERRAL:g} seconds"
        )
    return seconds


def _number(extra: Mapping[str, Any], name: str, default: float) -> float:
    value = extra.get(name)
    # Airflow's form stores an empty text for a field that was left empty.
    if value is None or value == "":
        return default
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} in the connection's extra field is not a number") from None
