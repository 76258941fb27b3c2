"""
The faults of a random world.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from onehouse_tracker.testing import faults
from onehouse_tracker.testing.faults import FaultRule, lognormal, outage

__all__ = ["rules_for"]


def rules_for(dice: Random, ids: Sequence[str]) -> list[FaultRule]:
    """Some kinds of faults by chance, sometimes an outage, seldom a revoked key."""
    kinds = [
        faults.unavailable(503),
        faults.unavailable(500, "internal"),
        faults.reset(),
        faults.cut(),
        faults.truncated(),
        faults.hang(),
        faults.huge(),
        faults.body("{}"),
        faults.body('{"apiStatus": 7}'),
        faults.body('{"apiStatus": "API_OPERATION_STATUS_NOVEL"}'),
        faults.body("<html>busy</html>"),
        faults.throttled(),
        faults.throttled(0),
        faults.throttled(dice.choice([1, 3, 1000])),
        faults.throttled(2, as_date=True),
        faults.delay(lognormal(1.0, 1.0)),
        faults.delay(lognormal(15.0, 1.0)),  # late: often nobody waits for it any more
        faults.refuse(408, "too slow", form="empty"),
    ]
    rules = [
        FaultRule(
            fault=fault,
            rate=dice.choice([0.01, 0.05, 0.2]),
            on=dice.choice(["status", "any", "any", "submit"]),
        )
        for fault in dice.sample(kinds, k=dice.randint(0, 5))
    ]
    if dice.random() < 0.3:
        start = dice.uniform(0, 20)
        fault = dice.choice([None, faults.hang(), faults.reset()])
        rules.insert(0, outage(start, start + dice.choice([5, 40, 120]), fault))
    if dice.random() < 0.1:
        start = dice.uniform(0, 20)
        end = start + dice.choice([1, 30])
        refusal = faults.unauthorized(dice.choice([401, 403]))
        rules.insert(0, FaultRule(fault=refusal, start=start, end=end, on="any"))
    if dice.random() < 0.1:
        # Ours no more: one or two requests that we may not ask about.
        some = dice.choices(ids, k=dice.randint(1, 2))
        rules.insert(
            0,
            FaultRule(fault=faults.unauthorized(403), start=dice.uniform(0, 10), request_ids=some),
        )
    return rules
