"""
The form in which Airflow's users fill in a connection: the fields, whichever version shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["FIELDS", "HIDDEN", "LABELS", "PLACEHOLDERS", "Field"]


class Field(NamedTuple):
    """One key of the connection's extra field."""

    name: str
    label: str
    description: str = ""
    is_secret: bool = False


FIELDS: Final = (
    Field("project_uid", "Project UID"),
    Field("user_id", "User UID"),
    Field("api_key", "API key", is_secret=True),
    Field("api_secret", "API secret", is_secret=True),
    Field("link_uid", "Link UID", 'The console calls it "RequestID".'),
    Field("region", "Region"),
    Field("account_uid", "Account UID"),
    Field("bearer_token", "Bearer token", "In place of API key and API secret.", is_secret=True),
    Field(
        "limiter",
        "Rate limiter",
        "host shares the rate limit on one machine, redis://... with other machines too.",
    ),
    Field("limit", "Rate limit", "Requests per second of the whole project; 10 by default."),
    Field("share", "Share", "The part of the rate limit that Airflow may use; 1 by default."),
    Field("processes", "Processes", "How many share a Redis; 4 by default."),
    Field(
        "patience",
        "Patience",
        "Seconds without any good reply after which tracking stops; 600 by default.",
    ),
    Field(
        "history",
        "History",
        "A file on each worker and triggerer that remembers how long requests and runs took;"
        " none by default.",
    ),
    Field(
        "min_deferral",
        "Shortest deferral",
        "Seconds that a deferral takes at least, since Airflow 3 fails tasks whose deferral is"
        " shorter; 8 by default there, and 0 switches it off.",
    ),
)

HIDDEN: Final = ("schema", "login", "password", "port")
"""Fields of every connection that this one does not use."""

LABELS: Final[Mapping[str, str]] = {"host": "API address"}

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "host": "https://api.onehouse.ai",
    "limiter": "host, or redis://redis.example:6379/0",
    "limit": "10",
    "region": "us-west-2",
}
