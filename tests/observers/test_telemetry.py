"""
Metrics and spans as an SDK collects them, and as the documentation lists them.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import Meter, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from onehouse_tracker import events
from onehouse_tracker.errors import AuthenticationError, ThrottledError, UnauthorizedError
from onehouse_tracker.models import Outcome
from onehouse_tracker.observers.telemetry import OpenTelemetryObserver
from onehouse_tracker.testing import ScriptedSource
from onehouse_tracker.tracker import Tracker
from tests.support import FAILED, PENDING, SUCCESS, run

DOCS = Path(__file__).parents[2] / "docs" / "how-to"

ONE_OF_EACH: list[events.Event] = [
    events.RequestJoined(at=0.0, request_id="a", label="L", age=0.0),
    events.RequestJoined(at=0.0, request_id="b", label="L", age=0.0),
    events.RequestJoined(at=0.0, request_id="c", label="L", age=0.0),
    events.RequestJoined(at=0.0, request_id="d", label="L", age=0.0),
    events.PollFinished(
        at=0.0, request_id="a", attempt=1, took=0.2, status=SUCCESS, error=None, reason=None
    ),
    events.PollFinished(
        at=0.0, request_id="a", attempt=1, took=0.2, status="NEW", error=None, reason=None
    ),
    events.PollFinished(
        at=0.0, request_id="a", attempt=1, took=0.2, status=None, error="E", reason="secret"
    ),
    events.RequestEnded(
        at=0.0,
        request_id="a",
        label="L",
        outcome=Outcome.FAILED,
        reason="secret",
        polls=2,
        waited=7.0,
        delay_bound=0.5,
    ),
    events.RequestDropped(at=0.0, request_id="b", label="L", timed_out=False, reason=None),
    events.StatementSubmitted(at=0.0, request_id="a", label="L"),
    events.BudgetRefused(at=0.0, request_id="a", retry_after=None, paused_for=0.2, margin=0.1),
    events.BudgetDegraded(at=0.0, limiter="redis", rate=2.5),
    events.OutageBegan(at=0.0, reason="down"),
    events.OutageEnded(at=0.0, lasted=30.0),
    events.ProjectFailed(at=0.0, error="OutageError", message="m", pending=1),
    events.CallbackFailed(at=0.0, request_id="a", error="KeyError"),
    events.JournalFailed(at=0.0, path="p", error="JournalWriteError", message="m", lost=3),
]


class Collected:
    """An observer, and what an SDK collected of what it said."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._meters = MeterProvider([self._reader])
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.observer = OpenTelemetryObserver(self._meters, self.tracers)

    def metrics(self) -> dict[str, Any]:
        """All metrics that have data, by name."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[tuple[dict[str, Any], float]]:
        """Attributes and value, or sum, of each point of a metric."""
        return [
            (dict(point.attributes), point.sum if hasattr(point, "sum") else point.value)
            for point in self.metrics()[name].data.data_points
        ]

    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended, in that order."""
        return self._exporter.get_finished_spans()

    def close(self) -> None:
        """End the SDK."""
        self._meters.shutdown()
        self.tracers.shutdown()


@pytest.fixture
def collected() -> Iterator[Collected]:
    """
    An SDK without a collector.
    """
    made = Collected()
    yield made
    made.close()


def _documented() -> dict[str, tuple[str, set[str]]]:
    """The table of metrics: unit and attributes by name."""
    text = (DOCS / "telemetry.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `(onehouse\.tracker\.[a-z._]+)` \| [a-z ]+ \| `([^`]+)` \|([^|]*)\|",
        text,
        flags=re.MULTILINE,
    )
    return {name: (unit, set(re.findall(r"`([^`]+)`", keys))) for name, unit, keys in rows}


def test_names_units_and_attributes_are_those_of_the_docs(collected: Collected) -> None:
    """
    Dashboards are built from the table: whatever is missing or extra breaks them.
    """
    for event in ONE_OF_EACH:
        collected.observer(event)

    found = {
        name: (metric.unit, {key for point in metric.data.data_points for key in point.attributes})
        for name, metric in collected.metrics().items()
    }
    assert found == _documented()


def test_metrics_count_what_happened(collected: Collected) -> None:
    """
    Each number in its place; unknown words of the server share one, so that they stay few.
    """
    for event in ONE_OF_EACH:
        collected.observer(event)

    failed = {"onehouse.tracker.outcome": "FAILED"}
    assert collected.points("onehouse.tracker.pending") == [({}, 1)]
    assert collected.points("onehouse.tracker.requests") == [(failed, 1)]
    assert collected.points("onehouse.tracker.waited") == [(failed, 7.0)]
    assert collected.points("onehouse.tracker.delay_bound") == [(failed, 0.5)]
    assert collected.points("onehouse.tracker.polls") == [
        ({"onehouse.tracker.status": SUCCESS}, 1),
        ({"onehouse.tracker.status": "_OTHER"}, 1),
        ({"error.type": "E"}, 1),
    ]
    assert collected.points("onehouse.tracker.outage") == [({}, 0)]
    assert collected.points("onehouse.tracker.journal.lost") == [
        ({"error.type": "JournalWriteError"}, 3)
    ]


def test_gauges_are_told_with_every_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An alert on an outage must not end by itself because nothing changed for a minute.  SDKs
    before 1.45 keep that promise only for gauges that they ask, so there are no others.
    """
    monkeypatch.delattr(Meter, "create_gauge")
    collected = Collected()
    assert "onehouse.tracker.outage" not in collected.metrics()
    collected.observer(events.OutageBegan(at=0.0, reason="down"))
    collected.observer(events.BudgetDegraded(at=0.0, limiter="redis", rate=2.5))
    for _ in range(3):
        assert collected.points("onehouse.tracker.outage") == [({}, 1)]
        assert collected.points("onehouse.tracker.budget") == [
            ({"onehouse.tracker.limiter": "redis"}, 2.5)
        ]
    collected.observer(events.OutageEnded(at=0.0, lasted=30.0))
    assert collected.points("onehouse.tracker.outage") == [({}, 0)]
    collected.close()


def test_gauges_fall_silent_with_their_observer(collected: Collected) -> None:
    """
    A meter keeps its callbacks for ever: they must not keep the observer, nor tell of an outage
    that nobody watches any more.
    """
    collected.observer(events.OutageBegan(at=0.0, reason="down"))
    del collected.observer
    gc.collect()

    assert "onehouse.tracker.outage" not in collected.metrics()


def test_no_request_and_no_label_is_in_a_metric(collected: Collected) -> None:
    """
    One series per request would be more than any store of metrics bears.
    """
    source = ScriptedSource({f"r-{number}": [PENDING, SUCCESS] for number in range(30)})

    async def scenario() -> None:
        async with Tracker(source, observers=[collected.observer]) as tracker:
            await tracker.wait_all(
                [f"r-{number}" for number in range(30)], default_label="RUN JOB"
            )

    run(scenario())

    points = [
        point for metric in collected.metrics().values() for point in metric.data.data_points
    ]
    assert "r-1" not in str([point.attributes for point in points])
    assert "RUN JOB" not in str([point.attributes for point in points])
    assert max(len(metric.data.data_points) for metric in collected.metrics().values()) <= 3
    assert collected.points("onehouse.tracker.polls") == [
        ({"onehouse.tracker.status": PENDING}, 30),
        ({"onehouse.tracker.status": SUCCESS}, 30),
    ]


def test_nothing_stays_pending(collected: Collected) -> None:
    """
    However a request is let go, the number of those that are followed returns to zero.
    """
    source = ScriptedSource({"a": [SUCCESS], "b": [PENDING], "c": [PENDING], "d": [PENDING]})

    async def scenario() -> None:
        async with Tracker(source, observers=[collected.observer]) as tracker:
            await tracker.wait_all(["a", "b"], timeout=5)
            tracker.track("c").cancel()
            kept = tracker.track("d")
            assert collected.points("onehouse.tracker.pending") == [({}, 1)]
        assert kept.done()

    run(scenario())

    assert collected.points("onehouse.tracker.pending") == [({}, 0)]


def test_an_error_of_the_project_empties_it_too(collected: Collected) -> None:
    """
    Everyone who waited got an error, and nothing is followed any more.
    """
    source = ScriptedSource({"a": [UnauthorizedError("no", http_status=401)], "b": [PENDING]})

    async def scenario() -> None:
        async with Tracker(source, observers=[collected.observer]) as tracker:
            with pytest.raises(AuthenticationError):
                await tracker.wait_all(["a", "b"])

    run(scenario())

    assert collected.points("onehouse.tracker.pending") == [({}, 0)]
    assert collected.points("onehouse.tracker.failures") == [
        ({"error.type": "AuthenticationError"}, 1)
    ]
    (span,) = collected.spans()
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "AuthenticationError"


def test_refusals_are_counted(collected: Collected) -> None:
    """
    The first question about a slow batch is whether the server refused us.
    """
    source = ScriptedSource({"a": [ThrottledError("slow down", retry_after=3.0), SUCCESS]})

    async def scenario() -> None:
        async with Tracker(source, observers=[collected.observer]) as tracker:
            await tracker.wait_all(["a"])

    run(scenario())

    assert collected.points("onehouse.tracker.refusals") == [({}, 1)]
    assert collected.points("onehouse.tracker.pause.duration") == [({}, 3.0)]


def test_each_wait_is_a_span_below_the_callers(collected: Collected) -> None:
    """
    From a slow job to the requests it waited for: there, request IDs are welcome.
    """
    source = ScriptedSource({"good": [PENDING, SUCCESS], "bad": [FAILED]})
    tracer = collected.tracers.get_tracer("job")

    async def scenario() -> None:
        async with Tracker(source, observers=[collected.observer]) as tracker:
            with tracer.start_as_current_span("nightly"):
                await tracker.wait_all(["good", "bad", "bad"], default_label="RUN JOB")

    run(scenario())

    span, parent = collected.spans()
    assert (span.name, parent.name) == ("onehouse.tracker.wait_all", "nightly")
    assert span.parent is not None
    assert span.parent.span_id == parent.context.span_id
    assert dict(span.attributes or {}) == {
        "onehouse.tracker.requests": 2,
        "onehouse.tracker.request_ids": ("good", "bad"),
        "onehouse.tracker.label": "RUN JOB",
        "onehouse.tracker.succeeded": 1,
        "onehouse.tracker.failed": 1,
        "onehouse.tracker.unfinished": 0,
    }
    assert [(event.name, dict(event.attributes or {})) for event in span.events] == [
        (
            "onehouse.tracker.not_ok",
            {"onehouse.tracker.request_id": "bad", "onehouse.tracker.outcome": "FAILED"},
        )
    ]
    assert span.status.status_code is trace.StatusCode.UNSET


def test_spans_are_bounded(collected: Collected) -> None:
    """
    A wait for thousands must not make a span of megabytes.
    """
    source = ScriptedSource({f"r-{number}": [FAILED] for number in range(150)})

    async def scenario() -> None:
        async with Tracker(source, observers=[collected.observer]) as tracker:
            await tracker.wait_all([f"r-{number}" for number in range(150)])

    run(scenario())

    (span,) = collected.spans()
    assert span.attributes is not None
    assert span.attributes["onehouse.tracker.requests"] == 150
    ids = span.attributes["onehouse.tracker.request_ids"]
    assert isinstance(ids, tuple)
    assert len(ids) == events.FEW
    assert len(span.events) == events.FEW
    assert span.attributes["onehouse.tracker.failed"] == 150


def test_a_cancelled_wait_is_no_error(collected: Collected) -> None:
    """
    Whoever stops waiting knows why; the span ends and says so.
    """
    source = ScriptedSource({"a": [PENDING]})

    async def scenario() -> None:
        async with Tracker(source, observers=[collected.observer]) as tracker:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3):
                    await tracker.wait_all(["a"])

    run(scenario())

    (span,) = collected.spans()
    assert span.status.status_code is trace.StatusCode.UNSET
    assert span.attributes is not None
    assert span.attributes["error.type"] == "CancelledError"


def test_waits_that_never_end_are_bounded(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A service with a leak of its own must not get one of ours on top.
    """
    monkeypatch.setattr("onehouse_tracker.observers.telemetry._MANY_WAITS", 2)
    for number in range(5):
        collected.observer(
            events.WaitBegan(at=0.0, wait=number, requests=0, request_ids=(), label=None)
        )
    ended = {"at": 0.0, "took": 1.0, "succeeded": 0, "failed": 0, "unfinished": 0}
    for number in range(5):
        collected.observer(events.WaitEnded(wait=number, not_ok=(), error=None, **ended))  # type: ignore[arg-type]

    assert len(collected.spans()) == 2


def test_events_of_others_are_let_pass(collected: Collected) -> None:
    """
    A newer tracker may tell more than an older observer knows.
    """
    collected.observer(events.Event(at=1.0))

    assert collected.spans() == ()


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    """
    A panel without data looks like a quiet night.
    """
    board = json.loads((DOCS / "grafana-dashboard.json").read_text(encoding="utf-8"))
    asked = set(re.findall(r"onehouse_tracker_[a-z_]+", json.dumps(board["panels"])))

    assert asked
    assert asked <= _prometheus_names()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))


def _prometheus_names() -> set[str]:
    """The names that exporters give them: points become underscores, units and kinds follow."""
    names = set()
    text = (DOCS / "telemetry.md").read_text(encoding="utf-8")
    for name, (unit, attributes) in _documented().items():
        names |= {attribute.replace(".", "_") for attribute in attributes}
        base = name.replace(".", "_")
        kind = re.search(rf"`{re.escape(name)}` \| ([a-z ]+) \|", text)
        assert kind is not None
        if kind[1] == "histogram":
            assert unit == "s"
            names |= {f"{base}_seconds_{part}" for part in ("bucket", "sum", "count")}
        elif kind[1] == "counter":
            names.add(f"{base}_total")
        elif name.endswith("budget"):
            names.add(f"{base}_per_second")
        elif unit == "1":
            names.add(f"{base}_ratio")
        else:
            names.add(base)
    return names
