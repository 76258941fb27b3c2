"""
What a body may cost: bytes on the wire, bytes unpacked, bytes in memory.
"""

from __future__ import annotations

import re
import zlib

__all__ = ["decode_body", "too_large"]

# A body may be small and what it says large: "{}," takes 3 bytes, and more than 64 in memory.
_MIN_MEMORY = 1024 * 1024
_MAX_GROWTH = 4
_DICT, _LIST, _VALUE = 200, 64, 60  # bytes in memory, rounded up
_WIDE = re.compile(rb"[\xf0-\xff]|\\u[dD][89abAB]")
"""One such character makes four bytes of each."""


def decode_body(data: bytes, encoding: str, *, max_body: int) -> tuple[bytes, str]:
    """
    Undo a ``Content-Encoding`` without ever holding more than *max_body* bytes of its result.

    A body that would take more than four times *max_body* once it is parsed is refused too.

    Returns:
        The body, and the problem with it; empty where there is none.
    """
    body, problem = _decompress(data, encoding.strip().lower(), max_body)
    if problem or len(body) * (_DICT + 4) <= _MIN_MEMORY:  # most are: no need to look closer
        return body, problem
    if _memory_for(body) > max(_MAX_GROWTH * max_body, _MIN_MEMORY):
        return b"", "the body would take too much memory"

    return body, problem


def _decompress(data: bytes, encoding: str, max_body: int) -> tuple[bytes, str]:
    if encoding in {"", "identity"}:
        return data, ""
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        return b"", "the body has an encoding that was not asked for"
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, whichever it turns out
    try:
        body = inflate.decompress(data, max_body + 1)
    except zlib.error:
        return b"", "the compressed body is damaged"
    if len(body) > max_body:
        return b"", too_large(max_body)

    return (body, "") if inflate.eof else (b"", "the compressed body is cut off")


def _memory_for(body: bytes) -> int:
    """Bytes that *body* takes once it is parsed, at the most."""
    values = _DICT * body.count(b"{") + _LIST * body.count(b"[") + _VALUE * body.count(b",")
    # As str keeps them: every character of a text is as wide as its widest.
    narrow = 1 if body.isascii() and b"\\u" not in body else 2
    width = 4 if _WIDE.search(body) else narrow

    return values + width * len(body)


def too_large(max_body: int) -> str:
    """Say that a body is larger than *max_body* bytes."""
    return f"the body is larger than {max_body} bytes"
