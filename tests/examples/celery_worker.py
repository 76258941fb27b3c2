"""
A Celery worker with two processes and its broker in memory, and six tasks for it.

Run by the tests, with the Python that has Celery.
"""

import json
import sys
import time

import celery_task
from celery.contrib.testing.worker import start_worker


def main() -> None:
    """Send the tasks, and print what came back."""
    directory, *ids = sys.argv[1:]
    app = celery_task.app
    app.conf.update(result_backend=f"file://{directory}", worker_hijack_root_logger=False)
    with start_worker(app, pool="prefork", concurrency=2, perform_ping_check=False):
        sent = [celery_task.follow.delay(ids[first::6]) for first in range(6)]
        began = time.monotonic()
        outcomes: dict[str, str] = {}
        for result in sent:
            outcomes |= result.get(timeout=60, interval=0.1, disable_sync_subtasks=False)
    print(json.dumps({"outcomes": outcomes, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
