"""
How the simulated service words its answers: an `Answer` in, status, headers and body out.

Both the server and the source without sockets use it, so they cannot drift apart.
"""

from __future__ import annotations

import json
from email.utils import formatdate
from math import ceil
from typing import Any
from urllib.parse import quote

from onehouse_tracker.onehouse._http.wire import HttpReply
from onehouse_tracker.testing.faults import Fault, FaultKind
from onehouse_tracker.testing.records import Answer

__all__ = ["http_reply", "proper_body", "refusal"]

_JSON = {"content-type": "application/json"}
# What gRPC leaves as it is: printable ASCII but the percent sign.
_GRPC_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def proper_body(answer: Answer) -> bytes:
    """The body that the server meant to send."""
    body: dict[str, Any] = {}
    reply = answer.reply
    if reply is None:
        body["requestId"] = answer.request_id
    else:
        if reply.status is not None:
            body["apiStatus"] = reply.status
        if reply.status is not None or reply.response:
            body["apiResponse"] = dict(reply.response or {})
    return json.dumps(body).encode()


def http_reply(answer: Answer, now: float) -> HttpReply:
    """
    Word *answer*, for every fault that leaves the connection alone.

    Args:
        answer: What the project decided.

        now: Wall-clock time in seconds since the epoch, for a Retry-After that is a date.
    """
    fault = answer.fault
    if fault is None or fault.kind is FaultKind.DELAY:
        return HttpReply(status=200, headers=_JSON, body=proper_body(answer))
    if fault.kind is FaultKind.BODY:
        return HttpReply(status=200, headers=_JSON, body=fault.content)
    if fault.kind is FaultKind.TRUNCATED:
        body = proper_body(answer)
        return HttpReply(status=200, headers=_JSON, body=body[: len(body) // 2])
    return refusal(fault, now)


def refusal(fault: Fault, now: float) -> HttpReply:
    """Word a REFUSE or REDIRECT fault; *now* as for `http_reply`."""
    headers: dict[str, str] = {}
    body = b""
    if fault.location:
        headers["location"] = fault.location
    elif fault.form == "headers":
        headers["grpc-status"] = str(fault.grpc_status)
        headers["grpc-message"] = quote(fault.message, safe=_GRPC_SAFE)
    elif fault.form == "body":
        headers |= _JSON
        content = {"code": fault.grpc_status, "message": fault.message, "details": []}
        body = json.dumps(content).encode()
    if fault.retry_after is not None:
        headers["retry-after"] = (
            # Whole seconds, rounded up, so that nobody comes too early.
            formatdate(ceil(now + fault.retry_after), usegmt=True)
            if fault.retry_after_date
            else f"{fault.retry_after:g}"
        )
    return HttpReply(status=fault.status, headers=headers, body=body)
