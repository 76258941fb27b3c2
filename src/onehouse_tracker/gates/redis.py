"""
The budget of one project, shared by processes on any number of machines through Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from onehouse_tracker._numbers import is_count, is_number
from onehouse_tracker._text import one_line
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.gates._pace import PaceState, static_rate
from onehouse_tracker.gates._redis_script import (
    SCRIPT,
    SCRIPT_SHA,
    Answer,
    Question,
    StrangeReplyError,
    keys_of,
)
from onehouse_tracker.gates._redis_url import check_url
from onehouse_tracker.gates._shared import SILENCE, SharedGate, horizon_of, shifted

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisGate"]

_log = logging.getLogger(__name__)

_Command = Callable[..., Awaitable[object]]

_PROBE_INTERVAL = 0.5
"""Seconds between two attempts to reach Redis again.  All processes must notice its return
within `SILENCE` of each other, and each of them within two seconds."""


class RedisGate(SharedGate):
    """
    Evenly paced slots for all processes that name the same Redis and the same project.

    Each grant is one call of a short script, two where more than two processes wait: it books
    the next free slot on the clock of Redis, so the clocks of the machines do not matter.
    First come, first served.  A process that is killed loses the slot it had booked, at most
    250 ms ahead, and nothing else.

    States:

    * *shared*: Redis answers.
    * *degraded*: it does not, or not within `socket_timeout`.  After one second of silence
      each process sends its static share: of *n* processes ``floor(limit / n)`` requests a
      second, or one each ``n / limit`` seconds.  It tries again twice a second while slots
      are wanted; the first answer leads back, after another second of silence.

    It needs the extra ``redis``, and Redis 6.2 or Valkey.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user and password if need
            be, as redis-py reads it.  Of its options it may name ``db``, ``username``,
            ``password`` and ``client_name``, and with TLS those that begin with ``ssl_``.

        project: A key that tells projects apart, such as `Credentials.project_key`; it
            becomes part of key names.

        limit: Requests per second of the whole project [vendor documentation: 10].

        share: The part of it that all these processes have together, more than 0, at most 1.

        processes: How many are expected; the static share is that of one of them, or of as
            many as were seen in the last minute, if these are more.

        max_pause: Seconds a ``Retry-After`` can make us pause, at most.

        socket_timeout: Seconds one call may take, and one attempt to connect.

    Raises:
        ConfigError: A value is out of its bounds, or the URL is none.
    """

    kind = "redis"

    def __init__(
        self,
        url: str,
        *,
        project: str,
        limit: float = 10.0,
        share: float = 1.0,
        processes: int = 4,
        max_pause: float = 120.0,
        socket_timeout: float = 0.25,
    ) -> None:
        super().__init__(limit, share=share, max_pause=max_pause)
        check_url(url)
        if not is_count(processes):
            raise ConfigError(f"processes is a whole number from 1, not {processes!r}")
        if not (is_number(socket_timeout) and socket_timeout > 0):
            raise ConfigError(f"socket_timeout is more than 0 seconds, not {socket_timeout!r}")
        self._url = url
        self._keys = keys_of(project)
        self._expected = processes
        self._seen = 0
        self._max_pause = max_pause
        self._horizon = horizon_of(self.limit, max_pause)
        self._socket_timeout = socket_timeout
        self._redis: Redis | None = None
        self._me = ""
        self._epoch = ""
        # Seconds by which the loop's clock is ahead of that of Redis, once an answer tells.
        self._ahead: float | None = None
        self._lead = 0.0
        self._is_degraded = False
        self._probe_at = -math.inf
        self._silent_until = -math.inf
        self._static_next = -math.inf

    async def _open(self) -> None:
        """
        Connect.  If Redis is away the gate starts degraded.

        Raises:
            ConfigError: redis-py is not installed; the URL cannot be used; or Redis refuses
                our user, our password, or the script.
        """
        try:
            from redis.asyncio import Redis  # noqa: PLC0415 - an extra
            from redis.asyncio.retry import Retry  # noqa: PLC0415
            from redis.backoff import NoBackoff  # noqa: PLC0415
            from redis.exceptions import (  # noqa: PLC0415
                AuthenticationError,
                OutOfMemoryError,
                ReadOnlyError,
                RedisError,
                ResponseError,
            )
        except ImportError as error:
            raise ConfigError("to share the budget, install onehouse-tracker[redis]") from error
        self._redis = None
        try:
            self._redis = Redis.from_url(
                self._url,
                protocol=2,
                socket_timeout=self._socket_timeout,
                socket_connect_timeout=self._socket_timeout,
                # A call that is sent again would book twice.
                retry=Retry(NoBackoff(), 0),
            )
            # Only here redis-py looks at all that the URL names.
            self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, AttributeError, RedisError):
            await self._close()
            # What was given is not shown: it may hold a password.
            raise ConfigError("the URL of Redis cannot be read") from None
        self._me = secrets.token_hex(8)
        self._epoch, self._ahead, self._lead = "", None, 0.0
        self._is_degraded = False
        try:
            await self._call(wants_slot=False)
        except (OutOfMemoryError, ReadOnlyError) as error:
            self._degrade(error)
        except (AuthenticationError, ResponseError) as error:
            await self._close()
            raise ConfigError(f"Redis refuses us: {one_line(str(error))}") from None
        except _away() as error:
            self._degrade(error)
        except BaseException:
            await self._close()
            raise

    async def _next_slot(self) -> None:
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        while True:
            if self._is_degraded:
                slot = await self._wait_for_static_slot()
            elif loop.time() < self._silent_until:
                await self._sleep_until(self._silent_until)
                continue
            else:
                slot = await self._book()
            if slot is None or (self._news and not self._is_degraded):
                continue
            if await self._sleep_until(slot) and self._is_usable(slot):
                break
        self._grant(asked_at)

    async def _close(self) -> None:
        """Close the connection."""
        redis, self._redis = self._redis, None
        if redis is not None:
            # Where it cannot say goodbye in time, the connection is cut, which does as well.
            with contextlib.suppress(*_away()):
                await redis.aclose()

    @property
    def _degraded(self) -> bool:
        return self._is_degraded

    def _rate(self, now: float) -> float:
        rate = super()._rate(now)
        if not self._is_degraded:
            return rate
        share = static_rate(self.limit, max(self._expected, self._seen))
        return rate * share / self.limit

    # --- Shared ------------------------------------------------------------------------

    async def _book(self) -> float | None:
        """Book the next slot, as loop time; `None` if there is none to be had yet."""
        # Each call takes one refusal along: a slot is worth asking for with the last one.
        last = len(self._news) <= 1
        try:
            answer = await self._call(wants_slot=last)
        except _away() as error:
            self._degrade(error)
            return None
        if answer.granted:
            return shifted(answer.slot, self._ahead or 0.0)
        if last:
            await self._sleep_until(asyncio.get_running_loop().time() + answer.wait)
        return None

    async def _call(self, *, wants_slot: bool) -> Answer:
        """Run the script, and learn what the others know."""
        loop = asyncio.get_running_loop()
        # What is refused while we are on our own says nothing about the shared rate.
        news = self._news[0] if self._news and not self._is_degraded else None
        good_sent_at = self._good_sent_at
        question = Question(
            limit=self.limit,
            process=self._me,
            epoch=self._epoch,
            wants_slot=wants_slot,
            lead=self._lead,
            refused_sent_at=self._as_redis_time(news and news.sent_at),
            retry_after=news and news.retry_after,
            spread=news.spread if news else 0.0,
            good_sent_at=self._as_redis_time(good_sent_at),
            max_pause=self._max_pause,
            fresh_epoch=secrets.token_hex(8),
            horizon=self._horizon,
        )
        sent_at = loop.time()
        answer = Answer.read(await self._evaluate(question.arguments()), horizon=self._horizon)
        self._learn(answer, sent_at, loop.time())
        if news is not None:
            self._news.remove(news)
        if self._good_sent_at == good_sent_at:
            self._good_sent_at = None
        return answer

    async def _evaluate(self, arguments: list[str]) -> object:
        from redis.exceptions import NoScriptError  # noqa: PLC0415 - an extra

        away = _away()

        if self._redis is None:
            raise RuntimeError("the gate was not started")
        call: _Command = self._redis.execute_command
        rest = [len(self._keys), *self._keys, *arguments]
        with _hearing_cancellation():
            try:
                return await call("EVALSHA", SCRIPT_SHA, *rest)
            except NoScriptError:
                return await call("EVAL", SCRIPT, *rest)
            except away:
                raise
            except Exception as error:
                # What is no Redis makes redis-py raise whatever its parser stumbles over.
                raise StrangeReplyError("not the reply of a Redis") from error

    def _learn(self, answer: Answer, sent_at: float, received_at: float) -> None:
        # The script ran between the two.  What is known from earlier calls is kept as far as
        # that allows, so that a slow reply does not move our slots among those of the others.
        low, high = sent_at - answer.now, received_at - answer.now
        ahead = (low + high) / 2 if self._ahead is None else min(max(self._ahead, low), high)
        self._ahead = ahead
        self._lead = max(received_at - sent_at, 0.8 * self._lead)
        self._epoch = answer.epoch
        self._seen = answer.processes
        margin, refused_at, reacted_at, next_pause, paused_until = answer.pace
        self._pace.state = PaceState(
            margin,
            shifted(refused_at, ahead),
            shifted(reacted_at, ahead),
            next_pause,
            # Our own refusals that nobody knows of yet count too.
            max(self._pace.paused_until, shifted(paused_until, ahead)),
        )

    def _as_redis_time(self, moment: float | None) -> float | None:
        if moment is None or self._ahead is None:
            return None
        return moment - self._ahead

    # --- Degraded ----------------------------------------------------------------------

    def _degrade(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        self._is_degraded = True
        self._probe_at = now + _PROBE_INTERVAL
        self._silent_until = now + SILENCE
        # Everybody is cut off at the same moment, and should not come back at the same one.
        self._static_next = self._silent_until + self._random.random() / self._rate(now)
        _log.warning(
            "Redis is away (%s): each process sends %.3g requests a second until it is back",
            type(error).__name__,
            self._rate(now),
        )

    async def _wait_for_static_slot(self) -> float | None:
        """Wait for a slot of our static share, or until Redis is back."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._probe_at and await self._is_back():
            return None
        now = loop.time()
        slot = max(self._static_next, self._pace.paused_until, now)
        if slot > self._probe_at:
            await self._sleep_until(self._probe_at)
            return None
        self._static_next = slot + 1.0 / self._rate(now)
        return slot

    async def _is_back(self) -> bool:
        loop = asyncio.get_running_loop()
        try:
            await self._call(wants_slot=False)
        except _away():
            self._probe_at = loop.time() + _PROBE_INTERVAL
            return False
        self._is_degraded = False
        self._news.clear()
        self._silent_until = loop.time() + SILENCE
        _log.warning("Redis is back: the budget is shared again")
        return True


@contextlib.contextmanager
def _hearing_cancellation() -> Iterator[None]:
    """
    End the block as cancelled if the task was cancelled in it, whatever else came of it.

    redis-py sends through ``asyncio.wait_for``, which before Python 3.12 swallows a
    cancellation that comes in the moment in which its work is done.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


def _away() -> tuple[type[Exception], ...]:
    """What is raised while Redis is away, slow, starting or read-only."""
    from redis.exceptions import RedisError  # noqa: PLC0415 - an extra

    return RedisError, OSError, TimeoutError, ValueError
