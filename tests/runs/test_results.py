"""Results of runs: plain data, in the order given, sorted by what can be done about them."""

from __future__ import annotations

import pickle

import pytest

from onehouse_tracker import JobRun, Outcome, Result, RunFailedError, RunOutcome, RunResult
from onehouse_tracker.run_results import RunResults

SUCCEEDED = RunResult(outcome=RunOutcome.SUCCEEDED, job="a", run_id="1")
FAILED = RunResult(outcome=RunOutcome.FAILED, job="b", run_id="2", status="S_FAILED")
STARTED = RunResult(outcome=RunOutcome.STARTED, job="c", request_id="r")


def test_results_keep_the_order_given_and_are_sorted_by_what_to_do() -> None:
    """
    What failed is to be looked at, what is unfinished can be followed again.
    """
    results = RunResults([FAILED, SUCCEEDED, STARTED, SUCCEEDED])

    assert [result.job for result in results] == ["b", "a", "c", "a"]
    assert results.succeeded == (SUCCEEDED, SUCCEEDED)
    assert results.failed == (FAILED,)
    assert results.unfinished == (STARTED,)
    assert not results.ok
    assert RunResults([SUCCEEDED]).ok
    assert results[1:3] == (SUCCEEDED, STARTED)
    assert pickle.loads(pickle.dumps(results[0])) == FAILED  # noqa: S301 - our own
    assert "secret" not in repr(RunResult(outcome=RunOutcome.FAILED, row={"x": "secret"}))


def test_started_run_is_ok_only_for_whoever_allows_it() -> None:
    """
    A green result for a run of which nobody knows the end must be asked for.
    """
    allowed = RunResult(outcome=RunOutcome.STARTED, allow_unfollowed=True)

    assert not STARTED.ok
    assert allowed.ok
    assert RunResults([allowed]).unfinished == ()
    assert not RunResult(outcome=RunOutcome.LOST, allow_unfollowed=True).ok


def test_failures_are_raised_together_and_name_job_run_and_reason() -> None:
    """
    Somebody reads this in a log at night.
    """
    with pytest.raises(ExceptionGroup, match="2 of 3 runs did not succeed") as caught:
        RunResults([SUCCEEDED, FAILED, STARTED]).raise_for_failures()

    errors = caught.value.exceptions
    assert all(isinstance(error, RunFailedError) for error in errors)
    assert [str(error) for error in errors] == [
        "run 2 of job b ended FAILED: S_FAILED",
        "request r of job c ended STARTED",
    ]
    RunResults([SUCCEEDED]).raise_for_failures()


def test_reason_is_the_nearest_word_that_anybody_said() -> None:
    """
    Our own words first, then those of the request, then the status.
    """
    request = Result(request_id="r", outcome=Outcome.FAILED, response={"message": "no cluster"})
    refused = RunResult(outcome=RunOutcome.NOT_STARTED, request=request, status="FAILED")

    assert refused.reason == "no cluster"
    assert FAILED.reason == "S_FAILED"
    assert RunResult(outcome=RunOutcome.LOST, error="gone", status="x").reason == "gone"
    assert not SUCCEEDED.reason


@pytest.mark.parametrize("outcome", Outcome)
def test_statement_that_starts_nothing_has_the_same_word(outcome: Outcome) -> None:
    """
    What a request can end with is a word for runs too, and as good or bad.
    """
    run = RunOutcome(outcome.value)

    assert (run.ok, run.finished, run.final) == (outcome.ok, outcome.finished, outcome.final)


def test_plain_data_has_the_keys_of_a_line_of_json() -> None:
    """
    Scripts read these keys.
    """
    keys = "statement request_id job run_id label outcome ok status reason checks waited_s"

    assert {*keys.split(), "delay_bound_s"} <= FAILED.to_dict().keys()
    assert RunResults([FAILED]).to_dicts() == [FAILED.to_dict()]
    assert JobRun("a", "1") == JobRun("a", "1")
