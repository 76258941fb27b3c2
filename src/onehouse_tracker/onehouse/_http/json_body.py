"""
Reads JSON from outside: strictly, in one go or in pieces, and repaired where that fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pydantic_core import from_json

from onehouse_tracker.onehouse._http.pieces import parse_in_pieces
from onehouse_tracker.onehouse._http.repair import MAX_REPAIRED, repaired

__all__ = ["read_json"]

# Three digits of an exponent, or a long row of them: what each number has that no float holds.
_MAYBE_INFINITE = re.compile(rb"[0-9][eE]\+?[0-9]{3}|(?<![0-9])[0-9]{200}")


def read_json(body: bytes | bytearray, pause: Callable[[], object] | None) -> Any:
    """
    What *body* says, also if it is nearly JSON.

    Args:
        body: It.

        pause: Called every millisecond while it is parsed a piece at a time; `None` parses it in
            one go.

    Raises:
        ValueError: It is not JSON.
    """
    if pause is not None:
        with suppress(ValueError):
            return parse_in_pieces(body, pause)
    try:
        # Bounded in depth and strict about UTF-8, where json.loads is neither.
        content = from_json(body, allow_inf_nan=False)
        if len(body) <= MAX_REPAIRED and _MAYBE_INFINITE.search(body):
            json.dumps(content, allow_nan=False)  # 1e400 is read as infinity, which is no JSON
    except ValueError:
        return from_json(repaired(body), allow_inf_nan=False)
    return content
