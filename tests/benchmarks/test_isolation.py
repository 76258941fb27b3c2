"""
The judge of `benchmarks/isolation.py`: it must see who is harmed, and only them.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import isolation
from benchmarks.isolation import AFTER, SEEDS, SHARES, WHERE, Found, Plan, plan
from benchmarks.pages import END, begin, write_into
from benchmarks.sick.judge import (
    FIFTH,
    FIFTH_OF_FEW,
    HALF,
    Limits,
    TaskResult,
    judge,
    limits_of,
    p99,
)
from benchmarks.sick.runs import Cell, Seen, jobs_of, run_cell
from benchmarks.sick.tables import Group, tables
from benchmarks.sick.ways import WAYS, SickSource
from benchmarks.sick.whole import (
    CASES,
    Outage,
    Shown,
    judge_margin,
    judge_outage,
    judge_refused,
    run_case,
)
from onehouse_tracker.errors import StatusError
from onehouse_tracker.testing import InlineExecutor, SimulatedProject, VirtualClockLoop

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
        ("429", 500, 10, Limits(1.8, 3.0)),
        ("429", 50, 20, Limits(1.8, 3.0)),
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
    whole = plan([], quick=False)

    assert len(whole.members) == len(WAYS) * 2 * sum(map(len, SHARES.values()))
    assert set(whole.cases) == set(CASES)
    for group, cells in whole.members.items():
        assert len(cells) == SEEDS[group.size]
        assert {cell.where for cell in cells} == set(WHERE)
        assert {cell.after for cell in cells} == set(AFTER)
    few = whole.members[Group("5xx", 50, 10, "batch")]
    assert len({(cell.where, cell.after) for cell in few}) == 9


def test_runs_share_their_reference_with_all_ways() -> None:
    """
    Each is paired with the run of the same seed and the same sick requests.
    """
    members = plan([], quick=False).members
    references = [
        {cell.reference for cell in members[Group(way, 50, 10, "batch")]} for way in WAYS
    ]

    assert all(each == references[0] for each in references)
    assert {cell.way for cell in references[0]} == {None}


def test_quick_tries_all_ways_and_cases() -> None:
    """
    It has fewer shares and seeds, and so wider limits.
    """
    quick = plan([], quick=True)

    assert {group.way for group in quick.members} == set(WAYS)
    assert set(quick.cases) == set(CASES)
    assert quick.slack > 1
    assert sum(map(len, quick.members.values())) <= 40


@pytest.mark.parametrize(
    ("only", "ways", "cases"), [(["5xx"], {"5xx"}, set()), (["whole"], set(), set(CASES))]
)
def test_only_leaves_the_others_out(only: list[str], ways: set[str], cases: set[str]) -> None:
    """
    For whoever works on one thing.
    """
    todo = plan(only, quick=False)

    assert {group.way for group in todo.members} == ways
    assert set(todo.cases) == cases


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
    assert seen == run_cell(cell)


OUTAGE = Outage(
    began=100.0,
    declared=[101.5],
    ended=[201.0],
    replies=[99.9, 201.0, 201.1],
    arrivals=[
        *(100 + tick / 10 for tick in range(15)),
        *(102.5 + tick for tick in range(99)),
        *(201 + tick / 10 for tick in range(40)),
    ],
    up_again=200.5,
)


def test_an_outage_as_it_should_be() -> None:
    """
    Noticed at once, probed once a second, over with the first good reply.
    """
    figures = OUTAGE.figures()

    assert figures["noticed"] == 1.5
    assert figures["probes_per_s"] == pytest.approx(1.0, abs=0.02)
    assert figures["replies_to_recover"] == 1
    assert figures["recovered"] == 0.5
    assert figures["speed"] == 10
    assert judge_outage(figures, 1.0, full_speed=True) == []


@pytest.mark.parametrize(
    ("changes", "miss"),
    [
        ({"declared": [102.5]}, "noticed after 2.5 s, not within 1 s of 1.0"),
        ({"declared": []}, "noticed after inf s, not within 1 s of 1.0"),
        ({"arrivals": [102 + tick / 2 for tick in range(220)]}, "1.99 polls a second"),
        ({"replies": [200.7, 200.9, 201.0]}, "3 good replies to recover, not 1"),
        ({"arrivals": OUTAGE.arrivals[:-35]}, "1.0 polls a second afterwards"),
        ({"declared": [101.5, 300.0]}, "2 outages, not 1"),
    ],
)
def test_each_fault_of_an_outage_is_named(changes: dict[str, Any], miss: str) -> None:
    """
    Late, greedy, slow to believe, slow to recover, or flapping.
    """
    figures = replace(OUTAGE, **changes).figures()

    misses = judge_outage(figures, 1.0, full_speed=True)

    assert any(each.startswith(miss) for each in misses), misses


def test_a_margin_that_stays_is_named() -> None:
    """
    Single requests that are refused must not slow the project down for long.
    """
    assert judge_margin(0.049) == []
    assert judge_margin(0.05) == ["margin is 0.050, not below 0.05"]


def test_refusals_are_compared_with_those_of_before() -> None:
    """
    Chance is taken off: the fewer the seeds, the more of it.
    """
    assert judge_refused(0.30, 10, 10) == []
    assert judge_refused(0.33, 10, 1) == []
    assert judge_refused(0.33, 10, 10) == ["33.0% refused, not at most 31.7%"]


@pytest.mark.parametrize("name", [name for name in CASES if "401, 10 req" in name])
def test_a_key_that_expires_is_seen(name: str) -> None:
    """
    The case runs as its name says.
    """
    shown = run_case(name, [0])

    assert shown.figures["rejected"] == 0
    assert shown.figures["took"] < 10


def _verdict(factor: float = 1.0, limits: Limits | None = FIFTH) -> TaskResult:
    return judge([_seen(factor)], [_seen()], limits)


def test_the_tables_show_the_worse_of_both_patterns() -> None:
    """
    What is missed is bold, and what has no limit in brackets.
    """
    verdicts = {
        Group("5xx", 500, 5, "batch"): _verdict(1.02),
        Group("5xx", 500, 5, "staggered"): _verdict(1.04),
        Group("5xx", 500, 50, "batch"): _verdict(1.6),
        Group("429", 500, 50, "batch"): _verdict(1.7, None),
    }
    shown = Shown(figures={"refused": 0.127, "lost": 1.0}, missed=["something"])

    text = tables(verdicts, {"another client": shown})

    assert "| 500 requests | 5 % sick | 50 % sick |" in text
    assert "| 5xx | 1.04 / 1.04 | **1.60 / 1.60** |" in text
    assert "| 429 |  | (1.70 / 1.70) |" in text
    assert "| another client | **12.7% refused** |" in text


def test_the_tables_are_written_between_the_marks(tmp_path: Path) -> None:
    """
    And nothing else of the page is touched.
    """
    page, mark = tmp_path / "page.md", begin("isolation.py")
    page.write_text(f"before\n{mark}\nold\n{END}\nafter\n", encoding="utf-8")

    write_into(page, "isolation.py", "new\n")

    assert page.read_text(encoding="utf-8") == f"before\n{mark}\n\nnew\n\n{END}\nafter\n"
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="has no line"):
        write_into(page, "isolation.py", "new")


def test_the_page_has_the_marks() -> None:
    """
    ``--write-table`` would fail at the end of a quarter of an hour.
    """
    assert begin("isolation.py") in isolation.PAGE.read_text(encoding="utf-8")


def test_a_missed_figure_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    CI goes by the exit code, people by what is on stderr.
    """
    group = Group("5xx", 500, 5, "batch")
    bad = Shown(missed=["3 requests REJECTED"])
    for factor, shown, code in ((1.0, Shown(), 0), (1.2, Shown(), 1), (1.0, bad, 1)):
        found = Found({group: _verdict(factor)}, {"key expires": shown})
        monkeypatch.setattr(isolation, "run", lambda *_, found=found: found)
        monkeypatch.setattr("sys.argv", ["isolation.py", "--check", "--json"])

        assert isolation.main() == code

    out, err = capsys.readouterr()
    assert [len(json.loads(line)["missed"]) for line in out.splitlines()] == [0, 1, 1]
    assert "missed: 5xx, 5 % of 500 batch: mean is 1.20 times" in err
    assert "missed: key expires: 3 requests REJECTED" in err


def test_each_group_is_judged_once_it_is_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The runs come back in any order, the verdicts in that of the plan.
    """
    groups = [Group("5xx", 500, 5, "batch"), Group("reset", 500, 5, "batch")]
    cells = [Cell(*group, seed, "last", 0) for group in groups for seed in (0, 1)]
    todo = Plan({groups[0]: cells[:2], groups[1]: cells[2:]}, {"down": [0]})
    monkeypatch.setattr(isolation, "run_cell", lambda cell: _seen(1.1 if cell.way else 1.0))
    monkeypatch.setattr(isolation, "run_case", lambda *_: Shown())
    monkeypatch.setattr(isolation, "ProcessPoolExecutor", lambda _: InlineExecutor())

    found = isolation.run(todo, 1)

    assert list(found.verdicts) == groups
    assert list(found.cases) == ["down"]
    assert [verdict.mean_ratio for verdict in found.verdicts.values()] == pytest.approx([1.1, 1.1])
    assert len(capsys.readouterr().err.splitlines()) == 3
