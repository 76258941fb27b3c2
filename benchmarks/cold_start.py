"""
How long a program takes until it has a tracker, compared with an earlier commit.

Each run is a fresh Python that imports `Tracker` and calls `Tracker.from_env`.  The two versions
take turns, and of each the fastest run counts: whatever else the machine does only adds time.

    python benchmarks/cold_start.py                      this version alone
    python benchmarks/cold_start.py --against COMMIT     and that commit of this repository
    python benchmarks/cold_start.py --against COMMIT --check 0.75
                                                         exit with 1 if more than 0.75 of it

imports_ms   what `python -X importtime` says about all imports together
cpu_ms       CPU time of the whole process
modules      how many are imported

A commit that needs pydantic-settings gets it from the package index, in a directory of its own.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PROGRAM = """
import time
from onehouse_tracker import Tracker
Tracker.from_env(project_uid="p", account_uid="a", link_uid="l", user_uid="u", region="r",
                 api_key="k", api_secret="s", environ={"HOME": "/"})
print(time.process_time())
"""
_IMPORT = re.compile(r"import time:\s+(\d+) \|")


class Start(NamedTuple):
    """One fresh process."""

    imports_ms: float
    cpu_ms: float
    modules: int


def start(path: str) -> Start:
    """Start a Python that looks for modules in *path* first."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    times = [int(found) for found in _IMPORT.findall(done.stderr)]
    return Start(sum(times) / 1000, float(done.stdout) * 1000, len(times))


def best(starts: list[Start]) -> Start:
    """The least of each figure."""
    return Start(*map(min, zip(*starts, strict=True)))


def checkout(commit: str, directory: Path) -> str:
    """The sources of *commit* below *directory*, and what they need that is not installed."""
    archive = subprocess.run(
        ["git", "archive", commit, "src", "pyproject.toml"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    subprocess.run(["tar", "-x"], cwd=directory, input=archive.stdout, check=True)
    path = str(directory / "src")
    if "pydantic-settings" in (directory / "pyproject.toml").read_text(encoding="utf-8"):
        extra = str(directory / "extra")
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"),
                *("--no-deps", "--target", extra, "pydantic-settings", "python-dotenv"),
            ],
            check=True,
        )
        path = f"{path}{os.pathsep}{extra}"
    return path


def main() -> int:
    """Print a line for each version, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--against", metavar="COMMIT")
    parser.add_argument("--check", metavar="RATIO", type=float)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        paths = {"this version": str(ROOT / "src")}
        if options.against:
            paths[options.against] = checkout(options.against, Path(temporary))
        for path in paths.values():
            start(path)  # writes the bytecode
        runs: dict[str, list[Start]] = {name: [] for name in paths}
        for _ in range(options.runs):
            for name, path in paths.items():
                runs[name].append(start(path))
    found = {name: best(starts) for name, starts in runs.items()}
    print(f"{'':<14}  imports_ms  cpu_ms  modules")
    for name, figures in found.items():
        print(
            f"{name:<14}  {figures.imports_ms:10.1f}  {figures.cpu_ms:6.1f}  {figures.modules:7}"
        )
    if not options.against:
        return 0
    ours, theirs = found["this version"], found[options.against]
    imports, cpu = ours.imports_ms / theirs.imports_ms, ours.cpu_ms / theirs.cpu_ms
    print(f"{'ratio':<14}  {imports:10.2f}  {cpu:6.2f}")
    return int(options.check is not None and imports > options.check)


if __name__ == "__main__":
    sys.exit(main())
