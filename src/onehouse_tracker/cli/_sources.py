"""
Where request IDs come from: arguments, files, or a stream that is read as it is written.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
import sys
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence

from onehouse_tracker._checks import user_path
from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.cli._options import Input
from onehouse_tracker.cli._request_file import RequestFile, request_of
from onehouse_tracker.models import Request

__all__ = ["STDIN", "each_once", "name_of", "nothing_in", "read_bytes", "requests_from"]

STDIN = "-"
_CHUNK = 65536
_AT_ONCE = 1_000
"""Lines that are read in one turn of the event loop: a signal must not wait for a million."""
_UUIDS = re.compile(rb"(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\r?\n)++")
"""Nothing but request IDs as the service makes them, one a line."""


async def requests_from(arguments: Iterable[str], given: Input) -> AsyncIterator[Request]:
    """
    Return the requests named by *arguments* and by *given*, in this order.

    Files are read and checked before this returns, so that a mistake in one costs no poll.
    ``-`` and whatever else is no file is read line by line, as it is written.

    Raises:
        CommandError: Something is no request ID, or a file cannot be read or holds none; of
            a stream the iterator raises it.
    """
    parts: list[Iterable[Request] | AsyncIterable[Request]] = [
        [request_of(argument, "argument") for argument in arguments]
    ]
    for source in each_once(given.sources or []):
        if _is_file(source):
            parts.append(await _file(source, given))
        else:
            parts.append(_streamed(source, given))

    return _one_after_the_other(parts)


def each_once(sources: Sequence[str]) -> Sequence[str]:
    """
    Return *sources*, of which stdin can be read only once.

    Raises:
        CommandError: It is named twice.
    """
    if sources.count(STDIN) > 1:
        raise CommandError("stdin is named twice by --from: it can be read only once")
    return sources


def name_of(source: str) -> str:
    """What *source* is called in messages."""
    return "stdin" if source == STDIN else source


def nothing_in(source: str, what: str = "request IDs") -> CommandError:
    """The error for a *source* without anything to do: what wrote it has probably failed."""
    return CommandError(f"no {what} in {name_of(source)}; if that is well, give --allow-empty")


def read_bytes(source: str) -> bytes:
    """
    Read a file, or all of stdin for ``-``.

    Raises:
        CommandError: It cannot be read.

        ConfigError: Its path begins with ``~`` and leads to no home.
    """
    try:
        if source == STDIN:
            _check_stdin()
            with open(0, "rb", closefd=False) as stdin:
                return stdin.read()
        return user_path(source).read_bytes()
    except OSError as error:
        raise _unreadable(source, error) from None


def _unreadable(source: str, error: OSError) -> CommandError:
    return CommandError(f"cannot read {name_of(source)}: {error.strerror}")


def _is_file(source: str) -> bool:
    """Whether it is a plain file; anything else may be written while we read."""
    if source == STDIN:
        _check_stdin()
        return False
    try:
        return stat.S_ISREG(user_path(source).stat().st_mode)
    except OSError as error:
        raise _unreadable(source, error) from None


def _check_stdin() -> None:
    if sys.stdin is None:  # closed by the shell: `<&-`; by now 0 may be a file of our own
        raise CommandError("cannot read stdin: it is closed")


async def _one_after_the_other(
    parts: Sequence[Iterable[Request] | AsyncIterable[Request]],
) -> AsyncIterator[Request]:
    for part in parts:
        if isinstance(part, AsyncIterable):
            async for request in part:
                yield request
        else:
            for request in part:
                yield request


async def _file(source: str, given: Input) -> Iterable[Request]:
    content = read_bytes(source)
    records = RequestFile(source, given)
    # Of a million of these, all are known to be good in a fraction of a second; read one by one
    # before the first poll, they would take several.
    if records.may_be_a_list and _UUIDS.fullmatch(content):
        return _uuids(content)
    requests: list[Request] = []
    for number, line in enumerate(_lines(content)):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
        requests.extend(records.line(line))
    requests.extend(records.end())
    if not requests and not given.allow_empty:
        raise nothing_in(source)

    return requests


def _uuids(content: bytes) -> Iterator[Request]:
    return (Request(line.rstrip(b"\r").decode("ascii")) for line in _lines(content) if line)


def _lines(content: bytes) -> Iterator[bytes]:
    """The lines of *content*, one at a time: a list of a million of them takes its room."""
    start = 0
    while (end := content.find(b"\n", start)) >= 0:
        yield content[start:end]
        start = end + 1
    yield content[start:]


async def _streamed(source: str, given: Input) -> AsyncIterator[Request]:
    records = RequestFile(name_of(source), given)
    empty, rest = True, b""
    async for chunk in _chunks(source):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            for request in records.line(line):
                empty = False
                yield request
    for request in (*records.line(rest), *records.end()):
        empty = False
        yield request
    if empty and not given.allow_empty:
        raise nothing_in(source)


async def _chunks(source: str) -> AsyncIterator[bytes]:
    """Read in a thread: the loop cannot wait for a redirected file, and must not block."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | OSError] = asyncio.Queue()
    path = None if source == STDIN else user_path(source)

    def read() -> None:
        # os.read, not sys.stdin: a thread that is blocked inside the buffered reader holds
        # its lock, and the interpreter dies of that at exit.
        chunk: bytes | OSError = b"-"
        descriptor = 0 if path is None else -1
        while chunk and isinstance(chunk, bytes):
            try:
                if path is not None and descriptor < 0:
                    # Here, because it waits until somebody opens the other end of a pipe.
                    descriptor = os.open(path, os.O_RDONLY)
                chunk = os.read(descriptor, _CHUNK)
            except OSError as error:
                chunk = error
            try:
                loop.call_soon_threadsafe(queue.put_nowait, chunk)
            except RuntimeError:  # the loop is closed: nobody listens any more
                return

    # A daemon: it may be blocked forever, and must not hold up the end of the command.
    threading.Thread(target=read, name="reader of request IDs", daemon=True).start()
    while chunk := await queue.get():
        if isinstance(chunk, OSError):
            raise _unreadable(source, chunk)
        yield chunk
