"""
What an environment variable says, whoever wrote it: a shell, an editor, a container.
"""

from __future__ import annotations

__all__ = ["is_quoted", "plain"]

_AROUND = " \t\r\n\v\f"


def plain(value: str) -> str:
    """*value* without the blanks and line breaks around it; empty where there is nothing else."""
    return value.strip(_AROUND)


def is_quoted(value: str) -> bool:
    """Whether straight quotes stand around it, which only a shell takes away."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
