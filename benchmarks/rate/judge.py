"""
What a server's record says: how much got through, how much was refused, how evenly.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from random import Random
from typing import Any

from onehouse_tracker.testing.enforcers import Enforcer, FixedWindow, SlidingLog

__all__ = ["best_possible", "judge", "longest_gap", "rate_between"]

Record = Sequence[tuple[float, bool, str]]
_LOOKED_BACK = 1.1  # seconds


def judge(
    record: Record,
    begin: float,
    seconds: float,
    members: Mapping[str, Mapping[str, Any]],
    *,
    stalls: Sequence[tuple[float, float]] = (),
) -> dict[str, Any]:
    """
    Judge one case: what arrived in *seconds* from *begin*.

    Args:
        record: When each request arrived, whether it was admitted, and whose it was.

        begin: When the case began, on the clock of *record*.

        seconds: How long it took.

        members: What each member tells of itself.

        stalls: From when until when one of the processes stood still.
    """
    arrived = sorted(entry for entry in record if begin <= entry[0] < begin + seconds)
    admitted = [entry for entry in arrived if entry[1]]
    refused = len(arrived) - len(admitted)
    late = [entry for entry in arrived if entry[0] >= begin + 60]
    by_member = Counter(member for _, _, member in admitted)
    reports = [members[name] for name in members]
    margins = [report["margin"] for report in reports if "margin" in report]
    times = [at for at, _, _ in arrived]
    rate = len(admitted) / seconds
    return {
        "accepted_per_s": round(rate, 3),
        "share": round(rate / 10, 4),
        "requests": len(arrived),
        "refused": refused,
        "refused_share": round(refused / max(1, len(arrived)), 5),
        "requests_after_60_s": len(late),
        "refused_share_after_60_s": (
            round(sum(not entry[1] for entry in late) / len(late), 5) if late else None
        ),
        "most_in_a_second": _most_in_a_second(times),
        # What comes within a second of a standstill is the machine's, and not the pace's.
        "refused_in_calm": sum(not e[1] and _calm(e[0], stalls) for e in arrived),
        "sliding_in_calm": _refusals(SlidingLog(), times, stalls),
        "fixed_in_calm": _refusals(FixedWindow(), times, stalls),
        "stalls": len(stalls),
        # The same requests before a limiter of another kind.
        "sliding_would_refuse": _refusals(SlidingLog(), times),
        "fixed_would_refuse": _refusals(FixedWindow(), times),
        "fairness": round(_jain([by_member[name] for name in members]), 4),
        "margin": round(max(margins), 4) if margins else None,
        "dropped": sum(report.get("dropped", 0) for report in reports),
        "lost": sum(
            report["requests"] - report["succeeded"]
            for report in reports
            if report.get("must_succeed")
        ),
        "errors": sorted({report["error"] for report in reports if "error" in report}),
    }


def rate_between(record: Record, begin: float, end: float) -> float:
    """Admitted requests per second from *begin* to *end*."""
    return sum(admitted and begin <= at < end for at, admitted, _ in record) / (end - begin)


def longest_gap(record: Record, begin: float, end: float) -> float:
    """The longest time between two requests from *begin* to *end*, in seconds."""
    times = sorted(at for at, _, _ in record if begin <= at < end)
    return max((b - a for a, b in pairwise(times)), default=end - begin)


def best_possible(jitter: float, refused_at_most: float) -> float:
    """
    The share of the budget that an even pace can get past a limiter without burst.

    A request is refused if it comes less than 100 ms after the last one that was admitted.
    The pace is slowed down until few enough are refused; the times are drawn, not measured.
    """
    best = 0.0
    for milliseconds in range(100, 320, 2):
        random, last, admitted, count = Random(milliseconds), -1.0, 0, 20_000
        times = sorted(
            number * milliseconds / 1000 + random.uniform(0, jitter) for number in range(count)
        )
        for at in times:
            if at - last >= 0.1:
                last, admitted = at, admitted + 1
        if 1 - admitted / count <= refused_at_most:
            best = max(best, admitted / count * 100 / milliseconds)
    return round(best, 4)


def _refusals(
    enforcer: Enforcer, times: Iterable[float], stalls: Sequence[tuple[float, float]] = ()
) -> int:
    return sum(not enforcer.admit(at) and _calm(at, stalls) for at in times)


def _calm(at: float, stalls: Sequence[tuple[float, float]]) -> bool:
    """Whether nobody stood still in the second that a limiter looks back on from *at*."""
    return not any(since < at and until > at - _LOOKED_BACK for since, until in stalls)


def _most_in_a_second(times: Iterable[float]) -> int:
    window: deque[float] = deque()
    most = 0
    for at in times:
        window.append(at)
        while at - window[0] >= 1.0:
            window.popleft()
        most = max(most, len(window))
    return most


def _jain(counts: Sequence[int]) -> float:
    squares = sum(count * count for count in counts)
    return sum(counts) ** 2 / (len(counts) * squares) if squares else 0.0
