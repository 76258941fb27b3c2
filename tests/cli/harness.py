"""
Runs the real command in a process of its own, against a simulator in this one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onehouse_tracker.testing.faults import body

# A reply like that of a request that runs.  Scripted, because a process takes its time to
# start: what is over after half a second may be over before it is first asked about.
STILL_PENDING = body(b'{"apiStatus": "API_OPERATION_STATUS_PENDING", "apiResponse": {}}')

# The process and the simulator share nothing but the socket; this is for a loaded machine.
PATIENCE = 20.0


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """*variables*, and of our own only what a process needs: nobody's credentials."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in {"PATH", "LANG", "PYTHONPATH", "COVERAGE_PROCESS_CONFIG"}
        or name.startswith("COV_CORE")
    }
    return {**kept, "HOME": "/nonexistent", "PYTHONWARNINGS": "error", **variables}


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def objects(self) -> list[dict[str, Any]]:
        """The JSON objects on stdout, one per line."""
        return [json.loads(line) for line in self.out.splitlines()]


async def start(
    arguments: Sequence[str], variables: Mapping[str, str], **options: Any
) -> asyncio.subprocess.Process:
    """Start the command; all of its streams are pipes unless *options* say otherwise."""
    pipes = {
        "stdin": asyncio.subprocess.PIPE,
        "stdout": asyncio.subprocess.PIPE,
        "stderr": asyncio.subprocess.PIPE,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "onehouse_tracker",
        *arguments,
        env=environment(variables),
        **{**pipes, **options},
    )


async def end(process: asyncio.subprocess.Process, given: str = "") -> Ended:
    """Write *given* to its stdin, and wait for its end."""
    try:
        async with asyncio.timeout(PATIENCE):
            # Without anything given, its stdin is closed all the same, if it is ours.
            out, err = await process.communicate(None if process.stdin is None else given.encode())
    except BaseException:
        if process.returncode is None:
            process.kill()
        await process.wait()
        raise
    assert process.returncode is not None

    # A stream that is no pipe is None here.
    return Ended(process.returncode, (out or b"").decode(), (err or b"").decode())


async def run(*arguments: str, variables: Mapping[str, str], given: str = "") -> Ended:
    """Run the command to its end."""
    return await end(await start(arguments, variables), given)


async def line(process: asyncio.subprocess.Process) -> str:
    """The next line of its stdout."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return (await process.stdout.readline()).decode()
