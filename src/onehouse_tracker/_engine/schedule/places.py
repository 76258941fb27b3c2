"""
The place of each pending request in the order of submission, counted from both ends.

A server that works through a queue ends what is in front; one that takes the newest
first, what stands at the back.  No clock, no I/O, no tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onehouse_tracker._engine.tracked import Tracked

__all__ = ["Places"]

CLASSES = 5
"""Per end: the first 3 requests, the next 12, 48 and 192, and the rest of that half."""


class Places:
    """
    The pending requests as a list linked through themselves.

    `Tracked.place` is 1 to 5 in the front half, counted from the front, and -1 to -5 in the
    back half, counted from the back.  Joining and leaving cost the same at any length: the
    first request of each class is known, and shifts by one.
    """

    __slots__ = ("_back", "_front", "_front_length", "_head", "_length", "_mid", "_moved", "_tail")

    def __init__(self) -> None:
        self._head: Tracked | None = None
        self._tail: Tracked | None = None
        self._length = 0
        # The last request of the front half, which has the odd one.
        self._mid: Tracked | None = None
        self._front_length = 0
        # Entry k is the first of class k + 1, counted from its end: number 4**k of that half.
        self._front: list[Tracked] = []
        self._back: list[Tracked] = []
        self._moved: list[Tracked] = []

    def __len__(self) -> int:
        return self._length

    def join(self, tracked: Tracked) -> list[Tracked]:
        """Put a request at the end of the order; return those whose place changed."""
        self._moved = []
        back = self._back
        tracked.before, tracked.after = self._tail, None
        if self._tail is None:
            self._head = tracked
        else:
            self._tail.after = tracked
        self._tail = tracked
        self._length += 1
        for number in range(1, len(back)):
            self._set_back(number, back[number].after)
        if back:
            back[0] = tracked
        else:
            back.append(tracked)
        tracked.place = -1
        length = self._length - self._front_length
        if length > 1 and length == 4 ** len(back) and len(back) < CLASSES:
            back.append(tracked)
            self._set_back(len(back) - 1, self._after_mid)
        self._balance()
        return self._moved

    def leave(self, tracked: Tracked) -> list[Tracked]:
        """Take a request out of the order; return those whose place changed."""
        self._moved = []
        if tracked.place > 0:
            self._leave_front(tracked)
        else:
            self._leave_back(tracked)
        tracked.place = 0
        before, after = tracked.before, tracked.after
        if before is None:
            self._head = after
        else:
            before.after = after
        if after is None:
            self._tail = before
        else:
            after.before = before
        tracked.before = tracked.after = None
        self._length -= 1
        self._balance()
        return self._moved

    def _leave_front(self, tracked: Tracked) -> None:
        front = self._front
        for number in range(tracked.place, len(front)):
            first = front[number]
            self._place(first, number)
            if first is self._mid:
                front.pop()
            else:
                front[number] = _there(first.after)
        if front[tracked.place - 1] is tracked:
            if tracked is self._mid:
                front.pop()
            else:
                front[tracked.place - 1] = _there(tracked.after)
        if tracked is self._mid:
            self._mid = tracked.before
        self._front_length -= 1

    def _leave_back(self, tracked: Tracked) -> None:
        back, farthest = self._back, self._after_mid
        for number in range(-tracked.place, len(back)):
            first = back[number]
            self._place(first, -number)
            if first is farthest:
                back.pop()
            else:
                back[number] = _there(first.before)
        if back[-tracked.place - 1] is tracked:
            if tracked is farthest:
                back.pop()
            else:
                back[-tracked.place - 1] = _there(tracked.before)

    def _balance(self) -> None:
        """Move the middle until the front half has half of all, rounded up."""
        half = (self._length + 1) // 2
        front, back = self._front, self._back
        while self._front_length > half:
            crossing = _there(self._mid)
            if front[-1] is crossing:
                front.pop()
            self._mid = crossing.before
            self._front_length -= 1
            number = self._length - self._front_length
            self._place(crossing, -_class(number))
            if number == 4 ** len(back) and len(back) < CLASSES:
                back.append(crossing)
        while self._front_length < half:
            crossing = _there(self._after_mid)
            if back[-1] is crossing:
                back.pop()
            self._mid = crossing
            self._front_length += 1
            number = self._front_length
            self._place(crossing, _class(number))
            if number == 4 ** len(front) and len(front) < CLASSES:
                front.append(crossing)

    @property
    def _after_mid(self) -> Tracked | None:
        return self._head if self._mid is None else self._mid.after

    def _set_back(self, number: int, first: Tracked | None) -> None:
        first = _there(first)
        self._back[number] = first
        self._place(first, -number - 1)

    def _place(self, tracked: Tracked, place: int) -> None:
        if tracked.place != place:
            tracked.place = place
            self._moved.append(tracked)


def _class(number: int) -> int:
    """The class of the request that is *number* from its end, the first being 1."""
    return min(CLASSES, (number.bit_length() + 1) // 2)


def _there(tracked: Tracked | None) -> Tracked:
    assert tracked is not None  # noqa: S101 - the halves and their lengths agree
    return tracked
