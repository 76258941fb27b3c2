"""
The reference leaves out nothing that is public, and its tables are those of the code.
"""

from __future__ import annotations

import ast
import itertools
import pkgutil
import re
from importlib import import_module
from inspect import ismodule

import pytest

import onehouse_tracker
from onehouse_tracker import events
from onehouse_tracker.cli._codes import ExitCode, most_serious
from onehouse_tracker.observers.logs import event_name
from tests.docs.pages import ROOT

REFERENCE = ROOT / "docs" / "reference"
AIRFLOW = "onehouse_tracker.integrations.airflow"

LEFT_OUT = {
    "onehouse_tracker.onehouse.credentials": "Secret and SecretLike are for our own annotations",
    f"{AIRFLOW}.links": "what Airflow's pages need of us, found by Airflow",
    f"{AIRFLOW}.provider": "the same",
    "onehouse_tracker.testing.forced": "FORCED and Forced are in the kit",
    "onehouse_tracker.testing.job_runs": "RunKind and SimulatedRun are in the kit",
    "onehouse_tracker.testing.jobs": "SimulatedJobs is in the kit",
    "onehouse_tracker.testing.listings": "Listing and ListedRun are in the kit",
    "onehouse_tracker.testing.replies": "how the simulator words its replies",
    "onehouse_tracker.testing.statements": "a part of the simulator: of it, Kind is for users",
}
"""Modules whose names need no reference, with the reason."""

PUBLIC = sorted(
    module.name
    for module in pkgutil.walk_packages(onehouse_tracker.__path__, "onehouse_tracker.")
    if not any(part.startswith("_") for part in module.name.split("."))
    and not module.name.startswith("onehouse_tracker.cli")  # described in pages
    and module.name not in LEFT_OUT
)


def _resolve(path: str) -> object:
    """What a line ``::: path`` stands for."""
    try:
        return import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(import_module(module), name)


def _described() -> list[str]:
    """What the pages of the reference describe: paths of modules and of names in them."""
    pages = (page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md"))
    return [path for page in pages for path in re.findall(r"^::: (\S+)$", page, re.MULTILINE)]


def _covered() -> list[object]:
    """Every object that some page of the reference describes."""
    found: list[object] = []
    for path in _described():
        if not path.startswith(AIRFLOW):
            value = _resolve(path)
            found += [getattr(value, name) for name in _names(value)] or [value]
    return found


def _names(value: object) -> list[str]:
    names: list[str] = getattr(value, "__all__", []) if ismodule(value) else []
    return names


def test_no_name_has_two_places() -> None:
    """
    A link to it could lead to either, and the build refuses that.
    """
    paths = [
        f"{path}.{name}".rstrip(".")
        for path in _described()
        if not path.startswith(AIRFLOW)
        for name in _names(_resolve(path)) or [""]
    ]

    assert [path for path in paths if paths.count(path) > 1] == []


@pytest.mark.parametrize("module", [name for name in PUBLIC if name.startswith(f"{AIRFLOW}.")])
def test_every_module_for_airflow_has_its_place(module: str) -> None:
    """
    They are described whole: Airflow is not installed here, so nothing can look into them.
    """
    assert module in _described()


@pytest.mark.parametrize(
    "module",
    ["onehouse_tracker", *(name for name in PUBLIC if not name.startswith(AIRFLOW))],
)
def test_every_public_name_has_its_place(module: str) -> None:
    """
    What can be imported and stands nowhere is found by reading our source, or not at all.
    """
    covered = {id(value) for value in _covered()}
    public = import_module(module)

    missing = [
        name
        for name in _names(public)
        if id(value := getattr(public, name)) not in covered
        and not ismodule(value)
        and name != "__version__"
    ]

    assert missing == []


def test_the_table_of_log_lines_has_every_event() -> None:
    """
    Programs search for these names.
    """
    text = (ROOT / "docs" / "how-to" / "telemetry.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z.]+)` \| [A-Z]", text, re.MULTILINE)
    kinds = [getattr(events, name) for name in events.__all__]

    assert sorted(listed) == sorted(
        event_name(kind.__new__(kind))
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event
    )


def test_exit_codes_are_those_of_the_command() -> None:
    """
    Scripts are written by this table.
    """
    text = (REFERENCE / "exit-codes.md").read_text(encoding="utf-8")

    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    order = re.search(r"the first of ([\d, ]+) counts", text)

    assert codes == sorted(ExitCode)
    assert order is not None
    by_weight = [int(code) for code in order[1].split(", ")]
    assert by_weight[0] == max(ExitCode)
    for heavier, lighter in itertools.pairwise(by_weight):
        assert most_serious([ExitCode(lighter), ExitCode(heavier)]) == heavier
    assert {*by_weight, 0} == set(ExitCode)


def test_the_tree_of_errors_is_the_tree_of_classes() -> None:
    """
    It stands in a docstring, where nothing else would notice a new class.
    """
    source = ROOT / "src" / "onehouse_tracker" / "errors.py"
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    drawn = re.findall(r"^(?:[ │]*[├└]── |    )(\w+Error)", docstring, re.MULTILINE)

    assert sorted(drawn) == sorted(onehouse_tracker.errors.__all__)


def test_what_a_private_base_has_is_described_with_the_class() -> None:
    """
    Handles share most methods; a reference that leaves them out shows two properties of a handle.
    """
    settings = (ROOT / "docs/mkdocs/mkdocs.yml").read_text(encoding="utf-8")

    inherited = {"cancel", "result", "ack"}
    assert not inherited & set(vars(onehouse_tracker.Handle))
    assert inherited <= set(dir(onehouse_tracker.Handle))
    assert re.search(r"^ +inherited_members: true$", settings, re.MULTILINE)
