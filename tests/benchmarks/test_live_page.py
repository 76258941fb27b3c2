"""
The judge of the live page's benchmark: a benchmark that cannot be missed proves nothing.
"""

from __future__ import annotations

import sys
from random import Random

import pytest

from benchmarks import live_page
from benchmarks.live_page import Numbers, Round


def _round(readers: int, mean: float) -> Round:
    return Round(readers=readers, mean_delay=mean, p99_delay=9.0, polls=700, messages=readers)


def _numbers(*with_readers: float) -> Numbers:
    quiet = [_round(0, 5.0), _round(0, 5.5)]
    return Numbers("test", 500, 50.0, [*quiet, *(_round(20, mean) for mean in with_readers)])


@pytest.mark.parametrize(("slower", "code"), [(5.4, 0), (5.6, 1)])
def test_delays_that_grow_are_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], slower: float, code: int
) -> None:
    """
    Of each kind the best round counts: other work on the machine only makes it slower.
    """

    async def measured(_: int) -> Numbers:
        return _numbers(9.0, slower)

    monkeypatch.setattr(live_page, "measure", measured)
    monkeypatch.setattr(sys, "argv", ["live_page.py", "--check"])

    assert live_page.main() == code
    said = capsys.readouterr()
    assert f"ratio {slower / 5:.3f}, noise 1.100" in said.out
    assert bool(said.err) is bool(code)


async def test_a_batch_is_followed_while_others_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Readers are real, in a process of their own, and see the end.
    """
    monkeypatch.setattr(live_page, "REQUESTS", 5)
    monkeypatch.setattr(Random, "uniform", lambda *_: 0.2)

    found = await live_page.follow(live_page.READERS)

    assert found.polls >= 5
    assert found.messages >= live_page.READERS
    assert 0 <= found.mean_delay < 2
