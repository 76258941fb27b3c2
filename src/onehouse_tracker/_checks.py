"""
Checks values that users hand in, before anything is asked or sent.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from onehouse_tracker.errors import ConfigError, InvalidRequestError

__all__ = [
    "check_job_name",
    "check_label",
    "check_moment",
    "check_no_mapping",
    "check_request_id",
    "check_run_id",
    "check_statement",
    "check_statements_listed",
    "check_submitted_at",
    "home",
    "user_path",
]

MAX_ID_LENGTH = 256
_SURROGATE = re.compile("[\ud800-\udfff]")
# Cc: control characters.  Cf: what is invisible or turns text around.  Cs: lone surrogates, which
# cannot be encoded for the wire.  Zl, Zp: line breaks.  None could be printed and read again.
_NOT_IN_ID = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_UNQUOTABLE = frozenset("`;")
_UNFIT = re.compile("[\0\ud800-\udfff]")


def check_request_id(value: object) -> str:
    """Return *value* if it can be a request ID, else raise `InvalidRequestError` at once."""
    if not isinstance(value, str):
        raise InvalidRequestError(
            f"a request ID is a str, not {type(value).__name__}: {_shorten(repr(value))}"
        )
    if not value:
        raise InvalidRequestError("a request ID cannot be empty")
    if len(value) > MAX_ID_LENGTH:
        raise InvalidRequestError(
            f"a request ID has at most {MAX_ID_LENGTH} characters, this one {len(value)}:"
            f" {_shorten(repr(value))}"
        )
    if not value.isascii() or not value.isprintable():
        for character in value:
            if unicodedata.category(character) in _NOT_IN_ID:
                raise InvalidRequestError(
                    "a request ID has no control characters, no line breaks and nothing"
                    f" invisible: {_shorten(repr(value))}"
                )
    if value[0].isspace() or value[-1].isspace():
        # A list that is read again would make another ID of it.
        raise InvalidRequestError(f"a request ID has no spaces around it: {_shorten(repr(value))}")
    return value


def check_label(label: object, of: str = "") -> None:
    """Raise `InvalidRequestError` unless *label* is text or `None`; *of* begins its message."""
    if label is None:
        return
    if not isinstance(label, str):
        raise InvalidRequestError(f"{of}a label is a str, not {type(label).__name__}")
    if _SURROGATE.search(label):
        # It could be neither printed nor written down.
        raise InvalidRequestError(f"{of}a label is text in Unicode")


def check_submitted_at(moment: object, of: str) -> None:
    """Raise `InvalidRequestError` unless *moment* is a point in time; *of* begins its message."""
    check_moment(moment, f"{of}submitted_at")


def check_moment(moment: object, what: str) -> None:
    """Raise `InvalidRequestError` unless *moment* is a point in time; *what* is its name."""
    if not isinstance(moment, datetime):
        raise InvalidRequestError(f"{what} is a datetime, not {type(moment).__name__}")
    try:
        has_zone = moment.utcoffset() is not None
        if has_zone:
            moment.astimezone(UTC)  # as the count of the age and the journal will do
    except Exception as error:
        # `pandas.NaT` is a datetime, the first and the last one are none in other time zones, and
        # a zone of somebody's own may raise anything.
        raise InvalidRequestError(
            f"{what} is no point in time ({type(error).__name__}: {error});"
            " give None where it is not known"
        ) from error
    if not has_zone:
        raise InvalidRequestError(
            f"{what} needs a time zone: if it is UTC, {moment.isoformat()}Z;"
            " in Python, replace(tzinfo=timezone.utc)"
        )


def check_no_mapping(given: object, name: str, what: str, done: str) -> None:
    """Raise `InvalidRequestError` if *given* is a mapping, with whose keys it would be *done*."""
    if isinstance(given, Mapping):
        raise InvalidRequestError(
            f"give a list of {what}, not a {type(given).__name__}, whose keys would be {done}:"
            f" if the {what} are its values, give {name}.values()"
        )


def check_statements_listed(statements: object) -> None:
    """Raise `InvalidRequestError` if iterating over *statements* would send something else."""
    if isinstance(statements, str | bytes):
        raise InvalidRequestError(
            "give a list of statements, not one string; for one statement use execute or submit"
        )
    check_no_mapping(statements, "statements", "statements", "sent")


def check_statement(statement: object) -> str:
    """
    Return *statement* if it can be sent as SQL, else raise `InvalidRequestError`.

    It is sent as it is, so what cannot be SQL and is there by accident must not pass: bytes that
    are not Unicode, what is left of another encoding, marks that nobody sees.
    """
    if not isinstance(statement, str):
        raise InvalidRequestError(f"a statement is a str, not {type(statement).__name__}")
    if found := _UNFIT.search(statement):
        what = "a NUL character" if found[0] == "\0" else "bytes that are not Unicode text"
        raise InvalidRequestError(
            f"a statement cannot have {what} in it (character {found.start() + 1})"
        )
    bare = statement.replace(";", " ").strip()
    if not bare:
        raise InvalidRequestError("a statement cannot be empty")
    for character, place in ((bare[0], "begin"), (bare[-1], "end")):
        if unicodedata.category(character) in {"Cc", "Cf"}:
            raise InvalidRequestError(
                f"a statement cannot {place} with an invisible character (U+{ord(character):04X}):"
                " remove it"
            )
    return statement


def _check_quotable(value: object, what: str, longest: int) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError(f"{what} is a str, not {type(value).__name__}")
    if not value or len(value) > longest or value != value.strip():
        raise InvalidRequestError(
            f"{what} has 1 to {longest} characters and no spaces around them: {value[:80]!r}"
        )
    if not value.isprintable() or not _UNQUOTABLE.isdisjoint(value):
        raise InvalidRequestError(
            f"{what} that has a backtick, a semicolon, a line break or something invisible in it"
            f" cannot be quoted in a statement: {value[:80]!r}"
        )
    return value


def check_job_name(value: object) -> str:
    """Return *value* if a statement can name such a job, else raise `InvalidRequestError`."""
    return _check_quotable(value, "the name of a job", 512)


def check_run_id(value: object) -> str:
    """Return *value* if a statement can name such a run, else raise `InvalidRequestError`."""
    return _check_quotable(value, "a run ID", 256)


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line's worth


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
