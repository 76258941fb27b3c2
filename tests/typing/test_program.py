"""
The program that type checkers read leaves out nothing that is public.

``make types`` checks it with mypy, `make types-pyright` with pyright; both must accept the program
and reject each line of ``wrong.py``.
"""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from pathlib import Path

import pytest

import onehouse_tracker
from onehouse_tracker import Handle, PoolResults, Results, Tracker, TrackerPool, sync

PROGRAM = ast.parse(Path(__file__).with_name("program.py").read_text(encoding="utf-8"))


def _keywords() -> dict[str, set[str]]:
    """The keywords with which each name is called somewhere in the program."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in ast.walk(PROGRAM):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            found[name] |= {each.arg for each in node.keywords if each.arg is not None}
    return found


def _attributes() -> set[str]:
    return {node.attr for node in ast.walk(PROGRAM) if isinstance(node, ast.Attribute)}


def test_every_public_name_is_used() -> None:
    """
    A new one is added to the program.
    """
    used = {node.id for node in ast.walk(PROGRAM) if isinstance(node, ast.Name)} | _attributes()

    assert set(onehouse_tracker.__all__) <= used
    assert set(sync.__all__) <= used | {"Completions", "OnResult"}


@pytest.mark.parametrize(
    "owner", [Tracker, sync.Tracker, TrackerPool, Handle, Results, PoolResults]
)
def test_every_method_is_called_with_every_keyword(owner: type) -> None:
    """
    A keyword that no type checker sees used may have any type.
    """
    called = _keywords()
    named: dict[str, set[str]] = {owner.__name__: set()}
    if owner is not Results and owner is not PoolResults and owner is not Handle:
        named[owner.__name__] = _keyword_only(owner)
    for name, method in inspect.getmembers(owner, inspect.isroutine):
        if not name.startswith("_") and name not in {"get", "items", "keys", "values"}:
            named[name] = _keyword_only(method)
    left_out = {"to_dicts", "close"}
    missing = {
        name: keywords - called[name]
        for name, keywords in named.items()
        if name not in left_out and (keywords - called[name])
    }
    assert missing == {}
    assert set(named) - left_out - _attributes() <= {owner.__name__}


def _keyword_only(function: object) -> set[str]:
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return {each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
