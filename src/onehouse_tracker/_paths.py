"""
Paths as users write them: ``~`` is their home directory, everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from onehouse_tracker.errors import ConfigError

__all__ = ["home", "user_path"]


def home(environ: Mapping[str, str] | None = None) -> str | None:
    """
    Name the home directory, which need not exist; `None` if there is none.

    Args:
        environ: The environment; `None` is that of the process, which has the system's own
            word as well.
    """
    if environ is not None:
        return environ.get("HOME") or environ.get("USERPROFILE") or None
    if os.name == "posix" and os.environ.get("HOME") == "":
        return None  # else it would be taken for the root directory
    try:
        return str(Path.home())
    except RuntimeError:  # a container may run under a user number without an entry
        return None


def user_path(given: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None) -> Path:
    """
    Return the path that a user means: ``~/x`` is in the home directory.

    Args:
        given: What the user wrote.

        environ: Where the home directory stands, see `home`.

    Raises:
        ConfigError: It needs a home directory and there is none, it begins with the home of
            another user, or it can be no path.
    """
    path = Path(given)
    if "\0" in str(path):
        raise ConfigError(f"no path can hold a zero byte: {str(path)!r}")
    first, *rest = path.parts or ("",)
    if not first.startswith("~"):
        return path
    if first != "~":
        raise ConfigError(
            f"{path}: the home directories of others are not looked up; write the whole path, or"
            f" ./{path} for a file of this name"
        )
    directory = home(environ)
    if directory is None:
        raise ConfigError(
            f"{path}: there is no home directory: HOME is not set; write the whole path"
        )
    return Path(directory, *rest)
