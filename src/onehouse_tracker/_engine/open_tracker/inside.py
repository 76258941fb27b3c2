"""
Whether code runs inside of something that others are about to wait for.

Closing waits for the tasks of a tracker, and so for whatever the user does in them.  Who closes
from there would wait for itself.  Context variables tell: a task, and what
`asyncio.run_coroutine_threadsafe` starts from a thread, see those of their starter.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["context_inside", "inside", "is_inside", "refuse_inside"]


class _Place:
    """Where code runs: inside of *owner*, which is inside of others."""

    __slots__ = ("outer", "owner")

    def __init__(self, owner: object, outer: _Place | None) -> None:
        self.owner: object | None = owner
        self.outer = outer
        # What was left is taken out, or a long life would make a long chain.
        while self.outer is not None and self.outer.owner is None:
            self.outer = self.outer.outer


_place: Final = contextvars.ContextVar[_Place | None]("onehouse_tracker_place", default=None)


@contextmanager
def inside(owner: object) -> Iterator[None]:
    """The block runs inside of *owner*; what it started and left behind does so no longer."""
    place = _Place(owner, _place.get())
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)
        place.owner = None


def context_inside(owner: object) -> contextvars.Context:
    """A copy of the current context, for a task that is inside of *owner* as long as it runs."""
    context = contextvars.copy_context()
    context.run(_place.set, _Place(owner, _place.get()))
    return context


def is_inside(owner: object) -> bool:
    """Whether the caller runs inside of *owner*, directly or not."""
    place = _place.get()
    while place is not None:
        if place.owner is owner:
            return True
        place = place.outer
    return False


def refuse_inside(owner: object) -> None:
    """Raise `RuntimeError` where closing *owner* would wait for the caller."""
    if is_inside(owner):
        raise RuntimeError(
            "closing waits for on_result, for the iterable of request IDs and for the polls:"
            " it cannot be done from there. Return from it, and close outside"
        )
