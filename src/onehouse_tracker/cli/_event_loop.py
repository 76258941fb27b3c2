"""
Runs one command: its loop, its signals, and its errors as sentences.
"""

from __future__ import annotations

import asyncio
import os
import signal
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from onehouse_tracker.cli._codes import CommandError, ExitCode
from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.errors import ConfigError, InvalidRequestError

__all__ = ["run"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""What ends a command cleanly; a closed terminal sends the last, which Windows does not know."""


def run(
    work: Callable[[Terminal], Coroutine[Any, Any, ExitCode]],
    *,
    quiet: bool = False,
    interrupted: ExitCode = ExitCode.INTERRUPTED,
) -> ExitCode:
    """
    Run *work* to its end, and return the exit code.

    Ctrl-C, SIGTERM and SIGHUP cancel *work*, which may say something and must raise again; the
    second time the process ends at once.

    Args:
        work: The command.

        quiet: Whether stderr is for errors only.

        interrupted: What a signal means for the exit code.

    Raises:
        BrokenPipeError: Nobody reads stdout any more.
    """
    terminal = Terminal(quiet=quiet)
    with _warnings_as_notes(terminal):
        try:
            with asyncio.Runner() as runner:
                return runner.run(_supervise(work(terminal), terminal, interrupted))
        except CommandError as error:
            terminal.say(f"error: {error}")
            return error.code
        except (ConfigError, InvalidRequestError) as error:
            terminal.say(f"error: {error}")
            return ExitCode.USAGE
        except BrokenPipeError:
            raise
        except OSError as error:  # of a disk, most often: the system's words tell which
            terminal.say(f"error: {error.filename or 'a file'}: {error.strerror or error}")
            return ExitCode.USAGE


async def _supervise(
    work: Coroutine[Any, Any, ExitCode], terminal: Terminal, interrupted: ExitCode
) -> ExitCode:
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    handled: list[signal.Signals] = []
    count = 0

    def interrupt() -> None:
        nonlocal count
        count += 1
        # From now on without the loop, and until the process has ended: the second signal
        # must work even while a thread that cannot be interrupted is waited for.
        for number in handled:
            loop.remove_signal_handler(number)
            signal.signal(number, lambda *_: _leave(terminal))
        if task is not None:
            task.cancel()

    for number in _wanted():
        try:
            loop.add_signal_handler(number, interrupt)
        except (NotImplementedError, RuntimeError):  # Windows; or not the main thread
            continue
        handled.append(number)
    try:
        return await work
    except asyncio.CancelledError:
        if not count or task is None:
            raise
        task.uncancel()
        return interrupted
    finally:
        if not count:
            for number in handled:
                loop.remove_signal_handler(number)


def _wanted() -> Iterator[signal.Signals]:
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is None:
            continue
        # `nohup` asks for being left alone when the terminal is closed.
        if name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN:
            yield number


def _leave(terminal: Terminal) -> NoReturn:
    """End at once; all that is owed is a terminal that shows its cursor again."""
    if terminal.err_is_terminal and not terminal.quiet:
        os.write(2, b"\x1b[?25h\n")  # the stream may be in use: a handler must not wait for it
    os._exit(ExitCode.INTERRUPTED)


@contextmanager
def _warnings_as_notes(terminal: Terminal) -> Iterator[None]:
    """Show warnings as sentences, without the line of code that people did not write."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        terminal.note(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
