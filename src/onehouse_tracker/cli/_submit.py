"""
Submits statements, in order or concurrently, and tells the fate of each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby

from onehouse_tracker._checks import check_label
from onehouse_tracker._engine.open_tracker.batch import Statement as Sent
from onehouse_tracker._engine.open_tracker.statements import Statements
from onehouse_tracker.cli._codes import CommandError, ExitCode, code_of_error, most_serious
from onehouse_tracker.cli._command_settings import CommandSettings
from onehouse_tracker.cli._output import Item
from onehouse_tracker.cli._request_file import list_line
from onehouse_tracker.cli._state import CommandState
from onehouse_tracker.cli._statements import Statement, statements_from
from onehouse_tracker.cli._status_line import live
from onehouse_tracker.cli._terminal import Terminal, clean
from onehouse_tracker.cli._track import follow, open_tracker
from onehouse_tracker.cli._writers import writer_of
from onehouse_tracker.errors import (
    InvalidRequestError,
    ProjectError,
    SubmissionError,
    SubmissionUnknownError,
    SubmissionUnsentError,
)
from onehouse_tracker.events import Event, StatementSubmitted
from onehouse_tracker.handles import Handle
from onehouse_tracker.models import Request
from onehouse_tracker.onehouse.labels import label_of
from onehouse_tracker.statement_results import StatementState
from onehouse_tracker.tracker import Tracker

__all__ = ["submit"]


async def submit(
    terminal: Terminal,
    settings: CommandSettings,
    arguments: Sequence[str],
    sources: Sequence[str],
    *,
    allow_empty: bool,
    wait: bool,
    keep_going: bool,
    parallel: bool = False,
) -> ExitCode:
    """
    Submit each of *arguments*, and each statement in *sources*, and print the request IDs.

    Args:
        terminal: Where to print.

        settings: The options.

        arguments: One statement each, sent as it is.

        sources: Files of SQL, ``-`` for stdin.

        allow_empty: Whether one of them may hold no statement at all.

        wait: Follow what was accepted, and print how it ended.

        keep_going: Go on after a statement that was not accepted.

        parallel: Send them concurrently, instead of each when the one before was accepted.

    Raises:
        CommandError: A file cannot be read, holds nothing, or cannot be cut into statements; or
            an argument is none.  Nothing was sent.

        InvalidRequestError: The label is no text.

        ConfigError: Credentials are missing, or a setting makes no sense.
    """
    check_label(settings.label)
    statements = statements_from(arguments, sources, allow_empty=allow_empty)
    kind = _Parallel if parallel else _Submission
    run = kind(terminal, settings, statements, wait=wait, keep_going=keep_going)
    state = run.state
    if wait:
        try:
            code = await follow(terminal, settings, state, run.accepted, observers=(run.observe,))
        except BrokenPipeError:
            run.tell_unprinted()
            raise
        finally:
            run.tell_the_rest()
        return most_serious([code, *run.codes])
    try:
        tracker = open_tracker(settings, (run.observe,))
        async with tracker, live(terminal, state, tracker.stats, off=True):
            async for _ in run.accepted(tracker):
                pass
    except ProjectError as error:
        terminal.say(f"error: {error.message}")
        run.codes.append(code_of_error(error))
    finally:
        try:
            await run.print_accepted()
        finally:
            run.tell_the_rest()

    return most_serious(run.codes)


class _Submission:
    """One run through all statements."""

    def __init__(
        self,
        terminal: Terminal,
        settings: CommandSettings,
        statements: Sequence[Statement],
        *,
        wait: bool,
        keep_going: bool,
    ) -> None:
        self.state = CommandState()
        self.codes: list[ExitCode] = []
        self._terminal = terminal
        self._settings = settings
        self._statements = statements
        self._wait = wait
        self._keep_going = keep_going
        self._handles: list[Handle] = []
        columns = ("request_id", "label", "number", "statement", "submitted_at")
        self._writer = writer_of(terminal, settings.output, columns)
        self._unprinted: dict[int, str] = {}
        self._tried = 0
        self._told: set[int] = set()
        self._on_its_way = False
        self._accepted: str | None = None
        """The request ID of what is on its way, once the server has said it."""

    async def accepted(self, tracker: Tracker) -> AsyncIterator[Request]:
        """Submit, print and yield one request after the other."""
        # Between two of them none waits for its slot, and yet more will.
        forecasts = tracker._session.opened().forecasts  # noqa: SLF001 - the same, inside
        with forecasts.coming(self._statements):
            for number, statement in enumerate(self._statements, 1):
                if self.state.stopping:
                    break
                handle = await self._submit(tracker, number, statement)
                if handle is not None:
                    yield await self._take(number, handle)
                elif not self._keep_going:
                    break
        self.state.complete = True

    async def _submit(self, tracker: Tracker, number: int, statement: Statement) -> Handle | None:
        """Submit one; return `None`, and say why, if it was not accepted."""
        label = self._settings.label or label_of(statement.text)
        self._tried, self._on_its_way, self._accepted = number, True, None
        self.state.idle.clear()
        try:
            handle = await tracker.submit(statement.text, label=label)
        except (SubmissionError, InvalidRequestError) as error:
            self._on_its_way = False
            self._refused(number, label, error)
            return None
        except ProjectError as error:
            # The waiter may hear of another failure, which does not name the request.
            self._on_its_way = self._wait and self._accepted is not None
            if not error.pending:  # else it was accepted in the very last moment
                self._tried = number - 1
            raise
        finally:
            self.state.idle.set()
        self._on_its_way = False
        return handle

    async def _take(self, number: int, handle: Handle) -> Request:
        """One was accepted: print it, and let its request be tracked if that is wanted."""
        request = Request(handle)
        if self._wait:
            self._handles.append(handle)  # its result is remembered as long as it lives
            self.state.join(request)
        else:
            handle.cancel()
        self._unprinted[number] = request.request_id
        try:
            await self._print(number, request)
        except (OSError, CommandError):
            self.tell_unprinted()
            raise
        return request

    async def print_accepted(self) -> None:
        """Print what was accepted, where that was not done line by line."""
        try:
            await self._writer.finish()
        except (OSError, CommandError):
            self.tell_unprinted()
            raise

    def tell_unprinted(self) -> None:
        """Say what runs at the server, and was to be printed elsewhere."""
        for number, request_id in self._unprinted.items():
            self._terminal.say(f"accepted but not printed: statement {number} {request_id}")
        self._unprinted.clear()

    def observe(self, event: Event) -> None:
        """Take note of what the server accepts, before anything else can go wrong."""
        if isinstance(event, StatementSubmitted):
            self._accepted = event.request_id

    def tell_the_rest(self) -> None:
        """Say which statements were not submitted, and whose fate is unknown."""
        count = len(self._statements)
        if self._on_its_way and self._accepted is not None:
            self._terminal.say(
                f"accepted but not followed: statement {self._tried} {self._accepted}"
            )
        elif self._on_its_way:
            self._terminal.say(
                f"statement {self._tried} of {count} may or may not have been submitted: look"
                " in the Onehouse console before you submit it again"
            )
        if self._tried < count:
            first = self._tried + 1
            which = f"statement {first}" if first == count else f"statements {first} to {count}"
            self._terminal.say(f"not submitted: {which} of {count}")

    async def _print(self, number: int, request: Request) -> None:
        request_id, label = request.request_id, request.label
        data = {
            "request_id": request_id,
            "label": label,
            "outcome": None,
            "number": number,
            "statement": self._statements[number - 1].text,
            "submitted_at": datetime.now(UTC).isoformat(),
        }
        if self._wait and (self._settings.only or not self._writer.at_once):
            if self._terminal.quiet:
                return
            self._terminal.note(f"submitted {number}: {request_id}  {clean(label or '')}".rstrip())
        elif not await self._writer.line(Item(data, line=list_line(request))):
            return
        del self._unprinted[number]

    def _refused(
        self, number: int, label: str | None, error: SubmissionError | InvalidRequestError
    ) -> None:
        told = ", ".join(filter(None, (clean(label or ""), self._statements[number - 1].where)))
        name = f"statement {number}{f' ({told})' if told else ''}"
        if isinstance(error, SubmissionUnknownError):
            what = f"{name}: {error}. Look in the Onehouse console before you submit it again"
        elif isinstance(error, SubmissionUnsentError):
            what = f"{name} was not sent: {error}. It is safe to submit it again"
        else:
            what = f"{name} was not accepted: {error}"
        self.codes.append(
            ExitCode.PROJECT if isinstance(error, SubmissionUnsentError) else ExitCode.NOT_OK
        )
        self._terminal.say(f"error: {what}")


class _Parallel(_Submission):
    """One run that sends concurrently, and prints in the order of the statements."""

    _sending: Statements | None = None

    async def accepted(self, tracker: Tracker) -> AsyncIterator[Request]:
        """Submit all, and print and yield each request in the order of the statements."""
        known: asyncio.Queue[Sent | None] = asyncio.Queue()
        self._sending = sending = tracker._statements(  # noqa: SLF001 - submit_all, one by one
            [statement.text for statement in self._statements],
            lambda text: self._settings.label or label_of(text),
            known.put_nowait,
        )
        self.state.stop_sending = sending.stop
        self.state.idle.clear()
        task = asyncio.create_task(
            sending.submit(in_order=False, stop_on_failure=not self._keep_going)
        )
        task.add_done_callback(lambda _: known.put_nowait(None))
        try:
            while await known.get() is not None:
                for item in self._in_order(sending):
                    handle = sending.handle(item)
                    if handle is not None:
                        self._told.add(item.number)
                        yield await self._take(item.number, handle)
            await task
            self.state.complete = True
        finally:
            task.cancel()
            await asyncio.wait([task])
            self.state.idle.set()

    def _in_order(self, sending: Statements) -> Iterator[Sent]:
        """The accepted statements that come next; others are reported on the way."""
        for item in sending.items[self._tried :]:
            if item.state is None:
                return
            self._tried += 1
            if item.state is StatementState.ACCEPTED:
                yield item
            else:
                self._report(item)

    def _report(self, item: Sent) -> None:
        error = item.error
        if item.was_stopped or (error is not None and isinstance(error.__cause__, ProjectError)):
            return  # for a reason that is told once, and not with each
        if isinstance(error, SubmissionError | InvalidRequestError):
            self._told.add(item.number)
            self._refused(item.number, item.label, error)

    def tell_the_rest(self) -> None:
        """Say which statements were not submitted, and whose fate is unknown."""
        count = len(self._statements)
        unsent: list[int] = []
        for item in self._sending.items if self._sending is not None else ():
            if item.number in self._told:
                continue
            if item.state is StatementState.ACCEPTED:
                self._terminal.say(
                    f"accepted but not followed: statement {item.number} {item.request_id}"
                )
            elif item.state is StatementState.UNKNOWN:
                self._terminal.say(
                    f"statement {item.number} of {count} may or may not have been submitted:"
                    " look in the Onehouse console before you submit it again"
                )
            else:
                unsent.append(item.number)
        if self._sending is None:
            unsent = list(range(1, count + 1))
        for first, last in _ranges(unsent):
            which = f"statement {first}" if first == last else f"statements {first} to {last}"
            self._terminal.say(f"not submitted: {which} of {count}")


def _ranges(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of *numbers*, which are in order."""
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        yield members[0], members[-1]
