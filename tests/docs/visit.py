"""
Does what a page says, block after block, in one directory and one environment.
"""

from __future__ import annotations

import configparser
import doctest
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from onehouse_tracker.cli._statements import split
from tests.cli.harness import environment
from tests.docs.pages import Block

__all__ = ["Visit", "commands_and_output"]

PATIENCE: Final = 50.0
"""Seconds that one block may take, on a machine that has more to do."""

# Read by whoever leaves the shell, however it is left: the next block goes on from there.
_SHELL = 'trap "env -0 > .environment" EXIT\nset -euo pipefail\n'
_PYTEST = (
    "-W",
    "error",
    "-p",
    "no:cacheprovider",
    "-o",
    "asyncio_default_fixture_loop_scope=function",
)
_CELL = Path(__file__).with_name("run_cell.py")
_DEFINES_A_TEST = re.compile(r"^\s*(?:async )?def test_", re.MULTILINE)
_VARIES = re.compile(
    r"(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"|(?P<date>\d{4}-\d\d-\d\d[T ][\d:.]+(?:\+00:00|Z)?)"
    r"|(?P<number>\d+(?:\.\d+)?)"
)


class Visit:
    """
    One reader of one page, who starts in an empty home directory.

    Args:
        home: The directory.

        variables: The environment, in addition to what every process needs.
    """

    def __init__(self, home: Path, variables: Mapping[str, str]) -> None:
        self._home = home
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = environment({"HOME": str(home), "PATH": path, **variables})
        self._program = ""
        self._printed = ""
        self._tried: set[int] = set()
        self._running: list[subprocess.Popen[bytes]] = []
        self._do: Mapping[str, Callable[[Block], object]] = {
            "console": self._console,
            "python": self._python,
            "text": self._text,
            "toml": lambda block: tomllib.loads(block.text),
            "ini": lambda block: configparser.ConfigParser().read_string(block.text),
            "json": lambda block: json.loads(block.text),
            "sql": self._sql,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._running:
            _signal(process, signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.wait()

    def do(self, block: Block) -> None:
        """
        Do what *block* says, if that was not tried before.

        Raises:
            AssertionError: It did not work, or printed something else than the page shows.

            ValueError: It cannot be parsed.
        """
        if block.line in self._tried or "not run" in block.markers:
            return
        self._tried.add(block.line)
        if block.title:
            (self._home / block.title).write_text(block.text, encoding="utf-8")
        self._do[block.language](block)

    def _python(self, block: Block) -> None:
        before = self._program if "continues" in block.markers else ""
        # A traceback tells the line of the page.
        self._program = before + "\n" * (block.line - before.count("\n")) + block.text
        name = f"line_{block.line}.py"
        if _DEFINES_A_TEST.search(self._program):
            name = f"test_{name}"
            command = ["-m", "pytest", "-q", *_PYTEST, name]
        else:
            command = ["-W", "error", *([str(_CELL)] if _is_a_cell(self._program) else []), name]
        (self._home / name).write_text(self._program, encoding="utf-8")
        self._run([sys.executable, *command], block)

    def _console(self, block: Block) -> None:
        commands, shown = commands_and_output(block.text)
        if not commands:
            raise ValueError(f"{block}: no line begins with '$ '")
        script = ["bash", "-c", _SHELL + commands]
        if "background" in block.markers:
            self._begin(script, block)
        else:
            self._run(script, block)
            variables = (self._home / ".environment").read_bytes().decode().split("\0")
            self._environment = dict(line.split("=", 1) for line in variables if line)
        if shown:
            self._compare(shown, block)

    def _text(self, block: Block) -> None:
        if "output" in block.markers:
            self._compare(block.text, block)

    @staticmethod
    def _sql(block: Block) -> None:
        assert split(block.text), f"{block}: no statement"

    def _run(self, command: Sequence[str], block: Block) -> None:
        done = subprocess.run(
            command,
            cwd=self._home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
        self._printed = done.stdout.decode()
        expected = int(block.markers.get("exits", "0"))

        assert done.returncode == expected, f"{block}: exit {done.returncode}\n{self._printed}"
        # What is raised where nobody can catch it is only printed.
        assert "Traceback" not in self._printed, f"{block}:\n{self._printed}"

    def _begin(self, command: Sequence[str], block: Block) -> None:
        log = self._home / f".line_{block.line}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command,
                cwd=self._home,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append(process)
        ready = block.markers["background"]
        deadline = time.monotonic() + PATIENCE
        while ready not in (printed := log.read_text()):
            assert process.poll() is None, f"{block}: ended\n{printed}"
            assert time.monotonic() < deadline, f"{block}: never printed {ready!r}\n{printed}"
            time.sleep(0.05)
        self._printed = printed

    def _compare(self, shown: str, block: Block) -> None:
        """IDs, dates and numbers may differ, and ``...`` stands for anything."""
        same = doctest.OutputChecker().check_output(
            _same_everywhere(shown), _same_everywhere(self._printed), doctest.ELLIPSIS
        )
        assert same, f"{block}: the page shows\n{shown}\nand what came is\n{self._printed}"


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended, and whatever it had started
        os.killpg(process.pid, number)


def commands_and_output(text: str) -> tuple[str, str]:
    """The lines that are typed, without their prompts, and those that are answers."""
    typed, answers, goes_on = [], [], False
    for line in text.splitlines(keepends=True):
        if line.startswith("$ ") or goes_on:
            typed.append(line.removeprefix("$ "))
            goes_on = line.endswith("\\\n")
        else:
            answers.append(line)
    return "".join(typed), "".join(answers).strip("\n")


def _same_everywhere(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.splitlines())
    text = _VARIES.sub(lambda found: f"<{found.lastgroup}>", "\n".join(lines).strip())
    return f"{text}\n"


def _is_a_cell(program: str) -> bool:
    """Whether it awaits outside of a function, as only a notebook may."""
    try:
        compile(program, "program", "exec")
    except SyntaxError:
        compile(program, "cell", "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT)
        return True
    return False
