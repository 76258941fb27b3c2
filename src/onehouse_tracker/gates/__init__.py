"""
Gates hand out the slots of a project's budget: one slot, one HTTP request.

The engine's dispatcher is a gate's only waiter.
"""

from __future__ import annotations

from onehouse_tracker.gates._protocol import Gate, GateStats
from onehouse_tracker.gates.local import LocalGate

__all__ = ["Gate", "GateStats", "LocalGate"]
