"""
What counts as a number in a setting: nothing that only looks like one.
"""

from __future__ import annotations

import sys
from typing import TypeGuard

__all__ = ["is_count", "is_number"]


def is_number(value: object) -> TypeGuard[float]:
    """Whether *value* is a number from 0 that a float can hold; `True` is none, nor is text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # A comparison, because `math.isfinite` fails on whole numbers beyond a float.
    return 0 <= value <= sys.float_info.max


def is_count(value: object) -> TypeGuard[int]:
    """Whether *value* is a whole number from 1."""
    return isinstance(value, int) and is_number(value) and value >= 1
