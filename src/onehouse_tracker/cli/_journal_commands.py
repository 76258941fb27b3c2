"""
The commands for journals, their options and their help.
"""

from __future__ import annotations

from typing import Annotated

import typer

from onehouse_tracker.cli._frame import epilog, guarded, run, settings
from onehouse_tracker.cli._options import (
    Limit,
    Output,
    OutputOption,
    Profile,
    Quiet,
    Share,
    Timeout,
    Verbose,
)

__all__ = ["JOURNAL_EXAMPLES", "RESUME_EXAMPLES", "resume", "show_journal"]

RESUME_EXAMPLES = epilog(
    "onehouse-tracker resume --journal tracker.db",
    "onehouse-tracker resume --journal tracker.db --output jsonl >> results.jsonl",
)
JOURNAL_EXAMPLES = epilog(
    "onehouse-tracker journal tracker.db",
    "onehouse-tracker journal tracker.db --output jsonl | jq .outcome",
)


@guarded
def resume(
    *,
    journal: Annotated[
        str, typer.Option("--journal", metavar="FILE", help="What an earlier run wrote.")
    ],
    timeout: Timeout = None,
    limit: Limit = 10.0,
    share: Share = 1.0,
    profile: Profile = None,
    output: OutputOption = Output.TEXT,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """
    Go on with all that a journal holds, after a crash or an interruption.

    First come the results that were known and not delivered, then the others as they end.
    With --output jsonl a result is delivered when its line was written.
    """
    from onehouse_tracker.cli import _journal  # noqa: PLC0415 - loads the tracker

    chosen = settings(
        profile=profile,
        limit=limit,
        share=share,
        timeout=timeout,
        journal=journal,
        output=output,
        quiet=quiet,
        verbose=verbose,
    )
    run(lambda terminal: _journal.resume(terminal, chosen, journal), quiet=quiet)


@guarded
def show_journal(
    path: Annotated[str, typer.Argument(metavar="FILE", help="The journal.")],
    *,
    output: OutputOption = Output.TEXT,
    quiet: Quiet = False,
) -> None:
    """
    Show what a journal holds, without a server. What is pending is ok.

    Works while another process writes to it, and changes nothing.
    """
    from onehouse_tracker.cli import _journal  # noqa: PLC0415 - loads the journal

    run(lambda terminal: _journal.show(terminal, path, output), quiet=quiet)
