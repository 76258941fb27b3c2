"""
Makes one script of the page's modules: a file that opens from disk cannot load others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

__all__ = ["one_script"]

_NAMES: Final = r"\{\s*[\w$]+(?:,\s*[\w$]+)*,?\s*\}"
_IMPORT: Final = re.compile(rf'^import ({_NAMES}) from "\./([\w.]+)";$', re.MULTILINE)
_EXPORT: Final = re.compile(
    r"^export (?=(?:async )?(?:const|function\*?|class) ([\w$]+))", re.MULTILINE
)
_OTHER: Final = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def one_script(entry: str, read: Callable[[str], str]) -> str:
    """
    The module *entry* and all that it imports, as one script that leaves no name in the page.

    Each module becomes a function that returns what it exports.  Modules import names in braces
    from their own directory, and export constants, functions and classes where they are made.

    Args:
        entry: The name of a module.

        read: The text of a module by its name.

    Raises:
        ValueError: A module imports or exports in another way, or modules import each other.
    """
    made: dict[str, str] = {}
    _add(entry, read, made, ())
    return "\n".join(['(() => {\n"use strict";\nconst modules = {};', *made.values(), "})();"])


def _add(
    name: str, read: Callable[[str], str], made: dict[str, str], above: tuple[str, ...]
) -> None:
    if name in above:
        raise ValueError(f"modules import each other: {' -> '.join((*above, name))}")
    if name in made:
        return
    text = read(name)
    for found in _IMPORT.finditer(text):
        _add(found[2], read, made, (*above, name))
    exported = ", ".join(found[1] for found in _EXPORT.finditer(text))
    body = _EXPORT.sub("", _IMPORT.sub(r'const \1 = modules["\2"];', text))
    if other := _OTHER.search(body):
        raise ValueError(f"{name}: cannot be made part of one script: {other[0]}")
    made[name] = f'modules["{name}"] = (() => {{\n{body}return {{ {exported} }};\n}})();'
