"""
What every command has around it: its examples, its exit codes, and ends that are no errors.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import typer

from onehouse_tracker.cli._options import Output

if TYPE_CHECKING:
    from onehouse_tracker.cli._codes import ExitCode
    from onehouse_tracker.cli._settings import Settings
    from onehouse_tracker.cli._terminal import Terminal

__all__ = ["CODES", "epilog", "guarded", "run", "settings"]

CODES = """\b
Exit codes:
    0  all ok
    1  some request is not ok
    2  wrong usage or configuration
    3  the credentials are refused, or the server is out of reach
  124  timed out
  130  interrupted
If several apply, the first of 130, 3, 124, 1 counts.
"""


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Give Ctrl-C while modules are loaded, and a reader that went away, exit codes of ours."""

    @functools.wraps(command)
    def invoke(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # Of `| head`, for example.  What Python still wants to write at exit must not
            # become a second error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None

    return invoke


def epilog(*examples: str) -> str:
    """What stands below a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples) + f"\n\n{CODES}"


def settings(*, output: Output, **chosen: Any) -> Settings:
    """What the user chose."""
    from onehouse_tracker.cli._settings import Settings  # noqa: PLC0415 - needed by few

    return Settings(output=output, **chosen)


def run(
    work: Callable[[Terminal], Coroutine[Any, Any, ExitCode]],
    **options: Any,
) -> None:
    """Run the command's work, and leave with its exit code."""
    from onehouse_tracker.cli import _session  # noqa: PLC0415 - loads asyncio

    raise typer.Exit(_session.run(work, **options))
