"""
What more than one test file needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses


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
