"""
Lets out of the event loop what is to end the program.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn

__all__ = ["let_out"]


def let_out(error: BaseException) -> None:
    """
    Raise *error*, a `SystemExit` or a `KeyboardInterrupt`, out of the running event loop.

    Not here, where it would leave things half done, but in the next turn of the loop.
    """
    asyncio.get_running_loop().call_soon(_raise, error)


def _raise(error: BaseException) -> NoReturn:
    raise error
