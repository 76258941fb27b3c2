"""
One profile of a credentials file, in either of its two formats.

No message shows a line of the file: it holds secrets.  For the same reason errors of the
parsers are never chained: they carry the text they could not read.  And whatever looks at the
text returns what is wrong with it, and leaves raising to a function that does not know it.
"""

from __future__ import annotations

import configparser
import json
import os
import stat
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.onehouse._credential_sources.fields import ALL_FIELDS, FileFormat
from onehouse_tracker.onehouse._credential_sources.hidden import NoText, Secret, hide, tell

__all__ = ["ConfigWarning", "Profile", "UnreadableError", "default_path", "read_profile"]

_MAX_FILE = 1024 * 1024
_READABLE_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class ConfigWarning(UserWarning):
    """A setting works, but is probably not what its owner wants."""


class UnreadableError(ConfigError):
    """The credentials file cannot be read, whatever is in it."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What one profile says, and where exactly."""

    path: Path
    """The file that has it."""

    name: str
    """Its name in that file."""

    file_format: FileFormat
    """How the file is written."""

    values: Mapping[str, Secret]
    """Value by the name of the setting."""

    keys: Mapping[str, str]
    """Key in the file by the name of the setting."""

    def place(self) -> str:
        """Name the profile for people."""
        return f"profile [{self.name}] of {self.path}"


def default_path(home: str | None) -> Path | None:
    """Where the credentials file is when nobody says otherwise; `None` without a home."""
    return Path(home) / ".onehouse" / "credentials" if home else None


def read_profile(path: Path, name: str | None, *, required: bool) -> Profile | None:
    """
    Read one profile; the file is opened once, and warned about if others can read it.  Where they
    can write to it, it is refused.

    Args:
        path: The credentials file.

        name: The profile; `None` is the file's own choice (``_default`` of a JSON file),
            else ``default``.

        required: Whether it is an error that there is no such file.

    Returns:
        The profile; `None` if there is no such file, or nobody named a profile and the file
        has no default one.

    Raises:
        UnreadableError: The file may be there, and cannot be read.

        ConfigError: Others can write to it, what it holds makes no sense, or it has no profile of
            this name.
    """
    text = _read(path, required=required)
    if text is None:
        return None
    file_format: FileFormat = "JSON" if tell(text).lstrip().startswith("{") else "INI"
    parse = _parse_json if file_format == "JSON" else _parse_ini
    default, profiles, problem = parse(text)
    if problem:
        raise ConfigError(f"{path}{problem}")
    wanted = name or default or "default"
    if wanted not in profiles:
        if name is None and default is None:
            return None
        known = ", ".join(f"[{known}]" for known in profiles) or "none at all"
        raise ConfigError(f"{path} has no profile [{wanted}]; it has {known}")

    return _profile(path, wanted, file_format, profiles[wanted])


def _read(path: Path, *, required: bool) -> Secret | None:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text, problem = _decode(file.read(_MAX_FILE + 1))
    except FileNotFoundError:
        if not required:
            return None
        raise ConfigError(f"there is no credentials file {path}") from None
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:  # a zero byte, or half of a character
        raise UnreadableError(f"no path of a credentials file: {str(path)!r}") from None
    if os.name == "posix" and mode & _WRITABLE_BY_OTHERS:
        # They could add a base URL of their own, and be sent the secrets.
        raise ConfigError(
            f"{path} holds secrets and other users can write to it; look at what is in it, then"
            f" run: chmod 600 {path}"
        )
    if os.name == "posix" and mode & _READABLE_BY_OTHERS:
        warnings.warn(
            f"{path} holds secrets and other users can read it; run: chmod 600 {path}",
            ConfigWarning,
            stacklevel=5,
        )
    if problem:
        raise ConfigError(f"{path} {problem}")

    return text


def _decode(content: bytes) -> tuple[Secret, str]:
    """The text of a file, and what is wrong with it, if anything."""
    if len(content) > _MAX_FILE:
        return Secret(""), f"is no credentials file: it is larger than {_MAX_FILE} bytes"
    try:
        return Secret(content.decode("utf-8-sig")), ""
    except UnicodeDecodeError:
        return Secret(""), "is not UTF-8 text"


_Section = Mapping[str, Secret | NoText | None]
_Parsed = tuple[str | None, dict[str, _Section], str]
"""The default profile that the file names, the profiles, and what is wrong with the file."""


def _parse_ini(text: Secret) -> _Parsed:
    # Without interpolation: a secret may well contain "%".
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(tell(text))
    except configparser.Error as error:
        # One class collects its lines, the others stop at the first.
        lines = getattr(error, "errors", None)
        line = lines[0][0] if lines else getattr(error, "lineno", None)
        return None, {}, f" is no valid INI file (line {line}: {type(error).__name__})"

    return None, {name: _hidden(parser[name]) for name in parser.sections()}, ""


def _parse_json(text: Secret) -> _Parsed:
    try:
        content: dict[str, Any] = json.loads(tell(text))  # it starts with a brace
    except json.JSONDecodeError as error:
        return None, {}, f" is no valid JSON file (line {error.lineno}: {error.msg})"
    except (ValueError, RecursionError):
        return None, {}, " is no valid JSON file"
    default = content.get("_default")
    if default is not None and not isinstance(default, str):
        return None, {}, ': "_default" names a profile, so it is a text'
    profiles = {name: _hidden(value) for name, value in content.items() if isinstance(value, dict)}

    return default or None, profiles, ""


def _hidden(section: Mapping[str, Any]) -> _Section:
    return {key: hide(value) for key, value in section.items()}


def _profile(path: Path, name: str, file_format: FileFormat, section: _Section) -> Profile:
    values: dict[str, Secret] = {}
    keys: dict[str, str] = {}
    for setting in ALL_FIELDS:
        for key in setting.keys(file_format):
            value = section.get(key)
            if isinstance(value, NoText):
                raise ConfigError(f"{path}: {key} in profile [{name}] is a text, not {value.kind}")
            if value is None or not tell(value):
                continue
            values[setting.name], keys[setting.name] = value, key
            break

    return Profile(path, name, file_format, values, keys)
