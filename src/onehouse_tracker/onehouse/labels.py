"""
The label of a statement: the leading words that tell what kind of statement it is.

The schedule learns from labels how long requests take, and a label is shown and stored where
the statement, which may hold secrets, is not.  So there is one rule, which takes whole words only.
"""

from __future__ import annotations

import re

__all__ = ["label_of"]

_SKIPPED = re.compile(r"\s+|--[^\n]*|/\*.*?\*/", re.DOTALL)
# Whole words: names, numbers and strings are no kind, and may be secret.
_WORD = re.compile(r"[A-Za-z_]{1,30}(?=[\s;(]|--|/\*|\Z)")
# Resources of two words, where the second word tells more than the first.
_COMPOUND = frozenset({"API", "SERVICE"})


def label_of(statement: str) -> str | None:
    """
    The verb and the resource that *statement* begins with, in upper case.

    ``run job nightly`` is a ``RUN JOB``.  `None` where it begins with no word.
    """
    words: list[str] = []
    position = 0
    while len(words) < (3 if words[1:] and words[1] in _COMPOUND else 2):
        while skipped := _SKIPPED.match(statement, position):
            position = skipped.end()
        word = _WORD.match(statement, position)
        if word is None:
            break
        words.append(word.group().upper())
        position = word.end()
    return " ".join(words) or None
