"""
From the event of a trigger to the end of a task: did it succeed, and if not, why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.integrations.airflow._event_payload import counted, describe_ids
from onehouse_tracker.models import run_id_in
from onehouse_tracker.run_results import RunOutcome

__all__ = ["OnPartial", "TaskResult", "check_on_partial", "ended_wrong", "how_ended", "named"]

OnPartial = Literal["succeed", "fail"]

_DETAILED: Final = 10
"""How many requests a message gives a reason for, at most."""

_OVER: Final = frozenset(
    {
        RunOutcome.FAILED,
        RunOutcome.INVALID,
        RunOutcome.CANCELED,
        RunOutcome.PARTIALLY_SUCCEEDED,
    }
)
"""How the server says that nothing of a request, or of its run, runs any more.  What ends a
request is among the words for runs."""

_HOPELESS: Final = frozenset({RunOutcome.INVALID, RunOutcome.STARTED})
"""What another try cannot change: the statement, or that its run has no ID."""


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What the outcomes of a task's requests mean for the task."""

    ok: bool
    """Whether the task succeeds."""

    message: str = ""
    """Why it does not; or, where it does, how its requests ended."""

    hopeless: bool = False
    """Whether another try would end the same way."""

    is_partial: bool = False
    """Whether the task succeeds although some requests succeeded only partly."""

    @classmethod
    def of(cls, payload: Mapping[str, Any], *, on_partial: str, noun: str = "request") -> Self:
        """
        Judge *payload*.

        Args:
            payload: An `EventPayload`, or what Airflow's database made of one.

            on_partial: Whether a partial success counts as one.

            noun: What the task has several of, with the number of which a message names a
                request: "statement 37 of 60".
        """
        results = payload["results"]
        wrong = [item for item in results if not _is_ok(item, on_partial)]
        if not wrong and not payload.get("error"):
            partial = [
                item["request_id"]
                for item in results
                if RunOutcome(item["outcome"]) is RunOutcome.PARTIALLY_SUCCEEDED
            ]
            message = _success(results, partial) + _only_started(results)
            return cls(ok=True, message=message, is_partial=bool(partial))
        parts = []
        if wrong:
            parts.append(_failure(wrong, payload, noun))
        if payload.get("error"):
            pending = payload["pending"]
            parts.append(
                f"tracking stopped with {counted(len(pending), payload.get('noun', 'request'))}"
                " pending"
                f" ({describe_ids(pending)}): {payload['error']}"
            )
        outcomes = {item["outcome"] for item in wrong}
        return cls(
            ok=False,
            message="\n".join(parts),
            hopeless=bool(payload.get("hopeless"))
            or (bool(outcomes) and outcomes <= _HOPELESS and not payload.get("error")),
        )


def check_on_partial(value: str) -> None:
    """Raise `ConfigError` unless *value* is one of the two words."""
    if value not in {"succeed", "fail"}:
        raise ConfigError(f'on_partial is "succeed" or "fail", not {value!r}')


def ended_wrong(item: Mapping[str, Any], on_partial: str) -> bool:
    """Whether the request ended, and not as it should: a retry has to submit it again."""
    return item["outcome"] in _OVER and not _is_ok(item, on_partial)


def named(item: Mapping[str, Any]) -> str:
    """Name a run with its job, or a request where there is no run."""
    if item.get("run_id"):
        return f"run {item['run_id']} of job {item['job']}"
    return f"request {item['request_id']}"


def _is_ok(item: Mapping[str, Any], on_partial: str) -> bool:
    outcome = RunOutcome(item["outcome"])
    return outcome.ok and not (outcome is RunOutcome.PARTIALLY_SUCCEEDED and on_partial == "fail")


def _success(results: Sequence[Any], partial: Sequence[str]) -> str:
    if partial:
        return (
            f"{len(results) - len(partial)} of {counted(len(results), 'request')} succeeded, and"
            f" {len(partial)} only partly: {describe_ids(partial)}"
        )
    if len(results) == 1:
        return "the request succeeded"
    return f"all {len(results)} requests succeeded" if results else "there were no requests"


def _only_started(results: Sequence[Mapping[str, Any]]) -> str:
    count = sum(
        not item.get("run_id") and bool(run_id_in(item.get("response"))) for item in results
    )
    if not count:
        return ""
    who = "it" if len(results) == 1 else f"{count} of them"
    return f"; {who} only started a run, which may still run: until='end' waits for its end"


def _failure(wrong: Sequence[Mapping[str, Any]], payload: Mapping[str, Any], noun: str) -> str:
    count = payload.get("count", len(payload["results"]))
    head = (
        f"the {noun} did not succeed:"
        if count == 1
        else f"{len(wrong)} of {count} {noun}s did not succeed:"
    )
    lines = [head]
    for item in wrong[:_DETAILED]:
        details = [f"{noun} {item['number']} of {count}"] if "number" in item else []
        details += [item["label"]] if item.get("label") else []
        name = named(item) + (f" ({', '.join(details)})" if details else "")
        how = how_ended(
            item["outcome"], item.get("reason") or item.get("status"), payload.get("limit")
        )
        lines.append(f"  {name} {how}")
    if len(wrong) > _DETAILED:
        lines.append(f"  and {len(wrong) - _DETAILED} more")

    return "\n".join(lines)


def how_ended(outcome: str, reason: str | None, limit: str | None) -> str:
    """
    Say how a request or a run ended, for people.

    Args:
        outcome: How, in our words.

        reason: Why, where anything is known.

        limit: What set the deadline: ``"follow_timeout of 3600 s"``.
    """
    if RunOutcome(outcome) is RunOutcome.TIMED_OUT:
        after = f"at the end of {limit}" if limit else "when tracking stopped"
        return f"was still pending {after}; it continues on the server"
    return f"ended {outcome}: {reason or 'the server gave no reason'}"
