"""
Spends the budget of a file as `host_worker` does, and is stopped once while it holds the lock.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from onehouse_tracker.limiters import HostLimiter
from onehouse_tracker.limiters._budget_file import BudgetFile
from tests.limiters.host_worker import main

BOOKINGS = 5

book_in = HostLimiter._book_in
bookings = 0


def stopped_once(self: HostLimiter, file: BudgetFile) -> float | None:
    """Book; the fifth time, stop before what is booked is written."""
    global bookings  # noqa: PLW0603 - of this process
    bookings += 1
    if bookings == BOOKINGS:
        write = BudgetFile.write

        def stop_and_write(*args: object) -> None:
            BudgetFile.write = write  # type: ignore[method-assign]
            os.kill(os.getpid(), signal.SIGSTOP)
            write(*args)  # type: ignore[arg-type]

        BudgetFile.write = stop_and_write  # type: ignore[assignment, method-assign]
    return book_in(self, file)


HostLimiter._book_in = stopped_once  # type: ignore[method-assign]
asyncio.run(main(sys.argv[1], float(sys.argv[2])))
