"""
What builds, tests and documents the package is pinned, so that no release of others changes it.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "constraints.txt", *(ROOT / "tests").glob("*/requirements*.txt")]
)
_PIN = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!]+)")


def pins(lines: list[str]) -> dict[str, str]:
    """The version of each package; a line that is no pin fails."""
    found: dict[str, str] = {}
    for line in lines:
        pin = _PIN.fullmatch(line)
        assert pin is not None, f"{line!r} is not pinned"
        found[re.sub(r"[-_.]+", "-", pin[1]).lower()] = pin[2]
    return found


def lines_of(name: str) -> list[str]:
    """The lines of a list, without comments."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [bare for line in lines if (bare := line.partition("#")[0].strip())]


@pytest.mark.parametrize("name", LISTS)
def test_each_line_of_a_list_is_one_version(name: str) -> None:
    """
    A range would install tomorrow what nobody has tried today.
    """
    assert pins(lines_of(name))


def test_what_builds_the_package_is_pinned_like_the_rest() -> None:
    """
    It runs code of others with every installation, in an environment of its own.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    building, constraints = pins(project["build-system"]["requires"]), pins(lines_of(LISTS[0]))

    # What `hatchling` requires itself, and for an editable installation.
    needed = {"editables", "packaging", "pathspec", "pluggy", "trove-classifiers"}
    assert set(building) == {"hatchling", "hatch-fancy-pypi-readme", *needed}
    shared = set(building) & set(constraints)
    assert {name: building[name] for name in shared} == {
        name: constraints[name] for name in shared
    }


def test_all_lists_are_looked_at() -> None:
    """
    One that stands elsewhere would escape the tests above; those of the examples are no pins.
    """
    found = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*requirements*.txt", "*/*requirements*.txt", "*/*/*requirements*.txt")
        for path in ROOT.glob(pattern)
        if not path.parts[len(ROOT.parts)].startswith(".")
    }

    assert {name for name in found if not name.startswith("examples/")} == {*LISTS[1:]}
    assert len(LISTS) >= 6
    said = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert all(f"`{Path(name).parent.as_posix()}/" in said for name in LISTS[1:])
