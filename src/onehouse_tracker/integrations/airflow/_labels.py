"""
The labels of a trigger's requests, written so that they take little room in Airflow's database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from onehouse_tracker.errors import InvalidRequestError

__all__ = ["MAX_REQUESTS", "Labels", "packed", "unpacked"]

MAX_REQUESTS: Final = 1000
"""Request IDs, of 36 characters each, that fit with their labels into a trigger's row on MySQL:
65,535 bytes, of which encryption takes a fourth."""

_ROOM: Final = 6000
"""Characters for labels, as JSON."""

Labels = str | Sequence[str | None] | Mapping[str, Any] | None
"""One for all requests, one for each, or what `packed` made of them."""


def packed(labels: Labels) -> Labels:
    """
    Write each label once.

    Labels that would take too much room even so are left out: they make messages and forecasts
    better, and no request depends on them.
    """
    if labels is None or isinstance(labels, str | Mapping):
        return labels
    names = list(dict.fromkeys(labels))
    if len(names) <= 1:
        return names[0] if names else None
    places = {name: place for place, name in enumerate(names)}
    each = [places[label] for label in labels]
    # With the comma, the space and the quotes that JSON puts between them.
    room = sum(len(str(place)) + 2 for place in each) + sum(len(name or "") + 4 for name in names)
    return None if room > _ROOM else {"names": names, "each": each}


def unpacked(labels: Labels, count: int) -> list[str | None]:
    """
    Return one label for each of *count* requests.

    Raises:
        InvalidRequestError: There are more of them, or fewer.
    """
    if not labels:
        return [None] * count
    if isinstance(labels, str):
        return [labels] * count
    if isinstance(labels, Mapping):
        labels = [labels["names"][place] for place in labels["each"]]
    if len(labels) != count:
        raise InvalidRequestError("there must be as many labels as request IDs")
    return list(labels)
