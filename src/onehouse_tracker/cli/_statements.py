"""
Cuts a file of SQL into statements, and names their kind.

Onehouse's SQL is a dialect of its own, so nothing is parsed: a tokenizer finds the
semicolons that are not part of a string, a quoted name or a comment, and what is sent is
cut out of the original text.
"""

from __future__ import annotations

import re
from typing import ClassVar

from sqlglot import TokenError, Tokenizer, TokenType

from onehouse_tracker.cli._codes import CommandError

__all__ = ["label_of", "split"]

_WORD = re.compile(r"[A-Za-z_]+")
_COMMENT = re.compile(r"\s+|--[^\n]*|/\*.*?\*/", re.DOTALL)
# Resources of two words, where the second word tells more than the first.
_COMPOUND = frozenset({"API", "SERVICE"})


class _Doubled(Tokenizer):
    """A quote inside a string is doubled: standard SQL."""

    QUOTES: ClassVar[list[str | tuple[str, str]]] = ["'"]
    IDENTIFIERS: ClassVar[list[str | tuple[str, str]]] = ['"', "`"]
    # Words that would swallow the rest of their statement, such as SHOW: here there are none.
    COMMANDS: ClassVar[set[TokenType]] = set()


class _Escaped(_Doubled):
    """A quote inside a string may also have a backslash before it, as in Spark's SQL."""

    STRING_ESCAPES: ClassVar[list[str]] = ["'", "\\"]


def split(text: str, name: str = "the file") -> list[str]:
    """
    Cut *text* into its statements, in order.

    Comments around a statement are left out, those within it stay.

    Args:
        text: SQL statements, separated by semicolons.

        name: What *text* is called in an error message.

    Raises:
        CommandError: The ends of the statements cannot be found for sure.
    """
    readings = []
    for tokenizer in (_Doubled, _Escaped):
        try:
            readings.append(_cut(text, tokenizer))
        except TokenError:
            continue
    advice = "mend it, or give each statement as an argument, which is sent as it is"
    if not readings:
        raise CommandError(f"{name}: a string, a quoted name or a comment is not closed; {advice}")
    if readings[0] != readings[-1]:
        # A wrong cut would run what nobody wrote, so this is not for us to guess.
        raise CommandError(
            f"{name}: a backslash before a quote can be read in two ways, and the statements"
            f" end in different places; {advice}"
        )
    return readings[0]


def label_of(statement: str) -> str | None:
    """The leading words that tell what kind of statement it is: ``RUN JOB``; `None` if none."""
    position = 0
    words: list[str] = []
    while len(words) < 2 or words[-1] in _COMPOUND:  # noqa: PLR2004 - verb and resource
        while skipped := _COMMENT.match(statement, position):
            position = skipped.end()
        word = _WORD.match(statement, position)
        if word is None:
            break
        words.append(word.group().upper())
        position = word.end()
        if len(words) > 2:  # noqa: PLR2004
            break
    return " ".join(words) or None


def _cut(text: str, tokenizer: type[Tokenizer]) -> list[str]:
    statements: list[str] = []
    start: int | None = None
    end = 0
    for token in tokenizer().tokenize(text):
        if token.token_type is TokenType.SEMICOLON:
            if start is not None:
                statements.append(text[start:end])
            start = None
            continue
        if start is None:
            start = token.start
        end = token.end + 1
    if start is not None:
        statements.append(text[start:end])

    return statements
