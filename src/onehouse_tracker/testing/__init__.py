"""
The public test kit: time that jumps, sources that follow a script, a service that misbehaves.

Names are loaded when they are first used: the pytest plugin lives in this package, and must
not slow down runs that do not use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = [
    "FORCED",
    "After",
    "Answer",
    "Arrival",
    "DeadlockError",
    "Draw",
    "Enforcer",
    "Fault",
    "FaultKind",
    "FaultRule",
    "FixedWindow",
    "Forced",
    "InlineExecutor",
    "Kind",
    "ListedRun",
    "Listing",
    "ReceivedRequest",
    "RunKind",
    "RunningSimulator",
    "ScriptedSource",
    "SimulatedJobs",
    "SimulatedProject",
    "SimulatedRequest",
    "SimulatedRun",
    "SimulatedSource",
    "SimulatorServer",
    "SlidingLog",
    "Step",
    "Strict",
    "TokenBucket",
    "VirtualClockLoop",
    "faults",
    "hang",
    "lognormal",
    "make_enforcer",
    "outage",
]

if TYPE_CHECKING:
    from onehouse_tracker.testing import faults
    from onehouse_tracker.testing.enforcers import (
        Enforcer,
        FixedWindow,
        SlidingLog,
        Strict,
        TokenBucket,
        make_enforcer,
    )
    from onehouse_tracker.testing.faults import (
        Draw,
        Fault,
        FaultKind,
        FaultRule,
        lognormal,
        outage,
    )
    from onehouse_tracker.testing.forced import FORCED, Forced
    from onehouse_tracker.testing.job_runs import RunKind, SimulatedRun
    from onehouse_tracker.testing.jobs import SimulatedJobs
    from onehouse_tracker.testing.listings import ListedRun, Listing
    from onehouse_tracker.testing.records import Answer, Arrival, SimulatedRequest
    from onehouse_tracker.testing.scripted import After, ScriptedSource, Step, hang
    from onehouse_tracker.testing.server import ReceivedRequest, SimulatorServer
    from onehouse_tracker.testing.simulated_project import SimulatedProject
    from onehouse_tracker.testing.source import SimulatedSource
    from onehouse_tracker.testing.statements import Kind
    from onehouse_tracker.testing.threaded import RunningSimulator
    from onehouse_tracker.testing.virtual_clock import (
        DeadlockError,
        InlineExecutor,
        VirtualClockLoop,
    )
else:
    _NAMES_IN = {
        "enforcers": (
            "Enforcer",
            "FixedWindow",
            "SlidingLog",
            "Strict",
            "TokenBucket",
            "make_enforcer",
        ),
        "faults": ("Draw", "Fault", "FaultKind", "FaultRule", "lognormal", "outage"),
        "forced": ("FORCED", "Forced"),
        "job_runs": ("RunKind", "SimulatedRun"),
        "jobs": ("SimulatedJobs",),
        "listings": ("ListedRun", "Listing"),
        "simulated_project": ("SimulatedProject",),
        "records": ("Answer", "Arrival", "SimulatedRequest"),
        "scripted": ("After", "ScriptedSource", "Step", "hang"),
        "server": ("ReceivedRequest", "SimulatorServer"),
        "source": ("SimulatedSource",),
        "statements": ("Kind",),
        "threaded": ("RunningSimulator",),
        "virtual_clock": ("DeadlockError", "InlineExecutor", "VirtualClockLoop"),
    }

    def __getattr__(name: str) -> object:
        from importlib import import_module  # noqa: PLC0415 - loaded on first use

        if name == "faults":
            return import_module(f"{__name__}.faults")
        for module, names in _NAMES_IN.items():
            if name in names:
                value = getattr(import_module(f"{__name__}.{module}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
