"""
Options that are written once and stand in several commands.
"""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from onehouse_tracker.cli._groups import spread


@dataclass(frozen=True)
class Group:
    """Two options."""

    color: Annotated[str, typer.Option(help="Which color.")] = "blue"
    loud: Annotated[bool, typer.Option("--loud", "-l")] = False


def invoke(arguments: list[str], without: frozenset[str] = frozenset()) -> tuple[int, str]:
    """Run a command that has the options of `Group`; return its exit code and its output."""

    def work(word: str, *, group: Group) -> None:
        typer.echo(f"{word} {group}")

    app = typer.Typer()
    app.command()(spread(work, without))
    ended = CliRunner().invoke(app, arguments)
    return ended.exit_code, ended.output


def test_the_fields_of_a_group_are_options_of_the_command() -> None:
    """
    Help, short names and defaults come from the group, values arrive as the group.
    """
    assert invoke(["hi"]) == (0, f"hi {Group()}\n")
    assert invoke(["hi", "-l", "--color", "red"]) == (0, f"hi {Group('red', loud=True)}\n")
    assert "Which color." in invoke(["--help"])[1]


def test_a_command_can_do_without_some() -> None:
    """
    An option that does nothing must not be offered.
    """
    assert invoke(["hi"], frozenset({"loud"})) == (0, f"hi {Group()}\n")
    assert invoke(["hi", "-l"], frozenset({"loud"}))[0] == 2


def test_doing_without_what_is_not_there_is_a_mistake() -> None:
    """
    An option that is renamed would come back unnoticed.
    """
    with pytest.raises(TypeError, match="no option is called lout"):
        invoke(["hi"], frozenset({"lout"}))
