"""
The budget of one project, shared by processes on any number of machines through Redis.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from dataclasses import replace
from typing import NamedTuple

from onehouse_tracker._util.numbers import is_count, is_number
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.limiters._pace import PaceState, static_rate
from onehouse_tracker.limiters._protocol import RateLimiterStats
from onehouse_tracker.limiters._redis_bookings import Bookings
from onehouse_tracker.limiters._redis_clock import RedisClock
from onehouse_tracker.limiters._redis_distance import Distance
from onehouse_tracker.limiters._redis_line import Heard, RedisLine, away, reason_of
from onehouse_tracker.limiters._redis_script import Answer, Question, keys_of
from onehouse_tracker.limiters._redis_url import check_url
from onehouse_tracker.limiters._shared_limiter import SILENCE, Refusal, SharedLimiter, horizon_of

__all__ = ["RedisLimiter"]

_log = logging.getLogger(__name__)

_PROBE_INTERVAL = 0.5
"""Seconds between two attempts to reach Redis again.  All processes must notice its return
within `SILENCE` of each other, and each of them within two seconds."""


class _Sent(NamedTuple):
    """What went along with a call of the script."""

    slots: int
    refusal: Refusal | None
    good_sent_at: float | None
    forgiven: int
    lead: float


class _TooFarError(OSError):
    """An answer takes so long that no slot can be booked in time."""


class RedisLimiter(SharedLimiter):
    """
    Evenly paced slots for all processes that name the same Redis and the same project.

    Each grant is one call of a short script, two where more than two processes wait: it books
    the next free slot on the clock of Redis, so the clocks of the machines do not matter.
    First come, first served.  Where Redis is far away, a call books several slots, and the next
    is made before they are used up: the whole rate can be had up to a round trip of 250 ms, and
    with more a log line says how much of it is left.  A process that is killed loses what it
    had booked, 250 ms ahead at most, or 950 ms where Redis is far, and nothing else.

    States:

    * *shared*: Redis answers.
    * *degraded*: it does not, or not in time.  After one second of silence each process sends
      its static share: of *n* processes ``floor(limit / n)`` requests a second, or one each
      ``n / limit`` seconds.  It tries again twice a second while slots are wanted; the first
      answer leads back, after another second of silence.

    It needs the extra ``redis``, and Redis 6.2 or Valkey.  Of a cluster, name the node that has
    the keys of the project: another one is refused, and the error says where they are.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user and password if need
            be, as redis-py reads it.

        project: A key that tells projects apart, such as `Credentials.project_key`; it
            becomes part of key names.

        limit: Requests per second of the whole project [vendor documentation: 10].

        share: The part of it that all these processes have together, more than 0, at most 1.

        processes: How many are expected; the static share is that of one of them, or of as
            many as were seen in the last minute, if these are more.

        max_pause: Seconds a ``Retry-After`` can make us pause, at most.

        socket_timeout: Seconds one call may take, at most; four times what calls took lately is
            enough, but a quarter of a second is granted.  Connecting may take three times as
            long.  Time in which this process was busy or stopped does not count.

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
        socket_timeout: float = 1.0,
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
        self._line: RedisLine | None = None
        self._sent: _Sent | None = None
        self._booked = Bookings()
        self._me = ""
        self._epoch = ""
        self._clock = RedisClock()
        self._distance = Distance(socket_timeout)
        self._is_degraded = False
        self._probe_at = -math.inf
        self._silent_until = -math.inf
        self._static_next = -math.inf

    async def _open(self) -> None:
        """
        Connect.  If Redis is away the limiter starts degraded.

        Raises:
            ConfigError: redis-py is not installed; the URL cannot be used; or Redis refuses
                our user, our password, or the script.
        """
        try:
            from redis.exceptions import (  # noqa: PLC0415 - an extra
                AuthenticationError,
                BusyLoadingError,
                OutOfMemoryError,
                ReadOnlyError,
                ResponseError,
            )

            self._line = RedisLine(self._url, self._keys)
        except ImportError as error:
            raise ConfigError("to share the budget, install onehouse-tracker[redis]") from error
        self._sent = None
        self._booked.clear()
        self._me = secrets.token_hex(8)
        self._epoch, self._clock = "", RedisClock()
        self._distance = Distance(self._socket_timeout)
        self._is_degraded = False
        try:
            await self._call(slots=0)
        except (OutOfMemoryError, ReadOnlyError, BusyLoadingError) as error:
            self._degrade(error)
        except (AuthenticationError, ResponseError) as error:
            await self._close()
            raise ConfigError(f"Redis refuses us: {reason_of(error)}") from None
        except away() as error:
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
                slot = await self._shared_slot()
            if slot is None or (self._news and not self._is_degraded):
                continue
            if await self._sleep_until(slot) and self._is_usable(slot):
                break
        self._grant(asked_at)

    async def _close(self) -> None:
        """Close the connection."""
        line, self._line, self._sent = self._line, None, None
        if line is not None:
            await line.aclose()

    def stats(self) -> RateLimiterStats:
        """The budget now, as far as we know here."""
        stats = super().stats()
        return replace(stats, dropped=stats.dropped + self._booked.missed)

    @property
    def _degraded(self) -> bool:
        return self._is_degraded

    def _rate(self, now: float) -> float:
        rate = super()._rate(now)
        if not self._is_degraded:
            return rate * self._distance.part
        share = static_rate(self.limit, max(self._expected, self._seen))
        return rate * share / self.limit

    # --- Shared ------------------------------------------------------------------------

    async def _shared_slot(self) -> float | None:
        """The next slot that is ours, as loop time; `None` if there is none to be had yet."""
        try:
            slot = None if self._news else self._next_booked()
            if slot is None:
                slot = await self._book()
            if slot is not None:
                await self._book_ahead(slot)
        except away() as error:
            self._degrade(error)
            return None
        return slot

    def _next_booked(self) -> float | None:
        return self._booked.take(asyncio.get_running_loop().time())

    async def _book(self) -> float | None:
        """Book slots, and return the next one; `None` if there is none to be had yet."""
        if self._opened().asked_at is not None:
            await self._hear()
            return self._next_booked()
        # Each call takes one refusal along: slots are worth asking for with the last one.
        wanted = self._distance.slots(self._our_interval())
        answer = await self._call(slots=0 if self._booked or len(self._news) > 1 else wanted)
        slot = self._next_booked()
        if slot is None and answer.wait and not self._news:
            # So that our next call arrives there at the time that we were given.
            back_at = self._clock.here(answer.now + answer.wait)
            await self._sleep_until(back_at - self._distance.lead / 2)
        return slot

    async def _book_ahead(self, slot: float) -> None:
        """Ask for more, if an answer that is asked for at *slot* would come too late."""
        interval = self._our_interval()
        is_urgent = self._distance.is_urgent(slot, self._booked.last(slot), interval)
        if is_urgent and self._opened().asked_at is None:
            await self._ask(slots=self._distance.slots(interval))

    def _interval(self) -> float:
        return 1.0 / self._pace.rate(asyncio.get_running_loop().time())

    def _our_interval(self) -> float:
        """Seconds between two of our slots, while others take theirs in between."""
        are_contested = self._booked.are_contested(asyncio.get_running_loop().time())
        return self._interval() * (self._seen if are_contested else 1)

    async def _call(self, *, slots: int) -> Answer:
        """Run the script, and learn what the others know."""
        arguments = self._question(slots, waits=True).arguments()
        line, patience = self._opened(), self._distance.patience
        return self._learned(await line.call(arguments, patience=patience))

    async def _ask(self, *, slots: int) -> None:
        """Begin to run the script; `_hear` waits for its answer."""
        # Without a place in the queue: we do not come back while we have slots.
        arguments = self._question(slots, waits=False).arguments()
        await self._opened().ask(arguments, patience=self._distance.patience)

    async def _hear(self) -> Answer:
        return self._learned(await self._opened().hear(patience=self._distance.patience))

    def _opened(self) -> RedisLine:
        if self._line is None:
            raise RuntimeError("the limiter was not started")
        return self._line

    def _question(self, slots: int, *, waits: bool) -> Question:
        # What is refused while we are on our own says nothing about the shared rate.
        refusal = self._news[0] if self._news and not self._is_degraded else None
        forgiven, lead = 0 if self._is_degraded else self._forgiven, self._distance.lead
        self._sent = _Sent(slots, refusal, self._good_sent_at, forgiven, lead)
        return Question(
            limit=self.limit,
            process=self._me,
            epoch=self._epoch,
            slots=slots,
            waits=waits,
            ahead=self._distance.ahead(slots, self._our_interval()),
            lead=lead,
            refused_sent_at=self._clock.there(refusal and refusal.sent_at),
            retry_after=refusal and refusal.retry_after,
            spread=refusal.spread if refusal else 0.0,
            good_sent_at=self._clock.there(self._good_sent_at),
            forgiven=forgiven,
            max_pause=self._max_pause,
            fresh_epoch=secrets.token_hex(8),
            horizon=self._horizon,
        )

    def _learned(self, heard: Heard) -> Answer:
        """Take note of an answer, and of the slots that it brings."""
        answer = Answer.read(heard.reply, horizon=self._horizon)
        sent, self._sent = self._sent, None
        if sent is None:
            raise RuntimeError("nothing was asked")
        self._learn(answer, heard.asked_at, heard.took)
        if sent.refusal is not None:
            self._news.remove(sent.refusal)
        if self._good_sent_at == sent.good_sent_at:
            self._good_sent_at = None
        self._forgiven -= sent.forgiven
        if sent.slots:
            self._booked.add(
                self._clock.here(answer.slot),
                answer.granted,
                self._interval(),
                soonest=self._clock.here(answer.now + sent.lead),
            )
        return answer

    def _learn(self, answer: Answer, asked_at: float, took: float | None) -> None:
        now = asyncio.get_running_loop().time()
        self._clock.note(answer.now, asked_at=asked_at, heard_at=now, took=took)
        self._note_distance(now - asked_at, took)
        self._epoch = answer.epoch
        self._seen = answer.processes
        here = self._clock.here
        margin, refused_at, reacted_at, next_pause, paused_until = answer.pace
        self._pace.state = PaceState(
            margin,
            here(refused_at),
            here(reacted_at),
            next_pause,
            # Our own refusals that nobody knows of yet count too.
            max(self._pace.paused_until, here(paused_until)),
        )

    def _note_distance(self, at_most: float, took: float | None) -> None:
        distance = self._distance
        is_new = distance.note(at_most, took)
        if distance.is_too_far:
            raise _TooFarError
        if is_new:
            text = "Redis is far away (an answer takes %.2f s): %.0f %% of the budget can be had"
            _log.warning(text, distance.lead, 100 * distance.part)

    # --- Degraded ----------------------------------------------------------------------

    def _degrade(self, error: Exception) -> None:
        self._sent = None
        self._booked.clear()
        now = asyncio.get_running_loop().time()
        self._is_degraded = True
        self._distance.lost()
        self._probe_at = now + _PROBE_INTERVAL
        self._silent_until = now + SILENCE
        # Everybody is cut off at the same moment, and should not come back at the same one.
        self._static_next = self._silent_until + self._random.random() / self._rate(now)
        _log.warning(
            "Redis is away (%s): each process sends %.3g requests a second until it is back",
            f"an answer takes {self._distance.lead:.2f} s"
            if isinstance(error, _TooFarError)
            else type(error).__name__,
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
            await self._call(slots=0)
        except away() as error:
            self._sent = None
            if isinstance(error, TimeoutError):
                self._distance.probed_in_vain()
            self._probe_at = loop.time() + _PROBE_INTERVAL
            return False
        self._is_degraded = False
        self._news.clear()
        self._forgiven = 0
        self._silent_until = loop.time() + SILENCE
        _log.warning("Redis is back: the budget is shared again")
        return True
