"""
The tree of errors: what each carries, what it says, and that none loses anything on its way.
"""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest

from onehouse_tracker import errors
from onehouse_tracker.models import Outcome, Result
from onehouse_tracker.results import Results
from onehouse_tracker.run_results import RunOutcome, RunResult

FAILED = Result(
    request_id="r-1",
    outcome=Outcome.FAILED,
    label="RUN JOB",
    status="API_OPERATION_STATUS_FAILED",
    response={"errorMessage": "no such table", "token": "hunter2-hunter2"},
)

# One of each, with nothing left at its default.
EXAMPLES: list[errors.TrackerError] = [
    errors.TrackerError("anything"),
    errors.ConfigError("wrong setting"),
    errors.InvalidRequestError("wrong ID"),
    errors.StatusError("odd", request_id="r-1", http_status=503, grpc_status=14),
    errors.TransportError("down", request_id="r-1", http_status=503, grpc_status=14),
    errors.StaleConnectionError("stale", request_id="r-1", http_status=503, grpc_status=14),
    errors.ThrottledError(
        "slow", request_id="r-1", http_status=503, grpc_status=8, retry_after=0.0
    ),
    errors.UnauthorizedError("no", request_id="r-1", http_status=403, grpc_status=7),
    errors.RejectedError("no", request_id="r-1", http_status=409, grpc_status=10),
    errors.NotFoundError("gone", request_id="r-1", http_status=404, grpc_status=5),
    errors.SubmissionError("odd", http_status=400, grpc_status=3),
    errors.SubmissionRejectedError("syntax", http_status=400, grpc_status=3),
    errors.SubmissionUnsentError("no route", http_status=400, grpc_status=3),
    errors.SubmissionUnknownError("reset", http_status=400, grpc_status=3),
    errors.RequestFailedError(FAILED),
    errors.RunFailedError(RunResult(outcome=RunOutcome.LOST, run_id="r", job="j", error="gone")),
    errors.ProjectError("stop", results=Results([FAILED]), pending=("r-2", "r-3")),
    errors.AuthenticationError("no", results=Results([FAILED]), pending=("r-2",)),
    errors.OutageError("down", results=Results([FAILED]), pending=("r-2",)),
    errors.SourceError("broken", results=Results([FAILED]), pending=("r-2",)),
    errors.TrackerClosedError("shut", results=Results([FAILED]), pending=("r-2",)),
    *(
        kind("full", path="/data/j.db", results=Results([FAILED]), pending=("r-2",))
        for kind in (
            errors.JournalError,
            errors.JournalLockedError,
            errors.JournalVersionError,
            errors.JournalCorruptError,
            errors.JournalWriteError,
        )
    ),
]

PARENTS = {
    errors.ConfigError: (errors.TrackerError, ValueError),
    errors.InvalidRequestError: (errors.TrackerError, ValueError),
    errors.StatusError: (errors.TrackerError,),
    errors.TransportError: (errors.StatusError,),
    errors.StaleConnectionError: (errors.TransportError,),
    errors.ThrottledError: (errors.StatusError,),
    errors.UnauthorizedError: (errors.StatusError,),
    errors.RejectedError: (errors.StatusError,),
    errors.NotFoundError: (errors.RejectedError,),
    errors.SubmissionError: (errors.TrackerError,),
    errors.SubmissionRejectedError: (errors.SubmissionError,),
    errors.SubmissionUnsentError: (errors.SubmissionError,),
    errors.SubmissionUnknownError: (errors.SubmissionError,),
    errors.RequestFailedError: (errors.TrackerError,),
    errors.RunFailedError: (errors.TrackerError,),
    errors.ProjectError: (errors.TrackerError,),
    errors.AuthenticationError: (errors.ProjectError,),
    errors.OutageError: (errors.ProjectError,),
    errors.SourceError: (errors.ProjectError,),
    errors.TrackerClosedError: (errors.ProjectError,),
    errors.JournalError: (errors.ProjectError,),
    errors.JournalLockedError: (errors.JournalError,),
    errors.JournalVersionError: (errors.JournalError,),
    errors.JournalCorruptError: (errors.JournalError,),
    errors.JournalWriteError: (errors.JournalError,),
}


def _pickled(protocol: int) -> Callable[[BaseException], BaseException]:
    def through(error: BaseException) -> BaseException:
        result: BaseException = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - ours

        return result

    return through


WAYS = [pytest.param(_pickled(protocol), id=f"pickle {protocol}") for protocol in range(2, 6)]
WAYS += [
    pytest.param(copy.copy, id="copy"),
    pytest.param(copy.deepcopy, id="deepcopy"),
]


def test_every_error_has_an_example_here() -> None:
    """
    A class that is added to the tree must not escape the tests of this file.
    """
    classes = {
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, BaseException)
    }

    assert {type(example) for example in EXAMPLES} == classes
    assert {cls.__name__ for cls in classes} == set(errors.__all__)


@pytest.mark.parametrize("cls", PARENTS, ids=lambda cls: cls.__name__)
def test_the_tree_is_the_documented_one(cls: type[errors.TrackerError]) -> None:
    """
    Users write ``except`` clauses after the tree on top of the module.
    """
    assert cls.__bases__ == PARENTS[cls]
    assert errors.__doc__ is not None
    assert f"── {cls.__name__} " in errors.__doc__


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_travel_whole(
    error: errors.TrackerError, way: Callable[[BaseException], BaseException]
) -> None:
    """
    Process pools and job queues pickle errors; an engine copies one for each waiter.
    """
    error.add_note("seen at night")

    other = way(error)

    del error.__notes__
    assert other is not error
    assert type(other) is type(error)
    assert other.__notes__ == ["seen at night"]
    del other.__notes__
    assert vars(other) == vars(error)
    assert str(other) == str(error)
    assert repr(other) == repr(error)


def test_an_error_inside_of_a_result_travels_too() -> None:
    """
    What ``raise_for_failures()`` raises holds a result, which may hold an error again.
    """
    inner = errors.RejectedError("gone", request_id="r-9", http_status=409, grpc_status=10)
    failure = errors.RequestFailedError(
        Result(request_id="r-9", outcome=Outcome.REJECTED, error=inner)
    )

    other = pickle.loads(pickle.dumps(failure))  # noqa: S301 - made in this test

    assert vars(other.result.error) == vars(inner)
    assert str(other) == "request r-9 ended REJECTED: gone"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.StatusError(), "no reason given"),
        (errors.StatusError("odd"), "odd"),
        (errors.StatusError("odd", http_status=0), "HTTP 0: odd"),
        (errors.TransportError("down", http_status=503), "HTTP 503: down"),
        (errors.TransportError("down", request_id="r-1"), "request r-1: down"),
        (errors.ThrottledError(request_id="r-1"), "request r-1: HTTP 429: no reason given"),
        (errors.SubmissionRejectedError(), "no reason given"),
        (errors.SubmissionRejectedError("syntax", http_status=400), "HTTP 400: syntax"),
        (errors.SubmissionUnknownError("reset"), "fate unknown, not sent again: reset"),
        (errors.RequestFailedError(FAILED), "request r-1 (RUN JOB) ended FAILED: no such table"),
        (
            errors.RequestFailedError(replace(FAILED, label="a\nb\x1b[2J\u202e")),
            "request r-1 (a b [2J ) ended FAILED: no such table",
        ),
        (
            errors.RequestFailedError(Result(request_id="r-1", outcome=Outcome.TIMED_OUT)),
            "request r-1 ended TIMED_OUT",
        ),
        (errors.OutageError("no reply"), "no reply"),
        (errors.OutageError("no reply", pending=("a",)), "no reply (1 request still open)"),
        (errors.OutageError("no reply", pending=("a", "b")), "no reply (2 requests still open)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_errors_say(error: errors.TrackerError, text: str) -> None:
    """
    The text is built from the attributes, so that it always agrees with them.
    """
    assert str(error) == text


def test_a_failed_request_names_its_outcome_without_its_response() -> None:
    """
    Responses may hold secrets; the text of an error ends in logs.
    """
    error = errors.RequestFailedError(FAILED)

    assert error.request_id == "r-1"
    assert error.outcome is Outcome.FAILED
    assert error.result is FAILED
    assert "hunter2" not in str(error) + repr(error)


def test_defaults_carry_nothing() -> None:
    """
    Code that reads the attributes must not have to ask first whether they exist.
    """
    throttled = errors.ThrottledError()
    submission = errors.SubmissionError()
    closed = errors.TrackerClosedError()

    assert vars(throttled) == {
        "reason": "",
        "request_id": "",
        "http_status": 429,
        "grpc_status": None,
        "retry_after": None,
    }
    assert errors.ThrottledError(retry_after=0.0).retry_after == 0.0
    assert vars(submission) == {"reason": "", "http_status": None, "grpc_status": None}
    assert errors.JournalError().path == ""
    assert vars(closed) == {"message": "", "results": None, "pending": ()}
    assert str(closed) == ""
