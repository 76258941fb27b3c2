"""
Our own secrets do not come back out of a reply, however the server spells them.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_core import from_json

from onehouse_tracker.errors import RejectedError, StatusError, SubmissionUnknownError
from onehouse_tracker.models import StatusReply
from onehouse_tracker.onehouse._http.masking import MASK, Masking
from onehouse_tracker.onehouse._http.wire import HttpReply, read_status, read_submission

KEY = "key/m4rk3d+0123="
SECRET = 'bq\\uB0"m4rk3d%41b'
"""With everything in it that JSON or a URL may spell in another way."""

MASKING = Masking([KEY, SECRET])
HIDDEN = ("m4rk3d", "0123=", "%41b")


def as_it_is(text: str) -> str:
    """Escape what JSON makes us escape."""
    return json.dumps(text)[1:-1]


def escaped(text: str) -> str:
    """Escape everything, in the long form."""
    return "".join(f"\\u{ord(c):04x}" for c in text)


def shouted(text: str) -> str:
    """Escape everything, with hexadecimal digits in upper case."""
    return "".join(f"\\u{ord(c):04X}" for c in text)


def by_turns(text: str) -> str:
    """Escape every other character."""
    return "".join(escaped(c) if n % 2 else as_it_is(c) for n, c in enumerate(text))


def slashed(text: str) -> str:
    """Escape slashes, as some libraries do."""
    return as_it_is(text).replace("/", "\\/")


def nested(text: str) -> str:
    """JSON in a text of JSON."""
    return as_it_is(by_turns(text))


def in_a_url(text: str) -> str:
    """As a part of an address."""
    return as_it_is(quote(text, safe=""))


SPELLINGS = (as_it_is, escaped, shouted, by_turns, slashed, nested, in_a_url)


def shown(reply: HttpReply) -> str:
    """All that a user sees of *reply*."""
    try:
        answer = read_status(reply, "r1", now=0.0)
    except StatusError as error:
        return f"{error} {error!r}"
    return f"{answer} {answer.response}"


@pytest.mark.parametrize("spelled", SPELLINGS)
@pytest.mark.parametrize("secret", [KEY, SECRET])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, '{"apiStatus": "%s"}'),
        (200, '{"apiStatus": "S", "apiResponse": {"a": "b %s c"}}'),
        (200, '{"apiStatus": "S", "apiResponse": {"a %s": 1}}'),
        (200, '{"apiStatus": "S", "apiResponse": {"a": [[{"%s": ["%s"]}]]}}'),
        (400, '{"code": 3, "message": "no %s"}'),
        (400, '["no JSON object: %s"]'),
        (400, "no JSON at all: %s"),
    ],
)
def test_no_spelling_of_a_secret_is_left(
    spelled: Any, secret: str, status: int, body: str
) -> None:
    r"""
    ``=`` is ``\u003d`` to many servers, and ``/`` is ``\/``: the parser undoes it, after which
    the secret stands there as it is.
    """
    body = body.replace("%s", spelled(secret))
    text = shown(
        HttpReply(
            status=status,
            body=body.encode(),
            headers={"content-type": "text/plain"},
            masking=MASKING,
        )
    )

    assert MASK in text
    assert [part for part in HIDDEN if part in text] == []
    assert spelled(secret)[1:] not in text


@pytest.mark.parametrize("secret", [KEY, SECRET])
@pytest.mark.parametrize(
    "reply",
    [
        lambda text: {"headers": {"grpc-message": quote(f"no {text}")}},
        lambda text: {"headers": {"grpc-message": quote(quote(f"no {text}"))}},
        lambda text: {"phrase": f"No {text}"},
    ],
)
def test_headers_and_the_words_after_the_status(reply: Any, secret: str) -> None:
    """
    Reasons come from everywhere in a reply.
    """
    text = shown(HttpReply(status=400, **reply(secret), masking=MASKING))

    assert MASK in text
    assert [part for part in HIDDEN if part in text] == []


def test_the_host_of_a_redirect_is_masked_before_it_is_made_lower_case() -> None:
    """
    It would be no secret of ours any more, and yet tell it.
    """
    masking = Masking(["TopSecret-M4RK3D"])
    headers = {"location": "https://TopSecret-M4RK3D.example/"}

    assert "m4rk3d" not in shown(HttpReply(status=302, headers=headers, masking=masking)).lower()


def test_a_request_id_that_holds_a_secret_is_none() -> None:
    """
    What is left of it names no request.
    """
    body = json.dumps({"requestId": f"r-{KEY}"}).encode()

    with pytest.raises(SubmissionUnknownError, match="no usable request ID"):
        read_submission(HttpReply(status=200, body=body, masking=MASKING), now=0.0)


@pytest.mark.parametrize(
    ("secrets", "text", "expected"),
    [
        (["abcdefgh", "abcdefghijkl"], "<abcdefghijkl>", f"<{MASK}>"),
        (["abcdefgh", "xabcdefghy"], "<xabcdefghy>", f"<{MASK}>"),
        (["abcdefgh", "ghijklmn"], "<abcdefghijklmn>", f"<{MASK}>"),
        (["abababab"], "<abababababab>", f"<{MASK}>"),
        (["abcdefgh"], "<abcdefghabcdefgh>", f"<{MASK}{MASK}>"),
        (["abcdefgh", "short"], "short abcdefg h", "short abcdefg h"),
        ([], "\\u0061 %61", "\\u0061 %61"),
    ],
)
def test_no_rest_of_a_secret_is_left(secrets: list[str], text: str, expected: str) -> None:
    """
    One may contain another, begin with it, or begin where it ends.
    """
    assert Masking(secrets).text(text) == expected
    assert Masking(secrets).body(text.encode()) == expected.encode()
    assert "abcdefgh" not in repr(Masking(secrets))


def test_a_secret_counts_before_the_reason_is_cut_short() -> None:
    """
    Else its first characters would be left at the end of the line.
    """
    body = json.dumps({"message": "x" * 490 + KEY}).encode()
    with pytest.raises(RejectedError) as caught:
        read_status(HttpReply(status=400, body=body, masking=MASKING), "r1", now=0.0)

    assert "key/" not in caught.value.reason


SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=12)
FILLERS = st.text(st.sampled_from('ab\\"/ %u0061\u00e9\U0001f600\n'), max_size=4)
WAYS = st.lists(st.sampled_from(SPELLINGS[:5]), min_size=12, max_size=12)


@given(secret=SECRETS, before=FILLERS, after=FILLERS, ways=WAYS)
@example("00000000", "", "", [escaped] * 12)
@example("u0061u0061", "\\", "", [as_it_is] * 12)
def test_each_character_may_be_spelled_in_its_own_way(
    secret: str, before: str, after: str, ways: list[Any]
) -> None:
    """
    Whatever stands around it, the parser does not bring it back, in a value or in a key.
    """
    spelled = "".join(way(character) for way, character in zip(ways, secret, strict=False))
    written = f'"{as_it_is(before)}{spelled}{as_it_is(after)}"'
    body = f'{{"apiResponse": {{{written}: [{written}]}}}}'.encode()
    assert secret in str(json.loads(written))

    masked = HttpReply(status=200, body=body, masking=Masking([secret])).body
    try:
        ((key, values),) = from_json(masked)["apiResponse"].items()
    except ValueError:  # what stands before it belongs to it: no answer rather than a secret
        return
    assert secret not in key
    assert secret not in values[0]


@given(st.dictionaries(FILLERS, FILLERS), SECRETS)
def test_what_holds_no_secret_stays_as_it_is(content: dict[str, str], secret: str) -> None:
    """
    Answers are passed on word for word.
    """
    body = json.dumps({"apiResponse": content}).encode()
    reply = HttpReply(status=200, body=body, masking=Masking([f"{secret}-{KEY}"]))

    assert read_status(reply, "r1", now=0.0) == StatusReply(None, content)
