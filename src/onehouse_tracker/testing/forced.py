"""
Outcomes that a test can force, by a pattern that the statement fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import inf
from typing import Any, Final

from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing import faults
from onehouse_tracker.testing._job_statements import JobAction, job_statement
from onehouse_tracker.testing.faults import Fault
from onehouse_tracker.testing.statements import bare

__all__ = ["FORCED", "Forced", "ForcedOutcomes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """What becomes of a statement, for sure."""

    about: str
    """In a few words."""

    status: str | None = ApiStatus.SUCCESS
    """The last word of the request."""

    never: bool = False
    """Whether the request stays PENDING."""

    on_submission: Fault | None = None
    """What happens to the submission."""

    on_polls: Fault | None = None
    """What happens to every poll of the request."""

    run: Mapping[str, Any] | None = None
    """How the run behaves: fields of `RunKind`."""

    unnamed: bool = False
    """Whether the answer lacks the ID of the run."""

    @property
    def of_run(self) -> bool:
        """Whether it is an outcome of a run, and so only for statements that start one."""
        return self.run is not None


_OF_REQUESTS = {
    "succeeded": Forced(about="ends with SUCCESS"),
    "partially-succeeded": Forced(
        about="ends with SUCCESS_PARTIAL", status=ApiStatus.SUCCESS_PARTIAL
    ),
    "failed": Forced(about="ends with FAILED", status=ApiStatus.FAILED),
    "invalid": Forced(about="ends with INVALID", status=ApiStatus.INVALID),
    "unrecognized": Forced(
        about="ends with a word that nobody knows", status="API_OPERATION_STATUS_UNHEARD_OF"
    ),
    "no-status": Forced(about="ends with a reply without any status", status=None),
    "not-found": Forced(about="is answered 404 at every poll", on_polls=faults.not_found()),
    "rejected": Forced(
        about="is answered 400 at every poll", on_polls=faults.refuse(400, "malformed ID")
    ),
    "unreachable": Forced(about="is answered 500 at every poll", on_polls=faults.refuse(500)),
    "timed-out": Forced(about="stays PENDING", never=True),
    "submission-rejected": Forced(
        about="is refused with 400 when it is submitted",
        on_submission=faults.refuse(400, "refused on demand"),
    ),
    "submission-unsent": Forced(
        about="is refused with 429 whenever it is submitted", on_submission=faults.throttled()
    ),
    "submission-unknown": Forced(
        about="is executed, and its submission is not answered", on_submission=faults.reset()
    ),
}
_OF_RUNS = {
    "run-succeeded": Forced(about="its run ends with COMPLETED", run={}),
    "run-failed": Forced(about="its run ends with FAILED", run={"failed": 1.0}),
    "run-canceled": Forced(about="somebody cancels its run", run={"canceled": 1.0}),
    "run-invalid": Forced(
        about="its run ends with the word INVALID", run={"other": {"INVALID": 1.0}}
    ),
    "run-unrecognized": Forced(
        about="its run ends with a word that nobody knows", run={"other": {"UNHEARD_OF": 1.0}}
    ),
    "run-no-status": Forced(about="its run ends without any status", run={"other": {None: 1.0}}),
    "run-not-run": Forced(about="its run stays NOT_RUN", run={"not_run": inf}),
    "run-timed-out": Forced(about="its run stays RUNNING", run={"duration": inf}),
    "run-unlisted": Forced(about="its run drops out of the listing", run={"unlisted": 1.0}),
    "run-lost": Forced(
        about="its run vanishes from every answer before it ends", run={"vanished": 1.0}
    ),
    "run-unreachable": Forced(
        about="its run drops out of the listing, and polls of a DESCRIBE of it are answered 500",
        run={"unreachable": 1.0},
    ),
    "run-started": Forced(about="the ID of its run does not come back", run={}, unnamed=True),
}
FORCED: Final[Mapping[str, Forced]] = _OF_REQUESTS | _OF_RUNS
"""What can be forced, by name."""


class ForcedOutcomes:
    """Which statements have an outcome that is forced: patterns in the order of `add`."""

    def __init__(self) -> None:
        self._patterns: list[tuple[str, Forced]] = []

    def add(self, pattern: str, outcome: str) -> None:
        """
        Force *outcome* on statements that fit *pattern*.

        Raises:
            ValueError: There is no such outcome.
        """
        forced = FORCED.get(outcome)
        if forced is None:
            raise ValueError(f"no such outcome: {outcome!r}; there are {', '.join(FORCED)}")
        self._patterns.append((_normal(pattern), forced))

    def of(self, statement: str) -> Forced | None:
        """What is forced on *statement*: the first that fits."""
        if not self._patterns:
            return None
        text = _normal(statement)
        found = job_statement(bare(statement))
        starts_run = found is not None and found.action is JobAction.RUN
        for pattern, forced in self._patterns:
            if fnmatchcase(text, pattern) and (starts_run or not forced.of_run):
                return forced
        return None


def _normal(text: str) -> str:
    """*text* without regard to case and to how many blanks there are."""
    return " ".join(text.upper().split())
