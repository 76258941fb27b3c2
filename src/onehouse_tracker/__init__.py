"""
Track hundreds of Onehouse SQL requests to their outcome, within the project's rate limit.

Names are loaded when they are first used: ``import onehouse_tracker`` alone imports neither
the HTTP client nor the validation library.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

__all__ = [
    "ApiStatus",
    "AuthenticationError",
    "Completions",
    "ConfigError",
    "Credentials",
    "Handle",
    "InvalidRequestError",
    "JobRun",
    "Journal",
    "JournalCorruptError",
    "JournalError",
    "JournalLockedError",
    "JournalReader",
    "JournalVersionError",
    "JournalWriteError",
    "NotFoundError",
    "OnehouseClient",
    "OutageError",
    "Outcome",
    "PollPolicy",
    "PoolResults",
    "PoolStats",
    "ProjectError",
    "RejectedError",
    "Request",
    "RequestFailedError",
    "RequestStatus",
    "Result",
    "Results",
    "RunFailedError",
    "RunOutcome",
    "RunResult",
    "RunResults",
    "SourceError",
    "SqliteJournal",
    "StaleConnectionError",
    "StatementResult",
    "StatementResults",
    "StatementState",
    "StatusError",
    "StatusReply",
    "StatusSource",
    "SubmissionError",
    "SubmissionRejectedError",
    "SubmissionSource",
    "SubmissionUnknownError",
    "SubmissionUnsentError",
    "ThrottledError",
    "TimeLeft",
    "Tracker",
    "TrackerClosedError",
    "TrackerError",
    "TrackerPool",
    "TrackerStats",
    "TransportError",
    "UnauthorizedError",
    "__version__",
    "statements_of",
]

# An application that configures no logging gets none: what matters is in results and errors.
logging.getLogger(__name__).addHandler(logging.NullHandler())

if TYPE_CHECKING:
    from onehouse_tracker.errors import (
        AuthenticationError,
        ConfigError,
        InvalidRequestError,
        JournalCorruptError,
        JournalError,
        JournalLockedError,
        JournalVersionError,
        JournalWriteError,
        NotFoundError,
        OutageError,
        ProjectError,
        RejectedError,
        RequestFailedError,
        RunFailedError,
        SourceError,
        StaleConnectionError,
        StatusError,
        SubmissionError,
        SubmissionRejectedError,
        SubmissionUnknownError,
        SubmissionUnsentError,
        ThrottledError,
        TrackerClosedError,
        TrackerError,
        TransportError,
        UnauthorizedError,
    )
    from onehouse_tracker.handles import Completions, Handle
    from onehouse_tracker.journal import Journal, JournalReader, SqliteJournal
    from onehouse_tracker.models import (
        ApiStatus,
        Outcome,
        Request,
        Result,
        StatusReply,
    )
    from onehouse_tracker.onehouse.client import OnehouseClient
    from onehouse_tracker.onehouse.credentials import Credentials
    from onehouse_tracker.policy import PollPolicy
    from onehouse_tracker.pool.tracker_pool import TrackerPool
    from onehouse_tracker.protocols import StatusSource, SubmissionSource
    from onehouse_tracker.results import PoolResults, RequestStatus, Results, TimeLeft
    from onehouse_tracker.run_results import JobRun, RunOutcome, RunResult, RunResults
    from onehouse_tracker.statement_results import (
        StatementResult,
        StatementResults,
        StatementState,
        statements_of,
    )
    from onehouse_tracker.stats import PoolStats, TrackerStats
    from onehouse_tracker.tracker import Tracker

    __version__: str
else:
    # Out of the type checker's sight: a module-level __getattr__ makes it believe that
    # every name exists, and it would no longer find a misspelt import.
    _MODULE_OF = {
        "Completions": "handles",
        "Credentials": "onehouse.credentials",
        "Handle": "handles",
        "Journal": "journal",
        "JobRun": "run_results",
        "JournalReader": "journal",
        "OnehouseClient": "onehouse.client",
        "PollPolicy": "policy",
        "PoolResults": "results",
        "PoolStats": "stats",
        "RequestStatus": "results",
        "Results": "results",
        "RunOutcome": "run_results",
        "RunResult": "run_results",
        "RunResults": "run_results",
        "SqliteJournal": "journal",
        "StatementResult": "statement_results",
        "StatementResults": "statement_results",
        "StatementState": "statement_results",
        "StatusSource": "protocols",
        "statements_of": "statement_results",
        "SubmissionSource": "protocols",
        "TimeLeft": "results",
        "Tracker": "tracker",
        "TrackerPool": "pool",
        "TrackerStats": "stats",
    } | dict.fromkeys(
        (
            "ApiStatus",
            "Outcome",
            "Request",
            "Result",
            "StatusReply",
        ),
        "models",
    )

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415 - slow, and seldom needed

            value = version("onehouse-tracker")
        elif name in __all__:
            from importlib import import_module  # noqa: PLC0415 - loaded on first use

            module = import_module(f"{__name__}.{_MODULE_OF.get(name, 'errors')}")
            value = getattr(module, name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value

        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
