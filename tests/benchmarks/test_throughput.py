"""
The throughput benchmark: it does the job it claims to do, and misses its bounds when it should.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from benchmarks import throughput
from benchmarks.throughput import Numbers

GOOD = Numbers(
    python="3.11",
    cpus=2,
    bare_polls_per_s=5_000.0,
    tracker_polls_per_s=4_900.0,
    loopback_ratio=0.98,
    raw_bare_polls_per_s=9_000.0,
    raw_tracker_polls_per_s=5_000.0,
    raw_ratio=0.58,
    raw_bare_cpu_us_per_poll=80.0,
    raw_tracker_cpu_us_per_poll=140.0,
    engine_us_per_poll=35.0,
    engine_share=0.44,
    journal_results_per_s=9_000.0,
    plain_results_per_s=14_000.0,
    journal_us_per_result=40.0,
    journal_ratio=0.64,
)


def test_both_contestants_ask_until_every_request_has_ended() -> None:
    """
    A contestant that asks less often would be fast for nothing.
    """
    ids = throughput.names(8)
    with throughput.server() as url:
        asyncio.run(throughput.bare(url, ids))
        asyncio.run(throughput.tracked(url, ids))


def test_numbers_within_the_bounds_miss_nothing() -> None:
    """
    What was not measured is not missed.
    """
    assert list(GOOD.missed()) == []
    assert list(replace(GOOD, resume_s=19.0).missed()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loopback_ratio", 0.89),
        ("raw_ratio", 0.44),
        ("journal_ratio", 0.54),
        ("engine_share", 0.63),
        ("resume_s", 21.0),
    ],
)
def test_each_bound_is_named_when_it_is_missed(name: str, value: float) -> None:
    """
    A check that only says that something failed helps nobody.
    """
    bad = replace(GOOD)
    setattr(bad, name, value)

    assert [miss.split()[0] for miss in bad.missed()] == [name]


def test_missed_bound_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    CI goes by the exit code, people by what stands on stderr; the numbers come in any case.
    """
    bad = replace(GOOD, loopback_ratio=0.5)
    monkeypatch.setattr(throughput, "measure", lambda *_, **__: bad)
    monkeypatch.setattr("sys.argv", ["throughput.py", "--json", "--check"])

    assert throughput.main() == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["loopback_ratio"] == 0.5
    assert err.startswith("loopback_ratio is 0.5")
