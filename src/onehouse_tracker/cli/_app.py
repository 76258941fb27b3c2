"""
The commands, their options and their help; each command's work is loaded when it is run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from onehouse_tracker.cli._command import CODES, Commands, command, run
from onehouse_tracker.cli._command_settings import OF_FOLLOWING, OF_POLLING, CommandSettings
from onehouse_tracker.cli._history_options import history
from onehouse_tracker.cli._options import (
    AllowEmpty,
    Ids,
    Input,
    Quiet,
    SqlFrom,
    Statements,
    positive,
)
from onehouse_tracker.cli._run_commands import cancel, runs, start_runs
from onehouse_tracker.cli._simulate_options import simulate

__all__ = ["app"]

EXAMPLES = """\b
Examples:
  onehouse-tracker submit --from jobs.sql --wait
  onehouse-tracker wait --from ids.txt --output jsonl > results.jsonl
  onehouse-tracker COMMAND --help"""

app = typer.Typer(
    name="onehouse-tracker",
    cls=Commands,
    help=f"""
    Follow Onehouse SQL requests, and runs of jobs, to their end, within the project's rate limit.

    Credentials come from the environment (ONEHOUSE_...) or from ~/.onehouse/credentials, as
    for the vendor's own tools. Without any, try: onehouse-tracker demo

    {CODES.replace(chr(10), chr(10) + "    ")}
    """,
    epilog=EXAMPLES,
    no_args_is_help=True,
    # Plain help is there in half the time, and reads the same in a pipe.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(value: bool) -> None:
    if value:
        from onehouse_tracker import __version__  # noqa: PLC0415 - slow, and seldom asked for

        typer.echo(f"onehouse-tracker {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and leave.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


@command(
    app,
    "onehouse-tracker wait 6f1c2a 9b07de",
    "onehouse-tracker wait --from ids.txt --timeout 2h --output jsonl > results.jsonl",
    "onehouse-tracker wait --from runs.csv --field id --label-field kind --output csv",
    "some-producer | onehouse-tracker wait --from - --journal tracker.db",
)
def wait(
    context: typer.Context, ids: Ids = None, *, given: Input, settings: CommandSettings
) -> None:
    """Wait until every request has ended, and print how."""
    if not ids and not given.sources:
        context.fail("give request IDs, or --from FILE")
    from onehouse_tracker.cli import _track  # noqa: PLC0415 - loads the tracker

    run(lambda terminal: _track.wait(terminal, settings, ids or [], given), quiet=settings.quiet)


@command(
    app,
    "onehouse-tracker status 6f1c2a",
    "onehouse-tracker status --from ids.txt --output jsonl",
    without=OF_FOLLOWING,
)
def status(
    context: typer.Context, ids: Ids = None, *, given: Input, settings: CommandSettings
) -> None:
    """Ask once about each request, and print where it stands. One that is pending is ok."""
    if not ids and not given.sources:
        context.fail("give request IDs, or --from FILE")
    from onehouse_tracker.cli import _status  # noqa: PLC0415 - loads the client

    run(
        lambda terminal: _status.status(terminal, settings, ids or [], given),
        quiet=settings.quiet,
    )


@command(
    app,
    'onehouse-tracker submit "RUN JOB nightly"',
    "onehouse-tracker submit --from jobs.sql --wait",
    "onehouse-tracker submit --from jobs.sql > ids.txt",
)
def submit(
    context: typer.Context,
    statements: Statements = None,
    *,
    sources: SqlFrom = None,
    allow_empty: AllowEmpty = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow what was accepted, and print how it ended.")
    ] = False,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going", help="Go on with the next statement when one is not accepted."
        ),
    ] = False,
    parallel: Annotated[
        bool,
        typer.Option(
            "--parallel",
            help="Send statements concurrently, instead of each when the one before was accepted.",
        ),
    ] = False,
    settings: CommandSettings,
) -> None:
    """
    Submit SQL statements, in order, and print their request IDs.

    Each statement is sent once, and again only after a 429. With --wait, success of RUN JOB
    means that the run was started, not that the job has finished: 'run' waits for that.
    """
    if not statements and not sources:
        context.fail("give statements, or --from FILE")
    if settings.fail_fast and not wait:
        context.fail("--fail-fast is about how statements end: give --wait as well")
    if settings.only and not wait:
        context.fail("--only is about how statements ended: give --wait as well")
    if settings.report is not None and not wait:
        context.fail("--report shows how statements ended: give --wait as well")
    if settings.page is not None and not wait:
        context.fail("--page shows how statements end: give --wait as well")
    from onehouse_tracker.cli import _submit  # noqa: PLC0415 - loads the tracker

    run(
        lambda terminal: _submit.submit(
            terminal,
            settings,
            statements or [],
            sources or [],
            allow_empty=allow_empty,
            wait=wait,
            keep_going=keep_going,
            parallel=parallel,
        ),
        quiet=settings.quiet,
    )


command(
    app,
    'onehouse-tracker run "RUN JOB nightly" "RUN JOB hourly"',
    "onehouse-tracker run --from jobs.sql --max-running 20 --output jsonl > results.jsonl",
    "onehouse-tracker run --from jobs.sql --stop-on-failure --timeout 2h --cancel-on-timeout",
    name="run",
    short_help="Start runs of jobs, and follow them to their real end.",
    without={"fail_fast"},
)(start_runs)

command(
    app,
    "onehouse-tracker runs --job nightly 5e1f0c 77ab31",
    "onehouse-tracker runs --from runs.csv --timeout 2h --output jsonl > results.jsonl",
    "onehouse-tracker runs --journal jobs.journal",
    short_help="Follow runs that others started to their real end.",
)(runs)

command(
    app,
    "onehouse-tracker cancel --job nightly 5e1f0c 77ab31",
    "onehouse-tracker cancel --from runs.csv --output jsonl",
    short_help="Cancel runs, and wait until they have stopped.",
    without={"journal", "fail_fast", "report", "page"},
)(cancel)


@command(
    app,
    "onehouse-tracker resume --journal tracker.db",
    "onehouse-tracker resume --journal tracker.db --output jsonl >> results.jsonl",
    short_help="Go on with all that a journal holds.",
    without={"label", "journal"},
)
def resume(
    *,
    journal: Annotated[
        str, typer.Option("--journal", metavar="FILE", help="What an earlier run wrote.")
    ],
    settings: CommandSettings,
) -> None:
    """
    Go on with all that a journal holds, after a crash or an interruption.

    First come the results that were known and not delivered, then the others as they end.
    With --output jsonl a result is delivered when its line was written.
    """
    from onehouse_tracker.cli import _journal  # noqa: PLC0415 - loads the tracker

    chosen = replace(settings, journal=journal)
    run(lambda terminal: _journal.resume(terminal, chosen, journal), quiet=settings.quiet)


@command(
    app,
    "onehouse-tracker journal tracker.db",
    "onehouse-tracker journal tracker.db --output jsonl | jq .outcome",
    name="journal",
    without=OF_FOLLOWING | OF_POLLING,
)
def show_journal(
    path: Annotated[str, typer.Argument(metavar="FILE", help="The journal.")],
    *,
    settings: CommandSettings,
) -> None:
    """
    Show what a journal holds, without a server. What is pending is ok.

    Works while another process writes to it, and changes nothing.
    """
    from onehouse_tracker.cli import _journal  # noqa: PLC0415 - loads the journal

    run(lambda terminal: _journal.show(terminal, settings, path), quiet=settings.quiet)


command(
    app,
    "onehouse-tracker history",
    "onehouse-tracker history --output csv > durations.csv",
    "onehouse-tracker history forget --label nightly",
    short_help="Show how long earlier runs took, or forget it.",
    without=OF_FOLLOWING | OF_POLLING | {"only"},
)(history)


@command(
    app,
    "onehouse-tracker doctor",
    "onehouse-tracker doctor --profile staging --output json",
    "onehouse-tracker doctor --shapes nightly",
    short_help="Find out why it does not work.",
    without=OF_FOLLOWING | OF_POLLING - {"profile"} | {"only"},
)
def doctor(
    context: typer.Context,
    run_id: Annotated[
        str | None,
        typer.Argument(metavar="[RUN_ID]", help="The run that --shapes describes."),
    ] = None,
    *,
    job: Annotated[
        str | None,
        typer.Option(
            "--shapes",
            metavar="JOB",
            help="Also ask for the runs of this job, and print which keys and status words the"
            " answers have, and no other value.",
        ),
    ] = None,
    settings: CommandSettings,
) -> None:
    """
    Check credentials, file, name, connection and server, and say what to do.

    Shows where each credential comes from, and never a secret. Sends one request, for the
    status of an ID that cannot exist. Without a network it says what it could not check.

    With --shapes it also submits SHOW RUNS IN JOB and DESCRIBE JOB_RUN, which only read. What
    it prints then can be shown to others: every value is masked.
    """
    if run_id is not None and job is None:
        context.fail("a run ID needs --shapes JOB")
    from onehouse_tracker.cli import _doctor  # noqa: PLC0415 - loads the client

    run(
        lambda terminal: _doctor.doctor(terminal, settings, job=job, run_id=run_id),
        quiet=settings.quiet,
    )


@command(
    app,
    "onehouse-tracker report tracker.db",
    "onehouse-tracker report tracker.db --out nightly.html",
    short_help="Write an HTML report of what a journal holds.",
)
def report(
    journal: Annotated[str, typer.Argument(metavar="JOURNAL", help="What a run wrote.")],
    *,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Where to write it; the journal's name with .html if not given.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """
    Write an HTML report of what a journal holds, and print where it is.

    It is one file that needs nothing but a browser. A journal does not know how the budget
    was used: for that give --report to the run itself.
    """
    from onehouse_tracker.cli import _html_report  # noqa: PLC0415 - loads the journal

    run(lambda terminal: _html_report.report_journal(terminal, journal, out), quiet=quiet)


command(
    app,
    "onehouse-tracker simulate --port 8099 --limit 10 --enforcer sliding",
    "onehouse-tracker simulate --durations 1-25 --fail-rate 0.1 --accept-any",
    "onehouse-tracker simulate --run-durations 10-40 --force 'RUN JOB *bad*=run-failed'",
    short_help="Serve a simulated Onehouse on 127.0.0.1.",
)(simulate)


@command(
    app,
    "onehouse-tracker demo",
    "onehouse-tracker demo --count 30 --seed 7",
    "onehouse-tracker demo --page 8080 --report demo.html",
    short_help="Watch simulated statements being followed.",
)
def demo(
    count: Annotated[
        int, typer.Option("--count", min=1, max=10000, help="How many statements.")
    ] = 150,
    seed: Annotated[int, typer.Option("--seed", help="Decides all that is drawn.")] = 0,
    speed: Annotated[
        float,
        typer.Option("--speed", metavar="FACTOR", help="How much faster.", callback=positive),
    ] = 1.0,
    report: Annotated[
        str | None, typer.Option("--report", metavar="FILE", help="Write an HTML report.")
    ] = None,
    page: Annotated[
        int | None,
        typer.Option(
            "--page",
            metavar="PORT",
            min=0,
            max=65535,
            help="Serve a live page on 127.0.0.1; 0 takes a free port.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """
    Watch simulated statements being submitted and followed, within 10 requests a second.

    It needs no credentials, talks to this machine only, and takes less than a minute. Some
    of the statements end badly by design.
    """
    from onehouse_tracker.cli import _demo  # noqa: PLC0415 - loads the tracker

    run(
        lambda terminal: _demo.demo(
            terminal, count=count, seed=seed, speed=speed, report=report, page=page
        ),
        quiet=quiet,
    )
