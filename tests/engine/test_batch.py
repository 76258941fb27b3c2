"""
A batch of statements, apart from the tracker that sends them.
"""

from __future__ import annotations

import asyncio

from onehouse_tracker._engine.open_tracker.batch import Batch, Statement
from tests.support import run


def test_a_batch_ends_though_what_it_tells_fails() -> None:
    """
    Whoever is told of an accepted statement may run out of memory: nothing waits forever.
    """

    async def send(statement: Statement) -> None:
        statement.progress.request_id = f"r{statement.number}"

    def accepted(statement: Statement) -> None:
        raise MemoryError(statement.number)

    async def scenario() -> Batch:
        statements = [Statement(number, f"SHOW {number}") for number in range(3)]
        batch = Batch(statements, send, accepted=accepted)
        async with asyncio.timeout(10):
            await batch.run()
        return batch

    batch = run(scenario())
    assert isinstance(batch.failure, MemoryError)
