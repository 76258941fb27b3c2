"""
The judge of `benchmarks/budget.py`: it must see what it is there to see.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.budget import waves
from benchmarks.rate.judge import best_possible, judge, longest_gap, rate_between
from benchmarks.rate.report import missed, tables

EVEN = [(100 + number * 0.102, True, "ab"[number % 2]) for number in range(1000)]
MEMBERS: dict[str, dict[str, Any]] = {"a": {"margin": 0.02}, "b": {"margin": 0.05}}


def test_an_even_pace_is_seen_as_one() -> None:
    """
    98 % of the budget, nobody refused, everybody the same.
    """
    figures = judge(EVEN, 100, 100, MEMBERS)

    assert figures["accepted_per_s"] == 9.81
    assert figures["refused"] == figures["sliding_would_refuse"] == 0
    assert figures["most_in_a_second"] == 10
    assert figures["fairness"] == 1.0
    assert figures["margin"] == 0.05


def test_a_refusal_and_a_burst_are_seen() -> None:
    """
    The server's record decides, and it also tells what another limiter would have done.
    """
    burst = [(150.0, True, "a")] * 50 + [(170.0, False, "b")]

    figures = judge([*EVEN, *burst], 100, 100, MEMBERS)

    assert figures["refused"] == 1
    assert figures["refused_share_after_60_s"] == pytest.approx(1 / 393, abs=2e-5)
    assert figures["most_in_a_second"] == 60
    assert figures["sliding_would_refuse"] >= 50
    assert figures["fairness"] < 1.0


def test_a_standstill_of_the_machine_is_not_held_against_the_pace() -> None:
    """
    Nobody can send evenly while he stands still; what comes a second later is his again.
    """
    record = [*EVEN, (150.0, False, "a"), (160.0, False, "b")]

    figures = judge(record, 100, 100, MEMBERS, stalls=[(149.2, 149.21)])

    assert figures["refused"] == 2
    assert figures["refused_in_calm"] == 1
    assert judge(record, 100, 100, MEMBERS)["refused_in_calm"] == 2
    assert figures["stalls"] == 1


def test_what_came_before_and_after_does_not_count() -> None:
    """
    A case begins and ends when it was told to.
    """
    figures = judge([(99.9, True, "a"), *EVEN, (201.0, False, "a")], 100, 50, MEMBERS)

    assert figures["requests"] == 491
    assert figures["refused"] == 0


def test_a_request_without_its_outcome_is_lost() -> None:
    """
    Where every request must end, one that did not is told.
    """
    report = {"requests": 10, "succeeded": 9, "must_succeed": True}

    assert judge(EVEN, 100, 100, {"a": report, "b": {}})["lost"] == 1


def test_gaps_and_rates_are_those_of_the_time_asked_for() -> None:
    """
    An accident is judged by what happened around it.
    """
    record = [entry for entry in EVEN if not 130 < entry[0] < 130.5]

    assert longest_gap(record, 129, 132) == pytest.approx(0.51, abs=0.11)
    assert longest_gap(record, 110, 120) == pytest.approx(0.102)
    assert rate_between(EVEN, 110, 120) == pytest.approx(9.8, abs=0.11)


def test_the_best_possible_gets_worse_with_the_jitter() -> None:
    """
    What is asked for before a limiter without burst must be possible at all.
    """
    best = [best_possible(jitter, 0.02) for jitter in (0.0, 0.02, 0.05, 0.2)]

    assert best == sorted(best, reverse=True)
    assert best[0] > 0.97
    assert 0.80 < best[1] < 0.87


def _result(**changes: Any) -> dict[str, Any]:
    case = judge(EVEN, 100, 100, MEMBERS) | {"kind": "ours_local", "enforcer": "sliding"}
    wave = {"seconds": 100.0, "attempts": 1, "late_p99_ms": 1.0, "valid": True}
    return {
        "cases": {"sliding-0": case | changes},
        "waves": {"alone": wave},
        "overhead_ms": {"local": 0.02},
        "quick": False,
    }


def test_each_missed_figure_is_named() -> None:
    """
    ``--check`` is worth what it names.
    """
    assert missed(_result()) == []
    assert missed(_result(share=0.9, refused_share=0.01)) == [
        "sliding-0: share is 0.9, not at least 0.975",
        "sliding-0: refused_share is 0.01, not at most 0",
    ]
    assert missed({**_result(), "cases": {"sliding-0": None}}) == ["sliding-0: could not run"]
    late = _result()
    late["waves"]["alone"] |= {"valid": False, "late_p99_ms": 9.0}
    assert missed(late) == ["wave alone: 9.0 ms late at p99, not at most 5"]


def test_half_a_percent_is_judged_over_all_cases() -> None:
    """
    In one case five refusals of 630 may be chance; in ten cases they are not.
    """
    one = {"requests_after_60_s": 630, "refused_share_after_60_s": 5 / 630}
    calm = {"requests_after_60_s": 630, "refused_share_after_60_s": 1 / 630}
    worse = {"requests_after_60_s": 630, "refused_share_after_60_s": 9 / 630}

    def together(**cases: dict[str, Any]) -> list[str]:
        shaped = {name.replace("_", "-"): _result(**case) for name, case in cases.items()}
        named = {name: result["cases"]["sliding-0"] for name, result in shaped.items()}
        return missed({**_result(), "cases": named})

    assert together(sliding_50=one, sliding_200=calm, fixed_50=calm, fixed_200=calm) == []
    assert together(sliding_50=one, sliding_200=one) == [
        "all with a jitter of 50 ms and more: 0.00794 refused after 60 s"
    ]
    (alone, _) = together(sliding_50=worse)
    assert alone.startswith("sliding-50: refused_share_after_60_s is 0.0142")


def test_the_tables_show_the_figures() -> None:
    """
    They are what people read.
    """
    text = tables(_result(refused=3))

    assert "| sliding log | 98.1 %, 3 (0.00 % after 60 s) |" in text
    assert "local 0.02 ms" in text


def test_the_full_run_has_all_cases() -> None:
    """
    A case that is forgotten is never missed.
    """
    alone_1, alone_2, others, shared = waves(quick=False)

    assert len(alone_1[2]) == len(alone_2[2]) == 14
    assert len(others[2]) == 15
    names = {case.name for case in shared[2]}
    assert {"ours_redis-3", "ours_host-8", "killed-redis", "skewed-host", "redis_away"} <= names
    assert sum(seconds for _, seconds, _ in waves(quick=True)) <= 40
