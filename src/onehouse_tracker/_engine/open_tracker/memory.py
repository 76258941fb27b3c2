"""
Outcomes that are remembered, as long as somebody holds a handle for them.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onehouse_tracker.handles import Handle
    from onehouse_tracker.models import Result

__all__ = ["Memory"]


class Memory:
    """Finds a handle that knows the outcome of a request."""

    def __init__(self) -> None:
        # Each handle keeps the set of all handles for its request alive, and nobody else does.
        self._handles: weakref.WeakValueDictionary[str, weakref.WeakSet[Handle]] = (
            weakref.WeakValueDictionary()
        )

    def outcome(self, request_id: str) -> Result | None:
        """The outcome that a handle still holds, if there is one and it is final."""
        for handle in self._handles.get(request_id, ()):
            result = handle._remembered()  # noqa: SLF001 - of our own kind
            if result is not None:
                return result
        return None

    def add(self, handle: Handle) -> None:
        """Remember what *handle* knows, as long as it lives."""
        known = self._handles.setdefault(handle.request_id, weakref.WeakSet())
        handle._siblings = known  # noqa: SLF001 - of our own kind
        known.add(handle)
