"""
Follows requests to their end: what `wait` and `submit --wait` have in common.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterable, Callable, Sequence

from onehouse_tracker.cli._codes import CommandError, ExitCode, code_of_error, code_of_results
from onehouse_tracker.cli._ledger import Ledger
from onehouse_tracker.cli._logging import configure
from onehouse_tracker.cli._options import Output
from onehouse_tracker.cli._output import json_line, print_rows, result_row, summary
from onehouse_tracker.cli._progress import live
from onehouse_tracker.cli._settings import Settings
from onehouse_tracker.cli._sources import STDIN, requests_from
from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.errors import ProjectError
from onehouse_tracker.journal import SqliteJournal
from onehouse_tracker.models import Request
from onehouse_tracker.tracker import Tracker

__all__ = ["consume", "follow", "how_to_continue", "open_tracker", "report", "wait"]

_FEW = 20


async def wait(
    terminal: Terminal, settings: Settings, arguments: Sequence[str], source: str | None
) -> ExitCode:
    """
    Wait for the requests named by *arguments* and *source*, and print how each ended.

    Raises:
        CommandError: Something is no request ID, or *source* cannot be read.

        ConfigError: Credentials are missing, or a setting makes no sense.
    """
    ledger = Ledger()
    requests = ledger.watch(requests_from(arguments, source))
    again = [*arguments] if source in (None, STDIN) else [*arguments, "--from", str(source)]

    return await follow(terminal, settings, ledger, lambda _: requests, again=again)


async def follow(
    terminal: Terminal,
    settings: Settings,
    ledger: Ledger,
    requests: Callable[[Tracker], AsyncIterable[Request] | None],
    *,
    again: Sequence[str] = (),
) -> ExitCode:
    """
    Follow *requests* until all have ended, and print how.

    Args:
        terminal: Where to print.

        settings: The options.

        ledger: Knows the requests, as they come.

        requests: Makes the requests, given the tracker; `None` for what the journal holds.

        again: Arguments that name all of the requests again, if there are such.

    Raises:
        asyncio.CancelledError: It was interrupted; what is known was printed.

        BrokenPipeError: Nobody reads the results.
    """
    try:
        tracker = open_tracker(settings)
        async with tracker, live(terminal, ledger, tracker.stats, off=settings.verbose):
            await consume(terminal, settings, ledger, tracker, requests(tracker))
    except asyncio.CancelledError:
        await report(terminal, settings, ledger)
        terminal.say(f"interrupted: {ledger.done} of {ledger.total} known")
        _say_how_to_continue(terminal, settings, ledger, again)
        raise
    except (CommandError, ProjectError) as error:
        await report(terminal, settings, ledger)
        terminal.say(f"error: {error}")
        _say_how_to_continue(terminal, settings, ledger, again)
        return code_of_error(error)
    await report(terminal, settings, ledger)
    terminal.note(summary(ledger.outcomes()))
    _say_how_to_continue(terminal, settings, ledger, again)

    return code_of_results(ledger.results())


def open_tracker(settings: Settings) -> Tracker:
    """
    Make the tracker that *settings* describe.

    Raises:
        ConfigError: Credentials are missing, or a setting makes no sense.
    """
    configure(verbose=settings.verbose)

    return Tracker.from_env(
        profile=settings.profile,
        limit=settings.limit,
        share=settings.share,
        journal=None if settings.journal is None else SqliteJournal(settings.journal),
    )


async def consume(
    terminal: Terminal,
    settings: Settings,
    ledger: Ledger,
    tracker: Tracker,
    requests: AsyncIterable[Request] | None,
) -> None:
    """Take note of each result as it is known, and print it where the output is line by line."""
    completions = (
        tracker.resume(timeout=settings.timeout)
        if requests is None
        else tracker.as_completed(requests, timeout=settings.timeout, label=settings.label)
    )
    async with completions as results:
        async for result in results:
            ledger.end(result)
            if settings.output is Output.JSONL:
                await terminal.emit(json_line(result.to_dict()))


async def report(terminal: Terminal, settings: Settings, ledger: Ledger) -> None:
    """Print what is known, where that was not done line by line."""
    if settings.output is Output.TEXT:
        await print_rows(terminal, [result_row(result) for result in ledger.results()])


def how_to_continue(settings: Settings, ledger: Ledger, again: Sequence[str]) -> list[str]:
    """Tell which requests are open, and the command that goes on with them."""
    open_ids = ledger.open_ids()
    if not open_ids:
        return []
    options = settings.arguments()
    if settings.journal is not None:
        # It knows them all, with their labels and ages.
        command = shlex.join(["onehouse-tracker", "resume", *options])
        return [f"{len(open_ids)} still open", f"continue with: {command}"]
    if len(open_ids) > _FEW and "--from" in again:
        # Those that have ended cost one question each; the line stays one line.
        shown = f"{shlex.join(open_ids[:_FEW])} ... and {len(open_ids) - _FEW} more"
        words = [*options, *again]
    else:
        shown = shlex.join(open_ids)
        dashed = any(request_id.startswith("-") for request_id in open_ids)
        words = [*options, *(["--"] if dashed else []), *open_ids]
    lines = [f"continue with: {shlex.join(['onehouse-tracker', 'wait', *words])}"]
    if len(open_ids) <= _FEW or "--from" in again:
        lines.insert(0, f"still open: {shown}")
    if not ledger.complete:
        lines.insert(0, "not all requests were read by then")

    return lines


def _say_how_to_continue(
    terminal: Terminal, settings: Settings, ledger: Ledger, again: Sequence[str]
) -> None:
    for line in how_to_continue(settings, ledger, again):
        terminal.say(line)
