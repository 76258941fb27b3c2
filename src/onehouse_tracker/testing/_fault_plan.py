"""
Which fault comes next: what was scripted first, then what happens by chance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeAlias

from onehouse_tracker.testing.faults import Fault, FaultRule

__all__ = ["FaultPlan", "FaultScript"]

FaultScript: TypeAlias = "Iterable[Fault | None]"


class FaultPlan:
    """
    Decides what goes wrong, for `SimulatedProject`.

    Args:
        luck: Draws what happens by chance.
    """

    def __init__(self, luck: Random) -> None:
        self._luck = luck
        self._scripts: dict[str, deque[Fault | None]] = {}
        self._next_faults: deque[Fault | None] = deque()

    def script(self, request_id: str, faults: FaultScript) -> None:
        """Spoil the next polls of *request_id*, one after the other; `None` spares one."""
        self._scripts.setdefault(request_id, deque()).extend(faults)

    def script_next(self, faults: FaultScript) -> None:
        """Spoil the next requests of any kind, one after the other; `None` spares one."""
        self._next_faults.extend(faults)

    def clear(self) -> None:
        """Forget what was scripted."""
        self._scripts.clear()
        self._next_faults.clear()

    def next(
        self, rules: Sequence[FaultRule], kind: str, request_id: str, moment: float
    ) -> Fault | None:
        """
        What happens to a request of *kind*, *moment* seconds after the first of all.

        The first of *rules* that hits decides, after what was scripted.
        """
        if self._next_faults:
            return self._next_faults.popleft()
        if self._scripts and kind == "status":
            script = self._scripts.get(request_id)
            if script:
                return script.popleft()
        for rule in rules:
            if (
                rule.start <= moment < rule.end
                and rule.on in (kind, "any")
                and (rule.request_ids is None or request_id in rule.request_ids)
                # Drawn last, so that a rule that does not apply uses no luck.
                and (rule.rate >= 1 or self._luck.random() < rule.rate)
            ):
                return rule.fault
        return None

    def delay_of(self, fault: Fault) -> float:
        """Draw how many seconds late *fault* makes the answer."""
        if isinstance(fault.seconds, int | float):
            return fault.seconds
        return fault.seconds(self._luck)
