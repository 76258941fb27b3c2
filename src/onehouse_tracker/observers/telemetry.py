"""
Metrics and spans for OpenTelemetry, made of the tracker's events.

It needs the extra ``otel``, which brings the API only: which SDK collects, and where it sends
what it collected, is the application's business.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any, Final, TypeVar, final

from opentelemetry import metrics, trace
from opentelemetry.util.types import Attributes

from onehouse_tracker import events
from onehouse_tracker.models import ApiStatus

__all__ = ["OpenTelemetryObserver"]

E = TypeVar("E", bound=events.Event)

_NAME: Final = "onehouse_tracker"

# Seconds.  Without advice an SDK counts in steps that suit milliseconds.
_SHORT: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_DELAYS: Final = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
_LONG: Final = (1.0, 5.0, 15.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0)

_MANY_WAITS: Final = 1_000
"""Waits whose span is open at the same time, at most; more go without."""


class _Now:
    """What the gauges tell whenever they are asked."""

    def __init__(self) -> None:
        self.outage: int | None = None
        self.rates: dict[str, float] = {}

    def outages(self) -> list[metrics.Observation]:
        """The outage, once it is known whether there is one."""
        return [] if self.outage is None else [metrics.Observation(self.outage)]

    def budgets(self) -> list[metrics.Observation]:
        """The rate of each kind of limiter whose budget was lost or found again."""
        return [
            metrics.Observation(rate, {"onehouse.tracker.limiter": limiter})
            for limiter, rate in self.rates.copy().items()
        ]


def _reader(
    now: _Now, read: Callable[[_Now], list[metrics.Observation]]
) -> Callable[[metrics.CallbackOptions], Iterable[metrics.Observation]]:
    """What a meter keeps forever: it must not keep the observer, and falls silent with it."""
    known = weakref.ref(now)

    def observe(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        alive = known()
        return [] if alive is None else read(alive)

    return observe


@final
class OpenTelemetryObserver:
    """
    Turns events into metrics and spans.

    Give it to a tracker: ``Tracker.from_env(observers=[OpenTelemetryObserver()])``.  One may
    serve several trackers of a process; their numbers add up.  Attributes of metrics have few
    values: outcomes, status words, classes of errors, and never a request ID or a label.
    Those are in the spans, one for each ``wait_all``, as a child of the caller's span.

    Args:
        meter_provider: Where metrics go; the global one if `None`.

        tracer_provider: Where spans go; the global one if `None`.
    """

    def __init__(
        self,
        meter_provider: metrics.MeterProvider | None = None,
        tracer_provider: trace.TracerProvider | None = None,
    ) -> None:
        release = version("onehouse-tracker")
        self._tracer = trace.get_tracer(_NAME, release, tracer_provider)
        self._spans: dict[int, trace.Span] = {}
        meter = metrics.get_meter(_NAME, release, meter_provider)

        def seconds(name: str, steps: tuple[float, ...], description: str) -> metrics.Histogram:
            return meter.create_histogram(
                f"onehouse.tracker.{name}",
                unit="s",
                description=description,
                explicit_bucket_boundaries_advisory=steps,
            )

        def number(name: str, unit: str, description: str) -> metrics.Counter:
            return meter.create_counter(
                f"onehouse.tracker.{name}", unit=unit, description=description
            )

        self._polls = number("polls", "{poll}", "Polls that brought a reply or an error.")
        self._poll_duration = seconds("poll.duration", _SHORT, "From the slot to the reply.")
        self._refusals = number("refusals", "{refusal}", "Requests refused for their rate.")
        self._pauses = seconds("pause.duration", _SHORT, "Pauses that followed a refusal.")
        self._pending = meter.create_up_down_counter(
            "onehouse.tracker.pending", unit="{request}", description="Requests followed now."
        )
        self._requests = number("requests", "{request}", "Requests that have their outcome.")
        self._delay_bound = seconds(
            "delay_bound", _DELAYS, "By how much an outcome was known too late, at most."
        )
        self._waited = seconds("waited", _LONG, "From joining a request to its outcome.")
        self._statements = number("statements", "{statement}", "Statements that were accepted.")
        self._now = _Now()
        # Observable, because SDKs before 1.45 export the value of any other gauge only once: an
        # alert on it would end by itself in the middle of the outage.
        meter.create_observable_gauge(
            "onehouse.tracker.outage",
            [_reader(self._now, _Now.outages)],
            unit="1",
            description="1 while nothing succeeds any more, else 0.",
        )
        self._outage_duration = seconds("outage.duration", _LONG, "Outages that are over.")
        self._failures = number("failures", "{failure}", "Errors that failed all who waited.")
        self._callback_errors = number(
            "callback.errors", "{error}", "Callbacks that raised an exception."
        )
        self._journal_lost = number("journal.lost", "{entry}", "Entries that were not written.")
        meter.create_observable_gauge(
            "onehouse.tracker.budget",
            [_reader(self._now, _Now.budgets)],
            unit="{request}/s",
            description="The rate of a shared budget since it was lost or found again.",
        )
        self._handlers: dict[type[events.Event], Callable[[Any], None]] = {
            events.RequestJoined: self._joined,
            events.RequestDropped: self._dropped,
            events.RequestEnded: self._ended,
            events.PollFinished: self._polled,
            events.StatementSubmitted: self._submitted,
            events.BudgetRefused: self._refused,
            events.BudgetDegraded: self._budget_changed,
            events.BudgetRestored: self._budget_changed,
            events.OutageBegan: self._outage_began,
            events.OutageEnded: self._outage_ended,
            events.ProjectFailed: self._failed,
            events.CallbackFailed: self._callback_failed,
            events.JournalFailed: self._journal_failed,
            events.WaitBegan: self._wait_began,
            events.WaitEnded: self._wait_ended,
        }

    def __call__(self, event: events.Event) -> None:
        """Take note of *event*."""
        handle = self._handlers.get(type(event))
        if handle is not None:
            handle(event)

    # --- Metrics -----------------------------------------------------------------------

    def _joined(self, _: events.RequestJoined) -> None:
        self._pending.add(1)

    def _dropped(self, _: events.RequestDropped) -> None:
        self._pending.add(-1)

    def _ended(self, event: events.RequestEnded) -> None:
        outcome: Attributes = {"onehouse.tracker.outcome": str(event.outcome)}
        self._pending.add(-1)
        self._requests.add(1, outcome)
        self._waited.record(event.waited, outcome)
        if event.delay_bound is not None:
            self._delay_bound.record(event.delay_bound, outcome)

    def _polled(self, event: events.PollFinished) -> None:
        if event.error is None:
            attributes = {"onehouse.tracker.status": _known(event.status)}
        else:
            attributes = {"error.type": event.error}
        self._polls.add(1, attributes)
        self._poll_duration.record(event.took, attributes)

    def _submitted(self, _: events.StatementSubmitted) -> None:
        self._statements.add(1)

    def _refused(self, event: events.BudgetRefused) -> None:
        self._refusals.add(1)
        self._pauses.record(event.paused_for)

    def _budget_changed(self, event: events.BudgetDegraded | events.BudgetRestored) -> None:
        self._now.rates[event.limiter] = event.rate

    def _outage_began(self, _: events.OutageBegan) -> None:
        self._now.outage = 1

    def _outage_ended(self, event: events.OutageEnded) -> None:
        self._now.outage = 0
        self._outage_duration.record(event.lasted)

    def _failed(self, event: events.ProjectFailed) -> None:
        self._pending.add(-event.pending)
        self._failures.add(1, {"error.type": event.error})
        # The next tracker starts with a probe, and an outage that lasts is reported anew.
        self._now.outage = 0

    def _callback_failed(self, event: events.CallbackFailed) -> None:
        self._callback_errors.add(1, {"error.type": event.error})

    def _journal_failed(self, event: events.JournalFailed) -> None:
        self._journal_lost.add(event.lost, {"error.type": event.error})

    # --- Spans -------------------------------------------------------------------------

    def _wait_began(self, event: events.WaitBegan) -> None:
        if len(self._spans) >= _MANY_WAITS:
            return
        attributes: dict[str, Any] = {
            "onehouse.tracker.requests": event.requests,
            "onehouse.tracker.request_ids": event.request_ids,
        }
        if event.label is not None:
            attributes["onehouse.tracker.label"] = event.label
        self._spans[event.wait] = self._tracer.start_span(
            "onehouse.tracker.wait_all", attributes=attributes
        )

    def _wait_ended(self, event: events.WaitEnded) -> None:
        span = self._spans.pop(event.wait, None)
        if span is None:
            return
        for request_id, outcome in event.not_ok:
            span.add_event(
                "onehouse.tracker.not_ok",
                {
                    "onehouse.tracker.request_id": request_id,
                    "onehouse.tracker.outcome": str(outcome),
                },
            )
        span.set_attributes(
            {
                "onehouse.tracker.succeeded": event.succeeded,
                "onehouse.tracker.failed": event.failed,
                "onehouse.tracker.unfinished": event.unfinished,
            }
        )
        if event.error is not None:
            span.set_attribute("error.type", event.error)
            if event.error != "CancelledError":  # the caller stopped waiting
                span.set_status(trace.StatusCode.ERROR, event.error)
        span.end()


def _known(status: str | None) -> str:
    """The server's word, if it is one of few."""
    return status if status in set(ApiStatus) else "_OTHER"
