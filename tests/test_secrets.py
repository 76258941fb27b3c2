"""
No secret gets out: everything the product writes, logs, tells or shows is searched for them.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import re
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from onehouse_tracker import (
    AuthenticationError,
    OutageError,
    Outcome,
    Result,
    SubmissionError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    Tracker,
    TrackerClosedError,
)
from onehouse_tracker.events import Event
from onehouse_tracker.journal import JournalReader, SqliteJournal
from onehouse_tracker.onehouse.client import OnehouseClient
from onehouse_tracker.testing import SimulatedProject, SimulatorServer, faults
from tests.cli import harness
from tests.onehouse.hostile_server import (
    GOOD,
    OWN,
    HostileServer,
    credentials,
    http,
    say,
    tracker_for,
)

ANSWER = "answ3r-s3cret"
"""A secret in the server's answer, as ``CREATE API TOKEN`` brings one."""

STATEMENT = "st4tement-s3cret"
"""A secret in a statement."""

TOKEN = "t0ken-m4rk3d-0123456789"
SECRETS = (OWN["api_key"], OWN["api_secret"], TOKEN)

ANSWERED = json.dumps(
    {"apiStatus": "API_OPERATION_STATUS_SUCCESS", "apiResponse": {"token": ANSWER}}
).encode()
REFUSAL = json.dumps({"code": 3, "message": "not %s", "details": [ANSWER]}).encode()
"""A reason that quotes a secret which the server was sent."""


class Seen:
    """
    Everything that was told during one scenario.

    Attributes:
        errors: What was raised or handed out.

        objects: What a user may print.

        events: What the observer got.
    """

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.objects: list[object] = []
        self.events: list[Event] = []
        self.logged: list[str] = []

    def texts(self) -> Iterator[str]:
        """All of it, as text."""
        yield from self.logged
        yield repr(self.events)
        for item in self.objects:
            yield f"{item!r} {item}"
        for error in self.errors:
            for form in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301
                yield f"{form!r} {form} {vars(form)}"
            yield "".join(traceback.format_exception(error))

    def frames(self) -> Iterator[str]:
        """The variables of our own frames, which some tools for errors show."""
        for error in self.errors:
            chain: BaseException | None = error
            while chain is not None:
                yield from _locals(chain.__traceback__)
                chain = chain.__cause__ or chain.__context__


def _locals(step: TracebackType | None) -> Iterator[str]:
    while step is not None:
        if "onehouse_tracker" in step.tb_frame.f_code.co_filename:
            yield repr(step.tb_frame.f_locals)
        step = step.tb_next


@pytest.fixture
def seen(caplog: pytest.LogCaptureFixture) -> Iterator[Seen]:
    """Whatever is logged at any level, by anybody, asyncio in debug mode included."""
    found = Seen()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.logged.append(f"{self.format(record)} {record.__dict__}")

    handler = Keep(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    caplog.set_level(logging.DEBUG)
    for name in ("onehouse_tracker", "aiohttp.client", "aiohttp.internal", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    yield found
    logging.getLogger().removeHandler(handler)


Scenario = Callable[[Tracker, OnehouseClient, HostileServer, Seen], Awaitable[None]]


async def good(tracker: Tracker, _: OnehouseClient, __: HostileServer, seen: Seen) -> None:
    """Submission, waiting, iterating: everything ends well."""
    handle = await tracker.submit(f"CREATE SECRET '{STATEMENT}'", label="CREATE SECRET")
    results = await tracker.wait_all(["r1", "r2"])
    seen.objects += [handle, await handle, results, *results.values()]
    async with tracker.as_completed(["r3"]) as completions:
        seen.objects += [completions, *[result async for result in completions]]


async def failed(tracker: Tracker, _: OnehouseClient, __: HostileServer, seen: Seen) -> None:
    """All kinds of bad ends."""
    results = await tracker.wait_all([f"r{number}" for number in range(6)], timeout=0.5)
    seen.objects += [results, *results.values()]
    with pytest.raises(ExceptionGroup) as caught:
        results.raise_for_failures()
    seen.errors += [caught.value, *caught.value.exceptions]
    seen.errors += [result.error for result in results.values() if result.error is not None]


async def wrong_key(tracker: Tracker, _: OnehouseClient, __: HostileServer, seen: Seen) -> None:
    """The server quotes the headers that it refuses."""
    with pytest.raises(AuthenticationError) as caught:
        await tracker.wait_all(["r1", "r2"])
    seen.errors.append(caught.value)
    with pytest.raises(AuthenticationError) as caught:
        await tracker.submit(STATEMENT)
    seen.errors.append(caught.value)


async def submissions(tracker: Tracker, _: OnehouseClient, __: HostileServer, seen: Seen) -> None:
    """Refused, lost, and accepted without an ID that can be used."""
    for kind in (SubmissionRejectedError, SubmissionUnknownError, SubmissionUnknownError):
        with pytest.raises(SubmissionError) as caught:
            await tracker.submit(f"CREATE SECRET '{STATEMENT}'")
        assert type(caught.value) is kind
        seen.errors.append(caught.value)


async def outage(tracker: Tracker, _: OnehouseClient, __: HostileServer, seen: Seen) -> None:
    """Nothing succeeds until patience is over."""
    with pytest.raises(OutageError) as caught:
        await tracker.wait_all(["r1", "r2"])
    seen.errors.append(caught.value)


async def callbacks(tracker: Tracker, _: OnehouseClient, __: HostileServer, seen: Seen) -> None:
    """A callback that raises with the answer in its error."""

    def spoil(result: Result) -> None:
        raise ValueError(result.response)

    results = await tracker.wait_all(["r1", "r2"], on_result=spoil)
    assert len(results.callback_errors) == 2
    seen.objects += [results, *results.values()]


async def closing(
    tracker: Tracker, client: OnehouseClient, server: HostileServer, seen: Seen
) -> None:
    """Closed while polls and a submission are on the wire."""
    waiter = asyncio.create_task(tracker.wait_all(["r1"]))
    sender = asyncio.create_task(client.submit(STATEMENT))
    await server.arrived(2)
    seen.objects += [waiter, sender]
    await client.aclose()
    sender.cancel()
    waiter.cancel()
    for task in (waiter, sender):
        with pytest.raises((asyncio.CancelledError, SubmissionError)) as caught:
            await task
        if isinstance(caught.value, SubmissionError):
            seen.errors.append(caught.value)
    with pytest.raises(TrackerClosedError) as closed:
        await client.fetch("r1")
    seen.errors.append(closed.value)


def _on_disk(folder: Path) -> str:
    """All that is in the files of a journal, the write-ahead log included."""
    return b"".join(path.read_bytes() for path in folder.iterdir()).decode(errors="replace")


def _quoting(act: Any, secret: str) -> Any:
    """*act*, with *secret* where it has a place for one."""
    if not isinstance(act, bytes):
        return act
    head, _, body = act.replace(b"%s", secret.encode()).partition(b"\r\n\r\n")
    length = b"Content-Length: %d" % len(body)
    return re.sub(rb"Content-Length: \d+", length, head) + b"\r\n\r\n" + body


_HANG = say(hold=True)
_QUOTED_400 = http(REFUSAL, "400 Bad")
SCENARIOS: dict[str, tuple[Scenario, list[Any]]] = {
    "good": (good, [http(b'{"requestId": "r9"}'), *[http(ANSWERED)] * 9]),
    "failed": (
        failed,
        [
            http(ANSWERED.replace(b"SUCCESS", b"FAILED")),
            http(ANSWERED.replace(b"SUCCESS", b"INVALID")),
            _QUOTED_400,
            http(b"", "302 Moved", "Location: https://u:%s@elsewhere.example/?a=b"),
            http(b"", "409 No", "grpc-message: %22%s%22"),
            say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + ANSWERED),
            *[_HANG] * 9,
        ],
    ),
    "wrong key": (wrong_key, [http(REFUSAL, "401 No")] * 9),
    "submissions": (
        submissions,
        [_QUOTED_400, say(), http(b'{"requestId": "%s\\n"}')],
    ),
    "outage": (
        outage,
        [
            http(REFUSAL, "503 Down"),
            say(f"HTTP/1.1 200 OK\r\nX-Token: {ANSWER}\r\nContent-".encode()),
            say(ANSWERED),
            http(ANSWERED[:-3]),
            _HANG,
        ]
        * 9,
    ),
    "callbacks": (callbacks, [http(ANSWERED)] * 2),
    "closing": (closing, [_HANG] * 9),
}


@pytest.mark.parametrize("bearer", [False, True])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_nothing_that_is_told_holds_a_secret(
    name: str, seen: Seen, tmp_path: Path, *, bearer: bool
) -> None:
    """
    Log records of every logger at DEBUG, events, errors with their chains and pickles, reprs,
    and the files of the journal: our credentials, the answer and the statement are in none.
    """
    asyncio.get_running_loop().set_debug(True)
    scenario, acts = SCENARIOS[name]
    keys = {"api_key": None, "api_secret": None, "bearer_token": TOKEN} if bearer else {}
    journal = SqliteJournal(tmp_path / "journal", store_responses=False)
    ours = SECRETS[2:] if bearer else SECRETS[:2]
    async with HostileServer(*(_quoting(act, ours[-1]) for act in acts)) as server:
        client = OnehouseClient(credentials(server.url, **keys), request_timeout=0.3)
        async with (
            client,
            tracker_for(
                client, journal=journal, observers=[seen.events.append], patience=0.5
            ) as tracker,
        ):
            seen.objects += [tracker, client, client.credentials, journal, tracker.stats()]
            await scenario(tracker, client, server, seen)
            left = _on_disk(tmp_path)
    left += _on_disk(tmp_path)

    sent = b"".join(server.requests).decode()
    assert all(secret in sent for secret in ours)
    assert seen.logged
    shown = [*seen.texts(), left]
    for secret in (*SECRETS, ANSWER, STATEMENT):
        assert [text for text in shown if secret in text] == []
    for secret in SECRETS:
        assert [text for text in seen.frames() if secret in text] == []


async def test_answers_are_in_the_journal_by_choice(tmp_path: Path) -> None:
    """
    Which shows that the search above finds what is there; our own credentials are not, even if
    the server repeats them.
    """
    answer = {"apiStatus": "API_OPERATION_STATUS_FAILED", "apiResponse": {"a": ANSWER, "b": OWN}}
    journal = SqliteJournal(tmp_path / "journal")
    async with HostileServer(http(json.dumps(answer).encode())) as server:
        client = OnehouseClient(credentials(server.url))
        async with client, tracker_for(client, journal=journal) as tracker:
            await tracker.wait_all(["r1"])

    (kept,) = JournalReader(tmp_path / "journal").requests()
    left = _on_disk(tmp_path)
    assert kept.result is not None
    assert kept.result.outcome is Outcome.FAILED
    assert ANSWER in left
    assert not any(secret in left for secret in SECRETS)


COMMANDS = {
    "wait": ("wait", "r1", "bad", "odd", "spelled"),
    "wait, in lines": ("wait", "r1", "bad", "spelled", "--output", "jsonl"),
    "wait, with logs": ("wait", "r1", "bad", "odd", "spelled", "--verbose"),
    "wait, with a journal": ("wait", "bad", "spelled", "--journal", "journal"),
    "wait, with a report": ("wait", "bad", "spelled", "--report", "report.html"),
    "status": ("status", "r1", "bad", "spelled"),
    "submit": ("submit", f"SHOW CLUSTERS '{STATEMENT}'", "--wait", "--verbose"),
    "wait, in vain": ("wait", "slow", "--timeout", "0.3"),
}


@pytest.mark.parametrize(
    ("name", "refused"),
    [*((name, False) for name in COMMANDS), ("wait, with logs", True), ("submit", True)],
)
async def test_the_command_shows_no_secret(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, refused: bool
) -> None:
    """
    Neither on stdout nor on stderr, nor in a file that it writes, with log lines or without,
    whether it works or the credentials are refused.
    """
    monkeypatch.chdir(tmp_path)
    project = SimulatedProject(speed=1000)
    for request_id in ("r1", "bad", "odd", "spelled"):
        project.add(request_id, 0)
    spelled = "".join(f"\\u{ord(c):04x}" for c in OWN["api_secret"])
    answer = f'{{"apiStatus": "A {spelled}", "apiResponse": {{"{spelled}": "{spelled}"}}}}'
    project.script("spelled", [faults.body(answer.encode())] * 9)
    project.add("slow", 10_000_000)
    project.script("bad", [faults.refuse(400, f"bad {OWN['api_secret']}", form="body")])
    project.script("odd", [faults.body(b"<html>" + OWN["api_key"].encode())])
    expected = {
        "x-onehouse-api-key": OWN["api_key"],
        "x-onehouse-api-secret": "another-one" if refused else OWN["api_secret"],
    }

    async with SimulatorServer(project, expected_headers=expected) as server:
        variables = {**server.environment(), "ONEHOUSE_API_SECRET": OWN["api_secret"]}
        ended = await harness.run(*COMMANDS[name], variables=variables)

    assert server.seen[0].headers["x-onehouse-api-secret"] == OWN["api_secret"]
    assert ended.out + ended.err
    assert (ended.code == 3) is refused
    for secret in (*SECRETS, STATEMENT):
        assert secret not in ended.out + ended.err + _on_disk(tmp_path)


def test_credentials_show_no_secret_anywhere() -> None:
    """
    Printed, formatted, in a traceback, as a field of something else.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = credentials("https://onehouse.example")
    shown = f"{found!r} {found} {[found]} {found.api_key} {found.api_secret!r} {found.origins}"

    assert not any(secret in shown for secret in SECRETS)
    assert GOOD  # the server of these tests would answer
