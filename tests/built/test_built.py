"""
What `make dist` built: the wheel works alone, and the source archive passes its own tests.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from onehouse_tracker.testing import RunningSimulator
from tests.docs.pages import ROOT, blocks_of

DIST = ROOT / "dist"
# Those that read files of the repository.
READ_FILES = (
    "tests/docs/test_blocks.py",
    "tests/docs/test_promises.py",
    "tests/docs/test_reference.py",
    "tests/test_architecture.py",
    "tests/test_package.py",
    "tests/test_pins.py",
)


def run(
    *command: str | Path, cwd: Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run *command*; what it prints stands in the error if it fails."""
    ended = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended


def only(pattern: str) -> Path:
    """The file that was built."""
    [path] = DIST.glob(pattern)
    return path


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the wheel and what it requires, and nothing else."""
    directory = tmp_path_factory.mktemp("clean")
    environment = directory / "venv"
    uv = Path(sys.executable).with_name("uv")
    run(uv, "venv", "-q", "--python", sys.executable, environment, cwd=directory)
    run(uv, "pip", "install", "-q", "--python", environment, only("*.whl"), cwd=directory)
    return environment / "bin" / "python"


def test_the_wheel_alone_runs_the_example_of_the_readme(
    clean_python: Path, onehouse_simulator: RunningSimulator, tmp_path: Path
) -> None:
    """
    What a reader tries first, installed as a reader installs it.
    """
    example = next(block for block in blocks_of(ROOT / "README.md") if block.language == "python")
    program = tmp_path / "example.py"
    program.write_text(example.text, encoding="utf-8")

    ended = run(
        clean_python,
        *("-W", "error", program),
        cwd=tmp_path,
        variables=onehouse_simulator.environ,
    )

    lines = ended.stdout.splitlines()
    assert len(lines) == 20
    assert all(line.endswith(" s") for line in lines)


def test_the_command_without_its_extra_says_what_is_missing(
    clean_python: Path, tmp_path: Path
) -> None:
    """
    And how to install it, instead of a traceback.
    """
    ended = subprocess.run(
        [clean_python, "-m", "onehouse_tracker", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode != 0
    assert "onehouse-tracker[cli]" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_no_link_of_the_index_page_leads_nowhere() -> None:
    """
    An index shows the README without the repository around it: `docs/quickstart.md` is not there.
    """
    with zipfile.ZipFile(only("*.whl")) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        page = wheel.read(name).decode()

    assert "the quickstart takes five" in page
    links = re.findall(r"\]\(([^)]*)\)", page)
    assert [link for link in links if not link.startswith("https://")] == []


def test_the_source_archive_passes_its_own_tests(tmp_path: Path) -> None:
    """
    It holds every file that they read: all tests can be collected, and those that look at the
    repository find it whole.
    """
    with tarfile.open(only("*.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    # Before what is installed, which is this repository.
    variables = {"PYTHONPATH": str(source / "src"), "PYTEST_ADDOPTS": "-q"}

    run(sys.executable, "-m", "pytest", "--collect-only", cwd=source, variables=variables)
    run(sys.executable, "-m", "pytest", *READ_FILES, cwd=source, variables=variables)
