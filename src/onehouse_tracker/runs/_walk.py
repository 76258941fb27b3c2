"""
Finds the places of an answer of unknown shape where our run IDs are, and what else is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

__all__ = ["Node", "Place", "Steps", "Walk"]

Steps: TypeAlias = tuple[str | int, ...]
"""How one gets to a value: keys, ``"[]"`` for any element of a list, ``"{}"`` for any key of an
object whose keys are IDs, and at the end of a column the number of the column."""

_ANY_ELEMENT: Final = "[]"
_ANY_KEY: Final = "{}"
_KEYS: Final = "{} itself"
_UNTIL_PAUSE = 256
"""Containers that are looked into in about a millisecond."""
_NODE_BYTES = 6
"""Quotes, commas and colons around one value."""


class Node:
    """One container of the answer."""

    __slots__ = ("parent", "step", "value")

    def __init__(self, value: Any, parent: Node | None, step: Step) -> None:
        self.value = value
        self.parent = parent
        self.step = step


class Step:
    """One place of the answer's shape: all values that the same keys lead to."""

    __slots__ = ("below", "elements", "key", "outer")

    def __init__(self, key: str, outer: Step | None) -> None:
        self.key = key
        self.outer = outer
        self.elements = 0
        """How many values are here, for a place that stands for many."""
        self.below: dict[str, Step] = {}

    def to(self, key: str) -> Step:
        step = self.below.get(key)
        if step is None:
            step = self.below[key] = Step(key, self)
        return step

    @property
    def steps(self) -> Steps:
        return (*self.outer.steps, self.key) if self.outer is not None else ()

    @property
    def repeated(self) -> Step | None:
        """The nearest place from here outward that stands for many."""
        step: Step | None = self
        while step is not None and not step.elements:
            step = step.outer
        return step


@dataclass(slots=True)
class Place:
    """Values at one place of the shape, or in one column of it: perhaps the runs' identities."""

    step: Step
    column: int | None = None
    values: list[tuple[str, Node]] = field(default_factory=list)

    @property
    def steps(self) -> Steps:
        return self.step.steps if self.column is None else (*self.step.steps, self.column)

    @property
    def all_different(self) -> bool:
        return len({value for value, _ in self.values}) == len(self.values)

    @property
    def is_complete(self) -> bool:
        """Whether every row has such a value: a reference to another run is in some rows only."""
        rows = self.step.repeated
        if self.column is not None and rows is not None:
            rows = None if rows.outer is None else rows.outer.repeated
        return rows is None or len(self.values) >= rows.elements


class Walk:
    """
    Goes through an answer twice: where are our IDs, and what else is at these places?

    In a large answer most is at other places, and costs nothing but a look.
    """

    def __init__(
        self,
        run_ids: AbstractSet[str],
        prefix: str,
        pause: Callable[[], object] | None = None,
    ) -> None:
        self._run_ids = run_ids
        self._pause = pause
        self._seen = 0
        self._prefix = prefix
        self._texts: dict[Step, list[tuple[str, Node, int]]] = {}
        self._ways: set[Step] = set()
        """The places that lead to one where our IDs are."""
        self.found: dict[Step, None] = {}
        """The places where our IDs are."""
        self.has_words = False
        self.size = 0

    def through(self, response: Mapping[str, Any]) -> None:
        top = Step("", None)
        self._look(response, top)
        for found in self.found:
            step: Step | None = found
            while step is not None:
                self._ways.add(step)
                step = step.outer
        if self.found:
            self._gather(response, top)

    # --- where our IDs are ---------------------------------------------------------------

    def _look(self, response: Mapping[str, Any], top: Step) -> None:
        # No recursion: an answer may be nested deeply.
        levels = [self._members(response, top)]
        while levels:
            for value, step in levels[-1]:
                if isinstance(value, str):
                    self._see(value, step)
                elif isinstance(value, Mapping | list):
                    levels.append(self._members(value, step))
                    self._count()
                    break
                else:
                    self.size += _NODE_BYTES
            else:
                levels.pop()

    def _members(
        self, container: Mapping[str, Any] | list[Any], place: Step
    ) -> Iterator[tuple[Any, Step]]:
        """What is in a container, each with its place."""
        if isinstance(container, list):
            step = place.to(_ANY_ELEMENT)
            step.elements += len(container)
            for value in container:
                yield value, step
            return
        self.size += sum(map(len, container)) + _NODE_BYTES * len(container)
        if self._run_ids.isdisjoint(container):
            for key, value in container.items():
                yield value, place.to(key)
            return
        step = place.to(_ANY_KEY)
        step.elements += len(container)
        self.found[place.to(_KEYS)] = None
        for value in container.values():
            yield value, step

    def _count(self) -> None:
        self._seen += 1
        if self._pause is not None and self._seen % _UNTIL_PAUSE == 0:
            self._pause()

    def _see(self, value: str, step: Step) -> None:
        self.size += len(value) + _NODE_BYTES
        if value.startswith(self._prefix):
            self.has_words = True
        if value in self._run_ids:
            self.found[step] = None

    # --- what is at these places -----------------------------------------------------------

    def _gather(self, response: Mapping[str, Any], top: Step) -> None:
        waiting = [Node(response, None, top)]
        while waiting:
            node = waiting.pop()
            self._count()
            if isinstance(node.value, Mapping):
                self._object(node, waiting)
            else:
                step = node.step.to(_ANY_ELEMENT)
                for number, value in enumerate(node.value):
                    self._value(value, node, step, number, waiting)

    def _object(self, node: Node, waiting: list[Node]) -> None:
        content: Mapping[str, Any] = node.value
        if self._run_ids.isdisjoint(content):
            for key, step in node.step.below.items():
                if step in self._ways and key in content:
                    self._value(content[key], node, step, 0, waiting)
            return
        step, keys = node.step.to(_ANY_KEY), node.step.to(_KEYS)
        for key, value in content.items():
            # What a key stands for is a part of its own, with the key.
            part = Node({key: value}, node, step)
            self._texts.setdefault(keys, []).append((key, part, 0))
            self._value(value, part, step, 0, waiting)

    def _value(self, value: Any, node: Node, step: Step, number: int, waiting: list[Node]) -> None:
        if isinstance(value, str):
            if step in self.found:
                self._texts.setdefault(step, []).append((value, node, number))
        elif step in self._ways and isinstance(value, Mapping | list):
            waiting.append(Node(value, node, step))

    def places(self) -> list[Place]:
        """The places that can be trusted to be the identities of the rows."""
        places = [place for step in self.found for place in self._columns(step)]
        if len(places) > 1:
            places = [place for place in places if place.all_different]
        return [place for place in places if place.is_complete]

    def _columns(self, step: Step) -> Iterable[Place]:
        """The values at *step*; column by column, where it holds the cells of a table."""
        texts = self._texts[step]
        if not self._is_table(step, texts):
            return (Place(step, None, [(value, node) for value, node, _ in texts]),)
        columns: dict[int, Place] = {}
        for value, node, number in texts:
            column = number if step.key == _ANY_ELEMENT else _number_of(node)
            columns.setdefault(column, Place(step, column)).values.append((value, node))
        return [
            place
            for place in columns.values()
            if any(value in self._run_ids for value, _ in place.values)
        ]

    def _is_table(self, step: Step, texts: Sequence[tuple[str, Node, int]]) -> bool:
        repeated = step.repeated
        if repeated is None or repeated.key != _ANY_ELEMENT:
            return False
        if step.key == _ANY_ELEMENT and step.outer is not None and step.outer.repeated is not None:
            return True
        return any(value.startswith(self._prefix) for value, _, _ in texts)


def _number_of(node: Node) -> int:
    """The place of a cell in its row."""
    while node.parent is not None and not isinstance(node.parent.value, list):
        node = node.parent
    if node.parent is None:
        return 0
    return next((number for number, cell in enumerate(node.parent.value) if cell is node.value), 0)
