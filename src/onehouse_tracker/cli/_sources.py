"""
Where request IDs come from: arguments, a file, or a stream that is read as it is written.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.errors import InvalidRequestError
from onehouse_tracker.models import Request

__all__ = ["parse_line", "read_bytes", "requests_from"]

STDIN = "-"
_CHUNK = 65536


def requests_from(
    arguments: Iterable[str], source: str | None
) -> list[Request] | AsyncIterator[Request]:
    """
    Return the requests named by *arguments* and by *source*, in this order.

    A file is read and checked at once, so that a mistake in it costs no poll.  ``-`` and
    whatever else is not a file come as an async iterator, line by line as they are written.

    Raises:
        CommandError: Something is no request ID, or *source* cannot be read.
    """
    requests = [_request(argument, None, "argument") for argument in arguments]
    if source is None:
        return requests
    descriptor = _open_stream(source)
    if descriptor is not None:
        return _streamed(requests, descriptor, source)
    lines = read_bytes(source).split(b"\n")
    requests.extend(_parsed(lines, source))

    return requests


def read_bytes(source: str) -> bytes:
    """
    Read a file, or all of stdin for ``-``.

    Raises:
        CommandError: It cannot be read.
    """
    try:
        if source == STDIN:
            with open(0, "rb", closefd=False) as stdin:
                return stdin.read()
        return Path(source).read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {_name(source)}: {error.strerror}") from None


def parse_line(line: bytes, where: str) -> Request | None:
    """
    Read one line: a request ID, optionally a tab and its label; or a JSON object with
    ``request_id`` and optionally ``label``, as `submit --output jsonl` prints it.

    Returns `None` for a blank line and for a comment.

    Raises:
        CommandError: It is neither.
    """
    try:
        text = line.decode("utf-8-sig").strip(" \r\n")
    except UnicodeDecodeError:
        raise CommandError(f"{where}: not UTF-8") from None
    if not text.strip() or text.startswith("#"):
        return None
    if not text.startswith("{"):
        request_id, _, label = text.partition("\t")
        return _request(request_id.strip(), label.strip() or None, where)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        raise CommandError(f"{where}: begins like JSON and is not") from None
    label = row.get("label")
    return _request(row.get("request_id"), label if isinstance(label, str) else None, where)


def _parsed(lines: Iterable[bytes], source: str, first: int = 1) -> Iterator[Request]:
    for number, line in enumerate(lines, first):
        request = parse_line(line, f"{_name(source)}, line {number}")
        if request is not None:
            yield request


def _request(request_id: str, label: str | None, where: str) -> Request:
    try:
        return Request(request_id, label=label)
    except InvalidRequestError as error:
        raise CommandError(f"{where}: {error}") from None


def _name(source: str) -> str:
    return "stdin" if source == STDIN else source


def _open_stream(source: str) -> int | None:
    """Open what may be written while we read; `None` for a plain file."""
    if source == STDIN:
        return 0
    try:
        if stat.S_ISREG(Path(source).stat().st_mode):
            return None
        return os.open(source, os.O_RDONLY)
    except OSError as error:
        raise CommandError(f"cannot read {source}: {error.strerror}") from None


async def _streamed(
    requests: list[Request], descriptor: int, source: str
) -> AsyncIterator[Request]:
    for request in requests:
        yield request
    rest, number = b"", 1
    async for chunk in _chunks(descriptor):
        *lines, rest = (rest + chunk).split(b"\n")
        for request in _parsed(lines, source, number):
            yield request
        number += len(lines)
    for request in _parsed([rest], source, number):
        yield request


async def _chunks(descriptor: int) -> AsyncIterator[bytes]:
    """Read in a thread: the loop cannot wait for a redirected file, and must not block."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue()

    def read() -> None:
        # os.read, not sys.stdin: a thread that is blocked inside the buffered reader holds
        # its lock, and the interpreter dies of that at exit.
        chunk = b"-"
        while chunk:
            try:
                chunk = os.read(descriptor, _CHUNK)
            except OSError:
                chunk = b""
            try:
                loop.call_soon_threadsafe(queue.put_nowait, chunk)
            except RuntimeError:  # the loop is closed: nobody listens any more
                return

    # A daemon: it may be blocked for ever, and must not hold up the end of the command.
    threading.Thread(target=read, name="reader of request IDs", daemon=True).start()
    while chunk := await queue.get():
        yield chunk
