"""
What one command follows of runs, and what is known of each so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from onehouse_tracker.errors import TrackerClosedError
from onehouse_tracker.events import Event, RunOverdue, StatementSubmitted
from onehouse_tracker.run_results import JobRun, RunOutcome, RunResult

if TYPE_CHECKING:
    from onehouse_tracker.journal import JournalRun
    from onehouse_tracker.results import TimeLeft
    from onehouse_tracker.runs import RunHandle, Runs
    from onehouse_tracker.runs._followed import Followed

__all__ = ["LeftRuns", "RunState"]


class RunState:
    """
    Statements and runs in the order given, each open or with its result.

    It is an observer of the tracker too: once everything has failed, nobody else knows which
    runs there are.

    Args:
        total: How many there are.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.complete = True
        """Whether no more will come."""
        self._runs: Runs | None = None
        self._seen: dict[Followed, None] = {}
        self._outcomes: Counter[RunOutcome] = Counter()
        self._overdue: set[str] = set()
        self._foreseen: dict[str | None, TimeLeft | None] = {}

    def begin(self, runs: Runs, handles: Iterable[RunHandle] = ()) -> None:
        """Statements are sent by *runs* from now on; *handles* are of what runs already."""
        self._runs = runs
        self._seen.update((handle.followed, None) for handle in handles)

    def listens_to(self, kind: type[Event]) -> bool:
        """Whether events of this *kind* tell of a run."""
        return kind in {StatementSubmitted, RunOverdue}

    def __call__(self, event: Event) -> None:
        """Take note of what the server accepted, and of what runs for unusually long."""
        if isinstance(event, StatementSubmitted):
            self.look()
        elif isinstance(event, RunOverdue):
            self._overdue.add(event.run_id)

    def look(self) -> None:
        """Take note of every statement that is on its way."""
        book = None if self._runs is None else self._runs._book  # noqa: SLF001 - the same, inside
        if book is not None:
            self._seen.update(dict.fromkeys(book._starting))  # noqa: SLF001 - the same, inside

    def look_last(self) -> None:
        """The same before runs are given up, and how long they will still take."""
        self.look()
        if self._runs is not None:
            with suppress(TrackerClosedError):
                for run in self.open_runs():
                    self._foreseen[run.run_id] = self._runs.time_left(run)

    def _forecast(self, run_id: str | None) -> dict[str, Any]:
        """What earlier runs say about one without a result, as data for programs."""
        left = self._foreseen.get(run_id)
        return {
            "left": None if left is None else left.to_dict(),
            "overdue": run_id in self._overdue,
        }

    def end(self, result: RunResult) -> None:
        """One of them has its result."""
        self._outcomes[result.outcome] += 1

    def outcomes(self) -> Counter[RunOutcome]:
        """How many ended how."""
        return +self._outcomes

    @property
    def done(self) -> int:
        """How many have a result."""
        return self._outcomes.total()

    def results(self) -> list[RunResult]:
        """The results so far, in the order given."""
        return [followed.result for followed in self._seen if followed.result is not None]

    def open_data(self) -> Iterator[dict[str, Any]]:
        """What is known of those that were sent and have no result, as data for programs."""
        for followed in self._unended():
            run_id = None if followed.run is None else followed.run.run_id
            yield {
                "statement": followed.statement,
                "request_id": followed.request_id,
                "job": followed.job,
                "run_id": run_id,
                "label": followed.label,
                "outcome": None,
                "ok": None,
                **self._forecast(run_id),
            }

    def open_runs(self) -> list[JobRun]:
        """The runs without a result."""
        return [
            JobRun(each.run.job, each.run.run_id)
            for each in self._unended()
            if each.run is not None
        ]

    def untold(self) -> Iterator[str]:
        """What has to be said of statements whose runs are not known, for people."""
        for number, followed in enumerate(self._seen, 1):
            if followed.result is not None or followed.run is not None:
                continue
            if followed.request_id is not None:
                yield (
                    f"statement {number} of {self.total} was accepted as request"
                    f" {followed.request_id}; what it starts is not known yet"
                )
            elif followed.was_sent:
                yield (
                    f"statement {number} of {self.total} may or may not have been submitted: look"
                    " in the Onehouse console before you submit it again"
                )
        sent = sum(_is_sent(followed) for followed in self._seen)
        if sent < self.total:
            yield f"not submitted: {self.total - sent} of {self.total}, the last ones"

    def _unended(self) -> Iterator[Followed]:
        return (each for each in self._seen if each.result is None and _is_sent(each))


class LeftRuns(RunState):
    """
    The same of what a journal holds: it is known before, and nothing is sent.

    Args:
        left: What did not end, or was not delivered.
    """

    def __init__(self, left: Sequence[JournalRun]) -> None:
        super().__init__(len(left))
        self._left = {run.run_id or run.request_id or run.key: run for run in left}
        self._ended: list[RunResult] = []

    def end(self, result: RunResult) -> None:
        """One of them has its result."""
        super().end(result)
        self._ended.append(result)
        for name in (result.run_id, result.request_id):
            self._left.pop(name or "", None)

    def results(self) -> list[RunResult]:
        """The results so far, in the order in which they came."""
        return list(self._ended)

    def open_data(self) -> Iterator[dict[str, Any]]:
        """What the journal knows of those that have no result."""
        for run in self._left.values():
            yield {
                "statement": None,
                "request_id": run.request_id,
                "job": run.job,
                "run_id": run.run_id,
                "label": run.label,
                "outcome": None,
                "ok": None,
                **self._forecast(run.run_id),
            }

    def open_runs(self) -> list[JobRun]:
        """The runs without a result."""
        return [
            JobRun(run.job, run.run_id) for run in self._left.values() if run.job and run.run_id
        ]

    def untold(self) -> Iterator[str]:
        """Nothing was sent, so nothing has to be said of that."""
        return iter(())


def _is_sent(followed: Followed) -> bool:
    return (
        followed.statement is None
        or followed.was_sent
        or followed.request_id is not None
        or followed.result is not None
    )
