"""
The command ``onehouse-tracker``: its entry point.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """
    Run the command with the arguments of the process.

    Returns:
        The exit code where the command cannot even begin.

    Raises:
        SystemExit: With the exit code, see ``onehouse-tracker --help``.
    """
    try:
        from onehouse_tracker.cli._app import app  # noqa: PLC0415 - an extra may be missing
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "typer":
            raise
        sys.stderr.write("error: the command needs pip install 'onehouse-tracker[cli]'\n")
        return 2
    except KeyboardInterrupt:
        return 130
    app(prog_name="onehouse-tracker")

    return 0
