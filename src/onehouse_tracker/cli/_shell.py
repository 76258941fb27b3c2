"""
Writes lines that can be pasted into the shell that the command was started from.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping

__all__ = ["set_variables"]


def set_variables(
    variables: Mapping[str, str], environ: Mapping[str, str] = os.environ, system: str = os.name
) -> list[str]:
    """
    The lines that set *variables* in the shell: one of POSIX, PowerShell, or Windows' `cmd`.

    Args:
        variables: Values by name, without quotes and percent signs in them.

        environ: What tells the shell: bash sets SHELL on Windows too, and only `cmd` sets PROMPT.

        system: What kind of system it is, in the words of `os.name`.
    """
    if system != "nt" or "SHELL" in environ:
        return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    if "PROMPT" in environ:
        return [f'set "{name}={value}"' for name, value in variables.items()]
    return [f"$env:{name} = '{value}'" for name, value in variables.items()]
