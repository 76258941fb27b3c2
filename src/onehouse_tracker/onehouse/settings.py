"""
The keywords with which a client is configured, for type checkers and error messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Protocol, TypedDict

from onehouse_tracker.errors import ConfigError

if TYPE_CHECKING:
    import os

    import aiohttp

__all__ = [
    "ClientSettings",
    "CredentialSettings",
    "CredentialSources",
    "SecretLike",
    "refuse_unknown",
]


class SecretLike(Protocol):
    """A wrapper around a secret, such as ``pydantic.SecretStr``."""

    def get_secret_value(self) -> str:
        """The secret."""


class CredentialSettings(TypedDict, total=False):
    """The parts of `Credentials`; `None` counts as not given."""

    account_uid: str | SecretLike | None
    project_uid: str | SecretLike | None
    api_key: str | SecretLike | None
    api_secret: str | SecretLike | None
    link_uid: str | SecretLike | None
    region: str | SecretLike | None
    user_uid: str | SecretLike | None
    bearer_token: str | SecretLike | None
    base_url: str | SecretLike | None


class CredentialSources(CredentialSettings, total=False):
    """The keywords of ``Credentials.from_env``, which explains them."""

    profile: str | None
    environ: Mapping[str, str] | None
    credentials_file: str | os.PathLike[str] | None


class ClientSettings(CredentialSources, total=False):
    """The keywords of ``OnehouseClient.from_env``."""

    http_session: aiohttp.ClientSession | None
    connect_timeout: float
    request_timeout: float
    max_body: int
    max_connections: int | None


def refuse_unknown(given: Iterable[str], keywords: type) -> None:
    """
    Do nothing if every keyword that was given is one of the `TypedDict` *keywords*.

    Raises:
        ConfigError: One is not; the message lists those that are.
    """
    known = tuple(keywords.__annotations__)
    unknown = sorted(set(given) - set(known))
    if not unknown:
        return
    hint = ""
    if "request_id" in unknown:
        hint = '; what the console shows as "RequestID" is link_uid here'
    elif close := get_close_matches(unknown[0], known, 1):
        hint = f"; did you mean {close[0]}?"
    raise ConfigError(f"no such setting: {', '.join(unknown)}; known are {', '.join(known)}{hint}")
