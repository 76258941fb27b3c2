"""
What a body may cost: bytes on the wire, bytes unpacked, bytes in memory.
"""

from __future__ import annotations

import zlib

__all__ = ["decode_body", "too_large"]

# A body may be small and what it says large: "{}," takes 3 bytes, and more than 64 in memory.
_MIN_MEMORY = 1024 * 1024
# The body itself included.  It is an upper bound: 26,000 rows of a listing are said to take ten
# times as much as their text, and take three.
_MAX_GROWTH = 10
# Bytes in memory, at most: of an empty container, of a value beside its text, and of a key
# beside its text, with its place in a table that has just been doubled.
_DICT, _LIST, _VALUE, _KEY = 200, 72, 80, 130
_WIDE = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4", b"\\ud", b"\\uD")
"""One such character makes four bytes of each."""

_GZIP = b"\x1f\x8b"
_GZIP_OR_ZLIB, _RAW = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS
_PIECE = 64 * 1024
_MAX_MEMBERS = 1_000


def decode_body(
    data: bytes | bytearray, encoding: str, *, max_body: int
) -> tuple[bytes | bytearray, str]:
    """
    Undo a ``Content-Encoding`` without ever holding more than *max_body* bytes of its result.

    A body that may take more than ten times *max_body* once it is parsed, both together, is
    refused too.

    Returns:
        The body, and the problem with it; empty where there is none.
    """
    body, problem = _decompress(data, encoding.strip().lower(), max_body)
    if problem or len(body) * (_DICT + 4) <= _MIN_MEMORY:  # most are: no need to look closer
        return body, problem
    if _memory_for(body) > max(_MAX_GROWTH * max_body, _MIN_MEMORY):
        return b"", "the body would take too much memory"

    return body, problem


def _decompress(
    data: bytes | bytearray, encoding: str, max_body: int
) -> tuple[bytes | bytearray, str]:
    if encoding in {"", "identity"}:
        return data, ""
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        return b"", "the body has an encoding that was not asked for"
    # "deflate" is zlib's format (RFC 9110, 8.4.1.2), and often sent without its frame.
    formats = (_GZIP_OR_ZLIB,) if encoding != "deflate" else (_GZIP_OR_ZLIB, _RAW)
    for wbits in formats:
        try:
            return _inflate(data, wbits, max_body)
        except zlib.error:
            continue
    return b"", "the compressed body is damaged"


def _inflate(data: bytes | bytearray, wbits: int, max_body: int) -> tuple[bytes | bytearray, str]:
    """Decompress all members of *data*, one after the other (RFC 1952, 2.2)."""
    body, rest = bytearray(), memoryview(data)
    for _ in range(_MAX_MEMBERS):
        inflate = zlib.decompressobj(wbits)
        while not inflate.eof:
            if not rest:
                return b"", "the compressed body is cut off"
            # Piece by piece: what is left behind a member is copied each time.
            piece, rest = rest[:_PIECE], rest[_PIECE:]
            body += inflate.decompress(piece, max_body + 1 - len(body))
            if len(body) > max_body:
                return b"", too_large(max_body)
        behind = len(data) - len(rest) - len(inflate.unused_data)
        rest = memoryview(data)[behind:]
        if bytes(rest[:2]) != _GZIP:
            return body, ""  # padding, or nothing
    return b"", "the compressed body has too many members"


def _memory_for(body: bytes | bytearray) -> int:
    """Bytes that *body* and what is parsed from it take, at the most."""
    # Each of these searches takes about a millisecond for 8 MiB; a pattern would take fifty.
    dicts, lists, commas = body.count(b"{"), body.count(b"["), body.count(b",")
    # Before each key is a comma or a brace, after it a colon: in texts all of them are harmless.
    keys = min(commas + dicts, body.count(b":"))
    values = _DICT * dicts + _LIST * lists + _VALUE * (commas + 1) + _KEY * keys
    # As str keeps them: every character of a text is as wide as its widest.
    narrow = 1 if body.isascii() and b"\\u" not in body else 2
    width = 4 if narrow > 1 and any(mark in body for mark in _WIDE) else narrow

    return values + (width + 1) * len(body)


def too_large(max_body: int) -> str:
    """Say that a body is larger than *max_body* bytes."""
    return f"the body is larger than {max_body} bytes"
