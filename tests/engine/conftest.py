"""Where tests keep many short journals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a new directory of our own in it


@pytest.fixture
def quick_path() -> Iterator[Path]:
    """A directory in memory, where there is one: hundreds of journals wait for no disk."""
    with TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as path:
        yield Path(path)
