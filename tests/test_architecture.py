"""
Rules of the architecture that neither the linter nor the import contracts can express.
"""

import ast
from collections.abc import Container
from pathlib import Path

import pytest

import onehouse_tracker

PACKAGE = Path(onehouse_tracker.__file__).parent

STARTS_TASKS = frozenset(
    {"create_task", "ensure_future", "gather", "run_coroutine_threadsafe", "TaskGroup"}
)

# The command owns its loop, and so does the thread that works for blocking callers; the
# simulator's server and the virtual clock are loops of their own.  What the triggers of Airflow
# share outlives each of them, so it needs a task of its own.
MAY_START_TASKS = (
    "_engine/engine.py",
    "_engine/open_tracker/session.py",
    "sync/_loop_thread.py",
    "sync/_one_call.py",
    "integrations/airflow/_shared_resources.py",
    "cli/",
    "testing/",
)

LINES_AT_MOST = 400

LONGER_FOR_A_REASON = {
    "tracker.py": "what users read: three lines in four are the docstrings of one class",
}
"""Modules that may be longer, with the reason why splitting them would be worse."""

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def _read(module: str) -> str:
    return (PACKAGE / module).read_text(encoding="utf-8")


def _task_starts(source: str) -> list[int]:
    """Line numbers where a task is started, whatever the loop or group is called."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in STARTS_TASKS:
                lines.append(node.lineno)
            case ast.ImportFrom(names=names):
                lines += [node.lineno for alias in names if alias.name in STARTS_TASKS]
    return lines


@pytest.mark.parametrize("module", MODULES)
def test_only_the_engine_and_the_tracker_start_tasks(module: str) -> None:
    """
    Who starts a task owns it and awaits it; two owners are few enough to get that right.
    """
    if module.startswith(MAY_START_TASKS):
        return

    assert _task_starts(_read(module)) == []


@pytest.mark.parametrize(
    "source",
    [
        "asyncio.create_task(poll())",
        "loop.create_task(poll())",
        "self._group.create_task(poll())",
        "asyncio.get_running_loop().create_task(poll())",
        "from asyncio import create_task as spawn",
        "asyncio.ensure_future(poll())",
        "asyncio.gather(poll(), poll())",
        "async def run():\n    async with asyncio.TaskGroup() as polls: ...",
        "start = loop.create_task",
    ],
)
def test_every_way_to_start_a_task_is_seen(source: str) -> None:
    """
    The rule above is worth what it recognizes.
    """
    assert _task_starts(source)


@pytest.mark.parametrize("module", MODULES)
def test_no_module_outgrows_its_one_responsibility(module: str) -> None:
    """
    Beyond 400 lines a module has a second job, which deserves a module of its own.
    """
    assert len(_read(module).splitlines()) <= LINES_AT_MOST or module in LONGER_FOR_A_REASON


@pytest.mark.parametrize("module", MODULES)
def test_every_module_states_its_one_job(module: str) -> None:
    """
    A module whose job does not fit in a sentence is two modules.
    """
    docstring = ast.get_docstring(ast.parse(_read(module)))

    assert docstring
    assert docstring.split("\n\n")[0].rstrip().endswith(".")


# --- No circles --------------------------------------------------------------------------

CIRCLES_FOR_A_REASON = {
    frozenset(
        {"_checks", "errors", "models", "results", "run_results"}
    ): "an error holds the results that it is about, and a result holds the error that ended it",
    frozenset(
        {"_engine.schedule.cells", "_engine.tracked"}
    ): "a cell holds requests, and each of them knows its cell",
}
"""Modules that import each other for their types, with the reason why."""


def _imports(module: str, names: Container[str]) -> set[str]:
    """Which modules of *names* a module imports, for types only included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(_read(module))):
        if isinstance(node, ast.ImportFrom) and node.module:
            package = node.module.removeprefix("onehouse_tracker").removeprefix(".")
            for alias in node.names:
                inner = f"{package}.{alias.name}".removeprefix(".")
                found.add(inner if inner in names else package)
    return {name for name in found if name in names}


def _circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """The groups of modules each of which leads to every other one."""
    reached = {name: set(targets) for name, targets in graph.items()}
    for middle in graph:
        for targets in reached.values():
            if middle in targets:
                targets.update(reached[middle])
    return {
        frozenset(other for other in reached[name] if name in reached[other])
        for name in graph
        if name in reached[name]
    }


def test_no_modules_import_each_other() -> None:
    """
    Of two that do, neither can be understood first; `lint-imports` does not look at imports
    for types, which are no different there.
    """
    names = {
        module.removesuffix(".py").removesuffix("/__init__").replace("/", "."): module
        for module in MODULES
    }
    del names["__init__"]  # its lazy names lead everywhere
    graph = {name: _imports(module, names) - {name} for name, module in names.items()}

    assert _circles(graph) == set(CIRCLES_FOR_A_REASON)


def test_a_circle_is_found() -> None:
    """
    So that the test above can fail.
    """
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set[str]()}

    assert _circles(graph) == {frozenset({"b", "c"})}
