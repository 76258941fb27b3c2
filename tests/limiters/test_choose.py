"""
From a word to a limiter, and from a limiter to what users see of it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from onehouse_tracker import Tracker, events
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.limiters import HostLimiter, LocalLimiter, RedisLimiter, limiter_from
from onehouse_tracker.limiters import redis as redis_limiter
from onehouse_tracker.testing import ScriptedSource, SimulatorServer
from tests.limiters.redis_server import RedisServer
from tests.support import PENDING, SUCCESS


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("local", LocalLimiter),
        ("host", HostLimiter),
        ("host:/tmp/some.budget", HostLimiter),
        ("redis://:word@127.0.0.1:1/0", RedisLimiter),
        ("rediss://127.0.0.1:1", RedisLimiter),
        ("unix:///run/redis.sock", RedisLimiter),
    ],
)
def test_each_word_makes_its_limiter(text: str, kind: type[object]) -> None:
    """
    The command and the environment can only say a word.
    """
    limiter = limiter_from(text, project="p", limit=20.0, share=0.5)

    assert type(limiter) is kind
    assert limiter.limit == 10.0


def test_a_path_is_where_the_file_is() -> None:
    """
    Processes that were told the same path must meet there.
    """
    limiter = limiter_from("host:/some/where/x.budget", project="p")

    assert isinstance(limiter, HostLimiter)
    assert limiter.path == Path("/some/where/x.budget")


@pytest.mark.parametrize("text", ["", "locale", "host:", "http://:s3cret@127.0.0.1", "local:x"])
def test_another_word_is_refused_without_being_shown(text: str) -> None:
    """
    A mistyped URL may hold a password.
    """
    with pytest.raises(ConfigError, match="a limiter is local, host") as caught:
        limiter_from(text, project="p")
    assert "s3cret" not in str(caught.value)


async def test_a_tracker_takes_the_word(tmp_path: Path) -> None:
    """
    The limiter is one keyword away, and the statistics tell which one it is.
    """
    environ = SimulatorServer().environment()
    path = tmp_path / "p.budget"
    async with Tracker.from_env(environ=environ, limiter=f"host:{path}", limit=5.0) as tracker:
        async with tracker.slot():
            stats = tracker.stats()

        assert (stats.limiter.kind, stats.limiter.granted) == ("host", 1)
        assert stats.limiter.rate == pytest.approx(4.9)
    with pytest.raises(ConfigError, match="a limiter is local"):
        Tracker.from_env(environ=environ, limiter="nonsense")


async def test_observers_learn_that_redis_is_gone_and_back(
    doomed_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever watches the tracking must see why it is slower than it was.
    """
    monkeypatch.setattr(redis_limiter, "SILENCE", 0.1)
    monkeypatch.setattr(redis_limiter, "_PROBE_INTERVAL", 0.05)
    limiter = RedisLimiter(doomed_redis.url, project="p", limit=40.0, processes=2)
    seen: list[events.Event] = []
    degraded, restored = asyncio.Event(), asyncio.Event()

    def observe(event: events.Event) -> None:
        if isinstance(event, events.BudgetDegraded):
            degraded.set()
        elif isinstance(event, events.BudgetRestored):
            restored.set()
        else:
            return
        seen.append(event)

    source = ScriptedSource({f"r{n}": [PENDING] * 20 + [SUCCESS] for n in range(20)})
    async with Tracker(source, limiter=limiter, observers=[observe]) as tracker:
        waiting = asyncio.ensure_future(
            tracker.wait_all([f"r{n}" for n in range(20)], timeout=1.5)
        )
        async with asyncio.timeout(1.5):
            await degraded.wait()
        assert tracker.stats().limiter.degraded
        doomed_redis.start()
        async with asyncio.timeout(1.5):
            await restored.wait()
        assert not tracker.stats().limiter.degraded
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    assert [type(event) for event in seen] == [events.BudgetDegraded, events.BudgetRestored]
    rates = [getattr(event, "rate") for event in seen]  # noqa: B009 - of two classes
    assert rates == [pytest.approx(0.98 * 20), pytest.approx(0.98 * 40)]
