"""
Reads status words out of answers of unknown shape, by value.

The response to a listing is documented nowhere, so no key is known.  What is known: it holds
our run IDs somewhere, and near each a word with a certain prefix.  Where that is not clear
without doubt, the run counts as not seen; it is then checked alone.  Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from onehouse_tracker.models import text_at
from onehouse_tracker.runs._kinds import KeyPath

__all__ = ["Listing", "Sighting", "is_large", "read_many", "read_one"]

Steps: TypeAlias = tuple[str | int, ...]
"""How one gets to a value: keys, ``"[]"`` for any element of a list, ``"{}"`` for any key of an
object whose keys are IDs, and at the end of a column the number of the column."""

_ANY_ELEMENT: Final = "[]"
_ANY_KEY: Final = "{}"
_LARGE_NODES = 8_000
"""Values and containers in about 256 KiB of JSON."""
_NODE_BYTES = 6
"""Quotes, commas and colons around one value."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What an answer says about one run."""

    word: str | None
    """The status word; `None` where the run is there, but no word that is clear."""

    row: Any
    """The part of the answer that says it: an object or a list."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What an answer says about our runs."""

    seen: Mapping[str, Sighting]
    """What it says about each run of which it says something clear."""

    paths: AbstractSet[Steps]
    """The places of the shape where the run IDs are, of those that can be trusted."""

    has_ids: bool
    """Whether any of our IDs is anywhere in it."""

    has_words: bool
    """Whether any status word is anywhere in it."""

    size: int
    """About so many bytes of JSON."""


_NOTHING: Final = Listing({}, frozenset(), has_ids=False, has_words=False, size=0)


class _Node:
    """One container of the answer."""

    __slots__ = ("parent", "step", "value")

    def __init__(self, value: Any, parent: _Node | None, step: _Step) -> None:
        self.value = value
        self.parent = parent
        self.step = step


class _Step:
    """One place of the answer's shape: all values that the same keys lead to."""

    __slots__ = ("below", "elements", "key", "outer")

    def __init__(self, key: str, outer: _Step | None) -> None:
        self.key = key
        self.outer = outer
        self.elements = 0
        """How many values are here, for a place that stands for many."""
        self.below: dict[str, _Step] = {}

    def to(self, key: str) -> _Step:
        step = self.below.get(key)
        if step is None:
            step = self.below[key] = _Step(key, self)
        return step

    @property
    def steps(self) -> Steps:
        return (*self.outer.steps, self.key) if self.outer is not None else ()

    @property
    def repeated(self) -> _Step | None:
        """The nearest place from here outward that stands for many."""
        step: _Step | None = self
        while step is not None and not step.elements:
            step = step.outer
        return step


@dataclass(slots=True)
class _Place:
    """Values at one place of the shape, or in one column of it: perhaps the runs' identities."""

    step: _Step
    column: int | None = None
    values: list[tuple[str, _Node]] = field(default_factory=list)

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


def is_large(response: object) -> bool:
    """Whether reading it takes so long that a worker thread should do it."""
    left = _LARGE_NODES
    waiting: list[Any] = [response]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            left -= 2 * len(node)
            waiting += (value for value in node.values() if isinstance(value, Mapping | list))
        elif isinstance(node, list):
            left -= len(node)
            if left >= 0:
                waiting += (value for value in node if isinstance(value, Mapping | list))
        if left < 0:
            return True
    return False


def read_one(
    response: Mapping[str, Any] | None, run_id: str, *, word_at: KeyPath, prefix: str
) -> Sighting | None:
    """
    What the answer to a question about one run says; `None` if it says nothing about any run.

    The known place counts first, whatever the word is; then it is read by value; and last,
    because the answer is about one run, the word nearest to its top.
    """
    if response is None:
        return None
    word = text_at(response, word_at)
    if word is not None:
        return Sighting(word, _container_at(response, word_at[:-1]))
    place = _container_at(response, word_at[:-1])
    if isinstance(place, Mapping):
        return Sighting(None, place)
    listing = read_many(response, {run_id}, prefix=prefix)
    if listing.has_ids:
        return listing.seen.get(run_id) or Sighting(None, response)
    word = _word_nearest_to_top(response, prefix)
    return None if word is None else Sighting(word or None, response)


def read_many(
    response: Mapping[str, Any] | None,
    run_ids: AbstractSet[str],
    *,
    prefix: str,
    paths: AbstractSet[Steps] = frozenset(),
) -> Listing:
    """
    What a listing says about our runs.

    An ID matches a whole text or key, exactly.  What belongs to it is the smallest part of the
    answer that holds it and a status word, and no other run; in it, the word nearest to the top
    counts.  Two different words there, or two such parts with different words, count for nothing.
    Only a place of the shape counts that every row has, and if IDs are at several places, only one
    whose values are all different: a run that another one repeats is not meant.

    Args:
        response: ``apiResponse``.

        run_ids: Our runs.

        prefix: What every status word begins with.

        paths: Where the IDs may be, as an earlier listing had them; none for anywhere.
    """
    if response is None:
        return _NOTHING
    walk = _Walk(run_ids, prefix)
    walk.through(response)
    places = [place for place in walk.places() if not paths or place.steps in paths]
    seen: dict[str, Sighting] = {}
    unclear: set[str] = set()
    for place in places:
        owners = _owners(place.values)
        for run_id, node in place.values:
            if run_id not in run_ids:
                continue
            sighting = _sighting(node, run_id, owners, prefix)
            if sighting is None:
                continue
            if sighting.word != seen.setdefault(run_id, sighting).word or not sighting.word:
                unclear.add(run_id)
    return Listing(
        {run_id: sighting for run_id, sighting in seen.items() if run_id not in unclear},
        frozenset(place.steps for place in places),
        has_ids=bool(walk.found),
        has_words=walk.has_words,
        size=walk.size,
    )


class _Walk:
    """Goes through an answer once, and notes where what is."""

    def __init__(self, run_ids: AbstractSet[str], prefix: str) -> None:
        self._run_ids = run_ids
        self._prefix = prefix
        self._texts: dict[_Step, list[tuple[str, _Node, int]]] = {}
        self.found: dict[_Step, None] = {}
        """The places where our IDs are."""
        self.has_words = False
        self.size = 0

    def through(self, response: Mapping[str, Any]) -> None:
        # No recursion: an answer may be nested deeply.
        waiting = [_Node(response, None, _Step("", None))]
        while waiting:
            node = waiting.pop()
            if isinstance(node.value, Mapping):
                self._object(node, waiting)
            else:
                self._list(node, waiting)

    def _object(self, node: _Node, waiting: list[_Node]) -> None:
        content: Mapping[str, Any] = node.value
        by_id = not self._run_ids.isdisjoint(content)
        self.size += sum(map(len, content)) + _NODE_BYTES * len(content)
        if not by_id:
            for key, value in content.items():
                self._value(value, node, node.step.to(key), 0, waiting)
            return
        step = node.step.to(_ANY_KEY)
        step.elements += len(content)
        keys = node.step.to(f"{_ANY_KEY} itself")
        self.found[keys] = None
        for key, value in content.items():
            # What a key stands for is a part of its own, with the key.
            part = _Node({key: value}, node, step)
            self._texts.setdefault(keys, []).append((key, part, 0))
            self._value(value, part, step, 0, waiting)

    def _list(self, node: _Node, waiting: list[_Node]) -> None:
        step = node.step.to(_ANY_ELEMENT)
        step.elements += len(node.value)
        for number, value in enumerate(node.value):
            self._value(value, node, step, number, waiting)

    def _value(
        self, value: Any, node: _Node, step: _Step, number: int, waiting: list[_Node]
    ) -> None:
        if isinstance(value, str):
            self.size += len(value) + _NODE_BYTES
            if value.startswith(self._prefix):
                self.has_words = True
            if value in self._run_ids:
                self.found[step] = None
            self._texts.setdefault(step, []).append((value, node, number))
        elif isinstance(value, Mapping | list):
            waiting.append(_Node(value, node, step))
        else:
            self.size += _NODE_BYTES

    def places(self) -> list[_Place]:
        """The places that can be trusted to be the identities of the rows."""
        places = [place for step in self.found for place in self._columns(step)]
        if len(places) > 1:
            places = [place for place in places if place.all_different]
        return [place for place in places if place.is_complete]

    def _columns(self, step: _Step) -> Iterable[_Place]:
        """The values at *step*; column by column, where it holds the cells of a table."""
        texts = self._texts[step]
        if not self._is_table(step, texts):
            return (_Place(step, None, [(value, node) for value, node, _ in texts]),)
        columns: dict[int, _Place] = {}
        for value, node, number in texts:
            column = number if step.key == _ANY_ELEMENT else _number_of(node)
            columns.setdefault(column, _Place(step, column)).values.append((value, node))
        return [
            place
            for place in columns.values()
            if any(value in self._run_ids for value, _ in place.values)
        ]

    def _is_table(self, step: _Step, texts: Sequence[tuple[str, _Node, int]]) -> bool:
        repeated = step.repeated
        if repeated is None or repeated.key != _ANY_ELEMENT:
            return False
        if step.key == _ANY_ELEMENT and step.outer is not None and step.outer.repeated is not None:
            return True
        return any(value.startswith(self._prefix) for value, _, _ in texts)


def _number_of(node: _Node) -> int:
    """The place of a cell in its row."""
    while node.parent is not None and not isinstance(node.parent.value, list):
        node = node.parent
    if node.parent is None:
        return 0
    return next((number for number, cell in enumerate(node.parent.value) if cell is node.value), 0)


def _owners(values: Iterable[tuple[str, _Node]]) -> dict[_Node, str]:
    """The one run that each container holds; empty where it holds several."""
    owners: dict[_Node, str] = {}
    for run_id, start in values:
        node: _Node | None = start
        while node is not None:
            owner = owners.get(node)
            if owner in {"", run_id}:
                break  # all that is further out knows of this run already
            owners[node] = run_id if owner is None else ""
            node = node.parent
    return owners


def _sighting(
    start: _Node, run_id: str, owners: Mapping[_Node, str], prefix: str
) -> Sighting | None:
    """The word that belongs to the run: an empty one where it is unclear, `None` for none."""
    node: _Node | None = start
    while node is not None and owners[node] == run_id:
        word = _word_nearest_to_top(node.value, prefix)
        if word is not None:
            return Sighting(word, node.value)
        node = node.parent
    return None


def _word_nearest_to_top(part: Any, prefix: str) -> str | None:
    """The word that is nearest to the top of *part*; empty where there are two of them."""
    level: list[Any] = [part]
    while level:
        words: set[str] = set()
        below: list[Any] = []
        for node in level:
            for value in node.values() if isinstance(node, Mapping) else node:
                if isinstance(value, str):
                    if value.startswith(prefix):
                        words.add(value)
                elif isinstance(value, Mapping | list):
                    below.append(value)
        if words:
            return words.pop() if len(words) == 1 else ""
        level = below
    return None


def _container_at(response: Mapping[str, Any], path: KeyPath) -> Any:
    value: Any = response
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
