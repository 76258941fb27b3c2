"""
The status source as the engine uses it: whatever it does ends as a reply or an error.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, TypeAlias

from onehouse_tracker._cancelling import is_cancelled, is_running
from onehouse_tracker._interruption import let_out
from onehouse_tracker.errors import StatusError, TransportError
from onehouse_tracker.models import ConnectedSource, StatusReply, StatusSource

if TYPE_CHECKING:
    from onehouse_tracker.policy import PollPolicy

__all__ = ["Answer", "Source"]

Answer: TypeAlias = StatusReply | StatusError
"""What a poll brought."""

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
        # A source that bounds its calls itself, as the client does, needs no second timer.
        self._times_out = getattr(source, "request_timeout", math.inf) > policy.poll_timeout
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
        """Poll once.  Raises nothing but the cancellation of the task that calls."""
        try:
            return await self._fetch(request_id)
        except StatusError as error:
            return error
        except TimeoutError:
            return TransportError(
                f"no reply within {self._policy.poll_timeout:g} s", request_id=request_id
            )
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            return TransportError("the status source cancelled itself", request_id=request_id)
        except (KeyboardInterrupt, SystemExit) as error:
            # Raised here, it would go through the loop twice: from this task and from its owner.
            let_out(error)
            return self._failed(request_id, error)
        except BaseException as error:
            if isinstance(error, GeneratorExit) and not is_running():
                raise  # the event loop is gone, and this coroutine with it
            return self._failed(request_id, error)

    async def _fetch(self, request_id: str) -> StatusReply:
        if not self._times_out:
            return await self._source.fetch(request_id)
        async with asyncio.timeout(self._policy.poll_timeout):
            return await self._source.fetch(request_id)

    def _failed(self, request_id: str, error: BaseException) -> TransportError:
        if not isinstance(error, OSError):
            _log.exception("the status source failed on request %s", request_id, exc_info=error)
        failure = TransportError(type(error).__name__, request_id=request_id)
        failure.__cause__ = error
        return failure
