"""
Ways in which single requests of a project are sick, and a client that makes them so.

A sick request is pending for ever at the server.  From the start, or after so many proper
replies, its polls are answered in its way; the polls of all others are answered properly.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable, Mapping
from random import Random

from onehouse_tracker.errors import StaleConnectionError, ThrottledError, TransportError
from onehouse_tracker.models import StatusReply
from onehouse_tracker.testing import SimulatedProject, SimulatedSource
from onehouse_tracker.testing.faults import (
    Fault,
    FaultRule,
    body,
    cut,
    hang,
    huge,
    not_found,
    reset,
    throttled,
    truncated,
    unavailable,
)

__all__ = ["REFUSED", "SEVERAL", "WAYS", "PairedSource", "SickSource"]

ROUND_TRIP = 0.08  # seconds, median
ROUND_TRIP_SIGMA = 0.4
CALM_SIGMA = 0.05  # so little that the server never refuses a request for the rate
NOW_AND_THEN = 0.25  # chance of a 404

STALE = "stale connection"
NOT_FOUND = "404 now and then"
SEVERAL = "several"
REFUSED = ("429", "429, Retry-After")

_FAULTS: dict[str, tuple[Fault, ...]] = {
    "5xx": tuple(unavailable(status) for status in (500, 502, 503, 504)),
    "reset": (reset(),),
    "broken body": (truncated(), body("<html>proxy error</html>"), cut(), huge()),
    "hanging": (hang(),),
    NOT_FOUND: (not_found(),),
    STALE: (),
    "429": (throttled(),),
    "429, Retry-After": (throttled(1.0),),
}
"""Where there are several, each sick request has one of them."""

WAYS = (*_FAULTS, SEVERAL)

_MIXED = tuple(way for way in _FAULTS if way not in REFUSED)


class PairedSource:
    """
    Asks a simulated project, with round trips that depend on the request and on how often it
    was asked before, and on nothing else: two runs of one seed have the same ones.

    Args:
        project: What to ask.

        seed: Decides the round trips.

        calm: Whether they are nearly equal.  Otherwise the server refuses a poll now and then,
            because it arrives closer behind another than it was sent.
    """

    request_timeout = 30.0
    """Seconds that one call may take; as with the real client, nobody has to bound it."""

    def __init__(self, project: SimulatedProject, seed: int, *, calm: bool = False) -> None:
        self.project = project
        self._sigma = CALM_SIGMA if calm else ROUND_TRIP_SIGMA
        self._seed = seed
        self._source = SimulatedSource(project, round_trip=self._round_trip)
        self._draws: dict[str, Random] = {}
        self._asked = ""

    def fetch(self, request_id: str) -> Coroutine[object, object, StatusReply]:
        """Ask once."""
        return self._bounded(request_id)

    async def _bounded(self, request_id: str) -> StatusReply:
        try:
            async with asyncio.timeout(self.request_timeout):
                return await self._fetch(request_id)
        except TimeoutError:
            raise TransportError("no reply in time", request_id=request_id) from None

    async def _fetch(self, request_id: str) -> StatusReply:
        self._asked = request_id  # the round trip is drawn before anything else can run
        return await self._source.fetch(request_id)

    def _round_trip(self, _: Random) -> float:
        draw = self._draws.get(self._asked)
        if draw is None:
            draw = self._draws[self._asked] = Random(f"{self._seed} {self._asked}")
        return ROUND_TRIP * math.exp(draw.gauss(0.0, self._sigma))


class SickSource(PairedSource):
    """
    The same, with requests that fall sick.

    Args:
        project: What to ask; its rules are added to.

        seed: Decides the round trips, and who is sick in which way.

        sick: The requests that fall sick.

        way: One of `WAYS`; `None` leaves them pending for ever.

        after: Proper replies before they fall sick.

        calm: Whether the round trips are nearly equal.

        on_first_refusal: Called when a sick request is refused with 429 for the first time.
    """

    def __init__(
        self,
        project: SimulatedProject,
        seed: int,
        *,
        sick: Iterable[str] = (),
        way: str | None = None,
        after: int = 0,
        calm: bool = False,
        on_first_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(project, seed, calm=calm)
        self._after = after
        self._on_first_refusal = on_first_refusal
        self._wards = {} if way is None else _admit(project, sick, way, Random(f"{seed} ways"))
        self._replies = dict.fromkeys(self._wards, 0)
        self._refused: set[str] = set()
        self._stale: set[str] = set()
        if after == 0:
            for request_id in self._wards:
                self._fall_sick(request_id)

    def fetch(self, request_id: str) -> Coroutine[object, object, StatusReply]:
        """Ask once."""
        if request_id in self._wards:
            return self._fetch_sick(request_id)
        return self._fetch(request_id)  # answered in any case, and timers take time

    async def _fetch_sick(self, request_id: str) -> StatusReply:
        if request_id in self._stale:
            raise StaleConnectionError("the connection was closed", request_id=request_id)
        try:
            reply = await self._bounded(request_id)
        except ThrottledError:
            if request_id not in self._refused and self._replies[request_id] >= self._after:
                self._refused.add(request_id)
                self._on_first_refusal()
            raise
        self._replies[request_id] += 1
        if self._replies[request_id] == self._after:
            self._fall_sick(request_id)
        return reply

    def _fall_sick(self, request_id: str) -> None:
        ward = self._wards[request_id]
        (self._stale if ward is None else ward).add(request_id)


def _admit(
    project: SimulatedProject, sick: Iterable[str], way: str, random: Random
) -> Mapping[str, set[str] | None]:
    """Give each sick request the set that its fault reads; `None` is a stale connection."""
    rules: dict[Fault, set[str]] = {}
    wards: dict[str, set[str] | None] = {}
    for request_id in sick:
        one = random.choice(_MIXED) if way == SEVERAL else way
        if one == STALE:
            wards[request_id] = None
            continue
        fault = random.choice(_FAULTS[one])
        if fault not in rules:
            rules[fault] = set()
            rate = NOW_AND_THEN if one == NOT_FOUND else 1.0
            project.rules.append(FaultRule(fault=fault, rate=rate, request_ids=rules[fault]))
        wards[request_id] = rules[fault]
    return wards


def now() -> float:
    """Seconds on the clock of the running loop."""
    return asyncio.get_running_loop().time()
