"""
The model of the service: which requests there are, how they end, who is let in, what goes wrong.

Bookkeeping only: no I/O, no tasks, and no clock but the one it is given.  What it decides
depends on the seed and on the order of the calls, on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Literal

from onehouse_tracker.models import ApiStatus, StatusReply
from onehouse_tracker.testing._execution import Execution
from onehouse_tracker.testing._fault_plan import FaultPlan, FaultScript
from onehouse_tracker.testing.enforcers import Enforcer
from onehouse_tracker.testing.faults import Fault, FaultRule, not_found, refuse, throttled
from onehouse_tracker.testing.forced import ForcedOutcomes
from onehouse_tracker.testing.job_runs import COMPLETED, SimulatedRun
from onehouse_tracker.testing.jobs import SimulatedJobs
from onehouse_tracker.testing.records import Answer, Arrival, SimulatedRequest, peak
from onehouse_tracker.testing.statements import KINDS, Kind, parse_error

__all__ = ["SimulatedProject"]

# One for all: most replies by far say this, and it costs a microsecond to say it anew.
_PENDING = StatusReply(ApiStatus.PENDING.value)


class SimulatedProject:
    """
    A project of the simulated service.

    `SimulatedSource` and `SimulatorServer` serve it; both may serve the same one.

    Args:
        enforcer: Who is let in; `None` is no limit.

        seed: Decides every draw: durations, final statuses, IDs, and which faults happen.

        rules: Faults by chance.  The first rule that hits decides.

        visible_after: Seconds after submission during which the server answers 404.

        kinds: How statements behave.

        jobs: How job runs behave and what listings of them answer.

        speed: Divides every duration that is drawn, for demonstrations.

        refusal: How the enforcer refuses.

        record: Whether `arrivals` is kept; the counters always are.

    Attributes:
        requests: Every request, by ID.

        runs: Every job run, by ID: the truth about it, its future included.

        jobs: The jobs by name, and how their runs behave; can be changed at any time.

        arrivals: Every request on the wire, in the order of arrival.

        arrived: How many there were.

        refused: How many of them the enforcer refused.

        rules: Faults by chance; can be changed at any time.
    """

    def __init__(  # noqa: PLR0913 - one for each thing that can be chosen
        self,
        *,
        enforcer: Enforcer | None = None,
        seed: int = 0,
        rules: Sequence[FaultRule] = (),
        visible_after: float = 0.0,
        kinds: Sequence[Kind] = KINDS,
        jobs: SimulatedJobs | None = None,
        speed: float = 1.0,
        refusal: Fault | None = None,
        record: bool = True,
    ) -> None:
        self.requests: dict[str, SimulatedRequest] = {}
        self.arrivals: list[Arrival] = []
        self.arrived = 0
        self.refused = 0
        # Draws apart, so that another number of faults does not change the durations.
        self._faults = FaultPlan(Random(f"{seed} luck"))
        self.rules = list(rules)
        self.jobs = SimulatedJobs() if jobs is None else jobs
        self.jobs.belong(seed, speed)
        self.runs = self.jobs.runs
        self._execution = Execution(kinds, speed=speed, seed=seed, jobs=self.jobs)
        self._forced = ForcedOutcomes()
        self._enforcer = enforcer
        self._visible_after = visible_after
        self._refusal = refusal or throttled()
        self._record = record
        self._unplaced: list[SimulatedRequest] = []
        self._clock: Callable[[], float] | None = None
        self._epoch = 0.0

    def __repr__(self) -> str:
        return (
            f"<SimulatedProject: {len(self.requests)} requests, {self.arrived} arrivals,"
            f" {self.refused} refused>"
        )

    # --- arranging ---------------------------------------------------------------------

    def begin(self, clock: Callable[[], float]) -> None:
        """
        Use *clock* from now on; sources and servers call this.

        What was added before there was a clock is submitted now.
        """
        if self._clock is None:
            self._epoch = clock()
        self._clock = clock
        self.jobs.begin(clock(), self._epoch)
        for request in self._unplaced:
            request.submitted_at = clock()
        self._unplaced.clear()

    def add(
        self,
        request_id: str,
        duration: float,
        status: str | None = ApiStatus.SUCCESS,
        *,
        label: str | None = None,
        response: Mapping[str, Any] | None = None,
        submitted_at: float | None = None,
        visible_after: float | None = None,
    ) -> SimulatedRequest:
        """
        Add a request that ends *duration* seconds after it was submitted.

        Args:
            request_id: Its ID.

            duration: Seconds.

            status: The server's word at its end; `None` for a reply without one.

            label: What kind of statement it is; for the reader only.

            response: ``apiResponse`` at its end.

            submitted_at: Seconds on the project's clock; `None` is now, or the project's
                first moment where it has no clock yet.

            visible_after: Seconds during which the server answers 404; `None` takes the
                project's.

        Raises:
            ValueError: There is such a request already.
        """
        if request_id in self.requests:
            raise ValueError(f"there is a request {request_id!r} already")
        if submitted_at is None and self._clock is not None:
            submitted_at = self._clock()
        request = SimulatedRequest(
            request_id=request_id,
            duration=duration,
            status=None if status is None else str(status),
            response=response or {},
            label=label,
            submitted_at=submitted_at,
            visible_after=self._visible_after if visible_after is None else visible_after,
        )
        if submitted_at is None:
            self._unplaced.append(request)
        self.requests[request_id] = request

        return request

    def add_run(
        self,
        job: str,
        run_id: str,
        duration: float,
        status: str | None = COMPLETED,
        *,
        queued: float = 0.0,
        not_run: float = 0.0,
        created_at: float | None = None,
    ) -> SimulatedRun:
        """
        Add a job run that somebody else started.

        Args:
            job: The name of its job.

            run_id: Its ID.

            duration: Seconds that it is RUNNING; `math.inf` never ends.

            status: Its last word, with or without ``SPARK_JOB_RUN_STATUS_``; `None` for none.

            queued: Seconds that it is QUEUED before.

            not_run: Seconds that it is NOT_RUN before that.

            created_at: Seconds on the project's clock; `None` is now, or the project's first
                moment where it has no clock yet.

        Raises:
            ValueError: There is such a run already.
        """
        if created_at is None and self._clock is not None:
            created_at = self._clock()
        return self.jobs.add(
            job, run_id, duration, status, queued=queued, not_run=not_run, at=created_at
        )

    def force(self, pattern: str, outcome: str) -> None:
        """
        Decide what becomes of the statements that fit *pattern*.

        Args:
            pattern: A statement in which ``*`` and ``?`` stand for anything, case and the
                number of blanks aside: ``RUN JOB *bad*``.  The first that fits decides.

            outcome: A name of `FORCED`; those that begin with ``run-`` are about runs, and
                hit statements that start one.

        Raises:
            ValueError: There is no such outcome.
        """
        self._forced.add(pattern, outcome)

    def script(self, request_id: str, faults: FaultScript) -> None:
        """Spoil the next polls of *request_id*, one after the other; `None` spares one."""
        self._faults.script(request_id, faults)

    def script_next(self, faults: FaultScript) -> None:
        """Spoil the next requests of any kind, one after the other; `None` spares one."""
        self._faults.script_next(faults)

    # --- serving -----------------------------------------------------------------------

    def status(self, request_id: str, now: float) -> StatusReply | None:
        """The truth about *request_id* at *now*; `None` if the server does not know it."""
        request = self.requests.get(request_id)
        if request is None or request.submitted_at is None:
            return None
        age = now - request.submitted_at
        # Ages are differences of decimals: what ends now has ended.
        if age < request.visible_after - 1e-9:
            return None
        if age < request.duration - 1e-9:
            return _PENDING
        if request.look is not None:
            return StatusReply(*request.look())
        return StatusReply(request.status, request.response)

    def poll(self, request_id: str, now: float) -> Answer:
        """Answer a poll that arrives at *now*, as limit and faults have it."""
        request = self.requests.get(request_id)
        if request is not None:
            request.polls += 1
        fault = self._admit("status", request_id, now)
        if fault is None and request is not None and request.spoilt is not None:
            fault = request.spoilt
            self._arrive(now, "status", request_id, f"fault:{fault.kind}")
        reply = self.status(request_id, now)
        if reply is None and fault is not None and fault.kind in _SPOIL_A_PROPER_ANSWER:
            fault = not_found()  # there is no proper answer that could be spoilt
        elif fault is None:
            if request is None or reply is None:
                fault = not_found()
                verdict = "unknown"
            elif reply is _PENDING:
                verdict = "pending"
            else:
                verdict = "final"
                request.final_replies += 1
                if request.first_final_at is None:
                    request.first_final_at = now
            self._arrive(now, "status", request_id, verdict)

        return Answer(reply, request_id, fault)

    def submit(self, statement: str, now: float) -> Answer:
        """
        Answer a submission that arrives at *now*.

        A statement is not executed if the limit, a parse error or a REFUSE or REDIRECT
        fault is in the way; every other fault spoils the answer only.
        """
        fault = self._admit("submit", "", now)
        if fault is not None and fault.kind in _NOT_EXECUTED:
            return Answer(None, "", fault)
        reason = parse_error(statement)
        if reason is not None:
            self._arrive(now, "submit", "", "malformed")
            return Answer(None, "", refuse(400, reason))
        if fault is None:
            fault = self._spoil(statement, now)
            if fault is not None and fault.kind in _NOT_EXECUTED:
                return Answer(None, "", fault)
        request_id = self._execute(statement, now)
        if fault is None:
            self._arrive(now, "submit", request_id, "accepted")

        return Answer(None, request_id, fault)

    def turn_away(
        self, kind: Literal["status", "submit", "other"], request_id: str, now: float, verdict: str
    ) -> None:
        """Record a request that got no further than the door: it costs no budget."""
        self._arrive(now, kind, request_id, verdict)

    def delay_of(self, fault: Fault) -> float:
        """Draw how many seconds late *fault* makes the answer."""
        return self._faults.delay_of(fault)

    # --- judging -----------------------------------------------------------------------

    def finished_at(self, request_id: str) -> float:
        """The truth: when the server finished *request_id*, in seconds on the project's clock."""
        return self.requests[request_id].finished_at

    def times(self, request_id: str) -> list[float]:
        """When polls of *request_id* arrived, in seconds on the project's clock."""
        return [arrival.at for arrival in self.arrivals if arrival.request_id == request_id]

    def budget_used(self, start: float, end: float, limit: float = 10.0) -> float:
        """The share of *limit* requests a second that was admitted from *start* to *end*."""
        admitted = sum(
            start <= arrival.at < end and arrival.verdict not in _COST_NOTHING
            for arrival in self.arrivals
        )
        return admitted / (limit * (end - start))

    def peak_in_any_second(self, window: float = 1.0) -> int:
        """The largest number of arrivals, refused ones included, in any *window* seconds."""
        return peak([arrival.at for arrival in self.arrivals], window)

    # --- private -----------------------------------------------------------------------

    def _admit(
        self, kind: Literal["status", "submit"], request_id: str, now: float
    ) -> Fault | None:
        if self._enforcer is not None and not self._enforcer.admit(now):
            self.refused += 1
            self._arrive(now, kind, request_id, "refused")
            return self._refusal
        fault = self._faults.next(self.rules, kind, request_id, now - self._epoch)
        if fault is not None:
            self._arrive(now, kind, request_id, f"fault:{fault.kind}")
        return fault

    def _spoil(self, statement: str, now: float) -> Fault | None:
        """What is forced on the submission of *statement*."""
        forced = self._forced.of(statement)
        if forced is None or forced.on_submission is None:
            return None
        self._arrive(now, "submit", "", f"fault:{forced.on_submission.kind}")
        return forced.on_submission

    def _arrive(
        self,
        now: float,
        kind: Literal["status", "submit", "other"],
        request_id: str,
        verdict: str,
    ) -> None:
        self.arrived += 1
        if self._record:
            self.arrivals.append(Arrival(now, kind, request_id, verdict))

    def _execute(self, statement: str, now: float) -> str:
        forced = self._forced.of(statement)
        request = self._execution.request_of(
            statement, now, visible_after=self._visible_after, forced=forced
        )
        self.requests[request.request_id] = request

        return request.request_id


_COST_NOTHING = frozenset({"refused", "unauthorized"})
_NOT_EXECUTED = frozenset({"refuse", "redirect"})
_SPOIL_A_PROPER_ANSWER = frozenset({"delay", "truncated"})
