"""
A call that its client ends, whatever else happens to it in the same turn of the loop.
"""

from __future__ import annotations

import asyncio

import pytest

from onehouse_tracker.onehouse._http.connections import Use
from onehouse_tracker.onehouse._http.failures import ClosedError
from onehouse_tracker.onehouse._http.under_way import UnderWay


async def _call(under_way: UnderWay, use: Use, error: Exception | None = None) -> None:
    with under_way.call(use):
        use.connected = False
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if error is not None:
                raise error from None
            raise


@pytest.mark.parametrize("error", [None, TimeoutError()])
async def test_a_call_that_waits_for_a_connection_is_told_once(error: Exception | None) -> None:
    """
    Also where it was late at the same moment, and its task is not cancelled afterwards.
    """
    under_way = UnderWay()
    call = asyncio.create_task(_call(under_way, Use(), error))
    await asyncio.sleep(0)
    under_way.end()
    under_way.end()
    with pytest.raises(ClosedError, match="client was closed"):
        await call
    assert not call.cancelling()


async def test_another_error_stays_what_it_is() -> None:
    """
    The name was found not to exist in the same turn.
    """
    under_way = UnderWay()
    call = asyncio.create_task(_call(under_way, Use(), OSError("no such name")))
    await asyncio.sleep(0)
    under_way.end()
    with pytest.raises(OSError, match="no such name"):
        await call


async def test_who_is_cancelled_as_well_is_cancelled() -> None:
    """
    Both in one turn of the loop: the task ends as its owner wants it to.
    """
    under_way = UnderWay()
    call = asyncio.create_task(_call(under_way, Use()))
    await asyncio.sleep(0)
    call.cancel()
    under_way.end()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_call_with_a_connection_may_still_be_answered() -> None:
    """
    Nor is one that has ended touched.
    """
    under_way, use = UnderWay(), Use()
    call = asyncio.create_task(_call(under_way, use))
    await asyncio.sleep(0)
    use.connected = True
    under_way.end()
    await asyncio.sleep(0)
    assert not call.done()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    under_way.end()
