"""
The settings of a project, and what each is called in every place where it can be written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ALL_FIELDS", "BY_NAME", "PREFIX", "Field", "FileFormat", "describe"]

PREFIX = "ONEHOUSE_"
"""How every environment variable of a project begins."""

FileFormat = Literal["INI", "JSON"]


@dataclass(frozen=True, slots=True)
class Field:
    """One setting under all its names."""

    name: str
    """The keyword argument, the attribute of `Credentials`, and the key in an INI profile."""

    title: str
    """What people call it."""

    json_key: str
    """Its key in a JSON profile."""

    header: str = ""
    """The header it travels in; empty where it has none of its own."""

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"{PREFIX}{self.name.upper()}"

    def keys(self, file_format: FileFormat) -> tuple[str, ...]:
        """Its keys in a profile of this format, the documented one first."""
        # The other format's key is taken too: people convert their files by hand, and inside
        # a profile neither word can mean anything else.
        keys = (self.name, self.json_key)

        return tuple(dict.fromkeys(keys if file_format == "INI" else reversed(keys)))


ALL_FIELDS = (
    Field("account_uid", "account UID", "account_uid", "x-onehouse-account-uid"),
    Field("project_uid", "project UID", "project_uid", "x-onehouse-project-uid"),
    Field("api_key", "API key", "api_key", "x-onehouse-api-key"),
    Field("api_secret", "API secret", "api_secret", "x-onehouse-api-secret"),
    Field("link_uid", "link UID", "request_id", "x-onehouse-link-uid"),
    Field("region", "region", "project_region", "x-onehouse-region"),
    Field("user_uid", "user UID", "user_id", "x-onehouse-uuid"),
    Field("bearer_token", "bearer token", "bearer_token"),
    Field("base_url", "base URL", "api_endpoint"),
)

BY_NAME = {field.name: field for field in ALL_FIELDS}


def describe(field: Field, file_format: FileFormat = "INI") -> str:
    """Name one setting, its variable and its key, for a message that says it is missing."""
    places = f"{field.variable}, or {field.keys(file_format)[0]} in the profile"
    if field.name == "link_uid":
        # The console and the JSON file use the words of the thing that is tracked.
        places += (
            '; the console shows it as "RequestID", but it is not the ID of a request to follow'
        )

    return f"{field.title} ({places})"
