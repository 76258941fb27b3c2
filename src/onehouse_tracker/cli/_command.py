"""
What every command has around it: its examples, its exit codes, and ends that are no errors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from onehouse_tracker.cli._groups import spread

if TYPE_CHECKING:
    from onehouse_tracker.cli._codes import ExitCode
    from onehouse_tracker.cli._terminal import Terminal

__all__ = ["CODES", "Commands", "command", "run"]

CODES = """\b
Exit codes:
    0  all ok
    1  some request or run is not ok
    2  wrong usage or configuration
    3  the credentials are refused, or the server is out of reach
  124  timed out
  130  interrupted
  141  the program that read the output went away
If several apply, the first of 130, 3, 2, 124, 1 counts.
"""


class Commands(TyperGroup):
    """The commands, of which none pays for options that nobody gave."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options of the program itself."""
        params = super().get_params(ctx)
        for param in params:
            # For a flag that is neither true nor false typer would load pydantic, which takes
            # as long as everything else together.
            if param.default is None and getattr(param, "is_flag", False):
                param.default = False
        return params


def command(
    app: typer.Typer,
    *examples: str,
    without: Collection[str] = (),
    name: str | None = None,
    short_help: str | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """
    Make a function a command of *app*.

    Args:
        app: The program.

        examples: Command lines that stand below its help.

        without: Options of its dataclasses that it does not have, see `spread`.

        name: What it is called, if not like the function.

        short_help: What the list of commands says, if not the first sentence of its help.
    """

    def register(work: Callable[..., None]) -> Callable[..., None]:
        add = app.command(name, epilog=_epilog(examples), short_help=short_help)
        return add(_guarded(spread(work, without)))

    return register


def _guarded(work: Callable[..., None]) -> Callable[..., None]:
    """Give Ctrl-C while modules are loaded, and a reader that went away, our exit codes."""

    @functools.wraps(work)
    def invoke(*args: Any, **options: Any) -> None:
        try:
            work(*args, **options)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BrokenPipeError:
            raise typer.Exit(141) from None  # of `| head`, for example

    return invoke


def _epilog(examples: Collection[str]) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples) + f"\n\n{CODES}"


def run(
    work: Callable[[Terminal], Coroutine[Any, Any, ExitCode]],
    **options: Any,
) -> None:
    """Run the command's work, and leave with its exit code."""
    from onehouse_tracker.cli import _event_loop  # noqa: PLC0415 - loads asyncio

    raise typer.Exit(_event_loop.run(work, **options))
