"""The four ways to enforce a limit."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker.testing import FixedWindow, SlidingLog, Strict, TokenBucket, make_enforcer
from onehouse_tracker.testing.enforcers import Enforcer

# Arrivals in whole milliseconds, bunched and sparse, never going back.
arrivals = st.lists(st.sampled_from([0, 1, 7, 50, 99, 100, 101, 333, 1000]), max_size=300).map(
    lambda gaps: [sum(gaps[: place + 1]) / 1000 for place in range(len(gaps))]
)
limits = st.integers(1, 12)


def admitted(enforcer: Enforcer, times: list[float]) -> list[float]:
    """Those of *times* that the enforcer lets in."""
    return [at for at in times if enforcer.admit(at)]


@given(arrivals, limits)
def test_a_sliding_log_never_admits_more_than_its_limit_in_any_window(
    times: list[float], limit: int
) -> None:
    """
    This is the limit that the product is judged by.
    """
    let_in = admitted(SlidingLog(limit), times)

    for first, last in zip(let_in, let_in[limit:], strict=False):
        assert last - first >= 1 - 1e-6


@given(arrivals, limits)
def test_a_sliding_log_refuses_only_when_it_is_full(times: list[float], limit: int) -> None:
    """
    An enforcer that refuses too much would hide a client that sends too much.
    """
    log = SlidingLog(limit)
    let_in: list[float] = []
    for at in times:
        room = sum(at - earlier < 1 - 1e-6 for earlier in let_in) < limit
        assert log.admit(at) is room
        if room:
            let_in.append(at)


@given(arrivals, limits)
def test_a_fixed_window_admits_its_limit_in_each_window(times: list[float], limit: int) -> None:
    """
    Each window counts afresh, whatever the one before.
    """
    let_in = admitted(FixedWindow(limit), times)

    for number in {int(at + 1e-6) for at in times}:
        came = sum(int(at + 1e-6) == number for at in times)
        assert sum(int(at + 1e-6) == number for at in let_in) == min(came, limit)


@given(arrivals, st.floats(0.5, 20), st.integers(1, 20))
def test_a_token_bucket_admits_its_burst_and_its_rate_and_no_more(
    times: list[float], rate: float, burst: int
) -> None:
    """
    Over any stretch: what was saved up, and what came in meanwhile.
    """
    let_in = admitted(TokenBucket(rate, burst), times)

    for start in range(len(let_in)):
        for count, at in enumerate(let_in[start:], 1):
            assert count <= burst + rate * (at - let_in[start]) + 1e-6


@given(arrivals, st.integers(1, 12))
def test_the_strict_one_keeps_every_gap(times: list[float], rate: int) -> None:
    """
    It refuses two requests that come too close, even after an hour of silence.
    """
    let_in = admitted(Strict(rate), times)

    assert all(later - earlier >= 1 / rate - 1e-6 for earlier, later in pairwise(let_in))
    assert bool(let_in) is bool(times)


@pytest.mark.parametrize("name", ["fixed", "sliding", "bucket", "strict"])
@pytest.mark.parametrize("limit", [0.5, 1, 2.5, 10, 100])
def test_an_even_pace_at_the_limit_is_admitted_wholly(name: str, limit: float) -> None:
    """
    Decimal remainders must not refuse a client that keeps exactly to its limit.
    """
    enforcer = make_enforcer(name, limit)

    times = [place / limit for place in range(1000)]

    assert admitted(enforcer, times) == times


@pytest.mark.parametrize("name", ["fixed", "sliding", "bucket", "strict"])
@pytest.mark.parametrize("limit", [0.5, 2.5, 10])
def test_twice_the_pace_is_refused_by_half(name: str, limit: float) -> None:
    """
    All of them hold the same limit in the long run.
    """
    enforcer = make_enforcer(name, limit)

    let_in = admitted(enforcer, [place / (2 * limit) for place in range(2000)])

    assert len(let_in) == pytest.approx(1000, abs=limit + 1)


def test_a_burst_is_what_tells_them_apart() -> None:
    """
    Twenty at once: a window and a log admit ten, the strict one a single request.
    """
    burst = [5.0] * 20

    counts = {
        name: len(admitted(make_enforcer(name, 10), burst))
        for name in ("fixed", "sliding", "bucket", "strict")
    }

    assert counts == {"fixed": 10, "sliding": 10, "bucket": 10, "strict": 1}


def test_a_fixed_window_admits_a_double_burst_around_its_edge() -> None:
    """
    The weakness of the simplest limiter, which must show in figures.
    """
    times = [0.999] * 10 + [1.0] * 10

    assert len(admitted(FixedWindow(10), times)) == 20
    assert len(admitted(SlidingLog(10), times)) == 10


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda: FixedWindow(3, 2), "FixedWindow(limit=3, window=2)"),
        (SlidingLog, "SlidingLog(limit=10, window=1)"),
        (TokenBucket, "TokenBucket(rate=10, burst=10)"),
        (Strict, "Strict(rate=10)"),
    ],
)
def test_its_repr_tells_the_limit(make: object, shown: str) -> None:
    """
    Which limiter refused is the first question in a failing test.
    """
    assert callable(make)

    assert repr(make()) == shown


@pytest.mark.parametrize(
    "make",
    [
        lambda: FixedWindow(0),
        lambda: SlidingLog(1, 0),
        lambda: TokenBucket(0),
        lambda: TokenBucket(1, 0.5),
        lambda: Strict(0),
        lambda: make_enforcer("sliding", 0),
        lambda: make_enforcer("leaky", 10),
    ],
)
def test_nonsense_is_refused(make: object) -> None:
    """
    A limiter that admits nothing looks like an outage.
    """
    assert callable(make)

    with pytest.raises(ValueError, match=r"need|limit|enforcer"):
        make()
