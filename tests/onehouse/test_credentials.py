"""
Where credentials come from, what is refused, and that no secret shows.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.onehouse._credential_sources.profile import read_profile
from onehouse_tracker.onehouse.credentials import ConfigWarning, Credentials, Secret

KEYWORDS = {
    "account_uid": "acc",
    "project_uid": "proj",
    "api_key": "key-0123456789",
    "api_secret": "sec-0123456789",
    "link_uid": "link",
    "region": "us-west-2",
    "user_uid": "user",
}
ENVIRON = {f"ONEHOUSE_{name.upper()}": value for name, value in KEYWORDS.items()}
JSON_KEYS = {"link_uid": "request_id", "region": "project_region", "user_uid": "user_id"}

WriteFile = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    """
    Write the credentials file of a home directory, readable by its owner only.
    """

    def write(text: str | bytes, mode: int = 0o600) -> Path:
        path = tmp_path / ".onehouse" / "credentials"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def ini(values: dict[str, str], section: str = "default") -> str:
    """An INI profile."""
    return "\n".join([f"[{section}]", *(f"{key} = {value}" for key, value in values.items())])


# --- headers ------------------------------------------------------------------------------


def test_a_key_pair_travels_in_seven_headers() -> None:
    """
    The documentation requires all seven, under exactly these names.
    """
    assert Credentials(**KEYWORDS).headers() == {
        "x-onehouse-account-uid": "acc",
        "x-onehouse-project-uid": "proj",
        "x-onehouse-api-key": "key-0123456789",
        "x-onehouse-api-secret": "sec-0123456789",
        "x-onehouse-link-uid": "link",
        "x-onehouse-region": "us-west-2",
        "x-onehouse-uuid": "user",
    }


def test_a_bearer_token_takes_the_place_of_the_key_pair() -> None:
    """
    The server refuses a call that carries both.
    """
    credentials = Credentials(
        account_uid="acc",
        project_uid="proj",
        link_uid="link",
        region="r",
        user_uid="user",
        bearer_token="tok-0123456789",
    )

    assert credentials.headers() == {
        "x-onehouse-account-uid": "acc",
        "x-onehouse-project-uid": "proj",
        "x-onehouse-link-uid": "link",
        "x-onehouse-region": "r",
        "x-onehouse-uuid": "user",
        "Authorization": "Bearer tok-0123456789",
    }
    assert credentials.secret_values() == ("tok-0123456789",)


def test_both_ways_to_authenticate_are_refused() -> None:
    """
    Which one is meant cannot be guessed.
    """
    with pytest.raises(ConfigError, match="not both"):
        Credentials(**KEYWORDS, bearer_token="tok")


@pytest.mark.parametrize("name", ["account_uid", "link_uid"])
def test_account_and_link_may_be_missing_with_a_warning(name: str) -> None:
    """
    Clients of the vendor leave one or the other out and work, so it is no error.
    """
    keywords = {key: value for key, value in KEYWORDS.items() if key != name}

    with pytest.warns(ConfigWarning, match=f"ONEHOUSE_{name.upper()}"):
        credentials = Credentials(**keywords)

    assert len(credentials.headers()) == 6


def test_the_link_uid_is_told_apart_from_a_request_id() -> None:
    """
    The console labels it with the words of the thing that is tracked.
    """
    with pytest.warns(ConfigWarning, match='"RequestID", but it is not the ID of a request'):
        Credentials(**{**KEYWORDS, "link_uid": ""})


# --- secrets ------------------------------------------------------------------------------


def test_nothing_shows_a_secret() -> None:
    """
    Credentials end up in logs, tracebacks and debuggers.
    """
    credentials = Credentials(**KEYWORDS)

    shown = f"{credentials!r} {credentials} {credentials.api_key} {credentials.origins}"
    assert "0123456789" not in shown
    assert "Secret('**********')" in shown
    assert "proj" in shown


def test_secrets_compare_and_hash_by_value() -> None:
    """
    Equal credentials are one project, e.g. as the key of a cache of clients.
    """
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Credentials(**KEYWORDS), Credentials(**KEYWORDS)}) == 1


def test_secrets_of_pydantic_are_taken() -> None:
    """
    Settings of applications hold them so.
    """
    keywords = {**KEYWORDS, "api_secret": SecretStr("sec-0123456789")}

    assert Credentials(**keywords) == Credentials(**KEYWORDS)  # type: ignore[arg-type]


def test_credentials_are_frozen_and_travel() -> None:
    """
    They are handed to other processes, and nobody changes them on the way.
    """
    credentials = Credentials(**KEYWORDS)

    assert pickle.loads(pickle.dumps(credentials)) == credentials  # noqa: S301 - our own bytes
    assert copy.deepcopy(credentials) == credentials
    assert dataclasses.replace(credentials, region="EU").region == "eu"
    with pytest.raises(dataclasses.FrozenInstanceError):
        credentials.region = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("0123456789\n", "line break"),
        ("0123\r6789", "line break"),
        ("0123\x006789", "a character"),
        ("“0123456789”", "a character"),
        ("0123456789\u00a0", "a character"),
        (123456789, "a str, not int"),
    ],
)
def test_what_no_header_can_carry_is_refused_unseen(value: object, problem: str) -> None:
    """
    A line break would add headers of its own; and the message must not become the leak.
    """
    with pytest.raises(ConfigError, match=problem) as caught:
        Credentials(**{**KEYWORDS, "api_secret": value})  # type: ignore[arg-type]

    assert "API secret (keyword argument api_secret)" in str(caught.value)
    assert "6789" not in str(caught.value)


@given(st.text(max_size=20))
def test_a_value_is_sent_as_it_is_or_refused(value: str) -> None:
    """
    Whatever is pasted: no control character reaches a header, and nothing is changed silently
    but the spaces around it.
    """
    try:
        credentials = Credentials(**{**KEYWORDS, "api_key": value})
    except ConfigError:
        return

    assert credentials.headers()["x-onehouse-api-key"] == value.strip(" \t")
    assert value.isascii()


# --- base URL and project -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "base_url"),
    [
        ("https://api.onehouse.ai", "https://api.onehouse.ai"),
        ("HTTPS://API.onehouse.ai:443/v1/", "https://api.onehouse.ai"),
        ("staging-api.onehouse.ai/v1", "https://staging-api.onehouse.ai"),
        ("https://limiter.example:8443/onehouse/v1", "https://limiter.example:8443/onehouse"),
        ("http://127.0.0.1:8099", "http://127.0.0.1:8099"),
        ("http://127.3.2.1:80", "http://127.3.2.1"),
        ("http://localhost:8099/", "http://localhost:8099"),
        ("http://[::1]:8099", "http://[::1]:8099"),
        ("", "https://api.onehouse.ai"),
    ],
)
def test_the_base_url_has_one_spelling(given: str, base_url: str) -> None:
    """
    Users copy it with and without /v1, and the project key depends on it.
    """
    assert Credentials(**KEYWORDS, base_url=given).base_url == base_url


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("http://api.onehouse.ai", "in the clear"),
        ("http://10.0.0.1", "in the clear"),
        ("http://localhost.evil.example", "in the clear"),
        ("https://me:s3cret@api.onehouse.ai", "user or a password"),
        ("https://", "no address"),
        ("ftp://api.onehouse.ai", "no address"),
        ("https://api.onehouse.ai?token=s3cret", "no address"),
        ("https://api.onehouse.ai#s3cret", "no address"),
        ("https://me:s3cret@api:port", "no address"),
        ("https://[s3cret", "no address"),
        ("https://s3cret..example", "no address"),
        ("https://s3cret-.example", "no address"),
        ("https://s3cret example", "no address"),
        ("https://10.0.0.256", "no address"),
        ("https://10.0.1", "no address"),
        ("https://[zz::1]", "no address"),
        ("https://[v1.s3cret:a]", "no address"),
        (f"https://{'s3cret' * 11}.example", "no address"),
        (f"https://{'s3cret.' * 40}example", "no address"),
    ],
)
def test_a_dangerous_or_broken_base_url_is_refused(given: str, problem: str) -> None:
    """
    The headers hold secrets: they go to one place only, and never in the clear.
    """
    with pytest.raises(ConfigError, match=problem) as caught:
        Credentials(**KEYWORDS, base_url=given)

    assert "s3cret" not in str(caught.value)


def test_the_project_key_tells_projects_apart_and_nothing_else() -> None:
    """
    Clients of one project share one budget, whatever keys they use; it must survive a restart
    and an update, so its value is fixed here.
    """
    mine = Credentials(**KEYWORDS)

    assert mine.project_key == "bf05fd6f465e6ea8"
    assert mine.project_key == dataclasses.replace(mine, api_key=Secret("other")).project_key
    assert mine.project_key != dataclasses.replace(mine, project_uid="p2").project_key
    assert mine.project_key != dataclasses.replace(mine, base_url="https://x.example").project_key


# --- precedence ---------------------------------------------------------------------------


def test_keyword_beats_environment_beats_file(write: WriteFile) -> None:
    """
    Per field, and each field remembers where it came from, for whoever must find a mistake.
    """
    path = write(ini(KEYWORDS | {"base_url": "https://file.example/v1"}))

    credentials = Credentials.from_env(
        environ={
            "HOME": str(path.parent.parent),
            "ONEHOUSE_REGION": "EU-West-1",
            "ONEHOUSE_USER_UID": "from-env",
            "ONEHOUSE_LINK_UID": "",
        },
        user_uid="from-keyword",
        region=None,
    )

    assert credentials == Credentials(
        **KEYWORDS | {"region": "eu-west-1", "user_uid": "from-keyword"},
        base_url="https://file.example",
    )
    in_file = f"in profile [default] of {path}"
    assert credentials.origins == {
        "account_uid": f"key account_uid {in_file}",
        "project_uid": f"key project_uid {in_file}",
        "api_key": f"key api_key {in_file}",
        "api_secret": f"key api_secret {in_file}",
        "link_uid": f"key link_uid {in_file}",
        "region": "environment variable ONEHOUSE_REGION",
        "user_uid": "keyword argument user_uid",
        "base_url": f"key base_url {in_file}",
    }


def test_the_environment_is_enough() -> None:
    """
    Containers have no home directory and no file.
    """
    credentials = Credentials.from_env(environ=ENVIRON)

    assert credentials == Credentials(**KEYWORDS)
    assert credentials.origins["api_key"] == "environment variable ONEHOUSE_API_KEY"
    assert credentials.origins["base_url"] == "default"
    assert Credentials(**KEYWORDS).origins["base_url"] == "default"
    assert Credentials(**KEYWORDS).origins["region"] == "keyword argument region"


@pytest.mark.parametrize("empty", ["", "  ", "\t"])
def test_what_is_empty_hides_nothing(write: WriteFile, empty: str) -> None:
    """
    That is how containers unset a variable, and what a script passes on that found nothing.
    """
    path = write(ini({**KEYWORDS}))
    environ = {
        "ONEHOUSE_CREDENTIALS_FILE": str(path),
        "ONEHOUSE_REGION": empty,
        "ONEHOUSE_BEARER_TOKEN": empty,
        "ONEHOUSE_PROFILE": empty,
    }

    by_variable = Credentials.from_env(environ=environ)
    by_keyword = Credentials.from_env(
        environ={"ONEHOUSE_CREDENTIALS_FILE": str(path)}, bearer_token=empty, region=empty
    )

    assert by_variable == by_keyword == Credentials(**KEYWORDS)
    assert by_keyword.origins["region"] == by_variable.origins["region"]


def test_an_environment_that_is_given_is_the_only_one(
    write: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever names the environment of another project must not get half of the process' own.
    """
    path = write(ini(KEYWORDS))
    monkeypatch.setenv("ONEHOUSE_PROJECT_UID", "of the process")
    monkeypatch.setenv("ONEHOUSE_PROFILE", "of-the-process")

    credentials = Credentials.from_env(environ={"HOME": str(path.parent.parent)})

    assert credentials.project_uid == "proj"


def test_the_process_environment_is_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    Whoever passes nothing means the process; a user without a home has no file.
    """
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Credentials.from_env() == Credentials(**KEYWORDS)

    def no_home() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", no_home)
    assert Credentials.from_env() == Credentials(**KEYWORDS)


@pytest.mark.parametrize(
    ("keywords", "variables", "in_file", "winner"),
    [
        ({"bearer_token": "kw"}, {}, {}, "kw"),
        ({}, {"ONEHOUSE_BEARER_TOKEN": "env"}, {}, "env"),
        ({}, {}, {"bearer_token": "file"}, None),
        ({"api_key": "k"}, {"ONEHOUSE_BEARER_TOKEN": "env"}, {}, None),
    ],
)
def test_the_nearer_way_to_authenticate_wins(
    write: WriteFile,
    keywords: dict[str, str],
    variables: dict[str, str],
    in_file: dict[str, str],
    winner: str | None,
) -> None:
    """
    A token in the environment is meant to replace the key pair of the file, not to clash with
    it; where both are equally near, nobody can tell.
    """
    path = write(ini(KEYWORDS | in_file))
    environ = {"HOME": str(path.parent.parent)} | variables

    if in_file:
        with pytest.raises(ConfigError, match="not both"):
            Credentials.from_env(environ=environ, **keywords)
        return
    credentials = Credentials.from_env(environ=environ, **keywords)

    token = credentials.bearer_token and credentials.bearer_token.get_secret_value()
    assert token == winner
    assert (credentials.api_key is None) == (winner is not None)
    assert ("api_key" in credentials.origins) == (winner is None)


def test_an_unknown_keyword_is_refused() -> None:
    """
    A misspelt one would silently leave the file's value in force; and the console's word for
    the link UID is an easy mistake.
    """
    with pytest.raises(
        ConfigError, match=r'no such setting: request_id;.*"RequestID" is link_uid'
    ):
        Credentials.from_env(environ=ENVIRON, request_id="link")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="no such setting: api_ky"):
        Credentials.from_env(environ=ENVIRON, api_ky="x")  # type: ignore[call-arg]


# --- what is missing ----------------------------------------------------------------------


def test_everything_missing_is_named_at_once(write: WriteFile) -> None:
    """
    One run tells all, with the key of the very file that was read.
    """
    path = write(json.dumps({"default": {"api_key": "key-0123456789"}}))

    with pytest.raises(ConfigError) as caught:
        Credentials.from_env(environ={"HOME": str(path.parent.parent)})

    assert str(caught.value).splitlines() == [
        "missing: project UID (ONEHOUSE_PROJECT_UID, or project_uid in the profile)",
        "missing: API secret (ONEHOUSE_API_SECRET, or api_secret in the profile)",
        "missing: region (ONEHOUSE_REGION, or project_region in the profile)",
        "missing: user UID (ONEHOUSE_USER_UID, or user_id in the profile)",
        "also not set: account UID (ONEHOUSE_ACCOUNT_UID, or account_uid in the profile)",
        (
            "also not set: link UID (ONEHOUSE_LINK_UID, or request_id in the profile; the console"
            ' shows it as "RequestID", but it is not the ID of a request to follow)'
        ),
        f"looked in keyword arguments, the environment, and profile [default] of {path}",
    ]


def test_a_missing_file_is_named_with_what_is_missing(tmp_path: Path) -> None:
    """
    Its usual place is where a newcomer puts it; the keys are those of the documented format.
    """
    environ = {**ENVIRON, "HOME": str(tmp_path), "ONEHOUSE_REGION": ""}
    path = tmp_path / ".onehouse" / "credentials"

    with pytest.raises(ConfigError) as caught:
        Credentials.from_env(environ=environ)

    assert str(caught.value).splitlines() == [
        "missing: region (ONEHOUSE_REGION, or region in the profile)",
        f"looked in keyword arguments and the environment; no profile in {path}",
    ]


def test_keywords_alone_are_checked_alike() -> None:
    """
    Empty values come from templates that were not filled in.
    """
    with pytest.raises(ConfigError, match=r"^missing: user UID \(ONEHOUSE_USER_UID"):
        Credentials(**{**KEYWORDS, "user_uid": " "})


# --- profile files ------------------------------------------------------------------------


def test_a_json_file_has_keys_of_its_own(write: WriteFile) -> None:
    """
    The vendor's SDK and CLI write these; among them request_id, which is the link UID.
    """
    values = {JSON_KEYS.get(name, name): value for name, value in KEYWORDS.items()}
    values["api_endpoint"] = "https://json.example/v1"
    path = write("\n " + json.dumps({"_default": "prod", "prod": values, "note": "x"}))

    credentials = Credentials.from_env(environ={"HOME": str(path.parent.parent)})

    assert credentials == Credentials(**KEYWORDS, base_url="https://json.example")
    assert credentials.origins["link_uid"] == f"key request_id in profile [prod] of {path}"


@pytest.mark.parametrize("file_format", ["INI", "JSON"])
def test_the_other_formats_keys_are_taken_too(write: WriteFile, file_format: str) -> None:
    """
    Files are converted by hand; the documented key goes first where both are there.
    """
    other = {JSON_KEYS.get(name, name): value for name, value in KEYWORDS.items()}
    if file_format == "INI":
        path = write(ini(other | {"user_uid": "documented"}))
    else:
        values = KEYWORDS | {"user_id": "documented", "user_uid": "other", "region": "us-west-2"}
        path = write(json.dumps({"default": values}))

    credentials = Credentials.from_env(credentials_file=path, environ={})

    assert credentials == Credentials(**KEYWORDS | {"user_uid": "documented"})


def test_an_ini_file_keeps_percent_signs_and_a_byte_order_mark(write: WriteFile) -> None:
    """
    Secrets contain "%", and Windows editors start files with a mark.
    """
    path = write(("\ufeff" + ini(KEYWORDS | {"api_secret": "a%(b)s%%:=#;"})).encode())

    credentials = Credentials.from_env(credentials_file=str(path), environ={})

    assert credentials.headers()["x-onehouse-api-secret"] == "a%(b)s%%:=#;"


def test_a_profile_is_chosen_by_keyword_then_variable(write: WriteFile) -> None:
    """
    As with every other setting.
    """
    sections = [ini(KEYWORDS | {"user_uid": name}, name) for name in ("default", "a", "b")]
    path = write("\n".join(sections))
    environ = {"ONEHOUSE_CREDENTIALS_FILE": str(path)}
    named = {**environ, "ONEHOUSE_PROFILE": "a"}

    assert Credentials.from_env(environ=environ).user_uid == "default"
    assert Credentials.from_env(environ=named).user_uid == "a"
    assert Credentials.from_env(environ=named, profile="b").user_uid == "b"


def test_a_file_beside_home_may_be_named_from_home(write: WriteFile) -> None:
    """
    Nobody expands "~" in a variable that a service file sets.
    """
    path = write(ini(KEYWORDS))
    environ = {
        "HOME": str(path.parent.parent),
        "ONEHOUSE_CREDENTIALS_FILE": "~/.onehouse/credentials",
    }

    assert Credentials.from_env(environ=environ) == Credentials(**KEYWORDS)


def test_a_file_without_a_default_profile_adds_nothing(write: WriteFile) -> None:
    """
    Whoever has everything in the environment need not care what profiles a file has.
    """
    path = write(ini({"region": "x"}, "other"))

    credentials = Credentials.from_env(environ={**ENVIRON, "HOME": str(path.parent.parent)})

    assert credentials == Credentials(**KEYWORDS)


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (ini(KEYWORDS, "a"), r"it has \[a\]"),
        (json.dumps({"_default": "b", "a": {}, "c": {}}), r"\[b\]; it has \[a\], \[c\]"),
        ("", "it has none at all"),
    ],
)
def test_a_profile_that_is_asked_for_must_exist(write: WriteFile, text: str, known: str) -> None:
    """
    Falling back to another profile would poll another project.
    """
    path = write(text)
    profile = None if "_default" in text else "b"

    with pytest.raises(ConfigError, match=known):
        Credentials.from_env(credentials_file=path, environ=ENVIRON, profile=profile)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("api_secret = s3cret", r"no valid INI file \(line 1: MissingSectionHeaderError\)"),
        ("[default]\n s3cret", r"no valid INI file \(line 2: ParsingError\)"),
        ("[d]\na=s3cret\na=1", r"no valid INI file \(line 3: DuplicateOptionError\)"),
        ('{"default": {"api_secret": "s3cret"', r"no valid JSON file \(line 1: "),
        ('{"a":' * 100_000, "no valid JSON file$"),
        ('{"_default": ["s3cret"]}', '"_default" names a profile'),
        ('{"default": {"api_secret": ["s3cret"]}}', "api_secret in profile .* not list"),
        (b"[default]\napi_secret = s3cret\xff", "not UTF-8"),
        (b"#" * (1024 * 1024 + 1), "larger than"),
    ],
)
def test_a_broken_file_is_refused_unseen(
    write: WriteFile, text: str | bytes, problem: str
) -> None:
    """
    The message says where to look; what stands there is secret, and the errors of the parsers
    carry it, so they are not chained.
    """
    path = write(text)

    with pytest.raises(ConfigError, match=problem) as caught:
        Credentials.from_env(credentials_file=path, environ=ENVIRON)

    assert str(path) in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_file_that_was_asked_for_must_be_readable(tmp_path: Path) -> None:
    """
    Somebody meant it; going on without it would use the wrong credentials, or none.
    """
    with pytest.raises(ConfigError, match="there is no credentials file"):
        Credentials.from_env(credentials_file=tmp_path / "no", environ=ENVIRON)
    with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
        Credentials.from_env(credentials_file=tmp_path, environ=ENVIRON)


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_file_that_others_can_read_is_warned_about(write: WriteFile, mode: int) -> None:
    """
    It holds a secret that opens the project.
    """
    path = write(ini(KEYWORDS), mode)

    with pytest.warns(ConfigWarning, match=f"chmod 600 {path}"):
        Credentials.from_env(credentials_file=path, environ={})


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o622, 0o666])
def test_a_file_that_others_can_write_to_is_refused(write: WriteFile, mode: int) -> None:
    """
    One line more in it, a base URL, and the secrets go to whoever wrote it.
    """
    path = write(f"{ini(KEYWORDS)}\nbase_url = https://elsewhere.example\n", mode)

    with pytest.raises(ConfigError, match=f"other users can write to it; .* chmod 600 {path}"):
        Credentials.from_env(credentials_file=path, environ={})


def test_file_modes_mean_nothing_on_windows(
    write: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    There they are made up, and the advice could not be followed.
    """
    path = write(ini(KEYWORDS), 0o666)
    monkeypatch.setattr("onehouse_tracker.onehouse._credential_sources.profile.os.name", "nt")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_profile(path, None, required=True)

    assert found is not None
    assert "0123456789" not in repr(found)


def test_importing_the_module_is_cheap() -> None:
    """
    The command answers --help, and credentials need no validation library.
    """
    code = "import sys, onehouse_tracker.onehouse.credentials; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    ).stdout.split()

    assert "onehouse_tracker.onehouse.credentials" in loaded
    assert not {"pydantic", "pydantic_core", "aiohttp"} & set(loaded)
