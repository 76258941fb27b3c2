"""
Request IDs in whatever form another task pushed them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

from onehouse_tracker.errors import InvalidRequestError
from onehouse_tracker.models import check_request_id

__all__ = ["request_ids_in"]


def request_ids_in(value: Any) -> list[str]:
    """
    Find the request IDs in *value*, each once.

    Args:
        value: One ID, a list of them, what an operator of ours pushed, or the text that a
            template makes of one of these.

    Raises:
        InvalidRequestError: There is something else in it.
    """
    return list(dict.fromkeys(_found(value)))


def _found(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        text = value.strip()
        # No ID begins like that: a template wrote a list or an object as Python does.
        if text[:1] in {"[", "{", "("}:
            yield from _found(_parsed(text))
        else:
            yield check_request_id(text)
    elif isinstance(value, Mapping):
        yield check_request_id(value.get("request_id"))
    elif isinstance(value, Iterable):
        for item in value:
            if isinstance(item, str):
                yield check_request_id(item)
            else:
                yield from _found(item)
    else:
        yield check_request_id(value)


def _parsed(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise InvalidRequestError("request_ids is a text, but none that a list became") from None
