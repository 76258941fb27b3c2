"""
Options that travel together: a parameter of a command that is a dataclass stands for its fields.

So each option is written once, in the dataclass, with its help, its default and its check.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any, get_type_hints

__all__ = ["arguments_of", "spread"]


def spread(command: Callable[..., None], without: Collection[str] = ()) -> Callable[..., None]:
    """
    Make a command that takes the fields of its dataclasses in their place, as options.

    Args:
        command: Its parameters are what typer understands, or dataclasses of such.

        without: Fields that this command has no use for: they keep their defaults.

    Raises:
        TypeError: There is no such field.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[Any]] = {}
    members: dict[str, list[str]] = {}
    parameters: list[inspect.Parameter] = []
    unused = set(without)
    for parameter in inspect.signature(command).parameters.values():
        group = hints[parameter.name]
        if not (isinstance(group, type) and is_dataclass(group)):
            parameters.append(parameter.replace(annotation=group))
            continue
        groups[parameter.name], members[parameter.name] = group, []
        annotations = get_type_hints(group, include_extras=True)
        for field in fields(group):
            if field.name in without:
                unused.discard(field.name)
                continue
            members[parameter.name].append(field.name)
            parameters.append(
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=field.default,
                    annotation=annotations[field.name],
                )
            )
    if unused:
        raise TypeError(f"no option is called {', '.join(sorted(unused))}")

    @functools.wraps(command)
    def invoke(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{member: given.pop(member) for member in members[name]})
        command(**given)

    # What typer looks at.
    invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # as documented
    invoke.__annotations__ = {each.name: each.annotation for each in parameters}

    return invoke


def arguments_of(group: Any, without: Collection[str] = ()) -> list[str]:
    """
    The arguments that give *group* again, where it is not what it is by default.

    Args:
        group: A dataclass that was filled from options, each named after its field.

        without: Fields to leave out.
    """
    given: list[str] = []
    for field in fields(group):
        value = getattr(group, field.name)
        if value == field.default or field.name in without:
            continue
        for one in value if isinstance(value, list) else [value]:
            given.append(f"--{field.name.replace('_', '-')}")
            if one is not True:
                given.append(_digits(one) if isinstance(one, float) else str(one))
    return given


def _digits(value: float) -> str:
    """All of *value*, without an exponent: not every option takes one."""
    return str(int(value)) if value.is_integer() else format(Decimal(repr(value)), "f")
