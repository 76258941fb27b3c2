"""
The options and the help of ``onehouse-tracker simulate``; its work is loaded when it is run.
"""

from __future__ import annotations

from typing import Annotated

import typer

from onehouse_tracker.cli._command import run
from onehouse_tracker.cli._options import Enforcer, Limit, Quiet, Shape

__all__ = ["simulate"]


def simulate(  # noqa: PLR0913 - one for each option
    *,
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one."),
    ] = 8099,
    limit: Limit = 10.0,
    enforcer: Annotated[
        Enforcer, typer.Option("--enforcer", help="How the limit is enforced.")
    ] = Enforcer.SLIDING,
    seed: Annotated[int, typer.Option("--seed", help="Decides all that is drawn.")] = 0,
    durations: Annotated[
        str | None,
        typer.Option(
            "--durations", metavar="TIME[-TIME]", help="How long statements take: 5, or 1-25."
        ),
    ] = None,
    fail_rate: Annotated[
        float | None,
        typer.Option(
            "--fail-rate", metavar="PART", min=0, max=1, help="Which part of them fails."
        ),
    ] = None,
    run_durations: Annotated[
        str | None,
        typer.Option(
            "--run-durations",
            metavar="TIME[-TIME]",
            help="How long the runs of jobs take, which RUN JOB starts.",
        ),
    ] = None,
    run_fail_rate: Annotated[
        float | None,
        typer.Option(
            "--run-fail-rate", metavar="PART", min=0, max=1, help="Which part of the runs fails."
        ),
    ] = None,
    listing: Annotated[
        Shape, typer.Option("--listing", help="In what shape SHOW RUNS IN JOB answers.")
    ] = Shape.NESTED,
    force: Annotated[
        list[str] | None,
        typer.Option(
            "--force",
            metavar="PATTERN=OUTCOME",
            help="What becomes of the statements that fit, where * stands for anything. May be"
            " given several times; the first that fits decides.",
        ),
    ] = None,
    accept_any: Annotated[
        bool,
        typer.Option(
            "--accept-any", help="Make up a request for each unknown ID, instead of a 404."
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """
    Serve a simulated Onehouse on 127.0.0.1, for trying things out and for tests.

    It prints the environment variables that its clients need, and serves until it is
    stopped; that is exit code 0.

    \b
    An OUTCOME of --force is, for the request of a statement:
      succeeded, partially-succeeded, failed, invalid
      unrecognized         it ends with a word that nobody knows
      no-status            it ends with a reply without any status
      timed-out            it stays PENDING
      not-found            its polls are answered 404
      rejected             its polls are answered 400
      unreachable          its polls are answered 500
      submission-rejected  the statement is refused with 400
      submission-unsent    the statement is refused with 429, always
      submission-unknown   the statement is executed, and never answered

    \b
    And for the run of a job, on RUN JOB and CREATE AND RUN JOB:
      run-succeeded, run-failed, run-canceled, run-invalid
      run-unrecognized     it ends with a word that nobody knows
      run-no-status        it ends without any status
      run-not-run          it stays NOT_RUN
      run-timed-out        it stays RUNNING
      run-unlisted         it drops out of the listing
      run-lost             it vanishes from every answer
      run-unreachable      it is not listed, and its DESCRIBE is answered 500
      run-started          its ID does not come back
    """  # noqa: D301 - a backspace keeps the lines below it as they are
    from onehouse_tracker.cli import _simulate  # noqa: PLC0415 - loads the server
    from onehouse_tracker.cli._codes import ExitCode  # noqa: PLC0415

    run(
        lambda terminal: _simulate.simulate(
            terminal,
            port=port,
            limit=limit,
            enforcer=enforcer,
            seed=seed,
            behavior=_simulate.Behavior(
                durations=durations,
                fail_rate=fail_rate,
                run_durations=run_durations,
                run_fail_rate=run_fail_rate,
                listing=listing.value,
                force=force or (),
            ),
            accept_any=accept_any,
        ),
        quiet=quiet,
        interrupted=ExitCode.OK,
    )
