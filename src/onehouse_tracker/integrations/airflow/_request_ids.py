"""
Request IDs in whatever form another task pushed them.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from onehouse_tracker._checks import check_request_id
from onehouse_tracker.errors import InvalidRequestError

__all__ = ["parsed", "request_ids_in"]

_NOTHING: Final = frozenset({"None", "null"})
"""What a template makes of an XCom that is not there."""


def request_ids_in(value: Any) -> list[str]:
    """
    Find the request IDs in *value*, each once.

    Args:
        value: One ID, a list of them, what one of our operators pushed, or the string that
            a template makes of one of these.

    Raises:
        InvalidRequestError: There is something else in it.
    """
    try:
        return list(dict.fromkeys(_found(value)))
    except RecursionError:
        raise InvalidRequestError("request_ids is nested too deeply") from None


def _found(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        text = value.strip()
        # No ID begins like that: a template wrote a list or an object, as JSON or as Python does.
        if text[:1] in {"[", "{", "("}:
            yield from _found(parsed(text))
        else:
            yield _checked(text)
    elif isinstance(value, Mapping):
        yield _checked(value.get("request_id"))
    elif isinstance(value, Iterable):
        for item in value:
            if isinstance(item, str):
                yield _checked(item)
            else:
                yield from _found(item)
    else:
        yield _checked(value)


def _checked(value: object) -> str:
    if value in _NOTHING if isinstance(value, str) else value is None:
        raise InvalidRequestError(
            f"there is {value} where a request ID should be: the task it comes from pushed nothing"
        )
    return check_request_id(value)


def parsed(text: str) -> Any:
    """
    Read what a template made of a list or an object, as JSON or as Python.

    Raises:
        InvalidRequestError: It is neither.
    """
    # JSON first: what `tojson` writes has a null, a true and a false, which Python does not know.
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    raise InvalidRequestError("request_ids is a string that is no list of IDs")
