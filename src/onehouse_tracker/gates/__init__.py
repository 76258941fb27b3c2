"""
Gates hand out the slots of a project's budget: one slot, one HTTP request.

The engine's dispatcher is a gate's only waiter.
"""

from __future__ import annotations

from onehouse_tracker.gates._choose import check_gate, gate_from
from onehouse_tracker.gates._protocol import Gate, GateStats
from onehouse_tracker.gates.host import HostGate
from onehouse_tracker.gates.local import LocalGate
from onehouse_tracker.gates.redis import RedisGate

__all__ = ["Gate", "GateStats", "HostGate", "LocalGate", "RedisGate", "check_gate", "gate_from"]
