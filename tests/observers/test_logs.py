"""
Log lines: stable names, keys with units, and silence until logging is configured.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import fields
from pathlib import Path

import pytest
import structlog

from onehouse_tracker import events
from onehouse_tracker.observers.logs import LogObserver, event_fields, event_name, level_of
from onehouse_tracker.testing import ScriptedSource
from onehouse_tracker.tracker import Tracker
from tests.support import FAILED, PENDING, SUCCESS, run

DOCS = Path(__file__).parents[2] / "docs" / "how-to" / "telemetry.md"

KINDS = [
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event
]


def _example(kind: type[events.Event]) -> events.Event:
    """An event of *kind* in which everything is known."""
    values: dict[str, object] = {}
    for item in fields(kind):
        annotation = str(item.type)
        if annotation.startswith("tuple"):
            values[item.name] = ("x",)
        else:
            values[item.name] = "x" if annotation.startswith(("str", "Outcome")) else 1.23456
    return kind(**values)  # type: ignore[arg-type]


def _documented() -> dict[str, tuple[str, list[str]]]:
    rows = re.findall(
        r"^\| `([a-z.]+)` \| ([A-Z]+) \| ([^|]+) \|$", DOCS.read_text(), flags=re.MULTILINE
    )
    return {name: (level, re.findall(r"`([^`]+)`", keys)) for name, level, keys in rows}


def test_names_levels_and_keys_are_those_of_the_docs() -> None:
    """
    Alerts are built on the table: a new event, or a renamed key, must change it.
    """
    found = {
        event_name(event): (logging.getLevelName(level_of(event)), list(event_fields(event)))
        for event in map(_example, KINDS)
    }

    assert found == _documented()


def test_durations_are_rounded_and_the_unknown_is_left_out() -> None:
    """
    A reader of logs has no use for microseconds, nor for ``None``.
    """
    event = events.BudgetRefused(
        at=9.9, request_id="a", retry_after=None, paused_for=0.123456, margin=0.03
    )

    assert event_fields(event) == {"request_id": "a", "paused_for_s": 0.123, "margin": 0.03}


def test_each_event_is_one_record(caplog: pytest.LogCaptureFixture) -> None:
    """
    One line for people, and the same as data for machines.
    """
    caplog.set_level(logging.DEBUG, logger="onehouse_tracker")
    source = ScriptedSource({"a": [FAILED]})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            await tracker.wait_all(["a"], default_label="RUN JOB")

    run(scenario())

    assert [record.__dict__["event"] for record in caplog.records] == [
        "request.joined",
        "wait.began",
        "poll.finished",
        "request.ended",
        "wait.ended",
    ]
    ended = caplog.records[3]
    assert ended.name == "onehouse_tracker"
    assert ended.levelno == logging.INFO
    assert ended.getMessage() == (
        "request.ended request_id='a' label='RUN JOB' outcome='FAILED'"
        " reason='API_OPERATION_STATUS_FAILED' polls=1 waited_s=0.0"
    )
    assert ended.__dict__["fields"] == {
        "request_id": "a",
        "label": "RUN JOB",
        "outcome": "FAILED",
        "reason": "API_OPERATION_STATUS_FAILED",
        "polls": 1,
        "waited_s": 0.0,
    }


def test_what_a_server_says_cannot_forge_lines(caplog: pytest.LogCaptureFixture) -> None:
    """
    A reason may hold line breaks and what terminals obey; a percent sign is no format.
    """
    caplog.set_level(logging.DEBUG, logger="onehouse_tracker")

    LogObserver()(events.OutageBegan(at=0.0, reason="100 %s\nERROR \x1b[2J"))

    assert caplog.messages == ["outage.began reason='100 %s\\nERROR \\x1b[2J'"]


def test_the_applications_context_is_part_of_the_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    What was bound around a job tells its lines from those of others.
    """
    caplog.set_level(logging.INFO, logger="onehouse_tracker")

    with structlog.contextvars.bound_contextvars(job="nightly"):
        LogObserver()(events.OutageEnded(at=0.0, lasted=3.0))

    assert caplog.messages == ["outage.ended lasted_s=3.0 job='nightly'"]
    assert caplog.records[0].filename == "logs.py"  # and not a module of structlog


def test_an_observer_of_ones_own_takes_the_place(caplog: pytest.LogCaptureFixture) -> None:
    """
    Nothing is logged twice.
    """
    caplog.set_level(logging.DEBUG)
    source = ScriptedSource({"a": [PENDING, SUCCESS]})

    async def scenario() -> None:
        async with Tracker(source, observers=[LogObserver("mine")]) as tracker:
            await tracker.wait_all(["a"])

    run(scenario())

    assert {record.name for record in caplog.records} == {"mine"}


def test_a_logger_that_is_off_costs_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Every tracker logs, so a tracker nobody listens to must not build lines.
    """
    observer = LogObserver("onehouse_tracker.off")
    logging.getLogger("onehouse_tracker.off").setLevel(logging.CRITICAL)
    monkeypatch.setattr("onehouse_tracker.observers.logs.event_fields", _never)

    for kind in KINDS:
        observer(_example(kind))


def _never(event: events.Event) -> dict[str, object]:
    raise AssertionError(event)


def test_nothing_is_printed_until_logging_is_configured(tmp_path: Path) -> None:
    """
    Piped output must stay clean, also when a warning would be due.
    """
    program = """
        import asyncio
        from onehouse_tracker import Tracker
        from onehouse_tracker.testing import ScriptedSource
        from onehouse_tracker.errors import ThrottledError

        async def main():
            source = ScriptedSource({"a": [ThrottledError("slow", retry_after=0.01), "WHAT"] * 9})
            async with Tracker(source) as tracker:
                await tracker.wait_all(["a"], timeout=0.5, on_result=lambda result: 1 / 0)

        asyncio.run(main())
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(program))
    loud = tmp_path / "loud.py"
    loud.write_text("import logging; logging.basicConfig()\n" + textwrap.dedent(program))

    def printed(path: Path) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, path],
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    assert printed(script) == (0, "", "")
    code, out, err = printed(loud)
    assert (code, out) == (0, "")
    assert "WARNING:onehouse_tracker:budget.refused request_id='a' retry_after_s=0.01" in err
