"""
The judge of `benchmarks/isolation.py`: it must see who is harmed, and only them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from benchmarks import isolation
from benchmarks.isolation import AFTER, SEEDS, SHARES, WHERE, Group, cells_of, groups
from benchmarks.sick.judge import FIFTH, FIFTH_OF_FEW, HALF, Limits, judge, limits_of, p99
from benchmarks.sick.runs import Cell, Seen, jobs_of, run_cell
from benchmarks.sick.ways import WAYS, SickSource
from onehouse_tracker.errors import StatusError
from onehouse_tracker.testing import SimulatedProject, VirtualClockLoop

PENDING = "API_OPERATION_STATUS_PENDING"

USUAL = [number / 100 for number in range(1, 101)]


def _seen(factor: float = 1.0, **changes: Any) -> Seen:
    seen = Seen(delays=[factor * delay for delay in USUAL])
    for name, value in changes.items():
        setattr(seen, name, value)
    return seen


def test_runs_like_their_references_miss_nothing() -> None:
    """
    All limits are shares of the reference.
    """
    verdict = judge([_seen(1.1), _seen(1.1)], [_seen(), _seen()], FIFTH)

    assert verdict.mean_ratio == pytest.approx(1.1)
    assert verdict.p99_ratio == pytest.approx(1.1)
    assert verdict.missed() == []


def test_the_seeds_are_pooled() -> None:
    """
    One bad run of ten may be chance; a hundredth of all requests is in the p99 all the same.
    """
    runs = [_seen(1.5), *[_seen() for _ in range(9)]]

    verdict = judge(runs, [_seen() for _ in range(10)], FIFTH)

    assert verdict.mean_ratio == pytest.approx(1.05)
    assert verdict.p99_ratio > 1.3
    assert [miss.split()[0] for miss in verdict.missed()] == ["p99"]


@pytest.mark.parametrize(
    ("changes", "miss"),
    [
        ({"lost": 3}, "3 healthy requests without a result"),
        ({"harmed": {"UNREACHABLE": 2}}, "2 healthy requests UNREACHABLE"),
        ({"error": "OutageError"}, "all failed with OutageError"),
        ({"margin": 0.05}, "margin is 0.050, not below 0.05"),
    ],
)
def test_harm_that_is_no_delay_is_named(changes: dict[str, Any], miss: str) -> None:
    """
    A request that is given up is not late; it is worse.
    """
    assert judge([_seen(), _seen(**changes)], [_seen()], FIFTH).missed() == [miss]
    assert judge([_seen(), _seen(**changes)], [_seen()], None).missed() == []


def test_a_slow_mean_is_named() -> None:
    """
    With the figure and the limit, for whoever reads the log.
    """
    (mean, tail) = judge([_seen(1.4)], [_seen()], FIFTH).missed()

    assert mean == "mean is 1.40 times that of the reference, not at most 1.15"
    assert tail.startswith("p99 is 1.40")


@pytest.mark.parametrize(
    ("way", "size", "percent", "limits"),
    [
        ("5xx", 500, 1, FIFTH),
        ("5xx", 500, 20, FIFTH),
        ("several", 500, 50, HALF),
        ("hanging", 50, 20, FIFTH_OF_FEW),
        ("hanging", 50, 50, HALF),
        ("429", 500, 1, FIFTH),
        ("429", 50, 2, FIFTH_OF_FEW),
        ("429", 500, 5, Limits(1.3, 1.4)),
        ("429", 500, 10, Limits(1.8, 2.0)),
        ("429", 50, 20, Limits(1.8, 2.0)),
        ("429", 500, 50, None),
        ("429, Retry-After", 500, 1, FIFTH),
        ("429, Retry-After", 50, 2, FIFTH_OF_FEW),
        ("429, Retry-After", 500, 5, None),
    ],
)
def test_the_limits(way: str, size: int, percent: int, limits: Limits | None) -> None:
    """
    Half a project that is sick may cost more, and a few requests say little.
    """
    assert limits_of(way, size, percent) == limits


def test_p99_of_a_hundred_is_the_last_but_one() -> None:
    """
    With few requests every rank counts.
    """
    assert p99(USUAL) == 0.99
    assert p99([3.0]) == 3.0


def test_the_grid_is_whole() -> None:
    """
    A cell that is forgotten is never missed.
    """
    every = groups(WAYS)

    assert len(every) == len(WAYS) * 2 * sum(map(len, SHARES.values()))
    for group in every:
        cells = list(cells_of(group))
        assert len(cells) == SEEDS[group.size]
        assert {cell.where for cell in cells} == set(WHERE)
        assert {cell.after for cell in cells} == set(AFTER)
    pairs = Counter((cell.where, cell.after) for cell in cells_of(Group("5xx", 50, 10, "batch")))
    assert len(pairs) == 9


def test_runs_of_one_cell_share_their_reference_with_all_ways() -> None:
    """
    Each is paired with the run of the same seed and the same sick requests.
    """
    references = [
        {cell.reference for cell in cells_of(Group(way, 50, 10, "batch"))} for way in WAYS
    ]

    assert all(each == references[0] for each in references)
    assert {cell.way for cell in references[0]} == {None}


def test_the_same_seed_has_the_same_requests() -> None:
    """
    Or the pairs would compare two workloads.
    """
    assert jobs_of(50, "staggered", 3) == jobs_of(50, "staggered", 3)
    assert jobs_of(50, "staggered", 3) != jobs_of(50, "staggered", 4)
    assert all(job.start == 0 and 0 < job.end <= 300 for job in jobs_of(50, "batch", 3))


async def _ask(way: str, after: int, times: int) -> list[str]:
    """What polls of one sick and one healthy request bring."""
    project = SimulatedProject()
    project.add("sick", 1e9)
    project.add("healthy", 1e9)
    source = SickSource(project, 1, sick=["sick"], way=way, after=after)
    brought = []
    for request_id in ["sick"] * times + ["healthy"]:
        try:
            reply = await source.fetch(request_id)
        except StatusError as error:
            brought.append(type(error).__name__)
        else:
            brought.append(str(reply.status))
    return brought


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize(
    ("way", "error"),
    [
        ("5xx", "TransportError"),
        ("hanging", "TransportError"),
        ("reset", "TransportError"),
        ("broken body", "TransportError"),
        ("stale connection", "StaleConnectionError"),
        ("429", "ThrottledError"),
        ("429, Retry-After", "ThrottledError"),
    ],
)
def test_sick_requests_are_sick_from_their_moment_on(way: str, error: str, after: int) -> None:
    """
    Properly answered before, never again afterwards; the others notice nothing.
    """
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        brought = runner.run(_ask(way, after, 5))

    assert brought == [*[PENDING] * after, *[error] * (5 - after), PENDING]


def test_now_and_then_is_not_always() -> None:
    """
    A request that is sick in this way ends as it should, sooner or later.
    """
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        brought = Counter(runner.run(_ask("404 now and then", 0, 200)))

    assert set(brought) == {PENDING, "NotFoundError"}
    assert 25 < brought["NotFoundError"] < 75


def test_a_run_can_be_repeated() -> None:
    """
    The seed decides everything, so each figure can be looked into.
    """
    cell = Cell("several", 4, 50, "batch", 0, "last", 1)

    seen = run_cell(cell)

    assert len(seen.delays) == 2
    assert seen == run_cell(cell) != run_cell(cell.reference)


def test_a_missed_cell_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    CI goes by the exit code, people by what stands on stderr.
    """
    group = Group("5xx", 500, 5, "batch")
    for factor, code in ((1.0, 0), (1.2, 1)):
        verdict = judge([_seen(factor)], [_seen()], FIFTH)
        monkeypatch.setattr(isolation, "run_grid", lambda *_, v=verdict: ({group: v}, 0.0))
        monkeypatch.setattr("sys.argv", ["isolation.py", "--check"])

        assert isolation.main() == code
    assert "1 of 1 cells missed" in capsys.readouterr().err
