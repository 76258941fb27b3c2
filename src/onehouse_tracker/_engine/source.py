"""
The status source as the engine uses it: whatever it does ends as a reply or an error.
"""

from __future__ import annotations

import asyncio
import logging
import math
import traceback
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeAlias

from onehouse_tracker._util.cancelling import is_cancelled, is_running
from onehouse_tracker._util.interruption import let_out
from onehouse_tracker._util.text import one_line
from onehouse_tracker.errors import (
    ProjectError,
    SourceError,
    StatusError,
    TrackerClosedError,
    TransportError,
)
from onehouse_tracker.models import StatusReply
from onehouse_tracker.protocols import (
    ConnectedSource,
    ProjectCredentials,
    ProjectSource,
    StatusSource,
    TimedSource,
)

if TYPE_CHECKING:
    from onehouse_tracker.policy import PollPolicy

__all__ = ["Answer", "Source", "project_key_of"]

Answer: TypeAlias = StatusReply | StatusError | ProjectError
"""What a poll brought."""

_MISTAKES = (NameError, AttributeError, TypeError, ImportError, NotImplementedError)
"""What code raises that is wrong, and not what it works on."""

_log = logging.getLogger(__name__)


class Source:
    """
    Asks the user's status source, and knows what else it can do.

    Args:
        source: The source.

        policy: How long one poll may take.
    """

    def __init__(self, source: StatusSource, policy: PollPolicy) -> None:
        self._source = source
        self._policy = policy
        self._has_answered = False
        self._logged: set[tuple[type[BaseException], str]] = set()
        # A source that bounds its calls itself, as the client does, needs no second timer.
        own_timeout = source.request_timeout if isinstance(source, TimedSource) else math.inf
        self._times_out = own_timeout > policy.poll_timeout
        self._connected = source if isinstance(source, ConnectedSource) else None
        limit = None if self._connected is None else self._connected.max_connections
        self.max_connections = math.inf if limit is None else limit
        """Requests that can be on the wire at once; infinity where the source does not say."""

    def forget_connections(self) -> None:
        """Have the next request make a connection of its own, if there are any."""
        if self._connected is None:
            return
        try:
            self._connected.forget_connections()
        except Exception:  # noqa: BLE001 - the next poll will tell
            _log.exception("the status source failed to forget its connections")

    async def ask(self, request_id: str) -> Answer:
        """
        Poll once.  Raises nothing but the cancellation of the task that calls.

        Returns:
            What the source said; a `ProjectError` where it cannot be used at all.
        """
        answer: Answer
        try:
            if self._times_out:
                async with asyncio.timeout(self._policy.poll_timeout):
                    answer = _checked(await self._source.fetch(request_id))
            else:
                answer = _checked(await self._source.fetch(request_id))
        except TimeoutError:
            return TransportError(
                f"no reply within {self._policy.poll_timeout:g} s", request_id=request_id
            )
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            return TransportError("the status source cancelled itself", request_id=request_id)
        except BaseException as error:
            if isinstance(error, GeneratorExit) and not is_running():
                raise  # the event loop is gone, and this coroutine with it
            answer = self._failure(request_id, error)
        if not isinstance(answer, TransportError | ProjectError):
            self._has_answered = True
        return answer

    def _failure(self, request_id: str, error: BaseException) -> Answer:
        if isinstance(error, StatusError):
            return error
        if isinstance(error, ProjectError):
            # Its being closed is not the tracker's.
            return _own(str(error), error) if isinstance(error, TrackerClosedError) else error
        is_mistake = isinstance(error, _MISTAKES)
        words = type(error).__name__
        if is_mistake:
            words = one_line(f"{words}: {error} ({_place(error) or type(self._source).__name__})")
            if not self._has_answered:
                return _own(f"the status source is broken: {words}", error)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            # Raised here, it would go through the loop twice: from this task and from its owner.
            let_out(error)
        elif not isinstance(error, OSError):
            self._log_once(request_id, error)
        failure = TransportError(words, request_id=request_id)
        failure.__cause__ = error
        return failure

    def _log_once(self, request_id: str, error: BaseException) -> None:
        kind = (type(error), _place(error))
        if kind not in self._logged:
            self._logged.add(kind)
            _log.error(
                "the status source failed on request %s; the same is not logged again",
                request_id,
                exc_info=error,
            )


def project_key_of(client: object) -> str | None:
    """What tells projects apart; `None` where the client does not know its project."""
    if isinstance(client, ProjectSource) and isinstance(client.credentials, ProjectCredentials):
        return client.credentials.project_key
    return None


def _checked(reply: object) -> StatusReply:
    if not isinstance(reply, StatusReply):
        raise TypeError(f"fetch() returned {type(reply).__name__}, not a StatusReply")
    return reply


def _own(text: str, cause: BaseException) -> SourceError:
    error = SourceError(text)
    error.__cause__ = cause
    return error


def _place(error: BaseException) -> str:
    """Where *error* was raised, if not here."""
    where = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if code.co_filename != __file__:
            where = f"{PurePath(code.co_filename).name}, line {line}, in {code.co_name}"
    return where
