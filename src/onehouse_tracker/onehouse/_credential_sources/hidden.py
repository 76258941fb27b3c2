"""
Values that do not show themselves, from the moment they are read.

Tools for errors show the variables of every frame of a traceback.  So what may be secret is
hidden before anything can be raised, and looked into only by functions that raise nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast, final

from onehouse_tracker.onehouse._credential_sources.fields import BY_NAME

__all__ = ["Environment", "NoText", "Secret", "hide", "hide_environment", "hide_settings", "tell"]


S = TypeVar("S", bound=Mapping[str, Any])


@final
class Secret:
    """A text that never shows itself: `str` and `repr` are masked, only one method tells it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Tell the secret, for the header it is sent in."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __str__(self) -> str:
        return "**********"

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._value)


@final
class NoText:
    """What is left of a value that should have been a text: the name of its type."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}, not shown>"


@final
class Environment(Mapping[str, str]):
    """Environment variables that do not show themselves."""

    __slots__ = ("_variables",)

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def __getitem__(self, name: str) -> str:
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)

    def __repr__(self) -> str:
        return f"<{len(self)} environment variables, not shown>"


def hide(value: object) -> Secret | NoText | None:
    """Hide *value*, also one that is hidden already, by us or by pydantic; `None` is nothing."""
    if value is None or isinstance(value, Secret | NoText):
        return value
    get = getattr(value, "get_secret_value", None)
    if callable(get):
        value = get()

    return Secret(value) if isinstance(value, str) else NoText(type(value).__name__)


def tell(hidden: object) -> str:
    """The text that *hidden* hides; nothing where it hides none."""
    return hidden.get_secret_value() if isinstance(hidden, Secret) else ""


def hide_settings(settings: S) -> S:
    """Hide what may be secret among keywords: all credentials, and the environment."""
    hidden: dict[str, Any] = {
        name: hide(value) if name in BY_NAME else value
        for name, value in settings.items()
        if name != "environ"
    }
    if "environ" in settings:
        hidden["environ"] = hide_environment(settings["environ"])

    return cast("S", hidden)


def hide_environment(environ: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Hide an environment; `None` stays what it is."""
    return None if environ is None else Environment(environ)
