"""
Polls each request once, and prints where it stands.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence

from onehouse_tracker.cli._codes import CommandError, ExitCode, code_of_error, most_serious
from onehouse_tracker.cli._command_settings import CommandSettings
from onehouse_tracker.cli._options import Input, Only
from onehouse_tracker.cli._output import PENDING, Item, place_of, result_row
from onehouse_tracker.cli._sources import requests_from
from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.cli._track import open_tracker
from onehouse_tracker.cli._writers import writer_of
from onehouse_tracker.errors import ProjectError
from onehouse_tracker.models import Outcome, Request, Result
from onehouse_tracker.observers._progress import duration
from onehouse_tracker.results import RequestStatus

__all__ = ["status"]


async def status(
    terminal: Terminal, settings: CommandSettings, arguments: Sequence[str], given: Input
) -> ExitCode:
    """
    Poll each request once, within the rate limit, and print where it stands.

    A request that is pending is no failure here.

    Raises:
        CommandError: Something is no request ID, the file cannot be read, the server refuses
            the credentials or cannot be reached.

        ConfigError: Credentials are missing, or a setting makes no sense.
    """
    requests = await requests_from(arguments, given)
    tracker = open_tracker(settings)
    order: dict[str, None] = {}
    found: dict[str, RequestStatus] = {}
    writer = writer_of(terminal, settings.output, only=settings.only)

    async def show(one: RequestStatus) -> None:
        found[one.request_id] = one
        if writer.at_once:
            await writer.line(_item(one))

    try:
        async with tracker:
            noted = _noting(requests, order)
            await tracker._status(noted, settings.label, show)  # noqa: SLF001 - prints at once
    except ProjectError as error:
        raise CommandError(str(error), code_of_error(error)) from error
    finally:
        if not writer.at_once:
            for request_id in order:
                if request_id in found:
                    await writer.line(_item(found[request_id]))
        await writer.finish()

    return most_serious(ExitCode.NOT_OK for one in found.values() if not (one.pending or one.ok))


async def _noting(
    requests: AsyncIterable[Request], order: dict[str, None]
) -> AsyncIterator[Request]:
    """Note in which order the requests come: that of their replies is another one."""
    async for request in requests:
        order.setdefault(request.request_id)
        yield request


def _forecast(one: RequestStatus) -> str:
    """What earlier runs say about one that is pending."""
    said = ["unusually long"] if one.overdue else []
    if one.left is not None:
        low, high = duration(one.left.low), duration(one.left.high)
        said.append(f"about {duration(one.left.median)} left ({low} to {high})")
    return ", ".join(said)


def _item(one: RequestStatus) -> Item:
    """What is printed: the same as of a result, and no outcome where it is pending."""
    result = Result(
        request_id=one.request_id,
        outcome=one.outcome or Outcome.TIMED_OUT,
        label=one.label,
        status=one.status,
        response=one.response,
        error=one.error,
        polls=one.polls,
        waited=one.took,
    )
    data, row = result.to_dict(), result_row(result)
    if one.pending:
        left = None if one.left is None else one.left.to_dict()
        data.update(outcome=None, ok=None, reason=None, left=left, overdue=one.overdue)
        row = {**row, "OUTCOME": PENDING, "REASON": _forecast(one)}
    place = Only.UNFINISHED if one.pending else place_of(result.outcome)
    return Item(data, row, place=place)
