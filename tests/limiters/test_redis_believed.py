"""
What Redis holds and says is believed only as far as one of us can have written it.

Others may write to a shared Redis, and whatever listens where a URL leads may be no Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.limiters import RedisLimiter
from onehouse_tracker.limiters._redis_script import SCRIPT, keys_of
from tests.limiters.redis_server import RedisServer

BUDGET, QUEUE, PROCESSES = keys_of("p")
HOUR = 3600.0
RECORD = ("next", "margin", "refused", "reacted", "backoff", "paused", "epoch", "born", "at")


def _ask(client: redis.Redis, *, me: str = "me", wants: str = "1") -> list[float]:
    """Call the script as a newcomer; the reply without the name of the record."""
    arguments = [
        "10",
        me,
        "",
        wants,
        "0",
        "",
        "",
        "0",
        "",
        "120",
        "fresh",
        str(HOUR),
        "0.25",
        "0",
        "1",
    ]
    reply: Any = client.eval(SCRIPT, 3, BUDGET, QUEUE, PROCESSES, *arguments)
    return [float(value) for value in (*reply[:9], reply[10])]


def _now(client: redis.Redis) -> float:
    seconds, microseconds = client.time()
    return float(seconds) + float(microseconds) / 1e6


# Seconds from now where a number begins with "+".
PLANTED = [
    ("margin", "-100"),
    ("margin", "0"),
    ("margin", "0.9999"),
    ("margin", "nan"),
    ("margin", "-inf"),
    ("paused", "+1e8"),
    ("paused", "+3700"),
    ("paused", "nan"),
    ("paused", "inf"),
    ("paused", "1e300"),
    ("backoff", "1e9"),
    ("backoff", "0"),
    ("backoff", "-5"),
    ("backoff", "nan"),
    ("next", "+1e8"),
    ("next", "nan"),
    ("next", "inf"),
    ("refused", "+60"),
    ("refused", "nan"),
    ("reacted", "+1e8"),
    ("reacted", "inf"),
    ("born", "+1e8"),
    ("born", "nan"),
    ("at", "nan"),
    ("at", "inf"),
    ("at", "-inf"),
    ("epoch", "e" * 10_000),
    *((name, "words") for name in RECORD if name != "epoch"),
    *((name, "") for name in RECORD if name != "epoch"),
    *((name, None) for name in RECORD),
]


@pytest.mark.parametrize(("name", "value"), PLANTED)
def test_a_record_that_nobody_of_us_can_have_written_is_not_believed(
    redis_server: RedisServer, name: str, value: str | None
) -> None:
    """
    Else it would stop every process for good, or none of them at the limit.
    """
    with redis_server.client() as client:
        _ask(client)
        if value is None:
            client.hdel(BUDGET, name)
        else:
            if value.startswith("+"):
                value = f"{_now(client) + float(value):.7f}"
            client.hset(BUDGET, name, value)
        granted, now, _, slot, margin, refused, reacted, backoff, paused, _ = _ask(
            client, me="other"
        )
        again = _ask(client)

    # A second of silence, because slots may be booked; without a name it is no record at all.
    silence = 0.0 if (name, value) == ("epoch", None) else 1.0
    assert slot - now == pytest.approx(silence, abs=1e-6)
    assert granted == (silence == 0.0)
    assert (margin, refused, reacted, backoff, paused) == (0.02, -1.0, -1.0, 0.2, -1.0)
    assert again[3] - again[1] < 1.2


@pytest.mark.parametrize(
    ("name", "value"),
    [("margin", "0.5"), ("backoff", "10"), ("paused", "+3500"), ("next", "+90"), ("refused", "1")],
)
def test_what_one_of_us_can_have_written_is_believed(
    redis_server: RedisServer, name: str, value: str
) -> None:
    """
    A check that was too strict would forget pauses.
    """
    with redis_server.client() as client:
        _ask(client)
        if value.startswith("+"):
            value = f"{_now(client) + float(value):.7f}"
        client.hset(BUDGET, name, value)
        client.hset(BUDGET, "epoch", "kept")
        _ask(client, me="other")

        assert client.hget(BUDGET, "epoch") == "kept"
        assert float(client.hget(BUDGET, name) or 0) == pytest.approx(float(value))


def test_planted_places_in_the_queue_pass(redis_server: RedisServer) -> None:
    """
    Nobody of us takes a place further ahead than can be booked.
    """
    with redis_server.client() as client:
        _ask(client)
        now = _now(client)
        client.zadd(QUEUE, {f"q-{number}": now + 1e8 + number for number in range(200)})
        client.zadd(QUEUE, {"last": "inf"})
        client.zadd(PROCESSES, {f"p-{number}": now + 1e8 for number in range(200)})
        reply = _ask(client)

        assert reply[0] == 1
        assert client.zcard(QUEUE) == 0
        assert client.zcard(PROCESSES) == 1


def test_a_crowded_queue_sends_nobody_away_for_longer_than_can_be_believed(
    redis_server: RedisServer,
) -> None:
    """
    They come back, and those who were never there have been passed over by then.
    """
    with redis_server.client() as client:
        now = _now(client)
        client.zadd(QUEUE, {f"q-{number}": now + 30 for number in range(50_000)})
        reply = _ask(client)

    assert reply[0] == 0
    assert reply[2] == HOUR


async def test_planted_values_neither_stop_us_nor_speed_us_up(redis_server: RedisServer) -> None:
    """
    The whole of it, as a process lives it: a margin of -100 gave 1,921 slots instead of 29.
    """
    limiter = RedisLimiter(redis_server.url, project="p")
    await limiter.start()
    loop = asyncio.get_running_loop()
    grants = 0
    with redis_server.client() as client:
        end = loop.time() + 1.9
        for name, value in [("margin", "-100"), ("paused", "nan")]:
            client.hset(BUDGET, name, value)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(end - 0.5 if name == "margin" else end):
                    while True:
                        await limiter.acquire()
                        grants += 1
    stats = limiter.stats()
    await limiter.aclose()

    assert 2 <= grants <= 10
    assert not stats.degraded
    assert stats.margin == pytest.approx(0.02)


@pytest.mark.parametrize("key", [BUDGET, QUEUE, PROCESSES])
async def test_a_key_of_another_kind_is_said(
    redis_server: RedisServer, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    At the start it is a mistake; later everybody has a share, and a log line says so.
    """
    limiter = RedisLimiter(redis_server.url, project="p")
    await limiter.start()
    with redis_server.client() as client:
        client.delete(key)
        client.set(key, "somebody else's")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await limiter.acquire()

    assert limiter.stats().degraded
    assert "Redis is away (ResponseError)" in caplog.text
    await limiter.aclose()
    with pytest.raises(ConfigError, match="Redis refuses us: WRONGTYPE"):
        await limiter.start()


# --- Whoever answers ---------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _impostor(reply: bytes) -> AsyncIterator[str]:
    """Something that answers to whatever it is asked with *reply*."""
    busy: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        busy.add(task)
        with contextlib.suppress(ConnectionError):
            while asked := await reader.read(65_536):
                # Commands that are sent together may arrive together.
                writer.write(reply * len(re.findall(rb"\*\d+\r\n", asked)))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"redis://{host}:{port}"
    finally:
        server.close()
        await asyncio.wait(busy)


def _bulk(*values: object) -> bytes:
    """A list of strings, as Redis spells it."""
    parts = [str(value).encode() for value in values]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


SOUND: list[object] = [1, 1000.0, 0.0, 1000.0, 0.02, -1.0, -1.0, 0.2, -1.0, "e", 1]


def _but(place: int, value: object) -> bytes:
    return _bulk(*SOUND[:place], value, *SOUND[place + 1 :])


REPLIES = {
    "ok": b"+OK\r\n",
    "number": b":7\r\n",
    "nothing": b"$-1\r\n",
    "no list": b"*-1\r\n",
    "empty list": b"*0\r\n",
    "too few": _bulk(*SOUND[:-1]),
    "too many": _bulk(*SOUND, 1),
    "deep": b"*1\r\n" * 100_000,
    "lists within": b"*11\r\n" + b"*1\r\n:1\r\n" * 11,
    "errors within": b"*11\r\n" + b"-ERR odd\r\n" * 11,
    "nils within": b"*11\r\n" + b"$-1\r\n" * 11,
    "huge": b"*11\r\n" + (b":" + b"9" * 400 + b"\r\n") * 11,
    "moved": b"-MOVED\r\n",
    "ask": b"-ASK x\r\n",
    "no protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "no bytes that mean anything": b"\x00\xff\r\n",
    "negative": b"$-5\r\n",
    "words": _but(1, "words"),
    "no time": _but(1, "nan"),
    "time stands still": _but(1, "-1"),
    "endless": _but(2, "inf"),
    "long": _but(2, "1e7"),
    "slot": _but(3, "1e12"),
    "no slot": _but(3, "nan"),
    "margin": _but(4, "-100"),
    "no margin": _but(4, "nan"),
    "refused": _but(5, "2000"),
    "reacted": _but(6, "inf"),
    "backoff": _but(7, "1e9"),
    "paused": _but(8, "1e9"),
    "no pause": _but(8, "nan"),
    "epoch": _but(9, "e" * 1000),
    "no epoch": _but(9, ""),
    "processes": _but(10, "9" * 50),
    "no processes": _but(10, "0"),
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
async def test_an_impostor_is_no_redis(reply: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """
    The budget is not shared then, and that is said: no other error comes of it.
    """
    caplog.set_level(logging.WARNING, "onehouse_tracker")
    async with _impostor(reply) as url:
        limiter = RedisLimiter(url, project="p", socket_timeout=0.1)
        refusal = "Redis is away"
        try:
            await limiter.start()
        except ConfigError as error:
            refusal = str(error)
        told = refusal in caplog.text and limiter.stats().degraded
        await limiter.aclose()

    assert told or refusal.startswith("Redis refuses us")
    assert refusal.isprintable()
    assert len(refusal) < 600


async def test_an_impostor_that_answers_soundly_is_believed() -> None:
    """
    So that the table above shows what it means to show.
    """
    async with _impostor(_bulk(*SOUND)) as url:
        limiter = RedisLimiter(url, project="p")
        await limiter.start()

        assert not limiter.stats().degraded
        await limiter.aclose()


async def test_what_refuses_us_steers_no_terminal() -> None:
    """
    Its words are shown, and they may be anything.
    """
    async with _impostor(b"-ERR \x1b[2J\xe2\x80\xae" + b"x" * 5_000 + b"\r\n") as url:
        limiter = RedisLimiter(url, project="p")
        with pytest.raises(ConfigError, match="Redis refuses us") as caught:
            await limiter.start()

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


# --- The URL -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://127.0.0.1?ssl_keyfile=x", "with rediss://"),
        ("redis://127.0.0.1?nonsense=s3cret", "names an option"),
        ("redis://127.0.0.1?path=x", "names an option"),
        ("redis://127.0.0.1?retry=1", "names an option"),
        ("redis://127.0.0.1?retry_on_timeout=1", "names an option"),
        ("redis://127.0.0.1?socket_timeout=100", "names an option"),
        ("redis://127.0.0.1?protocol=3", "names an option"),
        ("redis://127.0.0.1?encoding=nope", "names an option"),
        ("redis://127.0.0.1?parser_class=x", "names an option"),
        ("redis://127.0.0.1?credential_provider=x", "names an option"),
        ("redis://127.0.0.1?decode_responses=1", "names an option"),
        ("unix:///tmp/x?ssl_ca_certs=x", "names an option"),
        ("redis://127.0.0.1?db=x", "cannot be read"),
        ("redis://[::1", "cannot be read"),
        ("redis://redis..example", "cannot be read"),
        ("redis://127.0.0.1:99999", "cannot be read"),
        ("rediss://127.0.0.1?ssl_keyfile=/not/there", "names a file as ssl_keyfile"),
        ("rediss://127.0.0.1?ssl_ca_certs=/not/there", "names a file as ssl_ca_certs"),
        ("rediss://127.0.0.1?ssl_cert_reqs=bad", "cannot be read"),
        ("rediss://127.0.0.1?ssl_check_hostname=maybe", None),
    ],
)
async def test_a_url_that_cannot_mean_anything_is_refused(url: str, message: str | None) -> None:
    """
    Neither a traceback of redis-py nor an outage that never ends; a password is not shown.
    """
    url = url.replace("://127", "://:s3cret@127")
    if message is None:  # redis-py takes any word for true or false
        RedisLimiter(url, project="p")
        return
    with pytest.raises(ConfigError, match=message) as caught:
        await RedisLimiter(url, project="p").start()
    assert "s3cret" not in str(caught.value)


async def test_options_that_are_the_users_pass(redis_server: RedisServer) -> None:
    """
    The number of the database is one of them.
    """
    limiter = RedisLimiter(f"{redis_server.url}?db=3&client_name=us", project="p")
    await limiter.start()

    assert not limiter.stats().degraded
    await limiter.aclose()
