"""
What the replies say about the project: outage, patience and refused credentials.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker._engine.health import Blame, Health
from onehouse_tracker._engine.tracked import Tracked
from onehouse_tracker._engine.waits import Wait


def _health(patience: float = 600) -> Health:
    return Health(patience)


def _tracked(name: str = "r") -> Tracked:
    return Tracked(name, label=None, born=0.0, now=0.0, wait=Wait())


def _fail(
    health: Health, ids: str, *, now: float = 100.0, is_only_one: bool = False
) -> list[bool]:
    return [health.failed(now + n, name, is_only_one=is_only_one) for n, name in enumerate(ids)]


def test_the_beginning() -> None:
    """
    Nothing is proven and nothing is wrong: one probe, and all the patience in the world.
    """
    health = _health()

    assert (health.proven, health.outage, health.confirming) == (False, False, False)
    assert (health.silent_since, health.gives_up_at) == (None, math.inf)
    assert (health.answered_at, health.next_probe_at) == (-math.inf, -math.inf)


def test_ten_failures_over_two_requests_are_an_outage() -> None:
    """
    Reported once, and the first probe comes a second later.
    """
    health = _health()

    assert _fail(health, "aaaaaaaaab") == 9 * [False] + [True]
    assert health.outage
    assert health.next_probe_at == 110.0
    assert _fail(health, "cdef") == 4 * [False]


def test_one_request_that_fails_among_many_is_no_outage() -> None:
    """
    Others may be well; the first failure of another one tells.
    """
    health = _health()

    assert not any(_fail(health, 50 * "a"))
    assert not health.outage
    assert _fail(health, "b") == [True]


def test_the_only_request_is_enough_for_an_outage() -> None:
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
    assert health.good(200) is False
    assert not any(_fail(health, "abcdefghi"))
    assert not any(_fail(_health(), "abcdefghi"))
    health.good(300)
    assert not any(_fail(health, 10 * "a"))  # which IDs failed before is forgotten too


def test_a_good_reply_ends_an_outage() -> None:
    """
    Full speed is back at once, and so is all patience.
    """
    health = _health()
    _fail(health, "abababababab")

    assert health.good(500) is True
    assert (health.outage, health.proven, health.answered_at) == (False, True, 500)
    assert (health.silent_since, health.gives_up_at) == (None, math.inf)
    assert health.good(501) is False


def test_probes_keep_their_distance() -> None:
    """
    One a second, counted from each.
    """
    health = _health()

    health.probe_sent(100.25)

    assert health.next_probe_at == 101.25


def test_patience_runs_from_the_first_failure() -> None:
    """
    Later failures do not prolong it; a good reply does.
    """
    health = _health(600)

    _fail(health, "abc", now=100)
    assert (health.silent_since, health.gives_up_at) == (100, 700)
    health.good(650)
    _fail(health, "a", now=660)
    assert health.gives_up_at == 1260


@pytest.mark.parametrize(
    ("paused_at", "until", "gives_up_at"),
    [
        (150, 170, 720),  # in the middle
        (90, 130, 730),  # begun before the first failure: only the rest counts
        (50, 80, 700),  # over before
        (150, 140, 700),  # a pause that is over already
        (150, -math.inf, 700),  # what a gate without a pause says
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


def test_a_refusal_before_any_good_reply_is_the_project() -> None:
    """
    Wrong credentials cost one request, not a hundred.
    """
    health = _health()

    assert (
        health.refused(100, _tracked(), is_confirmation=False, is_only_one=False) is Blame.PROJECT
    )
    assert not health.suspects


def test_a_refusal_after_good_replies_waits_for_another_opinion() -> None:
    """
    The question goes out at once, and more suspects do not delay it.
    """
    health = _health()
    health.good(50)
    health.probe_sent(99.9)
    first, second = _tracked("first"), _tracked("second")

    assert health.refused(100, first, is_confirmation=False, is_only_one=False) is Blame.UNDECIDED
    assert health.next_probe_at == 100
    health.probe_sent(100.5)
    assert health.refused(101, second, is_confirmation=False, is_only_one=False) is Blame.UNDECIDED
    assert health.next_probe_at == 101.5
    assert list(health.suspects) == [first, second]


def test_the_only_request_is_asked_again_after_a_second() -> None:
    """
    There is no second opinion; a key that is just being rotated may work by then.
    """
    health = _health()
    health.good(50)

    blame = health.refused(100, _tracked(), is_confirmation=False, is_only_one=True)

    assert blame is Blame.UNDECIDED
    assert health.next_probe_at == 101


def test_a_refused_confirmation_is_the_project() -> None:
    """
    Two requests, two refusals: the key was rotated.
    """
    health = _health()
    health.good(50)
    health.refused(100, _tracked("a"), is_confirmation=False, is_only_one=False)

    assert (
        health.refused(100.2, _tracked("b"), is_confirmation=True, is_only_one=False)
        is Blame.PROJECT
    )


def test_an_answered_confirmation_leaves_the_suspects_alone() -> None:
    """
    They are refused for themselves; the project goes on.
    """
    health = _health()
    health.good(50)
    suspects = _tracked("a"), _tracked("b")
    for suspect in suspects:
        health.refused(100, suspect, is_confirmation=False, is_only_one=False)

    assert health.acquit_project() == suspects
    assert health.acquit_project() == ()
    assert health.proven


def test_after_a_failure_of_the_project_everything_begins_again() -> None:
    """
    The tracker stays usable, and the next wait starts with a single probe.
    """
    health = _health(600)
    health.good(10)
    health.refused(20, _tracked(), is_confirmation=False, is_only_one=False)
    _fail(health, "abababababab", now=30)
    health.confirming = True

    health.reset()

    assert (health.proven, health.outage, health.confirming) == (False, False, False)
    assert not health.suspects
    assert (health.silent_since, health.gives_up_at) == (None, math.inf)
    assert health.next_probe_at == -math.inf
    assert not any(_fail(health, "ababababa", now=100))
    assert health.gives_up_at == 700
