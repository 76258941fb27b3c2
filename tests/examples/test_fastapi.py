"""
The web service: many callers, one tracker, one budget.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

import aiohttp

from onehouse_tracker.testing import RunningSimulator
from tests.examples.conftest import Start
from tests.support import FAILED, SUCCESS


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_twenty_callers_share_one_tracker(
    start: Start, onehouse_simulator: RunningSimulator
) -> None:
    """
    They ask about the same IDs at the same time: each is polled once per turn, within the
    budget, and everybody gets the truth; wrong IDs and time-outs are told, not raised.
    """
    project = onehouse_simulator.project
    for number in range(10):
        project.add(f"r{number}", 1.0, FAILED if number == 3 else SUCCESS)
    project.add("slow", 3600.0)
    ids = [f"r{number}" for number in range(10)]
    port = _free_port()
    arguments = ("-m", "uvicorn", "fastapi_service:app", "--port", str(port))

    with start("fastapi", *arguments) as service:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            await _until_it_serves(session)

            async def ask(question: dict[str, Any]) -> tuple[int, Any]:
                async with session.post("/outcomes", json=question) as response:
                    return response.status, await response.json()

            answers = await asyncio.gather(*(ask({"request_ids": ids}) for _ in range(20)))
            refused = await ask({"request_ids": ["\n"]})
            late = await ask({"request_ids": ["slow"], "timeout": 0.2})
        service.send_signal(signal.SIGINT)
        said, _ = await asyncio.to_thread(service.communicate)

    for status, answer in answers:
        assert status == 200
        assert [answer[name]["ok"] for name in ids] == [number != 3 for number in range(10)]
    assert refused[0] == 422
    assert late == (200, {"slow": {"outcome": "TIMED_OUT", "ok": False, "reason": ""}}) or (
        late[1]["slow"]["outcome"] == "TIMED_OUT"
    )
    assert project.refused == 0
    # Of 0.9 s: a request that a busy machine holds up arrives nearer to the one after it.
    assert project.peak_in_any_second(0.9) <= 10
    # Once per turn, whoever waits: twenty callers do not ask twenty times.
    assert project.requests["r0"].polls < 10
    assert {project.requests[name].final_replies for name in ids} == {1}
    assert "Application shutdown complete" in said
    assert "Traceback" not in said


async def _until_it_serves(session: aiohttp.ClientSession) -> None:
    for _ in range(200):
        try:
            async with session.get("/health") as response:
                assert (await response.json())["pending"] == 0
                return
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.1)
    raise AssertionError("the service does not start")
