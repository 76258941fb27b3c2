"""
What contributors meet first: the hooks before a commit, and the form of a report.
"""

from __future__ import annotations

import re
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
