"""
Where request IDs come from: arguments, a file, or a stream that is read as it is written.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.cli._options import Input
from onehouse_tracker.cli._records import Records, request_of
from onehouse_tracker.models import Request

__all__ = ["read_bytes", "requests_from"]

STDIN = "-"
_CHUNK = 65536


def requests_from(
    arguments: Iterable[str], given: Input
) -> list[Request] | AsyncIterator[Request]:
    """
    Return the requests named by *arguments* and by *given*, in this order.

    A file is read and checked at once, so that a mistake in it costs no poll.  ``-`` and
    whatever else is not a file come as an async iterator, line by line as they are written.

    Raises:
        CommandError: Something is no request ID, or the file cannot be read.
    """
    requests = [request_of(argument, "argument") for argument in arguments]
    source = given.source
    if source is None:
        return requests
    records = Records(_name(source), given)
    descriptor = _open_stream(source)
    if descriptor is not None:
        return _streamed(requests, descriptor, records, _name(source))
    for line in read_bytes(source).split(b"\n"):
        requests.extend(records.line(line))
    requests.extend(records.end())

    return requests


def read_bytes(source: str) -> bytes:
    """
    Read a file, or all of stdin for ``-``.

    Raises:
        CommandError: It cannot be read.
    """
    try:
        if source == STDIN:
            _check_stdin()
            with open(0, "rb", closefd=False) as stdin:
                return stdin.read()
        return Path(source).read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {_name(source)}: {error.strerror}") from None


def _name(source: str) -> str:
    return "stdin" if source == STDIN else source


def _open_stream(source: str) -> int | None:
    """Open what may be written while we read; `None` for a plain file."""
    if source == STDIN:
        _check_stdin()
        return 0
    try:
        if stat.S_ISREG(Path(source).stat().st_mode):
            return None
        return os.open(source, os.O_RDONLY)
    except OSError as error:
        raise CommandError(f"cannot read {source}: {error.strerror}") from None


def _check_stdin() -> None:
    if sys.stdin is None:  # closed by the shell: `<&-`; by now 0 may be a file of our own
        raise CommandError("cannot read stdin: it is closed")


async def _streamed(
    requests: list[Request], descriptor: int, records: Records, name: str
) -> AsyncIterator[Request]:
    for request in requests:
        yield request
    rest = b""
    async for chunk in _chunks(descriptor, name):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            for request in records.line(line):
                yield request
    for request in (*records.line(rest), *records.end()):
        yield request


async def _chunks(descriptor: int, name: str) -> AsyncIterator[bytes]:
    """Read in a thread: the loop cannot wait for a redirected file, and must not block."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | OSError] = asyncio.Queue()

    def read() -> None:
        # os.read, not sys.stdin: a thread that is blocked inside the buffered reader holds
        # its lock, and the interpreter dies of that at exit.
        chunk: bytes | OSError = b"-"
        while chunk and isinstance(chunk, bytes):
            try:
                chunk = os.read(descriptor, _CHUNK)
            except OSError as error:
                chunk = error
            try:
                loop.call_soon_threadsafe(queue.put_nowait, chunk)
            except RuntimeError:  # the loop is closed: nobody listens any more
                return

    # A daemon: it may be blocked for ever, and must not hold up the end of the command.
    threading.Thread(target=read, name="reader of request IDs", daemon=True).start()
    while chunk := await queue.get():
        if isinstance(chunk, OSError):
            raise CommandError(f"cannot read {name}: {chunk.strerror}")
        yield chunk
