"""
Feed the parser of replies with whatever atheris comes up with, led by what its code does.

``python tests/fuzz/fuzz_reply.py -max_total_time=60`` runs for a minute, and ends with a
traceback and the input that caused it if anything but a value or an error of ours comes out.
``make fuzz SECONDS=60`` does so in an environment of its own.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["onehouse_tracker", "email"]):
    from onehouse_tracker import TrackerError
    from onehouse_tracker.onehouse._http.body import decode_body
    from onehouse_tracker.onehouse._http.masking import Masking
    from onehouse_tracker.onehouse._http.wire import HttpReply, read_status, read_submission

NOW = 1_800_000_000.0
SECRET = "s3cret-0123456789"
MASKING = Masking([SECRET])
MAX_BODY = 4096
HEADERS = (
    "grpc-status",
    "grpc-message",
    "retry-after",
    "date",
    "location",
    "content-type",
)
STATUSES = (200, 200, 200, 302, 400, 401, 404, 409, 429, 503)


def one_reply(data: bytes) -> None:
    """
    Read one reply, as the client does.

    Raises:
        AssertionError: Something came out that must not.
    """
    given = atheris.FuzzedDataProvider(data)
    status = given.PickValueInList(list(STATUSES)) if given.ConsumeBool() else given.ConsumeInt(2)
    headers = {name: given.ConsumeUnicode(40) for name in HEADERS if given.ConsumeBool()}
    encoding = given.PickValueInList(["", "", "gzip", "deflate", "br"])
    body, problem = decode_body(
        given.ConsumeBytes(given.remaining_bytes()), encoding, max_body=MAX_BODY
    )
    assert len(body) <= MAX_BODY or encoding == ""
    reply = HttpReply(status=status, headers=headers, body=body, problem=problem, masking=MASKING)
    for read in (
        lambda: read_status(reply, "r1", now=NOW),
        lambda: read_submission(reply, now=NOW),
    ):
        try:
            answer = read()
        except TrackerError as error:
            assert SECRET not in f"{error!r} {error}"
            assert len(str(error)) < 600
            wait = getattr(error, "retry_after", None)
            assert wait is None or 0 <= wait <= 366 * 86400
        else:
            assert SECRET not in f"{answer} {getattr(answer, 'response', '')}"


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_reply)
    atheris.Fuzz()
