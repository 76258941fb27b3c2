"""
The help, the version, and mistakes in the arguments: quick, plain and complete.
"""

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.models import OptionInfo
from typer.testing import CliRunner

from onehouse_tracker import __version__
from onehouse_tracker.cli._app import app
from onehouse_tracker.cli._codes import ExitCode, most_serious
from onehouse_tracker.cli._command_settings import parse_duration

COMMANDS = (
    "wait",
    "status",
    "submit",
    "run",
    "runs",
    "cancel",
    "resume",
    "journal",
    "history",
    "doctor",
    "report",
    "simulate",
    "demo",
)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with *arguments*."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_loads_neither_the_client_nor_the_tracker(arguments: list[str]) -> None:
    """
    Whoever asks for help, or completes a word with the tab key, waits for every import.
    """
    heavy = {
        "aiohttp",
        "asyncio",
        "pydantic",
        "rich",
        "structlog",
        "onehouse_tracker.tracker",
    }
    program = (
        "import sys; from onehouse_tracker.cli._app import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit: pass\n"
        f"heavy = {heavy!r}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    assert python("-c", program).stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_has_examples_and_the_exit_codes(name: str) -> None:
    """
    Scripts are written from the help text; line breaks in the lists must survive.
    """
    ended = CliRunner().invoke(app, [name, "--help"])

    assert ended.exit_code == 0
    assert ended.output.count(f"onehouse-tracker {name}") >= 2
    assert "\n    124  timed out\n    130  interrupted\n    141  the program" in ended.output


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_can_be_typed(name: str) -> None:
    """
    What stands in the help is copied: an option that was renamed must not stay there.
    """
    group: Any = typer.main.get_command(app)
    shown = CliRunner().invoke(app, [name, "--help"]).output
    words = [shlex.split(line) for line in re.findall(r"\n    (.*onehouse-tracker .*)", shown)]
    assert len(words) >= 2
    for line in words:
        after = line[line.index("onehouse-tracker") + 1 :]
        command, *arguments = takewhile(lambda word: word not in {"|", ">", ">>"}, after)

        assert command == name
        assert group.commands[name].make_context(name, arguments).params


def test_no_command_is_missing_here() -> None:
    """
    A new one must be looked at by the tests above.
    """
    group: Any = typer.main.get_command(app)

    assert set(group.commands) == set(COMMANDS)


def test_help_is_there_at_once() -> None:
    """
    At most twelve times what Python needs to do nothing, measured side by side.
    """
    took: dict[str, list[float]] = {"pass": [], "help": []}
    for _ in range(10):
        for what, arguments in {
            "pass": ("-c", "pass"),
            "help": ("-m", "onehouse_tracker", "--help"),
        }.items():
            began = time.perf_counter()
            assert python(*arguments).returncode == 0
            took[what].append(time.perf_counter() - began)

    assert min(took["help"]) <= 12 * min(took["pass"])


def bash(script: str) -> list[str]:
    """What *script* prints in a bash that finds the command."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "--norc", "-c", script],  # noqa: S607 - the one that is there
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"PATH": path, "HOME": "/nonexistent"},
    )
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("onehouse-tracker wa", ["wait"]),
        ("onehouse-tracker s", ["status", "submit", "simulate"]),
        ("onehouse-tracker wait --fail", ["--fail-fast"]),
        ("onehouse-tracker wait --output j", ["jsonl", "json"]),
    ],
)
def test_bash_completes_commands_options_and_words(typed: str, offered: list[str]) -> None:
    """
    With the script that the command itself gives out, in a real bash.
    """
    words = typed.split()
    script = f"""
        eval "$(_ONEHOUSE_TRACKER_COMPLETE=source_bash onehouse-tracker)"
        COMP_WORDS=({typed}) COMP_CWORD={len(words) - 1}
        _onehouse_tracker_completion onehouse-tracker
        echo "${{COMPREPLY[@]}}"
    """

    assert bash(script) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_scripts_of_other_shells_are_read_by_them(shell: str) -> None:
    """
    Where the shell is there: a script that it cannot read would greet people each morning.
    """
    script = f"_ONEHOUSE_TRACKER_COMPLETE=source_{shell} onehouse-tracker"
    assert "onehouse-tracker" in bash(script)
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    assert bash(f"{script} | {shell} -n && echo fine") == ["fine"]


def test_the_module_runs_like_the_command() -> None:
    """
    Where scripts are not on the path, ``python -m`` is.
    """
    ended = python("-m", "onehouse_tracker", "--version")

    assert (ended.returncode, ended.stdout) == (0, f"onehouse-tracker {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["wait"], "give request IDs, or --from FILE"),
        (["status"], "give request IDs, or --from FILE"),
        (["submit"], "give statements, or --from FILE"),
        (["wait", "a", "--limit", "0"], "more than 0"),
        (["wait", "a", "--limit", "nan"], "more than 0"),
        (["wait", "a", "--share", "1.5"], "at most 1"),
        (["wait", "a", "--timeout", "soon"], "90, 90s, 15m or 2h"),
        (["wait", "a", "--output", "xml"], "xml"),
        (["simulate", "--durations", "x"], "--durations"),
        (["wait", ""], "a request ID cannot be empty"),
        (["waits"], "waits"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], complaint: str) -> None:
    """
    A typing mistake is told as such, before anything is sent.
    """
    ended = CliRunner().invoke(app, arguments)

    assert ended.exit_code == 2
    assert complaint in ended.output


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), (".5", 0.5), ("0", 0)],
)
def test_time_spans_have_units(text: str, seconds: float) -> None:
    """
    Nobody wants to count the seconds of two hours.
    """
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1d", "1 2", "inf"])
def test_other_time_spans_are_refused(text: str) -> None:
    """
    A time-out that is misread is worse than one that is refused.
    """
    with pytest.raises(ValueError, match="time span"):
        parse_duration(text)


def test_of_several_exit_codes_the_most_serious_counts() -> None:
    """
    Interrupted, then project, then timed out, then not ok: what to mend first.
    """
    order = [
        ExitCode.INTERRUPTED,
        ExitCode.PROJECT,
        ExitCode.USAGE,
        ExitCode.TIMED_OUT,
        ExitCode.NOT_OK,
        ExitCode.OK,
    ]

    for position in range(len(order)):
        assert most_serious(reversed(order[position:])) is order[position]
    assert most_serious([]) is ExitCode.OK


def test_without_typer_the_command_says_which_extra_it_needs() -> None:
    """
    The library is installed without it on servers; the command is there all the same.
    """
    ended = python(
        "-c",
        "import sys; sys.modules['typer'] = None\n"
        "from onehouse_tracker.cli import main; sys.exit(main())",
    )

    assert ended.returncode == 2
    assert "pip install 'onehouse-tracker[cli]'" in ended.stderr


def test_each_option_says_its_name() -> None:
    """
    Versions of typer differ in the name that they make of a parameter.
    """
    # What is said first is where typer looks for a default, if there is no `Annotated`.
    said = {
        f"{registered.callback.__name__} {parameter.name}": each.default
        for registered in app.registered_commands
        if registered.callback is not None
        for parameter in inspect.signature(registered.callback).parameters.values()
        for each in getattr(parameter.annotation, "__metadata__", ())
        if isinstance(each, OptionInfo)
    }

    assert len(said) > 30
    assert [name for name, first in said.items() if not str(first).startswith("--")] == []
