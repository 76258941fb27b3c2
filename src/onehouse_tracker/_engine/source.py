"""
The status source as the engine uses it: whatever it does ends as a reply or an error.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

from onehouse_tracker.errors import StatusError, TransportError
from onehouse_tracker.models import ConnectedSource, StatusReply, StatusSource

if TYPE_CHECKING:
    from onehouse_tracker.policy import PollPolicy

__all__ = ["Source"]

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
        if self._connected is not None:
            self._connected.forget_connections()

    async def ask(self, request_id: str) -> StatusReply | StatusError:
        """Poll once.  Raises nothing but the cancellation of the task that calls."""
        try:
            if not self._times_out:
                return await self._source.fetch(request_id)
            async with asyncio.timeout(self._policy.poll_timeout):
                return await self._source.fetch(request_id)
        except StatusError as error:
            return error
        except TimeoutError:
            return TransportError(
                f"no reply within {self._policy.poll_timeout:g} s", request_id=request_id
            )
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return TransportError("the status source cancelled itself", request_id=request_id)
        except Exception as error:  # noqa: BLE001 - survive whatever the source does
            if not isinstance(error, OSError):
                _log.exception("the status source failed on request %s", request_id)
            failure = TransportError(type(error).__name__, request_id=request_id)
            failure.__cause__ = error
            return failure
