"""
Which statements count as the same: those that differ in literals only.
"""

from __future__ import annotations

import re

__all__ = ["fingerprint"]

_TOKENS = re.compile(
    r"""
    (?P<comment> --[^\n]* | /\*.*?\*/ )
    | (?P<quoted> `(?:[^`]|``)*` )
    | (?P<naming> \b(?:JOB_NAME|NAME|LAKE|DATABASE|SERVICE|CLUSTER|TYPE)
                  \s*=\s*'(?:[^'\\]|''|\\.)*' )
    | (?P<text> [A-Za-z]?'(?:[^'\\]|''|\\.)*' | "(?:[^"\\]|""|\\.)*" )
    | (?P<word> [^\W\d][\w$]*(?:[.\-:@/][\w$]+)* )
    | (?P<number> \d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?(?![\w$]) | \.\d+(?:[eE][+-]?\d+)?(?![\w$]) )
    | (?P<odd> \d[\w$]* )
    | (?P<blank> \s+ )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_MANY = re.compile(r"\?(?: , \?)+")


def fingerprint(statement: str) -> str:
    """
    Return *statement* without its literals, comments and superfluous blanks, in capitals.

    Digits that belong to a name stay, and so does everything in backticks: ``load_1`` and
    ``load_2`` are two.  So does the text after words that name something in a command, such as
    ``JOB_NAME = 'nightly'``.  A list of literals counts as one literal.
    """
    parts = []
    for token in _TOKENS.finditer(statement):
        kind = token.lastgroup
        if kind in {"comment", "blank"}:
            continue
        if kind in {"text", "number"}:
            parts.append("?")
        elif kind in {"quoted", "naming"}:
            parts.append(token.group())
        else:
            parts.append(token.group().upper())
    return _MANY.sub("?", " ".join(parts).rstrip("; "))
