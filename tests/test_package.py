"""
What ``import onehouse_tracker`` promises: the public names, and a cheap import.
"""

import ast
import subprocess
import sys
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import pytest

import onehouse_tracker
from onehouse_tracker import errors

SOURCE = Path(onehouse_tracker.__file__)


def _run(program: str) -> str:
    completed = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return completed.stdout.strip()


def test_importing_the_package_imports_nothing_heavy() -> None:
    """
    Airflow parses its files every few seconds, so the import must cost next to nothing.
    """
    heavy = "{'aiohttp', 'aiolimiter', 'asyncio', 'pydantic', 'pydantic_core', 'structlog'}"

    loaded = _run(
        "import sys, onehouse_tracker; dir(onehouse_tracker);"
        f" print(sorted({heavy} & set(sys.modules)))"
    )

    assert loaded == "[]"


@pytest.mark.parametrize("name", ["Outcome", "Request", "Results", "PollPolicy", "OutageError"])
def test_values_and_errors_load_without_the_http_client(name: str) -> None:
    """
    Code that only handles results runs where no poll is ever sent.
    """
    loaded = _run(
        f"import sys; from onehouse_tracker import {name};"
        " print(sorted({'aiohttp', 'pydantic'} & set(sys.modules)))"
    )

    assert loaded == "[]"


@pytest.mark.parametrize("name", onehouse_tracker.__all__)
def test_every_public_name_can_be_imported_and_is_kept(name: str) -> None:
    """
    A name that is promised and missing fails only when somebody uses it.
    """
    value = getattr(onehouse_tracker, name)

    assert vars(onehouse_tracker)[name] is value  # looked up once


def test_a_star_import_brings_exactly_the_public_names() -> None:
    """
    The lazy names must not be lost to ``from onehouse_tracker import *``.
    """
    names = _run(
        "from onehouse_tracker import *; print(*sorted(set(globals()) - {'__builtins__'}))"
    )

    assert set(onehouse_tracker.__all__) <= set(names.split())


def test_dir_lists_the_names_that_are_not_loaded_yet() -> None:
    """
    Completion in a shell or a notebook asks ``dir``.
    """
    listed = _run("import onehouse_tracker; print(*dir(onehouse_tracker))").split()

    assert set(onehouse_tracker.__all__) <= set(listed)
    assert listed == sorted(listed)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """
    ``hasattr`` and misspelt imports rely on the ordinary error, naming package and name.
    """
    with pytest.raises(AttributeError, match=r"'onehouse_tracker' has no attribute 'Traker'"):
        _ = onehouse_tracker.Traker  # type: ignore[attr-defined]  # the type checker knows too


def test_type_checkers_see_the_same_names_as_the_interpreter() -> None:
    """
    The names stand twice, once for each: a new one must not be forgotten in either place.
    """
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    typed = {
        alias.name: str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("onehouse_tracker.")
        for alias in node.names
    }

    assert typed.keys() | {"__version__"} == set(onehouse_tracker.__all__)
    for name, module in typed.items():
        assert vars(sys.modules[module])[name] is getattr(onehouse_tracker, name)


def test_every_error_is_public() -> None:
    """
    Whoever catches an error imports it from the same place as everything else.
    """
    assert set(errors.__all__) <= set(onehouse_tracker.__all__)


def test_the_version_is_that_of_the_distribution() -> None:
    """
    One place states the version: pyproject.toml.
    """
    assert onehouse_tracker.__version__ == metadata.version("onehouse-tracker")


def test_the_package_says_that_it_is_typed() -> None:
    """
    Without the marker, type checkers of our users ignore every annotation.
    """
    assert files("onehouse_tracker").joinpath("py.typed").is_file()


def test_an_application_without_logging_prints_nothing() -> None:
    """
    Python prints the warnings of a library to stderr if nobody configured logging; ours stand
    in results and errors, and belong to the application.
    """
    program = """
import logging, onehouse_tracker
logging.getLogger("onehouse_tracker._engine.engine").error("ours")
logging.getLogger("another.library").error("theirs")
"""
    completed = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )

    assert (completed.stdout, completed.stderr) == ("", "theirs\n")
