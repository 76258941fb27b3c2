"""
A response of which everybody has an own copy, made only for those who look at it.

Copying one of some megabytes takes a tenth of a second, too long for the polling path; most
of those who wait for a request read no more than its outcome.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from types import MemberDescriptorType

__all__ = ["OwnResponse", "copied"]

_ValueT = TypeVar("_ValueT")

_UNCHANGING: Final = frozenset({str, int, float, bool, type(None)})


class _Original:
    """A response that several results refer to; nobody is given it."""

    __slots__ = ("response",)

    def __init__(self, response: Mapping[str, Any]) -> None:
        self.response = response


class OwnResponse:
    """
    The attribute of a result that holds its response.

    Args:
        slot: Where the value is.
    """

    def __init__(self, slot: MemberDescriptorType) -> None:
        self._slot = slot

    def __get__(self, result: object, owner: type | None = None) -> Any:
        if result is None:
            return self
        value = self._slot.__get__(result, owner)
        if type(value) is _Original:
            value = copied(value.response)
            self._slot.__set__(result, value)
        return value

    def __set__(self, result: object, value: Any) -> None:
        self._slot.__set__(result, value)

    def peek(self, result: object) -> Mapping[str, Any] | None:
        """The response of *result*, to look at only: it may be that of others too."""
        value = self._slot.__get__(result)
        return value.response if type(value) is _Original else value

    def moved(self, result: object) -> Any:
        """What another result gets that takes the place of *result*."""
        return self._slot.__get__(result)

    def shared(self, result: object) -> Any:
        """What another result gets beside *result*; from now on both copy when they are read."""
        value = self._slot.__get__(result)
        if value is not None and type(value) is not _Original:
            value = _Original(value)
            self._slot.__set__(result, value)
        return value


def copied(response: _ValueT) -> _ValueT:
    """A deep copy; what cannot be copied itself."""
    try:
        own: _ValueT = _plain_copy(response)
    except RecursionError:
        pass  # it refers to itself, or is very deep
    except Exception:  # noqa: BLE001 - a mapping of the user's own source may raise anything
        return response  # better shared than lost
    else:
        return own
    try:
        return copy.deepcopy(response)
    except Exception:  # noqa: BLE001 - as above
        return response


def _plain_copy(value: Any) -> Any:
    """A deep copy, of what JSON is made of ten times as fast as the standard library's."""
    kind = type(value)
    if kind is dict:
        return {
            key: entry if type(entry) in _UNCHANGING else _plain_copy(entry)
            for key, entry in value.items()
        }
    if kind is list:
        return [entry if type(entry) in _UNCHANGING else _plain_copy(entry) for entry in value]
    return copy.deepcopy(value)
