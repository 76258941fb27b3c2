"""
What Redis does for each slot: one short script that takes news in and books.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import sha1
from typing import Final

from onehouse_tracker.gates._pace import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MARGIN_CEILING,
    MARGIN_DECAY,
    MARGIN_FLOOR,
    MARGIN_STEP,
    QUIET,
    PaceState,
)
from onehouse_tracker.gates._shared import SILENCE

__all__ = ["HORIZON", "SCRIPT", "SCRIPT_SHA", "Answer", "Question", "keys_of"]

HORIZON: Final = 0.25
"""Seconds.  No slot is booked further ahead: what is booked knows nothing of later pauses."""

_KEPT = 3600
"""Seconds until Redis forgets a budget that nobody uses."""

_SEEN = 60
"""Seconds for which a process counts as taking part after its last call."""

_NEVER = -1.0

# The rules of the margin are those of `Pace`; a test compares the two.
SCRIPT: Final = f"""
local limit, me, known, wanted, lead = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local refused_sent, retry_after, spread, good_sent = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local max_pause, fresh_epoch = tonumber(ARGV[10]), ARGV[11]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000

local s = redis.call('HMGET', KEYS[1],
  'next', 'margin', 'refused', 'reacted', 'backoff', 'paused', 'epoch', 'born', 'at')
local epoch = s[7]
local next, margin, refused, reacted = now, {MARGIN_FLOOR}, {_NEVER}, {_NEVER}
local backoff, paused, born = {FIRST_PAUSE}, {_NEVER}, now
if epoch then
  next, margin, refused = tonumber(s[1]), tonumber(s[2]), tonumber(s[3])
  reacted, backoff, paused = tonumber(s[4]), tonumber(s[5]), tonumber(s[6])
  born = tonumber(s[8])
  -- The clock went back: everything goes back with it.
  local back = tonumber(s[9]) - now
  if back > 0 then
    next, refused, reacted = next - back, refused - back, reacted - back
    paused, born = paused - back, born - back
    redis.call('DEL', KEYS[2])
  end
else
  epoch = fresh_epoch
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

redis.call('ZADD', KEYS[3], now, me)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - {_SEEN})
local granted, wait, slot = 0, 0, 0
if wanted == '1' then
  local interval = 1 / (limit * (1 - margin_now()))
  slot = math.max(next, paused, now + tonumber(lead))
  -- First come, first served: who is sent away gets a time to come back, which is its place
  -- in the queue.  Who does not come in time is passed over.
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 1)
  local place = redis.call('ZSCORE', KEYS[2], me)
  local before = redis.call('ZCOUNT', KEYS[2], now - 0.01, place and '(' .. place or '+inf')
  if before == 0 and slot - now <= {HORIZON} then
    granted = 1
    next = slot + interval
    redis.call('ZREM', KEYS[2], me)
  else
    wait = math.max(slot + before * interval - {HORIZON} - now, 0.005)
    redis.call('ZADD', KEYS[2], now + wait, me)
  end
end

local function text(number) return string.format('%.7f', number) end
redis.call('HSET', KEYS[1], 'next', text(next), 'margin', text(margin),
  'refused', text(refused), 'reacted', text(reacted), 'backoff', text(backoff),
  'paused', text(paused), 'epoch', epoch, 'born', text(born), 'at', text(now))
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], {_KEPT}) end
return {{granted, text(now), text(wait), text(slot), text(margin), text(refused),
  text(reacted), text(backoff), text(paused), epoch, redis.call('ZCARD', KEYS[3])}}
"""

SCRIPT_SHA: Final = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


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

    wants_slot: bool
    lead: float
    """Seconds before which a slot would be past when we hear of it."""

    refused_sent_at: float | None
    retry_after: float | None
    spread: float
    good_sent_at: float | None
    max_pause: float
    fresh_epoch: str
    """The name of the record if this call begins one."""

    def arguments(self) -> list[str]:
        """The arguments of the script."""
        return [
            repr(self.limit),
            self.process,
            self.epoch,
            "1" if self.wants_slot else "0",
            f"{self.lead:.6f}",
            _text(self.refused_sent_at),
            _text(self.retry_after),
            f"{self.spread:.6f}",
            _text(self.good_sent_at),
            repr(self.max_pause),
            self.fresh_epoch,
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the script says.  Times are seconds on the clock of Redis."""

    granted: bool
    now: float
    wait: float
    """Seconds until the call is worth repeating, where nothing was granted."""

    slot: float
    """When the slot is that was granted."""

    pace: PaceState
    epoch: str
    processes: int
    """How many took part in the last minute."""

    @classmethod
    def read(cls, reply: list[bytes | int]) -> Answer:
        """
        Read what Redis returned.

        Raises:
            ValueError: It is something else.
        """
        # Names are checked by the count: more or fewer is no answer of our script.
        granted, now, wait, slot, *state, epoch, processes = reply
        margin, refused, reacted, backoff, paused = (float(value) for value in state)
        return cls(
            granted=granted == 1,
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
    return value if value > 0 else -math.inf
