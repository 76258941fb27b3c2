"""
From the news of a trigger to the end of a task: did it succeed, and if not, why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.integrations.airflow._event_payload import describe_ids
from onehouse_tracker.models import Outcome

__all__ = ["OnPartial", "TaskResult", "check_on_partial", "ended_wrong"]

OnPartial = Literal["succeed", "fail"]

_TOLD: Final = 10
"""Requests whose reason a message tells, at most."""

_OVER: Final = frozenset({Outcome.FAILED, Outcome.INVALID, Outcome.PARTIALLY_SUCCEEDED})
"""How the server says that nothing of the request runs any more."""


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What the outcomes of a task's requests mean for the task."""

    ok: bool
    """Whether the task succeeds."""

    message: str = ""
    """Why it does not."""

    hopeless: bool = False
    """Whether another try would end the same way."""

    @classmethod
    def of(cls, news: Mapping[str, Any], *, on_partial: str) -> Self:
        """Judge *news*."""
        wrong = [item for item in news["results"] if not _is_ok(item, on_partial)]
        if not wrong and not news.get("error"):
            return cls(ok=True)
        parts = []
        if wrong:
            parts.append(_tell(wrong, len(news["results"])))
        if news.get("error"):
            pending = news["pending"]
            parts.append(
                f"following stopped with {len(pending)} requests pending"
                f" ({describe_ids(pending)}): {news['error']}"
            )
        outcomes = {item["outcome"] for item in wrong}
        return cls(
            ok=False,
            message="\n".join(parts),
            hopeless=bool(news.get("hopeless"))
            or (outcomes == {Outcome.INVALID} and not news.get("error")),
        )


def check_on_partial(value: str) -> None:
    """Raise `ConfigError` unless *value* is one of the two words."""
    if value not in {"succeed", "fail"}:
        raise ConfigError(f'on_partial is "succeed" or "fail", not {value!r}')


def ended_wrong(item: Mapping[str, Any], on_partial: str) -> bool:
    """Whether the request ended, and not as it should: a retry has to submit it again."""
    return item["outcome"] in _OVER and not _is_ok(item, on_partial)


def _is_ok(item: Mapping[str, Any], on_partial: str) -> bool:
    outcome = Outcome(item["outcome"])
    return outcome.ok and not (outcome is Outcome.PARTIALLY_SUCCEEDED and on_partial == "fail")


def _tell(wrong: Sequence[Mapping[str, Any]], of_how_many: int) -> str:
    lines = [f"{len(wrong)} of {of_how_many} requests did not succeed:"]
    for item in wrong[:_TOLD]:
        label = f" ({item['label']})" if item.get("label") else ""
        reason = item.get("reason") or item.get("status") or "no reason was given"
        lines.append(f"  request {item['request_id']}{label} ended {item['outcome']}: {reason}")
        if Outcome(item["outcome"]) is Outcome.TIMED_OUT:
            lines[-1] += "; it goes on at the server"
    if len(wrong) > _TOLD:
        lines.append(f"  and {len(wrong) - _TOLD} more")

    return "\n".join(lines)
