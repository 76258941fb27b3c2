"""
What the replies say about the project: outage, patience and refused credentials.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker._engine.health import WITNESS_TIMEOUT, Health
from onehouse_tracker._engine.tracked import Tracked
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker.errors import TransportError

DOWN = TransportError("down")


def _health(patience: float = 600) -> Health:
    return Health(patience)


def _tracked(name: str = "r") -> Tracked:
    return Tracked(name, label=None, born=0.0, now=0.0, wait=Wait())


def _fail(
    health: Health, ids: str, *, now: float = 100.0, is_only_one: bool = False
) -> list[bool]:
    """Fail a poll of each, a second apart; say after each whether there is a suspicion."""
    suspicions = []
    for number, name in enumerate(ids):
        health.failed(now + number, _tracked(name), DOWN, is_only_one=is_only_one)
        suspicions.append(health.suspicion is not None)
    return suspicions


def test_the_beginning() -> None:
    """
    Nothing is proven and nothing is wrong: one probe, and all the patience in the world.
    """
    health = _health()

    assert (health.proven, health.outage, health.suspicion) == (False, False, None)
    assert (health.silent_since, health.gives_up_at) == (None, math.inf)
    assert (health.answered_sent_at, health.next_probe_at) == (-math.inf, -math.inf)


def test_ten_failures_over_two_requests_are_a_suspicion() -> None:
    """
    No outage yet: a few requests may be sick, and stand side by side.
    """
    health = _health()

    assert _fail(health, "aaaaaaaaab") == 9 * [False] + [True]
    assert not health.outage
    assert _fail(health, "cdef") == 4 * [True]


def test_an_outage_begins_with_a_probe_a_second_later() -> None:
    """
    The suspicion is over; the server may have asked for more distance.
    """
    health = _health()
    _fail(health, "ababababab")

    health.begin_outage(110)

    assert (health.outage, health.suspicion, health.next_probe_at) == (True, None, 111)
    assert _fail(health, "abab") == 4 * [False]  # no suspicion of what is known
    health.hold_probes(130)
    health.probe_sent(112)
    assert health.next_probe_at == 130


def test_one_request_that_fails_among_many_is_no_suspicion() -> None:
    """
    Others may be well; the first failure of another one tells.
    """
    health = _health()

    assert not any(_fail(health, 50 * "a"))
    assert _fail(health, "b") == [True]


def test_the_only_request_is_enough_for_a_suspicion() -> None:
    """
    There is no other one that could confirm it.
    """
    health = _health()

    assert _fail(health, 10 * "a", is_only_one=True) == 9 * [False] + [True]


def test_an_answer_breaks_the_row() -> None:
    """
    Nine failures, one answer, nine failures: the server works.
    """
    health = _health()

    assert not any(_fail(health, "abcdefghi"))
    assert health.good(200, 200) is None
    assert not any(_fail(health, "abcdefghi"))
    health.good(300, 300)
    assert not any(_fail(health, 10 * "a"))  # which IDs failed before is forgotten too


def test_an_answer_ends_a_suspicion() -> None:
    """
    The failures belong to their requests; there was no outage, so nothing is forgiven.
    """
    health = _health()
    _fail(health, "ababababab")

    assert health.good(110, 110.1) is None
    assert health.suspicion is None


def test_a_good_reply_ends_an_outage() -> None:
    """
    Full speed is back at once, and so is all patience; what began to fail before the outage
    is not forgiven, so the caller is told when the last answer before it came.
    """
    health = _health()
    health.good(98, 98.5)
    _fail(health, "abababababab")
    health.begin_outage(112)

    assert health.good(500, 500.2) == 98.5
    assert (health.outage, health.proven, health.answered_sent_at) == (False, True, 500)
    assert (health.silent_since, health.gives_up_at) == (None, math.inf)
    assert health.good(501, 501) is None


def test_a_suspicion_waits_for_its_witnesses_from_the_first_on() -> None:
    """
    Their slots may come late; each of them gets most of a second, and one that failed is out.
    """
    health = _health()
    _fail(health, "ababababab", now=100)
    suspicion = health.suspicion
    assert suspicion is not None
    assert suspicion.deadline == 109 + WITNESS_TIMEOUT
    first, second = _tracked("c"), _tracked("d")

    suspicion.ask(first, 112)
    suspicion.ask(second, 112.1)
    assert suspicion.deadline == 112 + WITNESS_TIMEOUT
    health.failed(112.2, first, DOWN, is_only_one=False)

    assert (list(suspicion.asked), list(suspicion.waiting)) == ([first, second], [second])


def test_probes_keep_their_distance() -> None:
    """
    One a second, counted from each.
    """
    health = _health()

    health.probe_sent(100.25)

    assert health.next_probe_at == 101.25


def test_our_own_silence_does_not_cost_patience() -> None:
    """
    A process that was stopped for an hour asked nothing, so nobody could answer.
    """
    health = _health(600)
    _fail(health, "a", now=100)

    health.woke(101, 101.9)  # a busy event loop
    assert health.gives_up_at == 700
    health.woke(110, 3710)  # meant to poll at 110

    assert health.gives_up_at == 700 + 3600


def test_patience_runs_from_the_first_failure() -> None:
    """
    Later failures do not prolong it; a good reply does.
    """
    health = _health(600)

    _fail(health, "abc", now=100)
    assert (health.silent_since, health.gives_up_at) == (100, 700)
    health.good(650, 650)
    _fail(health, "a", now=660)
    assert health.gives_up_at == 1260


@pytest.mark.parametrize(
    ("paused_at", "until", "gives_up_at"),
    [
        (150, 170, 720),  # in the middle
        (90, 130, 730),  # begun before the first failure: only the rest counts
        (50, 80, 700),  # over before
        (150, 140, 700),  # a pause that is over already
        (150, -math.inf, 700),  # what a limiter without a pause says
    ],
)
def test_an_ordered_pause_does_not_cost_patience(
    paused_at: float, until: float, gives_up_at: float
) -> None:
    """
    The server told us to be silent.
    """
    health = _health(600)
    if paused_at < 100:
        health.paused(paused_at, until)
    _fail(health, "a", now=100)
    if paused_at >= 100:
        health.paused(paused_at, until)

    assert health.gives_up_at == gives_up_at


def test_overlapping_pauses_count_once() -> None:
    """
    A pause is ordered again and again; what is excused is the time, not the orders.
    """
    health = _health(600)
    _fail(health, "a", now=100)

    health.paused(110, 120)
    health.paused(115, 130)
    health.paused(116, 125)
    health.paused(140, 150)

    assert health.gives_up_at == 700 + 20 + 10


def test_idle_time_does_not_cost_patience() -> None:
    """
    Nobody asked, so nobody could answer; and an idle tracker never gives up.
    """
    health = _health(600)
    _fail(health, "a", now=100)

    health.idle(200)
    health.idle(300)
    assert health.gives_up_at == math.inf
    health.busy(1200)
    health.busy(1300)

    assert health.gives_up_at == 1700


@pytest.mark.parametrize(
    ("pause", "idle", "excused"),
    [
        ((110, 150), (120, 140), 40),  # idle within a pause
        ((110, 150), (120, 180), 70),  # idle beyond a pause
        ((130, 140), (120, 180), 60),  # paused within idle time
        ((130, 190), (120, 180), 70),  # paused beyond idle time
        ((110, 120), (130, 140), 20),  # one after the other
    ],
)
def test_a_pause_while_idle_is_excused_once(
    pause: tuple[float, float], idle: tuple[float, float], excused: float
) -> None:
    """
    A second that is both paused and idle is one second.
    """
    health = _health(600)
    _fail(health, "a", now=100)
    happenings: list[tuple[float, Callable[[], None]]] = [
        (pause[0], lambda: health.paused(*pause)),
        (idle[0], lambda: health.idle(idle[0])),
        (idle[1], lambda: health.busy(idle[1])),
    ]

    for _, happen in sorted(happenings, key=lambda entry: entry[0]):
        happen()

    assert health.gives_up_at == 700 + excused


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["paused", "idle", "busy"]), st.integers(0, 40), st.integers(0, 90)
        ),
        max_size=30,
    )
)
def test_patience_counts_each_second_that_is_neither_paused_nor_idle(
    happenings: list[tuple[str, int, int]],
) -> None:
    """
    Against a clock that looks at every single second.
    """
    health = _health(600)
    _fail(health, "a", now=0)
    now, is_idle, paused_until, excused = 0, False, 0, 0

    for what, gap, length in [*happenings, ("busy", 0, 0)]:
        excused += sum(is_idle or second < paused_until for second in range(now, now + gap))
        now += gap
        if what == "paused":
            health.paused(now, now + length)
            paused_until = max(paused_until, now + length)
        elif what == "idle":
            health.idle(now)
            is_idle = True
        else:
            health.busy(now)
            is_idle = False
    excused += max(0, paused_until - now)

    assert health.gives_up_at == 600 + excused


def test_after_a_failure_of_the_project_everything_begins_again() -> None:
    """
    The tracker stays usable, and the next wait starts with a single probe.
    """
    health = _health(600)
    health.good(10, 10)
    _fail(health, "abababababab", now=30)
    health.begin_outage(42)

    health.reset()

    assert (health.proven, health.outage, health.suspicion) == (False, False, None)
    assert (health.silent_since, health.gives_up_at) == (None, math.inf)
    assert health.next_probe_at == -math.inf
    assert not any(_fail(health, "ababababa", now=100))
    assert health.gives_up_at == 700
