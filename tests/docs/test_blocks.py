"""
Blocks of code as readers see and copy them.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest
from pygments.lexers.shell import BashSessionLexer
from pygments.token import Generic

from tests.docs.pages import PAGES, Block, blocks_of
from tests.docs.visit import commands_and_output

WIDEST = 88
"""Columns.  The pages of the built documentation cut off what is wider."""

SHOWN = [block for page in PAGES for block in blocks_of(page) if "hidden" not in block.markers]
CONSOLE = [block for block in SHOWN if block.language == "console"]


def parsed(commands: str) -> subprocess.CompletedProcess[str]:
    """What a shell says to *commands* without running them."""
    shell = shutil.which("bash") or "sh"
    return subprocess.run(
        [shell, "-n"], input=commands, text=True, capture_output=True, check=False
    )


def copied(text: str) -> str:
    """What the copy button takes: all but prompts and answers."""
    tokens = BashSessionLexer().get_tokens(text)
    hidden = (Generic.Prompt, Generic.Output)
    return "".join(value for kind, value in tokens if kind not in hidden)


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_no_block_is_cut_at_the_right_edge(block: Block) -> None:
    """
    What a reader has to scroll for is not read.
    """
    assert [line for line in block.text.splitlines() if len(line) > WIDEST] == []


@pytest.mark.parametrize("block", CONSOLE, ids=str)
def test_what_is_copied_is_what_was_run(block: Block) -> None:
    """
    A command that goes on in the next line without a backslash is taken for its answer.
    """
    typed, _ = commands_and_output(block.text)

    assert copied(block.text).split() == typed.split()
    assert (parsed(typed).returncode, parsed(typed).stderr) == (0, "")


def test_a_command_that_breaks_off_is_noticed() -> None:
    """
    As one with JSON in several lines does.
    """
    text = '$ connect \\\n    --extra \'{"a": 1,\n    "b": 2}\'\n$ test it\n'

    assert parsed(copied(text)).returncode != 0
