"""
Lines to paste, in the words of the shell that is there.
"""

import pytest

from onehouse_tracker.cli._shell import set_variables


@pytest.mark.parametrize(
    ("system", "environ", "line"),
    [
        ("posix", {"SHELL": "/bin/bash"}, "export ONEHOUSE_REGION='us west'"),
        ("posix", {}, "export ONEHOUSE_REGION='us west'"),
        ("posix", {"PROMPT": "%~"}, "export ONEHOUSE_REGION='us west'"),  # zsh knows it too
        ("nt", {"SHELL": "/usr/bin/bash"}, "export ONEHOUSE_REGION='us west'"),
        ("nt", {"PROMPT": "$P$G"}, 'set "ONEHOUSE_REGION=us west"'),
        ("nt", {}, "$env:ONEHOUSE_REGION = 'us west'"),
    ],
)
def test_variables_are_set_in_the_words_of_the_shell(
    system: str, environ: dict[str, str], line: str
) -> None:
    """
    `export` is an error in PowerShell, and in `cmd` as well.
    """
    assert set_variables({"ONEHOUSE_REGION": "us west"}, environ, system) == [line]
