"""
Starts runs, follows runs to their real end, and cancels runs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from onehouse_tracker._checks import check_label
from onehouse_tracker.cli._codes import (
    CommandError,
    ExitCode,
    code_of_error,
    code_of_results,
    most_serious,
)
from onehouse_tracker.cli._command_settings import CommandSettings
from onehouse_tracker.cli._delivery import PatientJournal
from onehouse_tracker.cli._html_report import served
from onehouse_tracker.cli._output import Item, summary
from onehouse_tracker.cli._run_file import runs_from
from onehouse_tracker.cli._run_options import RunInput, RunPlan
from onehouse_tracker.cli._run_output import (
    RUN_COLUMNS,
    RUN_TABLE,
    how_to_follow,
    run_item,
    runs_of_journal,
)
from onehouse_tracker.cli._run_state import LeftRuns, RunState
from onehouse_tracker.cli._statements import statements_from
from onehouse_tracker.cli._status_line import live
from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.cli._track import journal_of, observed_tracker, open_tracker
from onehouse_tracker.cli._writers import writer_of
from onehouse_tracker.errors import JournalError, ProjectError, SubmissionError, TrackerError
from onehouse_tracker.journal import JournalReader
from onehouse_tracker.run_results import JobRun, RunOutcome, RunResult, RunResults
from onehouse_tracker.runs._restored import NEVER_SENT
from onehouse_tracker.tracker import Tracker

__all__ = ["cancel", "run", "runs"]

_STOPS_WITHIN = 60.0
"""Seconds that a run gets to stop, when it is canceled because time is up."""

_UNSENT = "never sent: the same 'run' command with --resume sends it"

_OnResult = Callable[[RunResult], Awaitable[None]]
_Work = Callable[[Tracker, _OnResult], Awaitable[RunResults]]


async def run(
    terminal: Terminal,
    settings: CommandSettings,
    arguments: Sequence[str],
    sources: Sequence[str],
    *,
    plan: RunPlan,
    allow_empty: bool,
) -> ExitCode:
    """
    Submit each of *arguments*, and each statement in *sources*; print how their runs ended.

    Raises:
        CommandError: A file cannot be read, holds nothing, or cannot be cut into statements; or
            an argument is none.  Nothing was sent.

        InvalidRequestError: A statement starts a run that could not be followed, or the label is
            no text.  Nothing was sent.

        ConfigError: Credentials are missing, or a setting makes no sense.
    """
    check_label(settings.label)
    found = statements_from(arguments, sources, allow_empty=allow_empty)
    statements = [statement.text for statement in found]
    state = RunState(len(statements))
    following = _Following(terminal, settings, state, plan.cancel_on_timeout)

    async def work(tracker: Tracker, on_result: _OnResult) -> RunResults:
        following.state.begin(tracker.runs)
        return await tracker.runs.execute_all(
            statements,
            timeout=settings.timeout,
            label=settings.label,
            on_result=on_result,
            max_running=plan.max_running,
            stop_on_failure=plan.stop_on_failure,
            resume=plan.resume,
        )

    return await following.follow(work)


async def runs(
    terminal: Terminal,
    settings: CommandSettings,
    arguments: Sequence[str],
    given: RunInput,
    job: str | None,
    *,
    cancel_on_timeout: bool,
) -> ExitCode:
    """
    Follow the runs that *arguments* and *given* name, and print how each ended.

    Raises:
        CommandError: Something is no run, or a file cannot be read.

        ConfigError: Credentials are missing, or a setting makes no sense.
    """
    if settings.journal is not None and not arguments and not given.sources:
        return await _left(terminal, settings, settings.journal, cancel_on_timeout)
    wanted = runs_from(arguments, given, job, settings.label)
    again = runs_of_journal(settings)
    state = RunState(len(wanted))
    following = _Following(terminal, settings, state, cancel_on_timeout, again=again)

    async def work(tracker: Tracker, on_result: _OnResult) -> RunResults:
        handles = [tracker.runs.track(each) for each in wanted]
        following.state.begin(tracker.runs, handles)
        return await tracker.runs.wait_all(handles, timeout=settings.timeout, on_result=on_result)

    return await following.follow(work)


async def _left(
    terminal: Terminal, settings: CommandSettings, path: str, cancel_on_timeout: bool
) -> ExitCode:
    """
    Follow the runs that an earlier program left in the journal at *path*.

    Raises:
        CommandError: There is no such journal, or it cannot be read.
    """
    try:
        # The tracker would begin a new journal; a path that is misspelt must not look finished.
        left = [run for run in JournalReader(path).runs() if run.stage != "acknowledged"]
    except JournalError as error:
        raise CommandError(str(error)) from None
    again = runs_of_journal(settings)
    following = _Following(terminal, settings, LeftRuns(left), cancel_on_timeout, again=again)

    async def work(tracker: Tracker, on_result: _OnResult) -> RunResults:
        following.state.begin(tracker.runs)
        found: list[RunResult] = []
        async with tracker.runs.resume(timeout=settings.timeout) as completions:
            async for result in completions:
                told = replace(result, error=_UNSENT) if result.error == NEVER_SENT else result
                found.append(told)
                await on_result(told)
        return RunResults(found)

    return await following.follow(work)


class _Following:
    """One command that follows runs, from the first to the last line that it prints."""

    def __init__(
        self,
        terminal: Terminal,
        settings: CommandSettings,
        state: RunState,
        cancel_on_timeout: bool,
        *,
        again: str = "the same command and --resume, which sends nothing twice",
    ) -> None:
        self.state = state
        self._again = again
        self._terminal = terminal
        self._settings = settings
        self._cancel_on_timeout = cancel_on_timeout
        self._writer = writer_of(terminal, settings.output, RUN_COLUMNS, RUN_TABLE, settings.only)
        self._printed: set[str] = set()
        self._task: asyncio.Future[RunResults] | None = None
        self._failure: Exception | None = None
        self._stopped = False

    async def follow(self, work: _Work) -> ExitCode:
        """
        Do *work*, and print how each run ended.

        Raises:
            asyncio.CancelledError: It was interrupted; what is known was printed.

            BrokenPipeError: Nobody reads the results.
        """
        settings, terminal = self._settings, self._terminal
        journal = journal_of(settings, patient=not self._writer.at_once)
        results: Sequence[RunResult] = ()
        try:
            async with observed_tracker(terminal, settings, (self.state,), journal) as tracker:
                async with (
                    served(terminal, tracker, settings.page),
                    live(terminal, self.state, tracker.stats, off=settings.verbose),
                ):
                    results, codes = await self._results(tracker, work)
                await self._print(results)
                if isinstance(journal, PatientJournal):
                    journal.delivered = True
        except asyncio.CancelledError:
            await self._break_off(f"interrupted: {self.state.done} of {self.state.total} known")
            raise
        except (CommandError, ProjectError) as error:
            await self._break_off(f"error: {error}")
            return code_of_error(error)
        terminal.note(summary(Counter(result.outcome for result in results)))
        self._advise(results)
        return most_serious([code_of_results(results), *codes])

    async def _results(
        self, tracker: Tracker, work: _Work
    ) -> tuple[Sequence[RunResult], list[ExitCode]]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._settings.timeout or 0)
        # A task of its own: what runs must be known before it is given up.
        self._task = asyncio.ensure_future(work(tracker, self._take))
        try:
            await asyncio.wait([self._task])
        finally:
            self.state.look_last()
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._failure is not None:
            raise self._failure
        if self._stopped:
            return self.state.results(), []
        results: Sequence[RunResult] = tuple(self._task.result())
        codes: list[ExitCode] = []
        if self._settings.timeout is not None and loop.time() >= deadline:
            codes = [ExitCode.OK if all(each.ok for each in results) else ExitCode.TIMED_OUT]
        if self._cancel_on_timeout and any(map(_still_runs, results)):
            self._terminal.note("time is up: canceling what still runs ...")
            results = await asyncio.gather(*(_canceled(tracker, each) for each in results))
        return results, codes

    async def _take(self, result: RunResult) -> None:
        """One run ended: print it, where that is done line by line."""
        if self._cancel_on_timeout and _still_runs(result):
            return  # its end is still to come
        self.state.end(result)
        if self._writer.at_once:
            try:
                await self._line(result)
            except (OSError, CommandError) as error:
                self._failure = error
                self._stop()
        failed = not result.ok and result.outcome is not RunOutcome.TIMED_OUT
        if self._settings.fail_fast and failed and not self._stopped:
            self._terminal.say(f"stopped: run {result.run_id} ended {result.outcome}")
            self._stopped = True
            self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _line(self, result: RunResult) -> None:
        key = result.run_id or result.request_id
        if self._writer.at_once and key in self._printed:
            return
        await self._writer.line(run_item(result))
        if key is not None:
            self._printed.add(key)

    async def _print(self, results: Iterable[RunResult]) -> None:
        """Print what was not printed line by line."""
        if self._writer.at_once:
            if self._stopped or self._cancel_on_timeout:
                for result in results:
                    await self._line(result)
            return
        for result in results:
            await self._line(result)
        if self._stopped:
            await self._print_open()
        await self._writer.finish()

    async def _print_open(self) -> None:
        for data in self.state.open_data():
            await self._writer.line(Item(data))

    async def _break_off(self, why: str) -> None:
        self._terminal.say(why)
        self._advise(self.state.results())
        # After what matters more: who reads stdout may be gone, too, or be slow.
        with suppress(OSError, CommandError):
            if not self._writer.at_once:
                for result in self.state.results():
                    await self._line(result)
                await self._print_open()
                await self._writer.finish()

    def _advise(self, results: Sequence[RunResult]) -> None:
        """Say what still runs, or may run, and what to do about it."""
        say = self._terminal.say
        ended = {result.run_id for result in results if not _still_runs(result)}
        running = [
            JobRun(result.job, result.run_id)
            for result in results
            if _still_runs(result) and result.job and result.run_id
        ]
        if not results or self._stopped or self.state.done < self.state.total:
            running += [each for each in self.state.open_runs() if each.run_id not in ended]
            for line in self.state.untold():
                say(line)
        journal = self._settings.journal
        for line in how_to_follow(
            list(dict.fromkeys(running)), self._settings, journal=journal is not None
        ):
            say(line)
        if journal is not None and (running or self.state.done < self.state.total):
            say(f"continue with: {self._again}")
        unknown = sum(result.outcome is RunOutcome.START_UNKNOWN for result in results)
        if unknown:
            say(f"{unknown} of unknown fate: look in the Onehouse console before you submit again")


def _still_runs(result: RunResult) -> bool:
    unended = {RunOutcome.TIMED_OUT, RunOutcome.UNREACHABLE}
    return result.outcome in unended and result.run_id is not None


async def _canceled(tracker: Tracker, result: RunResult) -> RunResult:
    """What became of a run that is canceled because time is up; of others what was known."""
    if not _still_runs(result) or result.job is None or result.run_id is None:
        return result
    try:
        async with asyncio.timeout(_STOPS_WITHIN):
            ended = await tracker.runs.cancel_run(JobRun(result.job, result.run_id))
    except TimeoutError:
        why = f"canceled, but it had not stopped after {_STOPS_WITHIN:.0f} s"
        return replace(result, error=why)
    except SubmissionError as error:
        return replace(result, error=f"it could not be canceled: {error}")
    return replace(
        result,
        outcome=ended.outcome,
        status=ended.status,
        row=ended.row,
        error=ended.error,
        detected_at=ended.detected_at,
        waited=result.waited + ended.waited,
        delay_bound=ended.delay_bound,
        checks=result.checks + ended.checks,
        cancellation=ended.cancellation,
    )


async def cancel(
    terminal: Terminal,
    settings: CommandSettings,
    arguments: Sequence[str],
    given: RunInput,
    job: str | None,
) -> ExitCode:
    """
    Cancel the runs that *arguments* and *given* name, and print how each ended.

    It is ok if each of them has stopped, in whatever way.

    Raises:
        CommandError: Something is no run, or a file cannot be read.

        ConfigError: Credentials are missing, or a setting makes no sense.
    """
    wanted = runs_from(arguments, given, job, settings.label)
    writer = writer_of(terminal, settings.output, RUN_COLUMNS, RUN_TABLE, settings.only)
    codes: list[ExitCode] = []

    async def one(tracker: Tracker, each: JobRun) -> None:
        try:
            result = await tracker.runs.cancel_run(each)
        except ProjectError:
            raise
        except TrackerError as error:
            codes.append(ExitCode.NOT_OK)
            terminal.say(f"error: run {each.run_id} was not canceled: {error}")
            return
        if not result.outcome.final:
            codes.append(ExitCode.NOT_OK)
        await writer.line(run_item(result))

    try:
        async with open_tracker(settings) as tracker:
            async with asyncio.timeout(settings.timeout):
                await asyncio.gather(*(one(tracker, each) for each in wanted))
    except TimeoutError:
        codes.append(ExitCode.TIMED_OUT)
        terminal.say("timed out: not every run has stopped")
    except ProjectError as error:
        codes.append(code_of_error(error))
        terminal.say(f"error: {error}")
    await writer.finish()
    return most_serious(codes)
