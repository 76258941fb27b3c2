"""
Reads status words out of answers of unknown shape, by value.

The response to a listing is documented nowhere, so no key is known.  What is known: it holds
our run IDs somewhere, and near each a word with a certain prefix.  Where that is not clear
without doubt, the run counts as not seen; it is then checked alone.  Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from onehouse_tracker.models import text_at
from onehouse_tracker.runs._kinds import KeyPath
from onehouse_tracker.runs._walk import Node, Steps, Walk

__all__ = ["Listing", "Sighting", "is_large", "read_many", "read_one"]

_LARGE_NODES = 8_000
"""Values and containers in about 256 KiB of JSON."""


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
    pause: Callable[[], object] | None = None,
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

        pause: Called every millisecond or so.
    """
    if response is None:
        return _NOTHING
    walk = Walk(run_ids, prefix, pause)
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


def _owners(values: Iterable[tuple[str, Node]]) -> dict[Node, str]:
    """The one run that each container holds; empty where it holds several."""
    owners: dict[Node, str] = {}
    for run_id, start in values:
        node: Node | None = start
        while node is not None:
            owner = owners.get(node)
            if owner in {"", run_id}:
                break  # all that is further out knows of this run already
            owners[node] = run_id if owner is None else ""
            node = node.parent
    return owners


def _sighting(
    start: Node, run_id: str, owners: Mapping[Node, str], prefix: str
) -> Sighting | None:
    """The word that belongs to the run: an empty one where it is unclear, `None` for none."""
    node: Node | None = start
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
