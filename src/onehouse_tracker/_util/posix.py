"""
What only POSIX systems have, under names that type checkers know on every system.
"""

from __future__ import annotations

import sys

__all__ = ["fcntl", "posix"]

if sys.platform == "win32":
    from typing import Any

    # Who needs them asks first: see `refuse_without_locks`.
    fcntl: Any = None
    posix: Any = None
else:
    import fcntl
    import os as posix
