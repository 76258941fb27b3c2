"""
Looks for what keeps the command from working: credentials, file, name, connection, server.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from importlib import metadata
from typing import Any

from onehouse_tracker import __version__
from onehouse_tracker.cli._codes import ExitCode
from onehouse_tracker.cli._command_settings import CommandSettings
from onehouse_tracker.cli._connectivity import Finding, State, network, request
from onehouse_tracker.cli._history import history_finding
from onehouse_tracker.cli._output import Item
from onehouse_tracker.cli._shapes import shapes
from onehouse_tracker.cli._terminal import Terminal, clean
from onehouse_tracker.cli._writers import writer_of
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.onehouse._credential_sources.collected import Collected, collect
from onehouse_tracker.onehouse._credential_sources.environment import plain
from onehouse_tracker.onehouse._credential_sources.fields import ALL_FIELDS, Field, describe
from onehouse_tracker.onehouse._credential_sources.hidden import tell
from onehouse_tracker.onehouse._credential_sources.profile import Profile
from onehouse_tracker.onehouse.credentials import DEFAULT_BASE_URL, Credentials
from onehouse_tracker.run_results import JobRun

__all__ = ["doctor"]

_MISSING_IS_FINE = frozenset({"bearer_token", "base_url"})
_MISSING_IS_DOUBTFUL = frozenset({"account_uid", "link_uid"})
_SHOWN = frozenset({"region", "base_url"})
_LONG_ENOUGH = 12  # of which the last four characters give nothing away


async def doctor(
    terminal: Terminal,
    settings: CommandSettings,
    *,
    job: str | None = None,
    run_id: str | None = None,
) -> ExitCode:
    """
    Check everything that a poll needs, one step after the other, and say what to do.

    One request is sent, for the status of an ID that cannot exist; with a *job*, two statements
    more: see `_shapes`.

    Raises:
        InvalidRequestError: *job* or *run_id* cannot be quoted in a statement.
    """
    if job is not None:
        JobRun(job, run_id or "x")
    writer = writer_of(terminal, settings.output, ("check", "state", "found", "advice"))
    errors: list[Finding] = []
    async for finding in _findings(settings.profile):
        if finding.state is State.ERROR:
            errors.append(finding)
        await writer.line(Item(asdict(finding), line=_line(finding)))
    if job is not None and not errors:
        async for finding in shapes(settings, job, run_id):
            if finding.state is State.ERROR:
                errors.append(finding)
            await writer.line(Item(asdict(finding), line=_line(finding)))
    await writer.finish()
    if any(finding.check in _STATEMENTS for finding in errors):
        terminal.note("the credentials are good, but a statement did not succeed")
        return ExitCode.NOT_OK
    if any(finding.check not in _REMOTE for finding in errors):
        terminal.note("correct the configuration first")
        return ExitCode.USAGE
    terminal.note("Onehouse cannot be polled from here" if errors else "everything works")

    return ExitCode.PROJECT if errors else ExitCode.OK


def _line(finding: Finding) -> str:
    # For a greater clarity than colors give, and the same everywhere.
    advice = f"\n{'':<10}what to do: {clean(finding.advice)}" if finding.advice else ""
    return f"{finding.state:<8}  {finding.check}: {clean(finding.found)}{advice}"


_STATEMENTS = frozenset({"SHOW RUNS IN JOB", "DESCRIBE JOB_RUN"})
_REMOTE = frozenset({"name", "connection", "request"})


async def _findings(profile: str | None) -> AsyncIterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding(
        check="versions",
        state=State.OK,
        found=f"onehouse-tracker {__version__}, Python {python},"
        f" aiohttp {metadata.version('aiohttp')}, {ssl.OPENSSL_VERSION}",
    )
    collected, found = _collect(profile)
    for finding in found:
        yield finding
    credentials = None
    if collected is not None:
        for finding in _fields(collected):
            yield finding
        credentials, problem = _credentials(collected)
        if problem is not None and _complete(collected):
            yield Finding(check="credentials", state=State.ERROR, found=problem)
    for finding in _proxies():
        yield finding
    yield await asyncio.to_thread(history_finding)
    url = credentials.base_url if credentials is not None else _address(collected)
    if url is None:
        yield Finding(check="name", state=State.SKIPPED, found="there is no usable base URL")
    else:
        for finding in await network(url):
            yield finding
    if credentials is None:
        yield Finding(check="request", state=State.SKIPPED, found="there are no credentials")
    else:
        yield await request(credentials)


# --- Configuration ---------------------------------------------------------------------


def _collect(profile: str | None) -> tuple[Collected | None, list[Finding]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            collected = collect(profile=profile)
        except ConfigError as error:
            return None, [Finding(check="credentials file", state=State.ERROR, found=str(error))]
    place = collected.looked_in
    if isinstance(place, Profile):
        text = f"{place.place()}, {place.file_format}"
    elif place is None or collected.problem is not None:
        text = "none, and there is no home directory to look in"
    else:
        text = f"no profile in {place}" if place.exists() else f"there is no {place}"
    found = [Finding(check="credentials file", state=State.OK, found=text)]
    if collected.problem is not None:
        text = f"{collected.problem}; it need not be there"
        found = [Finding(check="credentials file", state=State.WARNING, found=text)]
    for warning in caught:
        what, _, advice = str(warning.message).partition("; run: ")
        if advice:
            found = [
                Finding(
                    check="credentials file",
                    state=State.WARNING,
                    found=what,
                    advice=f"run: {advice}",
                )
            ]
        else:
            found.append(Finding(check="environment", state=State.WARNING, found=what))
    return collected, found


def _fields(collected: Collected) -> Iterator[Finding]:
    pair = not collected.values.get("bearer_token")
    place = collected.looked_in
    file_format = place.file_format if isinstance(place, Profile) else "INI"
    for setting in ALL_FIELDS:
        origin = collected.origins.get(setting.name)
        if origin is not None:
            shown = _masked(setting, tell(collected.values[setting.name]))
            yield Finding(check=setting.title, state=State.OK, found=f"{shown} from {origin}")
        elif setting.name == "base_url":
            yield Finding(
                check=setting.title, state=State.OK, found=f"{DEFAULT_BASE_URL} by default"
            )
        elif setting.name not in _MISSING_IS_FINE and (
            pair or setting.name not in {"api_key", "api_secret"}
        ):
            doubtful = setting.name in _MISSING_IS_DOUBTFUL
            yield Finding(
                check=setting.title,
                state=State.WARNING if doubtful else State.ERROR,
                found="not set, and the server may insist on it" if doubtful else "missing",
                advice=f"set {describe(setting, file_format)}",
            )


def _proxies() -> Iterator[Finding]:
    """Say which wishes for a proxy are not heeded; one may hold a password, and is not shown."""
    names = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    wanted = [name for name in names if plain(os.environ.get(name, ""))]
    if wanted:
        yield Finding(
            check="proxy",
            state=State.WARNING,
            found=f"{' and '.join(wanted)} is ignored: requests go to the server directly",
            advice="nothing, if the connection below is ok; else let this machine reach the"
            " server without a proxy",
        )


def _masked(setting: Field, value: str) -> str:
    """What may be shown of a value: of secrets nothing, of an ID enough to tell which it is."""
    if setting.name in _SHOWN and not set(value) & set("@?"):
        return value
    if setting.name.endswith("_uid") and len(value) >= _LONG_ENOUGH:
        return f"********{value[-4:]}"
    return "********"


def _complete(collected: Collected) -> bool:
    return not any(finding.state is State.ERROR for finding in _fields(collected))


def _credentials(collected: Collected) -> tuple[Credentials | None, str | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # told already
        try:
            return Credentials.from_found(collected), None
        except ConfigError as error:
            return None, str(error)


def _address(collected: Collected | None) -> str | None:
    """Where the server would be, for what can be checked without credentials."""
    if collected is None:
        return None
    keys: dict[str, Any] = dict.fromkeys(("project_uid", "user_uid", "account_uid"), "x")
    keys["base_url"] = collected.values.get("base_url") or DEFAULT_BASE_URL
    try:
        return Credentials(
            **keys,
            region="x",
            link_uid="x",
            bearer_token="x",  # noqa: S106 - nothing is sent with it
        ).base_url
    except ConfigError:
        return None
