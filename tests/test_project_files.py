"""
What contributors meet first: the hooks before a commit, and the form of a report.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_hooks_before_a_commit_run_what_ci_runs() -> None:
    """
    A commit that passes them must not fail in CI for its style, types or imports.
    """
    hooks = re.findall(r"entry: make ([a-z-]+)", (ROOT / ".pre-commit-config.yaml").read_text())
    steps = re.findall(r"^ +make ([a-z-]+)$", (ROOT / ".ci/run").read_text(), flags=re.MULTILINE)

    assert hooks == ["lint", "types", "imports"]
    assert set(hooks) <= set(steps)


def test_a_report_asks_for_what_doctor_prints() -> None:
    """
    It answers most of what a maintainer would ask next, and never holds a secret.
    """
    form = (ROOT / ".github/ISSUE_TEMPLATE/bug.md").read_text(encoding="utf-8")

    assert "onehouse-tracker doctor --output json" in form
    assert "Please leave out credentials" in form


def test_no_folder_of_tests_is_left_out_by_its_name() -> None:
    """
    A bare name in `norecursedirs` leaves out every folder of that name, however deep.
    """
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["pytest"]["ini_options"]["norecursedirs"]
    paths = [pattern for pattern in patterns if "/" in pattern]
    names = set(patterns) - set(paths)
    files = [file.relative_to(ROOT) for file in (ROOT / "tests").rglob("test_*.py")]

    assert all((ROOT / path).is_dir() for path in paths)
    assert len(files) > 100
    assert [file for file in files if not names.isdisjoint(file.parts)] == []
