"""
Journals from the shell: go on with one, and look into one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from onehouse_tracker._util.times import iso
from onehouse_tracker.cli._codes import CommandError, ExitCode, code_of_results, most_serious
from onehouse_tracker.cli._command_settings import CommandSettings
from onehouse_tracker.cli._options import Only, Output
from onehouse_tracker.cli._output import (
    PENDING,
    RESULT_COLUMNS,
    Item,
    place_of,
    request_row,
    result_row,
    summary,
)
from onehouse_tracker.cli._run_output import RUN_TABLE, runs_of_journal
from onehouse_tracker.cli._state import CommandState
from onehouse_tracker.cli._terminal import Terminal, clean
from onehouse_tracker.cli._track import follow
from onehouse_tracker.cli._writers import writer_of
from onehouse_tracker.errors import JournalError
from onehouse_tracker.journal import JournalReader, JournalRequest, JournalRun, JournalStatement
from onehouse_tracker.models import Outcome

__all__ = ["resume", "show"]

_T = TypeVar("_T")

_COLUMNS = (*RESULT_COLUMNS, "state", "submitted_at", "added_at", "acknowledged_at")


async def resume(terminal: Terminal, settings: CommandSettings, path: str) -> ExitCode:
    """
    Go on with all that the journal at *path* holds, and print how it ended.

    Raises:
        CommandError: There is no such journal, or it cannot be read.

        ConfigError: Credentials are missing, or a setting makes no sense.
    """
    state = CommandState()
    # The tracker would begin a new journal; a path that is misspelt must not look finished.
    for item in _read(JournalReader(path).requests()):
        if item.state != "acknowledged":
            state.join(item.request)
    state.complete = True
    runs = [run for run in _read(JournalReader(path).runs()) if run.outcome is None]
    code = await follow(terminal, settings, state, lambda _: None)
    for line in _what_to_run(runs, settings):
        terminal.say(line)

    return most_serious([code, ExitCode.NOT_OK]) if runs else code


def _what_to_run(runs: Sequence[JournalRun], settings: CommandSettings) -> Iterator[str]:
    """How to go on with runs: this command follows requests."""
    unsent = sum(run.never_sent for run in runs)
    if len(runs) > unsent:
        left = len(runs) - unsent
        have = "has" if left == 1 else "have"
        yield f"{left} of its runs {have} not ended; follow with: {runs_of_journal(settings)}"
    if unsent:
        yield (
            f"{unsent} never sent: the 'run' command of the first time sends them, with --resume"
        )


async def show(terminal: Terminal, settings: CommandSettings, path: str) -> ExitCode:
    """
    Print what the journal at *path* holds.

    Raises:
        CommandError: There is no such journal, or it cannot be read.
    """
    reader = JournalReader(path)
    writer = writer_of(terminal, settings.output, _COLUMNS, only=settings.only)
    states: Counter[str] = Counter()
    outcomes: Counter[Outcome] = Counter()
    codes: set[ExitCode] = set()
    for item in _read(reader.requests()):
        states[item.state] += 1
        if item.result is not None:
            outcomes[item.result.outcome] += 1
            codes.add(code_of_results([item.result]))
        await writer.line(_request_item(item))
    unknown: list[str] = []
    for statement in _read(reader.statements()):
        await writer.line(_statement_item(statement))
        if statement.fate_unknown:
            unknown.append(_unknown(statement))
            codes.add(ExitCode.NOT_OK)
    runs = list(_read(reader.runs()))
    run_outcomes = Counter(run.outcome for run in runs if run.outcome is not None)
    codes.update(ExitCode.OK if outcome.ok else ExitCode.NOT_OK for outcome in run_outcomes)
    # People get a table of their own for runs, programs one list of everything.
    of_runs = writer
    if settings.output is Output.TEXT:
        of_runs = writer_of(terminal, settings.output, table=RUN_TABLE, only=settings.only)
    for run in runs:
        await of_runs.line(_run_item(run))
    await writer.finish()
    if of_runs is not writer:
        await of_runs.finish()
    for line in unknown:
        terminal.say(line)
    terminal.note(summary(outcomes, states["pending"]))
    if runs:
        open_ones = len(runs) - run_outcomes.total()
        terminal.note(f"runs: {summary(run_outcomes, open_ones)}")
    if states["recorded"]:
        terminal.note(f"{states['recorded']} not delivered yet: 'resume' does that")
    if unknown:
        terminal.say(
            f"{len(unknown)} of unknown fate: look in the Onehouse console before you submit again"
        )

    return most_serious(codes)


def _read(items: Iterator[_T]) -> Iterator[_T]:
    try:
        yield from items
    except JournalError as error:
        raise CommandError(str(error)) from None


def _request_item(item: JournalRequest) -> Item:
    if item.result is None:
        return Item(_request_data(item), request_row(item.request))
    place = place_of(item.result.outcome)
    return Item(_request_data(item), result_row(item.result), place=place)


def _statement_item(statement: JournalStatement) -> Item:
    place: Only | None = Only.UNFINISHED if statement.fate_unknown else Only.FAILED
    if statement.state == "accepted":
        place = None  # its request tells more
    return Item(_statement_data(statement), in_csv=False, place=place)


def _run_item(run: JournalRun) -> Item:
    row = {
        "RUN": clean(run.run_id or "-"),
        "JOB OR STATEMENT": clean(run.job or f"SHA-256 {(run.sha256 or '')[:12]}..."),
        "OUTCOME": str(run.outcome or PENDING),
        "LABEL": clean(run.label or ""),
        "REQUEST": clean(run.request_id or ""),
        "REASON": clean(run.reason or ""),
    }
    place = Only.UNFINISHED if run.outcome is None else place_of(run.outcome)
    return Item(_run_data(run), row, in_csv=False, place=place)


def _run_data(run: JournalRun) -> dict[str, Any]:
    return {
        "kind": "run",
        "state": run.stage,
        "request_id": run.request_id,
        "job": run.job,
        "run_id": run.run_id,
        "label": run.label,
        "outcome": None if run.outcome is None else str(run.outcome),
        "ok": None if run.outcome is None else run.outcome.ok,
        "status": run.status,
        "reason": run.reason,
        "sha256": run.sha256,
        "started_at": iso(run.started_at),
        "added_at": iso(run.added_at),
        "recorded_at": iso(run.recorded_at),
        "acknowledged_at": iso(run.acknowledged_at),
    }


def _request_data(item: JournalRequest) -> dict[str, Any]:
    request, result = item.request, item.result
    data: dict[str, Any] = {"kind": "request", "state": item.state}
    if result is None:
        data |= {"request_id": request.request_id, "label": request.label, "outcome": None}
    else:
        data |= result.to_dict()
    return data | {
        "submitted_at": iso(request.submitted_at),
        "added_at": iso(item.added_at),
        "acknowledged_at": iso(item.acknowledged_at),
    }


def _statement_data(statement: JournalStatement) -> dict[str, Any]:
    return {
        "kind": "statement",
        "state": statement.state,
        "fate_unknown": statement.fate_unknown,
        "request_id": statement.request_id,
        "label": statement.label,
        "words": statement.kind,
        "sha256": statement.sha256,
        "statement": statement.statement,
        "intended_at": iso(statement.intended_at),
        "reason": statement.reason,
    }


def _unknown(statement: JournalStatement) -> str:
    what = statement.label or statement.kind or "a statement"
    when = iso(statement.intended_at, "seconds")
    why = f" ({statement.reason})" if statement.reason else ""
    return f"fate unknown: {what}, {when}, SHA-256 {statement.sha256[:12]}...{why}"
