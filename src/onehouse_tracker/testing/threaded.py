"""
A simulator in a thread of its own, for code that has no event loop or blocks it.
"""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject

__all__ = ["RunningSimulator"]


class RunningSimulator:
    """
    Serve a project from a thread while the ``with`` block runs.

    Args:
        server: What to run; a `SimulatorServer` with a fresh project if not given.

    Attributes:
        server: The server.  Call only its plain attributes from outside of its thread.

    Raises:
        OSError: The port cannot be had.
    """

    def __init__(self, server: SimulatorServer | None = None) -> None:
        self.server = SimulatorServer() if server is None else server
        self._runner = asyncio.Runner()
        self._ready = threading.Event()
        self._done = asyncio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="onehouse simulator", daemon=True)

    def __repr__(self) -> str:
        return f"<RunningSimulator: {self.server!r}>"

    @property
    def project(self) -> SimulatedProject:
        """The model.  Arrange it before the requests come, judge it after they are answered."""
        return self.server.project

    @property
    def url(self) -> str:
        """The base URL."""
        return self.server.url

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables with which any client that reads them talks to the server."""
        return self.server.environment()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._runner.get_loop().call_soon_threadsafe(self._done.set)
        self._thread.join()

    def _serve(self) -> None:
        with self._runner:
            self._runner.run(self._main())

    async def _main(self) -> None:
        try:
            await self.server.start()
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for it
            self._failure = error
            return
        finally:
            self._ready.set()
        await self._done.wait()
        await self.server.stop()
