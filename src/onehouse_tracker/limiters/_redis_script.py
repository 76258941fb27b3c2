"""
What Redis does for each slot: one short script that takes news in and books.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import sha1
from typing import Final

from onehouse_tracker.limiters._pace import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MARGIN_CEILING,
    MARGIN_DECAY,
    MARGIN_FLOOR,
    MARGIN_STEP,
    QUIET,
    PaceState,
)
from onehouse_tracker.limiters._shared_limiter import SILENCE

__all__ = [
    "HORIZON",
    "MOST_AHEAD",
    "MOST_SLOTS",
    "SCRIPT",
    "SCRIPT_SHA",
    "Answer",
    "Question",
    "StrangeReplyError",
    "keys_of",
]

HORIZON: Final = 0.25
"""Seconds.  No slot is booked further ahead: what is booked knows nothing of later pauses.  It is
more for those that wait long for an answer."""

MOST_AHEAD: Final = 0.95
"""Seconds.  Nobody books further ahead: after `SILENCE` all that was booked is over."""

MOST_SLOTS: Final = 1_000
"""No call books more."""

_FAR = 5
"""Seconds for which all may book further ahead after somebody did."""

_KEPT = 3600
"""Seconds until Redis forgets a budget that nobody uses."""

_SEEN = 60
"""Seconds for which a process counts as taking part after its last call."""

_NEVER = -1.0

_LONGEST_EPOCH = 64

_MOST_PROCESSES = 1_000_000

_ROUNDING = 0.001
"""Seconds.  Moments are written with seven digits after the point."""

# The rules of the margin are those of `Pace`; a test compares the two.
SCRIPT: Final = f"""
local limit, me, known = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local wanted, lead = tonumber(ARGV[4]), tonumber(ARGV[5])
local refused_sent, retry_after, spread, good_sent = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local max_pause, fresh_epoch, horizon = tonumber(ARGV[10]), ARGV[11], tonumber(ARGV[12])
local ahead, forgiven, waits = tonumber(ARGV[13]), tonumber(ARGV[14]), ARGV[15]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000

local s = redis.call('HMGET', KEYS[1],
  'next', 'margin', 'refused', 'reacted', 'backoff', 'paused', 'epoch', 'born', 'at')
local epoch, latest = s[7], now + horizon
local next, margin, refused, reacted, backoff, paused, born
-- Only what one of us can have written is believed.  Written so that a NaN fails.
local believed = epoch and #epoch <= {_LONGEST_EPOCH}
for i = 1, 9 do
  if i ~= 7 then
    s[i] = tonumber(s[i] or '')
    believed = believed and s[i] and math.abs(s[i]) < 1e12
  end
end
if believed then
  next, margin, refused, reacted = s[1], s[2], s[3], s[4]
  backoff, paused, born = s[5], s[6], s[8]
  -- The clock went back: everything goes back with it.
  local back = s[9] - now
  if back > 0 then
    next, refused, reacted = next - back, refused - back, reacted - back
    paused, born = paused - back, born - back
    redis.call('DEL', KEYS[2])
  end
  believed = margin >= {MARGIN_FLOOR} and margin <= {MARGIN_CEILING}
    and backoff >= {FIRST_PAUSE} and backoff <= {LONGEST_PAUSE}
    and next <= latest and paused <= latest
    and math.max(refused, reacted, born) <= now + {_ROUNDING}
end
if not believed then
  -- Where there was a record, slots may be booked: let them pass.
  next = epoch and now + {SILENCE} or now
  epoch, margin, refused, reacted = fresh_epoch, {MARGIN_FLOOR}, {_NEVER}, {_NEVER}
  backoff, paused, born = {FIRST_PAUSE}, {_NEVER}, now
end
-- The caller knew a budget that is lost, and with it slots that are booked: let them pass.
if known ~= '' and known ~= epoch then
  next = math.max(next, born + {SILENCE})
end

local function margin_now()
  return math.max(math.min(margin, {MARGIN_FLOOR}),
    margin - math.max(0, now - refused - {QUIET}) * {MARGIN_DECAY})
end
if good_sent ~= '' and tonumber(good_sent) >= reacted then
  backoff = {FIRST_PAUSE}
end
if refused_sent ~= '' then
  margin = margin_now()
  if tonumber(refused_sent) >= reacted then
    margin = math.min({MARGIN_CEILING}, margin + {MARGIN_STEP})
    reacted = now
    if retry_after == '' then
      retry_after = backoff
      backoff = math.min({LONGEST_PAUSE}, 2 * backoff)
      spread = 0
    end
  end
  refused = now
  if retry_after ~= '' then
    local pause = math.min(max_pause, math.max(0, tonumber(retry_after)))
    paused = math.max(paused, now + pause + tonumber(spread))
  end
end

if forgiven > 0 then
  margin = math.max({MARGIN_FLOOR}, margin_now() - forgiven * {MARGIN_STEP})
end

-- One who is far away books further ahead, and so may all the others then: who may not would
-- never find a slot that is free soon enough.
local far = tonumber(redis.call('HGET', KEYS[1], 'far') or '') or {_NEVER}
if ahead > {HORIZON} then far = now end
if far <= now and far > now - {_FAR} then ahead = {MOST_AHEAD} end

redis.call('ZADD', KEYS[3], now, me)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - {_SEEN})
redis.call('ZREMRANGEBYSCORE', KEYS[3], now + 1, '+inf')
-- Who does not come in time is passed over, and so is who cannot have been given its place.
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 1)
redis.call('ZREMRANGEBYSCORE', KEYS[2], latest + 1, '+inf')
local granted, wait, slot = 0, 0, 0
if wanted > 0 then
  local interval = 1 / (limit * (1 - margin_now()))
  slot = math.max(next, paused, now + lead)
  -- First come, first served: who is sent away gets a time to come back, which is its place
  -- in the queue.
  local place = redis.call('ZSCORE', KEYS[2], me)
  local before = redis.call('ZCOUNT', KEYS[2], now - 0.01, place and '(' .. place or '+inf')
  if before == 0 and slot - now <= ahead then
    granted = math.min(wanted, 1 + math.floor((now + ahead - slot) / interval))
    next = slot + granted * interval
    redis.call('ZREM', KEYS[2], me)
  else
    wait = math.max(slot + before * interval - ahead - now, 0.005)
    wait = math.min(wait, horizon)
    if waits == '1' then redis.call('ZADD', KEYS[2], now + wait, me) end
  end
end

local function text(number) return string.format('%.7f', number) end
redis.call('HSET', KEYS[1], 'next', text(next), 'margin', text(margin),
  'refused', text(refused), 'reacted', text(reacted), 'backoff', text(backoff),
  'paused', text(paused), 'epoch', epoch, 'born', text(born), 'at', text(now), 'far', text(far))
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], {_KEPT}) end
return {{granted, text(now), text(wait), text(slot), text(margin), text(refused),
  text(reacted), text(backoff), text(paused), epoch, redis.call('ZCARD', KEYS[3])}}
"""

SCRIPT_SHA: Final = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


class StrangeReplyError(ValueError):
    """Whatever answered is not our script in Redis."""


def keys_of(project: str) -> tuple[str, str, str]:
    """Name the keys of a project; the braces keep them together in a cluster."""
    prefix = f"onehouse-tracker:{{{project}}}"
    return f"{prefix}:budget", f"{prefix}:queue", f"{prefix}:processes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One call of the script.  Times are seconds on the clock of Redis."""

    limit: float
    process: str
    epoch: str
    """The record we know; empty if we know none."""

    slots: int
    """How many are wanted, one after the other."""

    waits: bool
    """Whether to take a place in the queue where there is none to be had yet."""

    ahead: float
    """Seconds; no slot is booked further ahead."""

    lead: float
    """Seconds before which a slot would be past when we hear of it."""

    refused_sent_at: float | None
    retry_after: float | None
    spread: float
    good_sent_at: float | None
    forgiven: int
    """Episodes that were no matter of the rate, see `Pace.forgive`."""

    max_pause: float
    fresh_epoch: str
    """The name of the record if this call begins one."""

    horizon: float
    """Seconds ahead of a slot or the end of a pause, at most, that is believed."""

    def arguments(self) -> list[str]:
        """The arguments of the script."""
        return [
            repr(self.limit),
            self.process,
            self.epoch,
            str(self.slots),
            f"{self.lead:.6f}",
            _text(self.refused_sent_at),
            _text(self.retry_after),
            f"{self.spread:.6f}",
            _text(self.good_sent_at),
            repr(self.max_pause),
            self.fresh_epoch,
            repr(self.horizon),
            f"{self.ahead:.6f}",
            str(self.forgiven),
            "1" if self.waits else "0",
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the script says.  Times are seconds on the clock of Redis."""

    granted: int
    """How many slots were booked, at an even pace."""

    now: float
    wait: float
    """Seconds until the call is worth repeating, where nothing was granted."""

    slot: float
    """When the first slot is that was granted."""

    pace: PaceState
    epoch: str
    processes: int
    """How many took part in the last minute."""

    @classmethod
    def read(cls, reply: object, *, horizon: float) -> Answer:
        """
        Read what Redis returned.

        Args:
            reply: What redis-py made of it.

            horizon: Seconds ahead of a slot or the end of a pause, at most, that is believed.

        Raises:
            StrangeReplyError: Our script cannot have returned it.
        """
        try:
            answer = cls._read(reply)
        except (TypeError, ValueError, OverflowError) as error:
            raise StrangeReplyError("not the reply of our script") from error
        if not _is_sane(answer, horizon):
            raise StrangeReplyError("the reply is out of its bounds")
        return answer

    @classmethod
    def _read(cls, reply: object) -> Answer:
        if not isinstance(reply, list):
            raise TypeError("not a list")
        # Names are checked by the count: more or fewer is no answer of our script.
        granted, now, wait, slot, *state, epoch, processes = reply
        margin, refused, reacted, backoff, paused = (float(value) for value in state)
        return cls(
            granted=int(granted),
            now=float(now),
            wait=float(wait),
            slot=float(slot),
            pace=PaceState(margin, _moment(refused), _moment(reacted), backoff, _moment(paused)),
            epoch=epoch.decode() if isinstance(epoch, bytes) else str(epoch),
            processes=int(processes),
        )


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.7f}"


def _moment(value: float) -> float:
    return -math.inf if value <= 0 else value


def _is_sane(answer: Answer, horizon: float) -> bool:
    """Whether our script can have returned it; a NaN fails each comparison."""
    pace, latest = answer.pace, answer.now + horizon + _ROUNDING
    return (
        0 < answer.now < math.inf
        and 0 <= answer.granted <= MOST_SLOTS
        and 0 <= answer.wait <= horizon
        and 0 <= answer.slot <= latest
        and MARGIN_FLOOR <= pace.margin <= MARGIN_CEILING
        and FIRST_PAUSE <= pace.next_pause <= LONGEST_PAUSE
        and max(pace.refused_at, pace.reacted_at) <= answer.now + _ROUNDING
        and pace.paused_until <= latest
        and 1 <= answer.processes <= _MOST_PROCESSES
        and 0 < len(answer.epoch) <= _LONGEST_EPOCH
    )
