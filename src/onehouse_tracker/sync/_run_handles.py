"""
What the blocking runs hand out: a handle for one run, an iterator for many.
"""

from __future__ import annotations

from typing import final

from onehouse_tracker import runs
from onehouse_tracker.run_results import RunResult
from onehouse_tracker.sync._awaiting import Arrivals, Awaited

__all__ = ["RunCompletions", "RunHandle"]


@final
class RunHandle(Awaited[runs.RunHandle, RunResult]):
    """
    One run that is followed until it ends, `cancel` is called, or the tracker closes.

    It is used like a future of ``concurrent.futures``, by any number of threads.
    """

    __slots__ = ()

    @property
    def job(self) -> str | None:
        """The name of the job; `None` for a statement that starts no run."""
        return self.inner.job

    @property
    def run_id(self) -> str | None:
        """The run, once it is known."""
        return self.inner.run_id

    @property
    def request_id(self) -> str | None:
        """The request that started it; `None` for a run that was started elsewhere."""
        return self.inner.request_id

    @property
    def label(self) -> str | None:
        """The label it was given."""
        return self.inner.label

    @property
    def status(self) -> str | None:
        """The server's last word about the run; `None` before the first."""
        return self.inner.status

    def cancel_run(self) -> RunResult:
        """
        Have the server cancel the run, and wait until it has stopped.

        Raises what ``RunHandle.cancel_run`` of `onehouse_tracker.runs` raises.
        """
        return self._calls.call(self.inner.cancel_run)


@final
class RunCompletions(Arrivals[RunResult]):
    """
    Results in the order in which the runs end: a plain iterator and a context manager.

    Leaving the ``with`` block, or `close`, stops the checks of what nobody else follows; so does
    dropping it, but you cannot tell when.  Several threads may take from one iterator: each
    result goes to one of them.

    With a journal, a thread that asks for the next result acknowledges the one it got before.

    Raises:
        ProjectError: After the results that were known before it.
    """
