"""
Make the calls read from stdin with the hook of the vendor's Airflow provider.

Runs in the vendor's environment, so it knows nothing of ours.  The connection comes from the
environment, as Airflow reads it.  One JSON object per call goes to the file named on the
command line: Airflow logs to stdout.
"""

import json
import sys
from pathlib import Path
from typing import Any

from airflow.exceptions import AirflowException
from airflow_providers_onehouse.hooks.onehouse import OnehouseHook

POLL_INTERVAL = 0.05  # seconds; the default of ten would only make the tests wait


def call(hook: Any, what: str, argument: str) -> dict[str, Any]:
    """Make one call; an error of the hook is an answer, too."""
    try:
        if what == "submit":
            return {"request_id": hook.submit_sql(argument)}
        if what == "status":
            reply = hook.get_status(argument)
        elif what == "wait":
            reply = hook.wait_for_status(argument, poll_interval=POLL_INTERVAL, timeout=5)
        else:
            raise SystemExit(f"no such call: {what}")
    except AirflowException as error:
        return {"error": type(error).__name__, "text": str(error)}

    return {"status": reply["apiStatus"], "response": reply.get("apiResponse")}


if __name__ == "__main__":
    onehouse = OnehouseHook()
    with Path(sys.argv[1]).open("w", encoding="utf-8") as answers:
        for name, value in json.load(sys.stdin):
            print(json.dumps(call(onehouse, name, value)), file=answers, flush=True)
