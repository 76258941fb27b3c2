"""
Who we are to the server: the credentials of one project, and where each came from.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, Unpack, final
from urllib.parse import urlsplit

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.onehouse._credential_sources.collected import KEY_PAIR, Collected, collect
from onehouse_tracker.onehouse._credential_sources.fields import (
    ALL_FIELDS,
    BY_NAME,
    Field,
    describe,
)
from onehouse_tracker.onehouse._credential_sources.hidden import (
    NoText,
    Secret,
    hide_environment,
    hide_settings,
    tell,
)
from onehouse_tracker.onehouse._credential_sources.profile import ConfigWarning, Profile
from onehouse_tracker.onehouse.settings import (
    CredentialSettings,
    CredentialSources,
    SecretLike,
    refuse_unknown,
)

__all__ = ["ConfigWarning", "Credentials", "Secret", "SecretLike"]

DEFAULT_BASE_URL = "https://api.onehouse.ai"

_LONGEST_HOST = 253
_HOST_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")

_SECRETS = frozenset({"api_key", "api_secret", "bearer_token"})


@final
@dataclass(frozen=True, kw_only=True, slots=True, init=False)
class Credentials:
    """
    Who we are to the server: a key pair, or a bearer token, for one project.

    Values are checked once, here: text only, no line breaks, nothing but ASCII.  Spaces around
    them are removed.

    Args:
        project_uid: Header ``x-onehouse-project-uid``.

        region: Header ``x-onehouse-region``, e.g. ``us-west-2``; made lower case.

        user_uid: Header ``x-onehouse-uuid``.

        account_uid: Header ``x-onehouse-account-uid``.  Without it, a `ConfigWarning`.

        link_uid: Header ``x-onehouse-link-uid``.  The console shows it as "RequestID", but it
            is not the ID of a request to follow.  Without it, a `ConfigWarning`.

        api_key: Header ``x-onehouse-api-key``; together with ``api_secret``.

        api_secret: Header ``x-onehouse-api-secret``.

        bearer_token: Sent as ``Authorization: Bearer ...`` in place of the key pair: the
            server refuses a call that carries both.

        base_url: Where the server is; a trailing ``/v1`` is removed.  ``http://`` is accepted
            for a loopback address only, because the headers hold secrets.

    Raises:
        ConfigError: What is missing, all at once, or which value cannot be used.  The value
            itself is never part of the message.
    """

    account_uid: str | None
    project_uid: str
    api_key: Secret | None
    api_secret: Secret | None
    link_uid: str | None
    region: str
    user_uid: str
    bearer_token: Secret | None
    base_url: str
    origins: Mapping[str, str] = field(init=False, repr=False, compare=False)
    """Where each value came from: a keyword argument, an environment variable by its name, or
    a key of a file.  A value that is absent is absent here too; nothing in it is secret."""

    def __init__(  # noqa: PLR0913 - one for each thing the server wants to know
        self,
        *,
        project_uid: str,
        region: str,
        user_uid: str,
        account_uid: str | None = None,
        link_uid: str | None = None,
        api_key: str | SecretLike | None = None,
        api_secret: str | SecretLike | None = None,
        bearer_token: str | SecretLike | None = None,
        base_url: str = DEFAULT_BASE_URL,
    ) -> None:
        origins = {name: f"keyword argument {name}" for name in BY_NAME}
        if base_url == DEFAULT_BASE_URL:
            origins["base_url"] = "default"
        given = {
            "account_uid": account_uid,
            "project_uid": project_uid,
            "api_key": api_key,
            "api_secret": api_secret,
            "link_uid": link_uid,
            "region": region,
            "user_uid": user_uid,
            "bearer_token": bearer_token,
            "base_url": base_url,
        }
        given = hide_settings(given)
        # What is raised from here on finds them in none of our variables.
        del account_uid, project_uid, api_key, api_secret, link_uid
        del region, user_uid, bearer_token, base_url
        self._fill(given, origins)

    @classmethod
    def from_env(
        cls,
        *,
        profile: str | None = None,
        environ: Mapping[str, str] | None = None,
        credentials_file: str | os.PathLike[str] | None = None,
        **overrides: Unpack[CredentialSettings],
    ) -> Self:
        """
        Collect the credentials: each from a keyword, the environment, or the profile file.

        Reads at most one file, ``~/.onehouse/credentials`` in the vendor's two formats.

        Args:
            profile: The profile in the file; by default ``ONEHOUSE_PROFILE``, else the one
                that ``_default`` of a JSON file names, else ``default``.

            environ: The environment; by default that of the process.  With one of your own,
                the home directory is its ``HOME`` too.

            credentials_file: The file; by default ``ONEHOUSE_CREDENTIALS_FILE``, else the one
                in the home directory, which need not exist.

            overrides: Values by the names of the attributes; `None` counts as not given.

        Raises:
            ConfigError: Something is missing (all of it is named at once, with its variable
                and its key in the file), cannot be used, or the file cannot be read.
        """
        environ, overrides = hide_environment(environ), hide_settings(overrides)
        refuse_unknown(overrides, CredentialSources)
        found = collect(
            profile=profile,
            environ=environ,
            credentials_file=credentials_file,
            overrides=overrides,
        )
        return cls.from_found(found)

    @classmethod
    def from_found(cls, found: Collected) -> Self:
        """
        Make them of what was collected, for callers that look at that, too.

        Raises:
            ConfigError: Something is missing, or cannot be used.
        """
        values, origins = found.values, dict(found.origins)
        _refuse_missing(values, found)
        origins.setdefault("base_url", "default")

        credentials = cls.__new__(cls)
        credentials._fill(values, origins, stacklevel=5)  # noqa: SLF001 - our own

        return credentials

    def _fill(
        self, given: Mapping[str, Any], origins: Mapping[str, str], *, stacklevel: int = 4
    ) -> None:
        values = {
            setting.name: _checked(setting, given.get(setting.name), origins.get(setting.name, ""))
            for setting in ALL_FIELDS
        }
        _refuse_missing(values)
        if values["bearer_token"] and (values["api_key"] or values["api_secret"]):
            raise ConfigError(
                "give a bearer token or a key pair, not both: the server refuses such calls"
            )
        _warn_of_missing(values, stacklevel)
        base_url = _base_url(values["base_url"] or Secret(DEFAULT_BASE_URL))
        for name, value in values.items():
            shown = value if name in _SECRETS else value and tell(value)
            object.__setattr__(self, name, shown)
        object.__setattr__(self, "region", self.region.lower())
        object.__setattr__(self, "base_url", base_url)
        known = {name: origin for name, origin in origins.items() if getattr(self, name)}
        object.__setattr__(self, "origins", known)

    def headers(self) -> dict[str, str]:
        """
        The headers that every call carries.

        They hold the secrets in the clear: send them, never show them.  Account UID and link
        UID are left out only where they are not known.
        """
        headers: dict[str, str] = {}
        for setting in ALL_FIELDS:
            value = getattr(self, setting.name)
            if setting.header and value is not None:
                headers[setting.header] = (
                    value.get_secret_value() if isinstance(value, Secret) else value
                )
        if self.bearer_token is not None:
            headers["Authorization"] = f"Bearer {self.bearer_token.get_secret_value()}"

        return headers

    def secret_values(self) -> tuple[str, ...]:
        """Every secret in the clear, so that they can be masked in a text."""
        secrets = (self.api_key, self.api_secret, self.bearer_token)

        return tuple(secret.get_secret_value() for secret in secrets if secret is not None)

    @property
    def is_on_loopback(self) -> bool:
        """Whether the server runs on this machine, as simulators and tests do."""
        return _is_loopback(urlsplit(self.base_url).hostname or "")

    @property
    def project_key(self) -> str:
        """
        Tell projects apart: the same for everybody who polls this project at this server.

        A hash that stays the same across processes and versions; no secret goes into it, so it
        may be part of a file name or of a key in Redis.
        """
        return hashlib.sha256(f"{self.base_url}\n{self.project_uid}".encode()).hexdigest()[:16]


def _checked(setting: Field, value: Secret | NoText | None, origin: str) -> Secret | None:
    """Return what can be sent in a header, `None` where there is nothing."""
    if value is None:
        return None
    if isinstance(value, NoText):
        raise ConfigError(f"{setting.title} ({origin}) is a str, not {value.kind}")
    problem = _problem_in_header(value)
    if problem:
        raise ConfigError(f"{setting.title} ({origin}) has {problem}")

    return Secret(tell(value).strip(" \t")) if tell(value).strip(" \t") else None


def _problem_in_header(secret: Secret) -> str:
    value = tell(secret).strip(" \t")
    if "\n" in value or "\r" in value:
        # Most often the last line break of a file that was read whole.
        return "a line break in it: it cannot be sent in a header"
    # Beyond ASCII, two encodings are in use for headers, and no credential needs them: it is
    # a typographic quote or an invisible space that was copied along.
    if not value.isascii() or not value.isprintable():
        return "a character that cannot be sent in a header"

    return ""


def _refuse_missing(values: Mapping[str, object], found: Collected | None = None) -> None:
    needed = ["project_uid", *KEY_PAIR, "region", "user_uid"]
    if values.get("bearer_token"):
        needed = [name for name in needed if name not in KEY_PAIR]
    missing = [name for name in needed if not values.get(name)]
    if not missing:
        return
    looked_in = None if found is None else found.looked_in
    file_format = looked_in.file_format if isinstance(looked_in, Profile) else "INI"
    lines = [f"missing: {describe(BY_NAME[name], file_format)}" for name in missing]
    lines += [
        f"also not set: {describe(BY_NAME[name], file_format)}"
        for name in ("account_uid", "link_uid")
        if not values.get(name)
    ]
    if isinstance(looked_in, Profile):
        lines.append(f"looked in keyword arguments, the environment, and {looked_in.place()}")
    elif found is not None and found.problem is not None:
        lines.append(f"looked in keyword arguments and the environment; {found.problem}")
    elif looked_in is not None:
        lines.append(f"looked in keyword arguments and the environment; no profile in {looked_in}")
    raise ConfigError("\n".join(lines))


def _warn_of_missing(values: Mapping[str, object], stacklevel: int) -> None:
    missing = [name for name in ("account_uid", "link_uid") if not values[name]]
    if missing:
        names = " and ".join(describe(BY_NAME[name]) for name in missing)
        warnings.warn(
            f"not set, and the server may insist on it: {names}",
            ConfigWarning,
            stacklevel=stacklevel,
        )


def _base_url(given: Secret) -> str:
    """Return the base URL in its one spelling, which `project_key` depends on."""
    # What was given is not shown: it may be a secret in the wrong place.
    url, problem = _read_url(tell(given))
    if problem:
        raise ConfigError(problem)

    return url


def _read_url(given: str) -> tuple[str, str]:
    """The base URL, and what is wrong with it, if anything."""
    try:
        parts = urlsplit(given if "://" in given else f"https://{given}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if parts.username is not None or parts.password is not None:
        return "", "the base URL holds a user or a password: they have no place there"
    if (
        not _is_host(host)
        or parts.scheme not in {"http", "https"}
        or parts.query
        or parts.fragment
    ):
        return "", f"the base URL is no address like {DEFAULT_BASE_URL}"
    if parts.scheme == "http" and not _is_loopback(host):
        return "", (
            f"http:// would send the secrets to {host} in the clear: use https:// for the base URL"
            " (http:// is for loopback addresses only)"
        )
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        netloc += f":{port}"
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")

    return f"{parts.scheme}://{netloc}{path}", ""


def _is_host(text: str) -> bool:
    """Whether *text* can be the name or the address of a host at all."""
    labels = text.removesuffix(".").split(".")
    # What urlsplit took out of brackets; and no name ends in a number, only an address does.
    if ":" in text or labels[-1].isdigit():
        return _is_address(text)
    return len(text) <= _LONGEST_HOST and all(map(_HOST_LABEL.fullmatch, labels))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
