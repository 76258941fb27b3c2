"""
What the simulated service makes of a statement: how long it takes, how it ends, what it answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing.faults import Draw, lognormal

__all__ = ["KINDS", "Kind", "bare", "kind_of", "parse_error", "response_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """
    How the requests of one kind of statement behave.

    Raises:
        ValueError: The chances add up to more than 1.
    """

    label: str
    """The words that such a statement begins with; the longest label that fits decides."""

    duration: Draw | float
    """Seconds from submission to the end."""

    failed: float = 0.0
    """Chance that it ends with FAILED."""

    invalid: float = 0.0
    """Chance that it ends with INVALID."""

    partial: float = 0.0
    """Chance that it ends with SUCCESS_PARTIAL."""

    response: Mapping[str, Any] | None = None
    """``apiResponse`` at the end; `None` has one made up from the statement."""

    reason: str | None = None
    """What ``apiResponse`` says where it does not succeed; `None` says nothing."""

    def __post_init__(self) -> None:
        if self.failed + self.invalid + self.partial > 1 + 1e-9:
            raise ValueError(f"the chances of {self.label!r} add up to more than 1")

    def draw(self, rng: Random) -> tuple[float, ApiStatus]:
        """Draw the duration in seconds and the final status."""
        duration = self.duration if isinstance(self.duration, int | float) else self.duration(rng)
        chance = rng.random()
        for share, status in (
            (self.failed, ApiStatus.FAILED),
            (self.invalid, ApiStatus.INVALID),
            (self.partial, ApiStatus.SUCCESS_PARTIAL),
        ):
            if chance < share:
                return duration, status
            chance -= share
        return duration, ApiStatus.SUCCESS


KINDS: tuple[Kind, ...] = (
    # The vendor documents no durations; these follow the timeouts that its clients ship with.
    Kind(label="", duration=lognormal(30.0, 1.0), failed=0.02),
    Kind(label="SHOW", duration=lognormal(1.5, 0.5)),
    Kind(label="DESCRIBE", duration=lognormal(1.5, 0.5)),
    # Until the run is started; how long that takes and how it ends is for `RunKind`.
    Kind(label="RUN JOB", duration=lognormal(2.0, 0.5), failed=0.02),
    Kind(label="CREATE AND RUN JOB", duration=lognormal(2.0, 0.5), failed=0.02, invalid=0.02),
    Kind(label="CANCEL JOB_RUN", duration=lognormal(1.5, 0.5)),
    Kind(label="CREATE CLUSTER", duration=lognormal(600.0, 0.3), failed=0.03),
    Kind(label="ALTER CLUSTER", duration=lognormal(400.0, 0.3), failed=0.03),
    Kind(label="DELETE CLUSTER", duration=lognormal(300.0, 0.3)),
    Kind(label="ALTER", duration=lognormal(20.0, 0.8), failed=0.02, partial=0.03),
    Kind(label="CREATE", duration=lognormal(20.0, 0.8), failed=0.02, invalid=0.02),
)
"""The kinds that a `SimulatedProject` knows if it is not told others."""

_WORD = re.compile(r"[A-Za-z_]+")
_COMMENTS = re.compile(r"(?:\s+|--[^\n]*|/\*.*?\*/)*", re.DOTALL)
_PARSE_ERROR = re.compile(r"SYNTAX\s+ERROR", re.IGNORECASE)


def bare(statement: str) -> str:
    """*statement* without the comments before it."""
    found = _COMMENTS.match(statement)
    return statement[found.end() :] if found else statement


def kind_of(statement: str, kinds: Sequence[Kind]) -> Kind | None:
    """The kind with the longest label that *statement* begins with, comments and case aside."""
    words = " ".join(bare(statement).upper().split()) + " "
    fitting = [kind for kind in kinds if words.startswith(f"{kind.label.upper()} ".lstrip())]
    return max(fitting, key=lambda kind: len(kind.label), default=None)


def parse_error(statement: str) -> str | None:
    """Why the service would answer 400, or `None`; "SYNTAX ERROR" in the text asks for one."""
    text = statement.strip()
    if not text:
        return "statement is empty"
    if text.endswith(";"):
        return f"syntax error at position {len(text) - 1}: unexpected ';'"
    found = _PARSE_ERROR.search(text)
    if found is not None:
        return f"syntax error at position {found.start()}: unexpected '{found.group()}'"
    return None


def response_key(statement: str) -> str:
    """The key of ``apiResponse`` for *statement*: ``RUN JOB x`` has ``runJobApiResponse``."""
    words = _WORD.findall(bare(statement))
    # One verb of four words: createAndRunJobApiResponse.
    together = 4 if [word.upper() for word in words[1:2]] == ["AND"] else 2
    words = "_".join(words[:together]).lower().split("_")
    verb, *resource = [word for word in words if word] or ["statement"]
    return f"{verb}{''.join(word.capitalize() for word in resource)}ApiResponse"
