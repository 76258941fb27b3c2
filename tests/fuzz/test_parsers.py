"""
Every parser against whatever hypothesis thinks of: a value or an error of ours, and soon.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from onehouse_tracker import ApiStatus, ConfigError, Credentials, TrackerError
from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.cli._command_settings import parse_duration
from onehouse_tracker.cli._options import Format, Input
from onehouse_tracker.cli._request_file import RequestFile
from onehouse_tracker.cli._sources import requests_from
from onehouse_tracker.cli._statements import split
from onehouse_tracker.models import Request
from onehouse_tracker.onehouse._credential_sources.fields import ALL_FIELDS
from onehouse_tracker.onehouse._credential_sources.hidden import Secret
from onehouse_tracker.onehouse._credential_sources.profile import read_profile
from onehouse_tracker.onehouse._http.body import decode_body
from onehouse_tracker.onehouse._http.masking import Masking
from onehouse_tracker.onehouse._http.wire import (
    HttpReply,
    read_status,
    read_submission,
    retry_after,
)
from onehouse_tracker.onehouse.labels import label_of

NOW = 1_800_000_000.0
SECRET = "s3cret-0123456789"
DEEP = 100_000

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
WORDS = st.sampled_from([*(str(status) for status in ApiStatus), SECRET, "requestId", "code"])


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def damaged(text: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """*text* as it is, cut, with a byte changed, or twice."""

    @st.composite
    def change(draw: st.DrawFn) -> bytes:
        data = draw(text)
        position = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["whole", "cut", "changed", "twice"]))
        if kind == "cut":
            return data[:position]
        if kind == "changed":
            return data[:position] + draw(st.binary(max_size=3)) + data[position + 1 :]
        return data * (2 if kind == "twice" else 1)

    return change()


BODIES = damaged(
    st.fixed_dictionaries(
        {},
        optional={
            "apiStatus": WORDS | VALUES,
            "apiResponse": VALUES,
            "requestId": WORDS | VALUES,
            "code": st.integers(-1, 20) | VALUES,
            "message": WORDS | VALUES,
        },
    ).map(lambda body: json.dumps(body).encode())
) | st.binary(max_size=60)
NUMBERS = st.integers(-(10**30), 10**30).map(str)
DATES = st.from_regex(
    r"\A[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} -?[0-9]{1,6} [0-9]{1,3}:[0-9]{2}:[0-9]{2}"
    r" ([A-Z]{3}|[+-][0-9]{4,8})\Z"
)
# What can stand in a header once it was read: anything but the ends of lines.
LINES = st.text(st.characters(exclude_characters="\r\n\0"), max_size=40)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["grpc-status", "grpc-message", "retry-after", "date", "location", "content-type"]
    ),
    LINES | NUMBERS | DATES | st.from_regex(r"\Ahttps?://[^\r\n]{0,20}\Z") | WORDS,
).map(CIMultiDict)


@settings(max_examples=300)
@given(
    status=st.integers(0, 999),
    body=BODIES,
    headers=HEADERS,
    phrase=LINES,
    problem=st.sampled_from(["", "the body is cut off"]),
)
@example(200, b'{"a":' * DEEP, CIMultiDict(), "", "")
@example(200, b"[" * DEEP, CIMultiDict(), "", "")
@example(400, b'{"message": "' + b"\\u0000" * DEEP + b'"}', CIMultiDict(), "", "")
@example(429, b"", CIMultiDict({"date": "Thu, 01 Jan 0000 00:00:00 +9999"}), "", "")
@example(302, b"", CIMultiDict({"location": "http://[::1"}), "", "")
def test_a_reply_is_a_value_or_an_error_of_ours(
    status: int, body: bytes, headers: CIMultiDict[str], phrase: str, problem: str
) -> None:
    """
    Neither a crash in a poll nor a secret of ours in its reason, whatever a server sends.
    """
    reply = HttpReply(
        status=status,
        body=body,
        headers=headers,
        phrase=phrase,
        problem=problem,
        masking=Masking([SECRET]),
    )
    try:
        answer = read_status(reply, "r1", now=NOW)
        assert answer.status is None or len(answer.status) <= 200
        assert SECRET not in f"{answer} {answer.response}"
    except TrackerError as error:
        assert SECRET not in f"{error!r} {error}"
        assert len(str(error)) < 600
    try:
        assert 0 < len(read_submission(reply, now=NOW)) <= 256
    except TrackerError as error:
        assert SECRET not in f"{error!r} {error}"


@given(value=LINES | NUMBERS | DATES | st.floats().map(repr))
@example("9" * DEEP)
@example("-" * DEEP)
def test_a_pause_is_bounded_or_none(value: str) -> None:
    """
    A server can neither stop us for ever nor make us crash.
    """
    wait = retry_after(value, now=NOW)

    assert wait is None or 0 <= wait <= 366 * 86400


@given(data=st.binary(max_size=200), encoding=st.text(max_size=9) | st.just("gzip"))
def test_a_body_is_unpacked_or_not(data: bytes, encoding: str) -> None:
    """
    Bounded, and with a problem where nothing came out.
    """
    body, problem = decode_body(data, encoding, max_body=100)

    assert not (body and problem)


# --- credentials --------------------------------------------------------------------------

KEYS = st.sampled_from([name for item in ALL_FIELDS for name in (item.name, item.json_key)])
SECTIONS = st.sampled_from(["default", "DEFAULT", "_default", "staging"]) | LINES


@st.composite
def ini_files(draw: st.DrawFn) -> bytes:
    """An INI file, also with what Python's own writer refuses to write from 3.14 on."""
    lines: list[str] = []
    for section, values in draw(
        st.dictionaries(SECTIONS, st.dictionaries(KEYS | LINES, LINES, max_size=5), max_size=3)
    ).items():
        lines.append(f"[{section}]")
        lines.extend(f"{key} = {value}" for key, value in values.items() if key.strip())
    return "\n".join((*lines, "")).encode(errors="surrogatepass")


JSON_FILES = st.dictionaries(
    SECTIONS, st.dictionaries(KEYS | LINES, LINES | VALUES, max_size=5) | VALUES, max_size=3
).map(lambda content: json.dumps(content).encode())


@pytest.fixture(scope="module")
def file() -> Iterator[Path]:
    """A file that only its owner can read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "credentials")
        path.touch(mode=0o600)
        yield path


@settings(max_examples=300)
@given(
    content=damaged(ini_files()) | damaged(JSON_FILES) | st.binary(max_size=60),
    name=st.none() | SECTIONS,
)
@example(b'{"a":' * DEEP, None)
@example(b"{" * DEEP, None)
@example(b'{"default": {"api_key": ' + b"9" * DEEP + b"}}", None)
@example(b"[default]\n" + b" x\n" * 99, None)
@example(b"[default]\na\n b", None)
def test_a_credentials_file_is_read_or_refused(
    file: Path, content: bytes, name: str | None
) -> None:
    """
    With a sentence and never with a traceback, which would show lines of the file.
    """
    file.write_bytes(content)
    try:
        profile = read_profile(file, name, required=True)
    except ConfigError as error:
        assert error.__cause__ is None
        assert error.__context__ is None or error.__suppress_context__
        return
    assert profile is None or all(isinstance(value, Secret) for value in profile.values.values())


@given(values=st.dictionaries(KEYS, LINES | VALUES), url=LINES | st.from_regex(r"\Ahttps?://.*\Z"))
@example({}, "https://[::1")
@example({}, "https://a:99999999")
@example({}, "http://\u2100")
def test_credentials_are_taken_or_refused(values: dict[str, Any], url: str) -> None:
    """
    Whatever the values are; and what is taken can be sent.
    """
    complete = dict.fromkeys(("project_uid", "region", "user_uid", "api_key", "api_secret"), "x")
    known = {key: value for key, value in values.items() if key in {f.name for f in ALL_FIELDS}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = Credentials(**{**complete, "base_url": url, **known})
        except ConfigError:
            return
    assert all(value.isascii() and value.isprintable() for value in found.headers().values())


@pytest.mark.parametrize("path", ["\0", "a\0b", "x" * 5000, "/dev/null/x", ""])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    """
    It may come from anywhere, and is a matter of configuration.
    """
    with pytest.raises(ConfigError):
        Credentials.from_env(environ={}, credentials_file=path)


# --- what the command reads ---------------------------------------------------------------

ROWS = damaged(
    st.fixed_dictionaries(
        {},
        optional={"request_id": LINES | VALUES, "label": LINES | VALUES, "outcome": VALUES},
    ).map(lambda row: json.dumps(row).encode())
)


CELLS = st.sampled_from(
    ["request_id", "label", "r1", '"', "\r", ",", ";", "\t", " ", "#", "[", "{"]
)
LINE = ROWS | st.binary(max_size=60) | st.text(max_size=40).map(_encode)


@settings(max_examples=300)
@given(
    lines=st.lists(LINE | st.lists(CELLS).map("".join).map(_encode), max_size=4),
    file_format=st.none() | st.sampled_from(Format),
)
@example([b'{"a":' * DEEP], None)
@example([b'{"request_id": ' + b"[" * 990 + b"]" * 990 + b"}"], None)
@example([b'{"request_id": ' + b"9" * DEEP + b"}"], None)
@example([b'{"request_id": "r", "label": "\\ud800"}'], None)
@example([b"r1\t\xed\xa0\x80"], None)
@example([b"[" * DEEP], None)
@example([b"request_id,label", b'r1,"', b"x" * 200_000], None)
@example([b"request_id", b'"' * 5001], None)
@example([b"a," * 5000], Format.CSV)
def test_lines_are_requests_or_refused(lines: list[bytes], file_format: Format | None) -> None:
    """
    With the number of the line, so that it can be found among thousands.
    """
    records = RequestFile("ids", Input(format=file_format))
    try:
        requests = [request for line in lines for request in records.line(line)]
        requests.extend(records.end())
    except CommandError as error:
        assert str(error).startswith(("ids, line ", "ids, item ", "ids: no JSON"))
        assert len(str(error)) < 400
        return
    for request in requests:
        assert 0 < len(request.request_id) <= 256
        # It is printed, and written down.
        f"{request.request_id}{request.label}".encode()


@given(content=st.binary(max_size=99))
def test_a_list_of_requests_is_read_or_refused(file: Path, content: bytes) -> None:
    """
    The same for a whole file.
    """
    file.write_bytes(content)

    async def read() -> list[Request]:
        return [each async for each in await requests_from([], Input(sources=[str(file)]))]

    try:
        found = asyncio.run(read())
    except CommandError:
        return
    assert all(each.request_id for each in found)


SQL = st.lists(
    st.sampled_from(
        ["'", '"', "`", ";", "--", "/*", "*/", "\\", "\n", "$$", "{{", "}}", "RUN", " "]
    )
    | st.text(max_size=4)
).map("".join)


@settings(max_examples=300)
@given(text=SQL)
@example("/*" * 5000)
@example("(" * 5000)
@example("'" * 5001)
@example("9" * 5000 + "e" + "9" * 5000)
@example("{{" * 999 + "{%" * 999)
def test_a_file_of_sql_is_cut_or_refused(text: str) -> None:
    """
    What comes out was in it, in order; a kind is found for each, or none.
    """
    try:
        statements = split(text, "jobs.sql")
    except CommandError:
        return
    position = 0
    for statement in statements:
        position = text.index(statement.text, position) + len(statement.text)
        label = label_of(statement.text)
        assert label is None or label.isascii()


@given(text=LINES)
@example("9" * 5000)
def test_a_time_span_is_a_number_or_refused(text: str) -> None:
    """
    `--timeout` takes anything a shell can pass.
    """
    try:
        assert parse_duration(text) >= 0
    except ValueError as error:
        assert "time span" in str(error)
