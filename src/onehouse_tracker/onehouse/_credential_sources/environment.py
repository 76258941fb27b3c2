"""
The environment variables of this package, and what each of them says.
"""

from __future__ import annotations

from collections.abc import Mapping

from onehouse_tracker.onehouse._credential_sources.fields import ALL_FIELDS, PREFIX
from onehouse_tracker.onehouse._credential_sources.hidden import Secret

__all__ = ["is_quoted", "plain", "read_environment"]

_NAMES = (*(field.name for field in ALL_FIELDS), "profile", "credentials_file")
_AROUND = " \t\r\n\v\f"


def read_environment(environ: Mapping[str, str]) -> dict[str, Secret]:
    """
    The values that *environ* has for us, by the name of the setting, all of them hidden.

    Blanks and line breaks around a value are no part of it.  A variable that is empty, or
    blanks alone, counts as absent: that is how containers and CI systems unset one.
    """
    return {
        name: Secret(value)
        for name in _NAMES
        if (value := plain(environ.get(f"{PREFIX}{name.upper()}", "")))
    }


def plain(value: str) -> str:
    """*value* without the blanks and line breaks that a shell, an editor or a container added."""
    return value.strip(_AROUND)


def is_quoted(value: str) -> bool:
    """Whether straight quotes are around it, which only a shell takes away."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
