"""
Where each setting comes from: a keyword argument, the environment, or the profile file.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onehouse_tracker._checks import home, user_path
from onehouse_tracker.onehouse._credential_sources.environment import (
    is_quoted,
    read_environment,
)
from onehouse_tracker.onehouse._credential_sources.fields import ALL_FIELDS, PREFIX
from onehouse_tracker.onehouse._credential_sources.hidden import NoText, Secret, hide, tell
from onehouse_tracker.onehouse._credential_sources.profile import (
    ConfigWarning,
    Profile,
    UnreadableError,
    default_path,
    read_profile,
)

__all__ = ["KEY_PAIR", "Collected", "collect"]

KEY_PAIR = ("api_key", "api_secret")


@dataclass(frozen=True, slots=True)
class Collected:
    """What was found, complete or not."""

    values: Mapping[str, Secret | NoText]
    """Value by the name of the setting; all of them hidden."""

    origins: Mapping[str, str]
    """Where it came from, by the name of the setting; nothing in it is secret."""

    looked_in: Profile | Path | None
    """The profile; the file that has none; `None` where there is no place for a file."""

    problem: str | None = None
    """Why `looked_in` could not be read, where that need not be an error."""


def collect(
    *,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
    credentials_file: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Collected:
    """
    Collect the settings as `Credentials.from_env` does, and check none of them.

    *environ* and *overrides* come hidden, see `hidden`.

    Raises:
        ConfigError: The file cannot be read, or has no such profile.
    """
    variables = read_environment(os.environ if environ is None else environ)
    path, required = _choose_file(
        credentials_file or tell(variables.get("credentials_file")) or None, environ
    )
    profile = profile or tell(variables.get("profile")) or None
    _warn_of_quotes(variables)
    found, problem = None, None
    try:
        found = path and read_profile(path, profile, required=required)
    except UnreadableError as error:
        # What need not exist need not be readable: a container may give us a home directory
        # that is not ours, and all that is needed in the environment.
        if required:
            raise
        problem = str(error)
    values: dict[str, Secret | NoText] = {}
    origins: dict[str, str] = {}
    ranks: dict[str, int] = {}
    for setting in ALL_FIELDS:
        name = setting.name
        keyword = hide((overrides or {}).get(name))
        if keyword is not None and (isinstance(keyword, NoText) or tell(keyword).strip()):
            values[name], origins[name] = keyword, f"keyword argument {name}"
            ranks[name] = 0
        elif name in variables:
            values[name] = variables[name]
            origins[name] = f"environment variable {setting.variable}"
            ranks[name] = 1
        elif found and name in found.values:
            values[name] = found.values[name]
            origins[name] = f"key {found.keys[name]} in {found.place()}"
            ranks[name] = 2
    for name in _outranked(ranks):
        del values[name], origins[name]

    return Collected(values, origins, found or path, problem)


def _warn_of_quotes(variables: Mapping[str, Secret]) -> None:
    for name, value in variables.items():
        if is_quoted(tell(value)):
            warnings.warn(
                f"the value of environment variable {PREFIX}{name.upper()} is in quotes, and"
                " they are taken for a part of it: remove them where it is set",
                ConfigWarning,
                stacklevel=4,
            )


def _outranked(ranks: Mapping[str, int]) -> list[str]:
    """Name what must go when both ways to authenticate are known: never both are sent."""
    pair = [name for name in KEY_PAIR if name in ranks]
    if not pair or "bearer_token" not in ranks:
        return []
    # Of one rank both are kept, and refused later on: which one is meant is not ours to guess.
    best = min(ranks[name] for name in pair)
    if ranks["bearer_token"] < best:
        return pair

    return ["bearer_token"] if best < ranks["bearer_token"] else []


def _choose_file(
    given: str | os.PathLike[str] | None, environ: Mapping[str, str] | None
) -> tuple[Path | None, bool]:
    if given is None:
        return default_path(home(environ)), False
    return user_path(given, environ=environ), True
