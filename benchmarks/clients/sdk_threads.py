"""
Follow requests with the vendor's SDK, one thread per request, the way its documentation shows.

Runs in the vendor's environment.  Configuration comes from the environment; what to do comes as
one JSON object on stdin; when each request was known to have ended (seconds since the epoch)
goes to stdout as one JSON object.
"""

import json
import sys
import threading
import time
from typing import Any

from onehouse_python_sdk import OnehouseResources

ASK_EVERY = 5.0  # seconds, from the example for long-running operations

known_at: dict[str, float] = {}
errors: dict[str, str] = {}


def follow(client: Any, request_id: str) -> None:
    """Ask until the status is no longer PENDING."""
    try:
        while client.get_status(request_id).api_status.value == "API_OPERATION_STATUS_PENDING":
            time.sleep(ASK_EVERY)
        known_at[request_id] = time.time()
    except Exception as error:  # noqa: BLE001 - whatever it is, this request is lost
        errors[request_id] = type(error).__name__


def execute(client: Any, statement: str, delay: float) -> None:
    """Submit one statement after *delay* seconds and wait for it, with every default."""
    time.sleep(delay)
    try:
        reply = client.execute(statement)
        known_at[reply.request_id] = time.time()
    except Exception as error:  # noqa: BLE001 - whatever it is, this request is lost
        errors[statement] = type(error).__name__


def main() -> None:
    """Start a thread for each request and wait for all of them."""
    task = json.load(sys.stdin)
    client = OnehouseResources()
    threads = [
        threading.Thread(target=follow, args=(client, request_id))
        for request_id in task.get("request_ids", ())
    ] + [
        threading.Thread(target=execute, args=(client, statement, at))
        for at, statement in task.get("statements", ())
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    json.dump({"known_at": known_at, "errors": errors}, sys.stdout)


if __name__ == "__main__":
    main()
