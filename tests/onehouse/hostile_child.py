"""
Follows one request at the URL it is given, waits as long as it is told, and tells what it took.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
import warnings
from pathlib import Path

from onehouse_tracker.onehouse.client import OnehouseClient
from tests.onehouse.hostile_server import credentials, tracker_for


def _highest() -> int:
    """Bytes of memory, at the highest so far."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: it begins with the memory of the parent, of which we are a copy.
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


async def _longest_stop(seconds: list[float]) -> None:
    """
    Add the longest time between two turns of the loop, until it is cancelled.

    Of the processor: other processes do not count.
    """
    before = time.process_time()
    while True:
        await asyncio.sleep(0.001)
        now = time.process_time()
        seconds[0] = max(seconds[0], now - before)
        before = now


async def main(url: str, idle: float) -> None:
    """The first request is answered properly, so that everything is loaded."""
    client = OnehouseClient(credentials(url), request_timeout=4)
    async with client, tracker_for(client, patience=0.5) as tracker:
        await tracker.wait_all(["base"])
        base, start = _highest(), time.monotonic()
        longest = [0.0]
        ticking = asyncio.create_task(_longest_stop(longest))
        results = await tracker.wait_all(["r1"], timeout=4)
        seconds = time.monotonic() - start
        await asyncio.sleep(idle)  # what arrives while nobody asks counts too
        ticking.cancel()
    report = {
        "bytes_above_base": _highest() - base,
        "seconds": seconds,
        "longest_stop": longest[0],
        "outcome": str(results["r1"].outcome),
    }
    print(json.dumps(report))


warnings.simplefilter("error")
asyncio.run(main(sys.argv[1], float(sys.argv[2])))
