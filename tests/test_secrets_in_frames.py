"""
No secret stands in a variable of our frames when credentials are refused: tools show those.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from pydantic import SecretStr
from rich.pretty import pretty_repr

from onehouse_tracker import ConfigError, Credentials, Tracker, sync
from onehouse_tracker.integrations.airflow._connection import Project
from onehouse_tracker.onehouse.client import OnehouseClient
from onehouse_tracker.onehouse.credentials import ConfigWarning

KEY, SECRET, TOKEN, PASSWORD = (f"{name}-m4rk3d-0123456789" for name in ("k", "s", "t", "p"))
MARK = "m4rk3d"

GOOD: Mapping[str, Any] = {
    "account_uid": "account",
    "project_uid": "project",
    "api_key": KEY,
    "api_secret": SECRET,
    "link_uid": "link",
    "region": "us-west-2",
    "user_uid": "user",
}
BAD: dict[str, dict[str, Any]] = {
    "a line break": {"api_key": f"{KEY}\n{KEY}"},
    "a character that no header has": {"api_secret": f"{SECRET}\u201d"},
    "a secret of pydantic": {"api_secret": SecretStr(f"{SECRET}\n{SECRET}")},
    "bytes": {"api_key": KEY.encode()},
    "a list": {"api_secret": [SECRET]},
    "a token beside the pair": {"bearer_token": TOKEN},
    "nothing where a region should be": {"region": None},
    "a secret in the wrong place": {"region": f"{SECRET}\n{SECRET}"},
    "a password in the base URL": {"base_url": f"https://me:{PASSWORD}@onehouse.example"},
    "a token in the base URL": {"base_url": f"https://onehouse.example/?token={TOKEN}"},
    "a base URL that is none": {"base_url": f"https://[{TOKEN}"},
    "http": {"base_url": f"http://onehouse.example/{TOKEN}"},
    "nothing where the server insists": {"link_uid": None},
}


@dataclass
class FakeConnection:
    """A connection as Airflow reads it; its `repr` is not ours."""

    extra_dejson: Mapping[str, Any]
    host: str | None = None
    port: int | None = None
    schema: str | None = None

    def __repr__(self) -> str:
        return "<connection>"


def from_connection(base_url: str | None = None, **extra: Any) -> object:
    """Read *extra* as Airflow does."""
    return Project.from_connection(FakeConnection(extra, base_url))


NOWHERE: dict[str, Any] = {"environ": {}, "credentials_file": None}
WAYS: dict[str, Callable[..., object]] = {
    "Credentials": Credentials,
    "Credentials.from_env": lambda **given: Credentials.from_env(**NOWHERE, **given),
    "OnehouseClient.from_env": lambda **given: OnehouseClient.from_env(**NOWHERE, **given),
    "Tracker.from_env": lambda **given: Tracker.from_env(**NOWHERE, **given),
    "sync.Tracker.from_env": lambda **given: sync.Tracker.from_env(**NOWHERE, **given),
    "sync.wait_all": lambda **given: sync.wait_all(["r1"], **NOWHERE, **given),
    "sync.submit": lambda **given: sync.submit("SHOW CLUSTERS", **NOWHERE, **given),
    "an Airflow connection": from_connection,
}


def shown(error: BaseException) -> Iterator[tuple[str, str, str]]:
    """Each variable of our frames in each traceback of the chain, as tools would print it."""
    chain: BaseException | None = error
    while chain is not None:
        step: TracebackType | None = chain.__traceback__
        while step is not None:
            code = step.tb_frame.f_code
            if "onehouse_tracker" in code.co_filename:
                for name, value in step.tb_frame.f_locals.items():
                    yield (
                        code.co_qualname,
                        name,
                        f"{_safe(repr, value)} {_safe(pretty_repr, value)}",
                    )
            step = step.tb_next
        chain = chain.__cause__ or chain.__context__


def _safe(tell: Callable[[object], str], value: object) -> str:
    try:
        return tell(value)
    except AttributeError:  # what is not made yet
        return f"<{type(value).__name__}>"


def refused(make: Callable[[], object]) -> None:
    """Assert that *make* is refused, in frames of ours, none of which shows a secret."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((ConfigError, ConfigWarning)) as caught:
            make()
    found = list(shown(caught.value))

    assert len({where for where, _, _ in found}) > 1
    assert [place for place in found if MARK in place[2]] == []
    assert MARK not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bad", BAD)
def test_keywords(way: str, bad: str) -> None:
    """
    Whoever passes them knows them; what prints our frames does not.
    """
    refused(lambda: WAYS[way](**{**GOOD, **BAD[bad]}))


@pytest.mark.parametrize("way", [way for way in WAYS if way[0] in "COTs" and "." in way])
@pytest.mark.parametrize("bad", [name for name in BAD if name not in {"bytes", "a list"}])
def test_the_environment(way: str, bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    That of the process, and one that is passed in, where each of them has a `repr` of its own.
    """
    values = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in {**GOOD, **BAD[bad]}.items()
        if value is not None
    }
    variables = {f"ONEHOUSE_{name.upper()}": value for name, value in values.items()}
    variables["HOME"] = "/nonexistent"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(NOWHERE, "environ", None)
    refused(WAYS[way])
    monkeypatch.setitem(NOWHERE, "environ", variables)
    refused(WAYS[way])


@pytest.mark.parametrize("variable", ["ONEHOUSE_PROFILE", "ONEHOUSE_CREDENTIALS_FILE"])
def test_an_environment_that_names_what_is_not_there(variable: str, tmp_path: Path) -> None:
    """
    The file is looked for when the secrets of the environment are known already.
    """
    (tmp_path / "credentials").write_text("[other]\n")
    (tmp_path / "credentials").chmod(0o600)
    variables = {f"ONEHOUSE_{name.upper()}": value for name, value in GOOD.items()}
    variables["ONEHOUSE_CREDENTIALS_FILE"] = str(tmp_path / "credentials")
    variables[variable] = "~other/none"

    refused(lambda: Credentials.from_env(environ=variables))


FILES: dict[str, str | bytes] = {
    "a line that is no INI": f"[default]\napi_key = {KEY}\n{SECRET}\n",
    "a key twice": f"[default]\napi_key = {KEY}\napi_key = {KEY}\n",
    "another profile": f"[other]\napi_key = {KEY}\n",
    "no region": f"[default]\napi_key = {KEY}\napi_secret = {SECRET}\n",
    "half of a JSON file": json.dumps({"default": GOOD})[:-1],
    "a list in JSON": json.dumps({"default": {**GOOD, "region": [SECRET]}}),
    "a default that is no text": json.dumps({"_default": [SECRET], "default": GOOD}),
    "no UTF-8": f"[default]\napi_key = {KEY}\xff".encode("latin-1"),
    "too much": f"[default]\napi_key = {KEY}\n".encode() + b"#" * 1024 * 1024,
}


@pytest.mark.parametrize("content", FILES)
def test_a_file(content: str, tmp_path: Path) -> None:
    """
    Neither its text, nor what a parser made of it, nor the one setting that is wrong.
    """
    path, written = tmp_path / "credentials", FILES[content]
    path.write_bytes(written if isinstance(written, bytes) else written.encode())
    path.chmod(0o600)

    refused(lambda: Credentials.from_env(environ={}, credentials_file=path, profile="default"))


def test_a_file_that_others_can_write_to(tmp_path: Path) -> None:
    """
    It is refused when it was read.
    """
    path = tmp_path / "credentials"
    path.write_text(f"[default]\napi_key = {KEY}\n")
    path.chmod(0o622)

    refused(lambda: Credentials.from_env(environ={}, credentials_file=path))


TOOLS = {
    "rich": """
        import rich.traceback
        rich.traceback.install(show_locals=True, width=200, locals_max_string=None)
        """,
    "pytest": "",
}


@pytest.mark.parametrize("tool", TOOLS)
def test_what_tools_for_errors_print(tool: str, tmp_path: Path) -> None:
    """
    The variables of our frames are there, and no secret is.
    """
    script = tmp_path / "test_it.py"
    body = "\n".join(line.strip() for line in TOOLS[tool].splitlines())
    script.write_text(f"{body}\ndef test_it():\n    from onehouse_tracker import Tracker\n")
    with script.open("a") as file:
        file.write("    Tracker.from_env()\n" + ("" if tool == "pytest" else "test_it()\n"))
    variables = {f"ONEHOUSE_{name.upper()}": str(value) for name, value in GOOD.items()}
    variables |= {"ONEHOUSE_API_KEY": f"{KEY}\n{KEY}", "HOME": str(tmp_path), "COLUMNS": "200"}
    options = ["-m", "pytest", "-l", "-p", "no:cacheprovider"] if tool == "pytest" else []
    ended = subprocess.run(
        [sys.executable, *options, script.name],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **variables},
    )
    printed = ended.stdout + ended.stderr

    assert ended.returncode == 1
    assert "has a line break in it" in printed
    assert "setting" in printed  # a variable of a frame of ours
    assert "not shown" in printed or "Secret('**********')" in printed
    assert MARK not in printed
