"""
Follows requests to their end: what `wait` and `submit --wait` have in common.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from onehouse_tracker._checks import user_path
from onehouse_tracker.cli._codes import CommandError, ExitCode, code_of_error, code_of_results
from onehouse_tracker.cli._command_settings import CommandSettings
from onehouse_tracker.cli._delivery import PatientJournal
from onehouse_tracker.cli._formats import to_json
from onehouse_tracker.cli._groups import arguments_of
from onehouse_tracker.cli._history import history_of
from onehouse_tracker.cli._html_report import recorded, served
from onehouse_tracker.cli._logging import configure
from onehouse_tracker.cli._options import Input
from onehouse_tracker.cli._output import (
    only_started,
    open_item,
    request_data,
    result_item,
    summary,
)
from onehouse_tracker.cli._request_file import list_line
from onehouse_tracker.cli._silence import Silence
from onehouse_tracker.cli._sources import STDIN, requests_from
from onehouse_tracker.cli._state import CommandState
from onehouse_tracker.cli._status_line import live
from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.cli._writers import writer_of
from onehouse_tracker.errors import JournalError, JournalLockedError, ProjectError
from onehouse_tracker.events import Observer
from onehouse_tracker.journal import Journal, SqliteJournal
from onehouse_tracker.models import Request
from onehouse_tracker.tracker import Tracker

__all__ = [
    "consume",
    "follow",
    "how_to_continue",
    "journal_of",
    "observed_tracker",
    "open_tracker",
    "print_results",
    "wait",
]

_FEW = 20
_NOT_ALL = "not all requests were read by then"
_OF_THE_PROCESS = ("/dev/", "/proc/")


async def wait(
    terminal: Terminal, settings: CommandSettings, arguments: Sequence[str], given: Input
) -> ExitCode:
    """
    Wait for the requests named by *arguments* and *given*, and print how each ended.

    Raises:
        CommandError: Something is no request ID, or the file cannot be read.

        ConfigError: Credentials are missing, or a setting makes no sense.
    """
    state = CommandState()
    requests = state.watch(await requests_from(arguments, given))
    again: list[str] = []
    sources = given.sources or []
    if sources and all(map(_is_there_again, sources)):
        again = [word for source in sources for word in ("--from", source)]
        again += arguments_of(given, without={"sources"})
    again += [*_dashes(arguments), *arguments]

    return await follow(terminal, settings, state, lambda _: requests, again=again)


def _is_there_again(source: str) -> bool:
    """Whether *source* names the same IDs the next time: a pipe does not, nor stdin."""
    if source == STDIN or source.startswith(_OF_THE_PROCESS):
        return False
    return user_path(source).is_file()


async def follow(
    terminal: Terminal,
    settings: CommandSettings,
    state: CommandState,
    requests: Callable[[Tracker], AsyncIterable[Request] | None],
    *,
    again: Sequence[str] = (),
    observers: Sequence[Observer] = (),
) -> ExitCode:
    """
    Follow *requests* until all have ended, and print how.

    What is printed at the end is acknowledged in the journal after that, and not at all if the
    run was interrupted or failed: then `resume` has all of it once more.

    Args:
        terminal: Where to print.

        settings: The options.

        state: Knows the requests, as they come.

        requests: Makes the requests, given the tracker; `None` for what the journal holds.

        again: Arguments that name all of the requests again, if there are such.

        observers: Who else is told what happens.

    Raises:
        asyncio.CancelledError: It was interrupted; what is known was printed.

        BrokenPipeError: Nobody reads the results.
    """
    patient = not writer_of(terminal, settings.output).at_once
    journal = journal_of(settings, patient=patient)
    printing = printed = False

    async def break_off(why: str, settings: CommandSettings) -> None:
        terminal.say(why)
        if printing and not printed:
            state.reopen()
        _say_how_to_continue(terminal, settings, state, again)
        if not printing:
            # After what matters more: who reads stdout may be gone, too, or be slow.
            with suppress(OSError, CommandError):
                await print_results(terminal, settings, state)

    try:
        async with observed_tracker(terminal, settings, observers, journal) as tracker:
            async with (
                served(terminal, tracker, settings.page),
                live(terminal, state, tracker.stats, off=settings.verbose),
            ):
                await consume(terminal, settings, state, tracker, requests(tracker))
            printing = True
            await print_results(terminal, settings, state)
            printed = True
            if isinstance(journal, PatientJournal):
                journal.delivered = True
    except asyncio.CancelledError:
        await break_off(f"interrupted: {state.done} of {state.total} known", settings)
        raise
    except JournalLockedError as error:
        # It is as good as ever, and its holder continues with what is in it: no request
        # should be polled by two at once.
        terminal.say(f"error: {error}")
        for told in how_to_continue(settings, state, again):
            terminal.say(told.replace("continue with:", "continue after that with:", 1))
        return code_of_error(error)
    except (CommandError, ProjectError) as error:
        if isinstance(error, JournalError):
            settings = replace(settings, journal=None)  # nobody can go on with that one
        await break_off(f"error: {error}", settings)
        return code_of_error(error)
    terminal.note(summary(state.outcomes()))
    if (started := only_started(state.results())) is not None:
        terminal.note(started)
    _say_how_to_continue(terminal, settings, state, again)

    return code_of_results(state.results())


def journal_of(settings: CommandSettings, *, patient: bool) -> Journal | None:
    """The journal of *settings*, if there is one; a *patient* one waits for all to be printed."""
    if settings.journal is None:
        return None
    journal = SqliteJournal(settings.journal)
    return PatientJournal(journal) if patient else journal


def open_tracker(
    settings: CommandSettings, observers: Sequence[Observer] = (), journal: Journal | None = None
) -> Tracker:
    """
    Make the tracker that *settings* describe; *journal* in place of theirs, if given.

    Raises:
        ConfigError: Credentials are missing, or a setting makes no sense.
    """
    configure(verbose=settings.verbose)

    return Tracker.from_env(
        profile=settings.profile,
        limit=settings.limit,
        share=settings.share,
        limiter=settings.limiter,
        journal=journal or journal_of(settings, patient=False),
        observers=observers,
        history=history_of(settings),
    )


@asynccontextmanager
async def observed_tracker(
    terminal: Terminal,
    settings: CommandSettings,
    observers: Sequence[Observer],
    journal: Journal | None,
) -> AsyncIterator[Tracker]:
    """
    Open the tracker that *settings* describe; write its report, and report silence on stderr.

    Raises:
        ConfigError: Credentials are missing, or a setting makes no sense.
    """
    with recorded(
        terminal,
        settings.report,
        limit=settings.limit * settings.share,
        journal=settings.journal,
    ) as recordings:
        said = () if settings.verbose or terminal.err_is_terminal else (Silence(terminal),)
        async with open_tracker(settings, [*recordings, *observers, *said], journal) as tracker:
            yield tracker


async def consume(
    terminal: Terminal,
    settings: CommandSettings,
    state: CommandState,
    tracker: Tracker,
    requests: AsyncIterable[Request] | None,
) -> None:
    """Take note of each result as it is known, and print it where the output is line by line."""
    completions = (
        tracker.resume(timeout=settings.timeout)
        if requests is None
        else tracker.as_completed(requests, timeout=settings.timeout, default_label=settings.label)
    )
    writer = writer_of(terminal, settings.output, only=settings.only)
    async with completions as results:
        async for result in results:
            state.end(result)
            if writer.at_once:
                try:
                    await writer.line(result_item(result))
                except CommandError:
                    state.reopen(result.request_id)
                    raise
            failed = not result.ok and result.outcome != "TIMED_OUT"
            if settings.fail_fast and failed and not state.stopping:
                terminal.say(f"stopped: {result.request_id} ended {result.outcome}")
                state.stop()
                await state.idle.wait()
                # No break: what has arrived by now is known too, and to ask for more
                # acknowledges what was printed.
                await results.aclose()


async def print_results(
    terminal: Terminal, settings: CommandSettings, state: CommandState
) -> None:
    """Print what is known, where that was not done line by line."""
    writer = writer_of(terminal, settings.output, only=settings.only)
    if writer.at_once:
        return
    for request, result in state.standings():
        await writer.line(open_item(request) if result is None else result_item(result))
    await writer.finish()


def how_to_continue(
    settings: CommandSettings, state: CommandState, again: Sequence[str]
) -> list[str]:
    """Tell which requests are open, and the command that continues with them."""
    still_open = state.open()
    if not still_open and (state.complete or "--from" not in again):
        return []
    return [*_how_to_continue(settings, state, again, still_open), *settings.hints()]


def _how_to_continue(
    settings: CommandSettings,
    state: CommandState,
    again: Sequence[str],
    still_open: Sequence[Request],
) -> list[str]:
    if settings.journal is not None and (state.complete or "--from" not in again):
        # It knows them all, with their labels and ages.
        options = settings.arguments(without={"label"})
        command = shlex.join(["onehouse-tracker", "resume", *options])
        told = [f"{len(still_open)} still open", f"continue with: {command}"]
        return told if state.complete else [_NOT_ALL, *told]
    named = "--from" in again
    few = [request.request_id for request in still_open[:_FEW]]
    many = len(still_open) > len(few)
    plain = not many and still_open == [Request(request_id) for request_id in few]
    if named and not (plain and state.complete):
        # Those that have ended cost one question each; the line stays one line.
        command = shlex.join(["onehouse-tracker", "wait", *settings.arguments(), *again])
    else:
        command = _wait_for(still_open, settings)
    told = [] if state.complete else [_NOT_ALL]
    if named or not many:
        more = f" ... and {len(still_open) - len(few)} more" if many else ""
        told += [f"still open: {shlex.join(few)}{more}"] if few else []

    return [*told, f"continue with: {command}"]


def _wait_for(requests: Sequence[Request], settings: CommandSettings) -> str:
    """A command that waits for *requests*, with all that is known of each."""
    labels = {request.label or settings.label for request in requests}
    aged = any(request.submitted_at is not None for request in requests)
    if len(labels) == 1 and not aged and all((label or "").isprintable() for label in labels):
        ids = [request.request_id for request in requests]
        options = replace(settings, label=labels.pop()).arguments()
        return shlex.join(["onehouse-tracker", "wait", *options, *_dashes(ids), *ids])
    # What is known of them, or how they are called, may be more than plain lines can say.
    if any(list_line(request).startswith("{") for request in requests):
        lines = [to_json(request_data(request)) for request in requests]
        printed = ["printf", "%s\\n", *lines]
    else:
        pairs = [(request.request_id, request.label or "") for request in requests]
        printed = ["printf", "%s\\t%s\\n", *(word for pair in pairs for word in pair)]
    waiting = ["onehouse-tracker", "wait", *settings.arguments(), "--from", "-"]
    return f"{shlex.join(printed)} | {shlex.join(waiting)}"


def _dashes(ids: Sequence[str]) -> list[str]:
    """What has to come before *ids*, so that none is taken for an option."""
    return ["--"] if any(request_id.startswith("-") for request_id in ids) else []


def _say_how_to_continue(
    terminal: Terminal, settings: CommandSettings, state: CommandState, again: Sequence[str]
) -> None:
    for line in how_to_continue(settings, state, again):
        terminal.say(line)
