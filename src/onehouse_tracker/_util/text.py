"""
Text that others wrote, made fit for one of our lines.
"""

from __future__ import annotations

__all__ = ["one_line", "printable", "reason_of"]

_MAX_LINE = 500
_MAX_READ = 100_000  # enough of a text for its line, without a walk through megabytes


def printable(text: str) -> str:
    """Replace by a space what breaks a line, steers a terminal or turns text around."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " for c in text)


def one_line(text: str) -> str:
    """Make one line of *text*: at most 500 characters, all printable, no two spaces together."""
    text = " ".join(printable(text[:_MAX_READ]).split())
    return text if len(text) <= _MAX_LINE else f"{text[: _MAX_LINE - 3]}..."


def reason_of(error: Exception) -> str:
    """Why a file or a socket cannot be used, without the number and the names of the error."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
