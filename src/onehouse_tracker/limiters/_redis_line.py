"""
One connection to Redis, on which a question is sent now and its reply read when it is wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from onehouse_tracker._util.text import one_line
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.limiters._redis_script import SCRIPT, SCRIPT_SHA, StrangeReplyError

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

__all__ = ["Heard", "RedisLine", "away", "reason_of"]

_TICKS: Final = 20
"""Parts of a timeout; each is over when the loop has turned again, however late that is."""

_IDLE: Final = 1.0
"""Seconds after which a server, or something on the way, may have closed a connection."""

_CODES: Final = frozenset({"MOVED", "ASK", "CLUSTERDOWN"})
_OF_CLUSTERS: Final = frozenset({"MovedError", "AskError", "ClusterDownError"})

_GOODBYE: Final = 0.25
"""Seconds that closing may take."""

_AT_ONCE: Final = 0.002
"""Seconds of waiting for a reply, at least, if it came only now."""


class Heard(NamedTuple):
    """A reply, and when it came."""

    reply: object
    """What redis-py made of it."""

    asked_at: float
    """When the question was sent, as loop time."""

    took: float | None
    """Seconds from then to the reply, as far as that can be told: a reply that was not waited for
    may have come long before.  Time in which our own loop was blocked does not count."""


class RedisLine:
    """
    Calls our script, one call at a time.

    A call that failed or was cancelled costs the connection: its reply could be taken for that
    of the next one.  A connection that was lost while it was idle is made anew, once.

    Args:
        url: As redis-py reads it.

        keys: The keys of the script.

    Raises:
        ConfigError: The URL cannot be read.
    """

    def __init__(self, url: str, keys: tuple[str, ...]) -> None:
        from redis.asyncio import ConnectionPool  # noqa: PLC0415 - an extra
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.exceptions import RedisError  # noqa: PLC0415

        self._keys = keys
        self._arguments: list[str] = []
        self.asked_at: float | None = None
        """When the question was sent whose reply was not read yet, as loop time."""
        self._heard_at = 0.0
        try:
            pool: Any = ConnectionPool.from_url(
                url,
                protocol=2,
                # Bounded here instead, by how long our loop was awake.
                socket_timeout=None,
                socket_connect_timeout=None,
                # A call that is sent again would book twice.
                retry=Retry(NoBackoff(), 0),
            )
            # Only here redis-py looks at all that the URL names.
            self._connection: AbstractConnection = pool.make_connection()
            for name in ("driver_info", "lib_name", "lib_version"):
                # It would introduce itself, and we would wait for another answer.
                if hasattr(self._connection, name):
                    setattr(self._connection, name, None)
        except (ValueError, TypeError, AttributeError, RedisError):
            # What was given is not shown: it may hold a password.
            raise ConfigError("the URL of Redis cannot be read") from None

    async def ask(self, arguments: list[str], *, patience: float) -> None:
        """
        Send a call of the script; nothing may be asked yet.

        Args:
            arguments: Of the script.

            patience: Seconds; connecting may take three times as long.

        Raises:
            Exception: One of `away`.
        """
        self._arguments = arguments
        await self._ask("EVALSHA", SCRIPT_SHA, patience)

    async def hear(self, *, patience: float) -> Heard:
        """
        Read the reply to what was asked.

        Raises:
            Exception: One of `away`.
        """
        asked_at = self.asked_at
        if asked_at is None:
            raise RuntimeError("nothing was asked")
        try:
            return await self._heard(patience, at_once=False)
        except OSError as error:
            if isinstance(error, TimeoutError) or not self._is_long_ago(asked_at):
                raise
        return await self.call(self._arguments, patience=patience)

    async def call(self, arguments: list[str], *, patience: float) -> Heard:
        """
        Ask and hear.

        Raises:
            Exception: One of `away`.
        """
        may_be_lost = self._connection.is_connected and self._is_long_ago(self._heard_at)
        try:
            await self.ask(arguments, patience=patience)
            return await self._heard(patience, at_once=True)
        except OSError as error:
            if isinstance(error, TimeoutError) or not may_be_lost:
                raise
        await self.ask(arguments, patience=patience)
        return await self._heard(patience, at_once=True)

    async def aclose(self) -> None:
        """Close the connection; the next question opens it again."""
        self.asked_at = None
        # Where it cannot say goodbye in time, the connection is cut, which does as well.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_GOODBYE):
                await self._connection.disconnect()

    async def _drop(self) -> None:
        self.asked_at = None
        with contextlib.suppress(Exception):
            await self._connection.disconnect(nowait=True)

    async def _ask(self, command: str, script: str, patience: float) -> None:
        if not self._connection.is_connected:
            async with self._spent(3 * patience):
                await self._connection.connect()  # type: ignore[no-untyped-call]
        sent_at = asyncio.get_running_loop().time()
        async with self._spent(patience):
            await self._connection.send_command(
                *(command, script, len(self._keys), *self._keys, *self._arguments),
                check_health=False,
            )
        self.asked_at = sent_at

    async def _heard(self, patience: float, *, at_once: bool) -> Heard:
        """Read a reply; *at_once* if nothing was done since it was asked for."""
        from redis.exceptions import NoScriptError  # noqa: PLC0415 - an extra

        try:
            return await self._read(patience, at_once=at_once)
        except NoScriptError:
            await self._ask("EVAL", SCRIPT, patience)
            return await self._read(patience, at_once=True)

    async def _read(self, patience: float, *, at_once: bool) -> Heard:
        loop = asyncio.get_running_loop()
        began, asked_at = loop.time(), self.asked_at or 0.0
        self.asked_at = None
        async with self._spent(patience) as awake:
            reply: object = await self._connection.read_response()
            waited = min(loop.time() - began, awake())
        self._heard_at = loop.time()
        is_fresh = at_once or waited > _AT_ONCE
        return Heard(reply, asked_at, began - asked_at + waited if is_fresh else None)

    @staticmethod
    def _is_long_ago(moment: float) -> bool:
        return asyncio.get_running_loop().time() - moment > _IDLE

    @contextlib.asynccontextmanager
    async def _spent(self, patience: float) -> AsyncIterator[Callable[[], float]]:
        """Close the connection unless the block succeeds within *patience* seconds awake."""
        from redis.exceptions import ConnectionError as LostError  # noqa: PLC0415 - an extra
        from redis.exceptions import ResponseError  # noqa: PLC0415

        try:
            async with _awake_for(patience) as awake:
                yield awake
        except ResponseError:
            raise  # an answer like any other
        except away() as error:
            await self._drop()
            if type(error) is LostError:
                raise ConnectionError(str(error)) from error
            raise
        except Exception as error:
            await self._drop()
            # What is no Redis makes redis-py raise whatever its parser stumbles over; and there
            # may be no thread to look a name up.
            raise StrangeReplyError("not the reply of a Redis") from error
        except BaseException:
            await self._drop()
            raise


@contextlib.asynccontextmanager
async def _awake_for(seconds: float) -> AsyncIterator[Callable[[], float]]:
    """
    Raise `TimeoutError` when the block has run for *seconds* in which our loop turned.

    A loop that was blocked, or a process that was stopped, has not waited.  What is yielded
    tells for how long it has, at most.
    """
    loop = asyncio.get_running_loop()
    tick, ticks = seconds / _TICKS, 0
    timer: asyncio.TimerHandle
    async with asyncio.timeout(None) as bound:

        def count() -> None:
            nonlocal ticks, timer
            ticks += 1
            if ticks < _TICKS:
                timer = loop.call_later(tick, count)
            else:
                bound.reschedule(loop.time())

        timer = loop.call_later(tick, count)
        try:
            # Each turn comes somewhat late on a busy machine.
            yield lambda: 1.25 * (ticks + 1) * tick
        finally:
            timer.cancel()


def away() -> tuple[type[Exception], ...]:
    """What is raised while Redis is away, slow, starting or read-only, or is none."""
    from redis.exceptions import RedisError  # noqa: PLC0415 - an extra

    return RedisError, OSError, TimeoutError, ValueError


def reason_of(error: Exception) -> str:
    """What Redis said when it refused us, with what to do about it where that may puzzle."""
    text = one_line(str(error))
    # redis-py takes the code from what has a class of its own, and which has, depends on it.
    if type(error).__name__ in _OF_CLUSTERS or text.split(" ")[0] in _CODES:
        return (
            f"it belongs to a cluster, and does not have the keys of this project ({text}):"
            " name the node that has them, or a Redis outside of a cluster"
        )
    return text
