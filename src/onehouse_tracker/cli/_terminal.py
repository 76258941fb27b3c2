"""
Writes for people and for programs: results on stdout, everything else on stderr.
"""

from __future__ import annotations

import asyncio
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from onehouse_tracker.cli._codes import CommandError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Terminal", "clean"]


def clean(text: str) -> str:
    """Replace what would steer a terminal: servers and files may put anything into a text."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        "?" if unicodedata.category(character) in _STEER else character
        for character in text.replace("\t", " ").replace("\n", " ")
    )


_STEER = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Terminal:
    """
    The two streams of the command.

    Args:
        quiet: Nothing is written to stderr but errors, and what to do about them.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.out_is_terminal = _is_terminal(sys.stdout)
        self.err_is_terminal = _is_terminal(sys.stderr)
        self._above: Callable[[str], None] | None = None
        self._lost: Exception | None = None
        for stream in (sys.stdout, sys.stderr):
            if stream is None or not hasattr(stream, "reconfigure"):
                continue
            # A terminal that cannot show a character must not end the command.  Whatever else it
            # is may become a file, and files are UTF-8, whatever the locale: so they are read.
            encoding = stream.encoding if _is_terminal(stream) else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")

    def console(self, stream: TextIO) -> Console:
        """A rich console for a terminal; colors as NO_COLOR and TERM have it."""
        from rich.console import Console  # noqa: PLC0415 - only where somebody looks

        return Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)

    def print_above(self, write: Callable[[str], None] | None) -> None:
        """Write through *write* while a live display stands on the terminal; `None` ends it."""
        self._above = write

    async def emit(self, line: str) -> None:
        """
        Write one line to stdout, at once.

        In a thread: a reader that is slow, such as a pager, must not stop the polling.

        Raises:
            BrokenPipeError: Nobody reads it any more.

            CommandError: It cannot be written, to a disk that is full for example.
        """
        with self.writing():
            if self._above is not None and self.out_is_terminal:
                self._above(line)
            else:
                await asyncio.to_thread(_write, sys.stdout, line)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Have what the block writes to stdout fail as `emit` does; once it did, always."""
        if self._lost is not None:
            raise self._lost
        try:
            yield
        except BrokenPipeError as error:
            self._lost = error
            _give_up(sys.stdout)
            raise
        except OSError as error:
            self._lost = CommandError(f"cannot write the output: {error.strerror}")
            _give_up(sys.stdout)
            raise self._lost from error

    def note(self, text: str) -> None:
        """Tell people something on stderr, unless they want quiet."""
        if not self.quiet:
            self.say(text)

    def say(self, text: str) -> None:
        """Tell people something that matters on stderr."""
        text = "\n".join(clean(line) for line in text.splitlines())
        if self._above is not None:
            self._above(text)
            return
        # Without anybody to tell, the exit code must do.
        try:
            _write(sys.stderr, text)
        except OSError:
            _give_up(sys.stderr)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _write(stream: TextIO | None, line: str) -> None:
    if stream is not None:  # closed by the shell: `>&-`
        stream.write(f"{line}\n")
        stream.flush()


def _give_up(stream: TextIO | None) -> None:
    """What Python still wants to write there at exit must not become a second error."""
    if stream is None:
        return
    with suppress(OSError, ValueError):  # ValueError: it is no file
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)
