"""
Sends one statement within the budget, once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from onehouse_tracker.errors import (
    ConfigError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    ThrottledError,
    UnauthorizedError,
)
from onehouse_tracker.models import check_request_id

if TYPE_CHECKING:
    from onehouse_tracker._engine import Engine
    from onehouse_tracker.models import StatusSource, SubmissionSource

__all__ = ["submit_once"]


async def submit_once(
    engine: Engine, source: StatusSource, statement: str, *, timeout: float
) -> str:
    """
    Submit *statement* when its slot comes, and return the request ID.

    Only a refusal for its rate, after which nothing runs, is followed by another attempt.
    Raises what `Tracker.submit` raises.
    """
    if not hasattr(source, "submit"):
        raise ConfigError(f"{type(source).__name__} cannot submit statements")
    submissions = cast("SubmissionSource", source)  # it has the one method
    loop = asyncio.get_running_loop()
    while True:
        await engine.slot(submission=True)
        sent_at = loop.time()
        try:
            async with asyncio.timeout(timeout):
                request_id = check_request_id(await submissions.submit(statement))
        except ThrottledError as error:
            engine.throttled(sent_at, error)
        except UnauthorizedError as error:
            failure = engine.submission_unauthorized(error)
            if failure is not None:
                raise failure from error
            # The credentials were good a moment ago: it is this statement they may not run.
            raise SubmissionRejectedError(error.reason, http_status=error.http_status) from error
        except SubmissionRejectedError:
            engine.accepted(sent_at)
            raise
        except TimeoutError as error:
            raise SubmissionUnknownError(f"no reply within {timeout:g} s") from error
        else:
            engine.accepted(sent_at)
            return request_id
        finally:
            engine.submitted()
