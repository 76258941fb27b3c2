"""
What more than one test file needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses
from hypothesis import HealthCheck, settings

from tests import loops

# On a busy machine an example takes its time, which is no defect of what is tested.  In CI the
# examples are the same in every run: new ones are looked for where somebody looks at them.
settings.register_profile(
    "anywhere",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("anywhere")

_ONE_IN = int(os.environ.get("ONE_IN", "1"))
_LOOP = os.environ.get("EVENT_LOOP", "")
loops.use(_LOOP)


def pytest_report_header() -> list[str]:
    """Say which tests run, and on which loops, where it is not all of them on asyncio's own."""
    lines = []
    if _LOOP:
        lines.append(f"event loops: {_LOOP}")
    if _ONE_IN > 1:
        lines.append(f"one test in {_ONE_IN}")
    return lines


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out all but one test in so many: a quick look at one more Python."""
    left_out = [item for number, item in enumerate(items) if number % _ONE_IN]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = items[::_ONE_IN]


class _CompleteResponse(aiohttp.ClientResponse):
    # aiohttp 3.14 requires `stream_writer`, which aioresponses 0.7.9 does not know of.  Of a
    # request that was sent already, only the number of bytes is read from it.
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["stream_writer"] = SimpleNamespace(output_size=0)
        super().__init__(*args, **kwargs)


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """
    Replies without a network, for cases that one status, one header or one body describe.
    """
    monkeypatch.setattr("aioresponses.core.ClientResponse", _CompleteResponse)
    with aioresponses() as mocked:
        yield mocked
