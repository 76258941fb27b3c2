"""
Which statements count as the same: those that differ in literals only.
"""

from __future__ import annotations

import re

__all__ = ["fingerprint"]

# In queries these four are operators before a digit; names of jobs have them inside.
_WORD = r"[^\W\d][\w$]*(?:[.\-:@/][\w$]+)*"
_WORD_OF_QUERY = r"[^\W\d][\w$]*(?:\.[\w$]+|[\-:@/][^\W\d][\w$]*)*"


def _tokens(word: str) -> re.Pattern[str]:
    # Quotes and comments that are not closed take the rest of the text.  So each alternative that
    # can be long succeeds at its first try: what fails at the end of a long text would be tried
    # again from each of its characters, in time that grows with the square of its length.  And
    # literals, which may have megabytes, are matched without a way back, which takes memory.
    return re.compile(
        rf"""
        (?P<comment> --[^\n]* | /\*.*?(?:\*/|\Z) )
        | (?P<quoted> `(?:[^`]++|``)*+(?:`|\Z) )
        | (?P<text> r'[^']*+(?:'|\Z) | r"[^"]*+(?:"|\Z)
                | [A-Za-z]?'(?:[^'\\]++|''|\\.?)*+(?:'|\Z) | "(?:[^"\\]++|""|\\.?)*+(?:"|\Z) )
        | (?P<word> {word} )
        | (?P<number> (?: 0x[\da-f]+
                        | (?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?(?:bd|[dflsy])? ) (?![\w$]) )
        | (?P<odd> \d[\w$]* )
        | (?P<blank> \s+ )
        | (?P<other> . )
        """,
        re.VERBOSE | re.DOTALL | re.IGNORECASE,
    )


_TOKENS = _tokens(_WORD)
_TOKENS_OF_QUERY = _tokens(_WORD_OF_QUERY)
_BARE_NAME = re.compile(r"""[^\s`'";,()=]+""")
"""A name without quotes, in a place where there must be a name."""

_COMMANDS = frozenset({"ALTER", "CANCEL", "CREATE", "DELETE", "DESCRIBE", "RUN", "SHOW"})
"""What commands of Onehouse begin with."""

_NAMING = frozenset(
    {"CLUSTER", "DATABASE", "FLOW", "JOB", "JOB_NAME", "LAKE", "NAME", "SERVICE", "TABLE", "TYPE"}
)
"""What follows these words in a command, with or without ``=``, names something."""

_QUERIES = _COMMANDS | {"INSERT", "MERGE", "SELECT", "UPDATE", "WITH"}
"""What queries begin with: a table may be created from one."""

_BEFORE_NAMES = frozenset({"EXISTS", "FROM", "INTO", "JOIN", "OVERWRITE", "TABLE", "UPDATE"})
"""What follows these words in a query is probably a name."""

_BEFORE_SIGNS = frozenset("=<>!(,+-*/%|&^") | {
    "AND",
    "BETWEEN",
    "BY",
    "CASE",
    "ELSE",
    "IN",
    "INTERVAL",
    "LIKE",
    "LIMIT",
    "NOT",
    "ON",
    "OR",
    "SELECT",
    "THEN",
    "VALUES",
    "WHEN",
    "WHERE",
}
"""A sign after one of these is part of the number that follows."""


def fingerprint(statement: str) -> str:
    """
    Return *statement* without its literals, comments and superfluous blanks, in capitals.

    Digits that belong to a name stay, and so does everything in backticks: ``load_1`` and
    ``load_2`` are two.  So does, in a command, what follows words that name something, such as
    ``JOB_NAME = 'nightly'`` or ``RUN JOB 'nightly'``.  A list of literals counts as one literal.
    In a query, ``current_date-1`` is a name, an operator and a literal.  It raises nothing.
    """
    statement = statement.strip()
    parts: list[str] = []
    is_command, here = False, 0
    while token := _tokens_after(parts, is_command=is_command).match(statement, here):
        kind, text = token.lastgroup, token.group()
        if kind in {"comment", "blank"}:
            here = token.end()
            continue
        if is_command and _names_something(parts):
            if kind not in {"quoted", "text"}:
                token = _BARE_NAME.match(statement, here) or token
                text = token.group().upper()
            parts.append(text)
        elif kind in {"text", "number"}:
            _add_literal(parts)
        else:
            parts.append(text if kind == "quoted" else text.upper())
            is_command = _is_command(parts, is_command)
        here = token.end()
    while parts and parts[-1] == ";":
        parts.pop()
    return " ".join(parts)


def _tokens_after(parts: list[str], *, is_command: bool) -> re.Pattern[str]:
    is_query = parts and not is_command and parts[0] in _QUERIES
    return _TOKENS_OF_QUERY if is_query and parts[-1] not in _BEFORE_NAMES else _TOKENS


def _is_command(parts: list[str], was_command: bool) -> bool:  # noqa: FBT001
    if len(parts) == 1:
        return parts[0] in _COMMANDS
    # A table may be created from a query, and rows are deleted by one.
    return was_command and parts[-1] != "SELECT" and parts != ["DELETE", "FROM"]


def _names_something(parts: list[str]) -> bool:
    """Whether what comes after *parts* of a command is a name."""
    return parts[-1] in _NAMING or (parts[-1] == "=" and parts[-2] in _NAMING)


def _add_literal(parts: list[str]) -> None:
    if parts[-1:] in (["-"], ["+"]) and not _BEFORE_SIGNS.isdisjoint(parts[-2:-1]):
        parts.pop()
    if parts[-2:] == ["?", ","]:
        parts.pop()  # a list of literals is one
    else:
        parts.append("?")
