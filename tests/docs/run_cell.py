"""Runs a file as a notebook runs a cell: on an event loop, with await outside of functions."""

from __future__ import annotations

import asyncio
import inspect
import sys
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from pathlib import Path


async def main(name: str, source: str) -> None:
    """Run the cell *source*, which stands in the file *name*."""
    code = compile(source, name, "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT)
    # Not asyncio.run on what it returns: a cell that awaits nothing finds a running loop too.
    left = eval(code, {"__name__": "__main__"})  # noqa: S307 - our own page
    if inspect.isawaitable(left):
        await left


asyncio.run(main(sys.argv[1], Path(sys.argv[1]).read_text(encoding="utf-8")))
