"""
Make the calls read from stdin with the vendor's SDK; print one JSON object per call.

Runs in the vendor's environment, so it knows nothing of ours.  Configuration comes from the
environment, as it does for the users of the SDK.
"""

import json
import sys
from typing import Any

from onehouse_python_sdk import OnehouseResources
from onehouse_python_sdk.resources.exceptions import ResourcesError

POLL_INTERVAL = 0.05  # seconds; the default of a second would only make the tests wait


def call(client: Any, what: str, argument: str) -> dict[str, Any]:
    """Make one call; an error of the SDK is an answer, too."""
    try:
        if what == "submit":
            return {"request_id": client.submit(argument).request_id}
        if what == "status":
            reply = client.get_status(argument)
        elif what == "execute":
            reply = client.execute(argument, timeout=5, poll_interval=POLL_INTERVAL)
        else:
            raise SystemExit(f"no such call: {what}")
    except ResourcesError as error:
        return {
            "error": type(error).__name__,
            "text": str(error),
            "request_id": getattr(error, "request_id", None),
            "status": getattr(error, "api_status", None),
            "response": getattr(error, "api_response", None),
        }

    return {
        "request_id": reply.request_id,
        "status": reply.api_status.value,
        "terminal": reply.terminal,
        "partial": reply.partial,
        "response": reply.api_response,
    }


if __name__ == "__main__":
    resources = OnehouseResources()
    for name, value in json.load(sys.stdin):
        print(json.dumps(call(resources, name, value)), flush=True)
