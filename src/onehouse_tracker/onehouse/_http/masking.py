"""
Replaces our own secrets by asterisks in whatever the server says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import final

from onehouse_tracker._util.text import one_line

__all__ = ["MASK", "Masking"]

MASK = "**********"
"""What is shown in place of a secret."""

_MIN_MASKED = 8  # a shorter secret is a placeholder, and would blot out ordinary words
_ESCAPED = "/\"'\\"  # what may be escaped by nothing but a backslash
# How often one text may be quoted inside another, each time with more backslashes: more than
# anybody does, and few enough that a text of nothing but backslashes is searched quickly.
_MAX_BACKSLASHES = 8


@final
class Masking:
    """
    Finds secrets as they are, and as JSON or a URL may spell them.

    Args:
        secrets: The secrets in the clear.  Those of fewer than 8 characters are not masked.
    """

    __slots__ = ("_in_body", "_in_text", "_secrets", "_signs", "_signs_in_body")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: another one may be its beginning.
        found = sorted({s for s in secrets if len(s) >= _MIN_MASKED}, key=len, reverse=True)
        self._secrets = tuple(found)
        escapes = (f"\\{c}" for c in _ESCAPED if any(c in secret for secret in found))
        # What a text with a secret in it must have: most have none of these, and the search for
        # all spellings is slower.
        self._signs = (*found, "\\u00", "%", *escapes) if found else ()
        self._signs_in_body = tuple(sign.encode() for sign in self._signs)
        pattern = _any_of(found)
        if tails := _tails(found):
            pattern += f"{_any_of(tails)}*"
        self._in_text = re.compile(pattern)
        self._in_body = re.compile(pattern.encode())

    def __repr__(self) -> str:
        return f"<Masking: {len(self._secrets)} secrets>"

    def text(self, text: str) -> str:
        """Return *text* with asterisks in place of each secret, and no rest of any."""
        for sign in self._signs:
            if sign in text:
                return self._in_text.sub(MASK, text)
        return text

    def body(self, body: bytes | bytearray) -> bytes | bytearray:
        """
        Return *body* with asterisks in place of each secret.

        Once it is parsed as JSON, no string and no key holds one, because every spelling that
        JSON allows is found here.  In one pass over the bytes: a walk through what was parsed
        would stop the event loop for seconds if there are many.
        """
        for sign in self._signs_in_body:
            if sign in body:
                return self._in_body.sub(MASK.encode(), body)
        return body

    def line(self, text: str) -> str:
        """Make *text* fit for an error: one short line without secrets and control codes."""
        # In this order: a character that is replaced first would hide a secret.
        return one_line(self.text(text))


def _any_of(texts: Iterable[str]) -> str:
    return f"(?:{'|'.join(''.join(map(_spellings, text)) for text in texts)})"


def _tails(secrets: Iterable[str]) -> list[str]:
    """What is left of a secret that begins inside another one and ends after it."""
    secrets = tuple(secrets)
    tails = {
        later[shared:]
        for earlier in secrets
        for later in secrets
        for shared in range(1, min(len(earlier), len(later)))
        if earlier.endswith(later[:shared])
    }
    return sorted(tails, key=len, reverse=True)


def _spellings(character: str) -> str:
    """One character of a secret, as a pattern for all of its spellings."""
    # Each begins with a character of its own, so that the search can skip all others.
    backslashes = f"\\\\\\\\{{0,{_MAX_BACKSLASHES - 1}}}"
    ways = [re.escape(character)]
    if character.isascii():  # as all credentials are
        code = f"(?i:{ord(character):02x})"
        ways += [f"{backslashes}u00{code}", f"%(?:25){{0,3}}{code}"]
        if character in _ESCAPED:
            ways.append(backslashes + re.escape(character))

    return f"(?:{'|'.join(ways)})"
