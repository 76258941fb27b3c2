"""
A Celery task that waits for requests: the blocking façade, in worker processes that fork.

Each worker process builds its own tracker with its first task, after the fork.  All of them
poll one project, so they share its budget through the host limiter; with workers on several
machines, give the URL of a Redis instead.

    pip install onehouse-tracker 'celery[redis]'
    redis-server --port 6379
    celery -A celery_task worker --concurrency 4
    python -c 'import celery_task; print(celery_task.follow.delay(["..."]).get())'

The last three in a terminal each.  The broker must be one that several processes can reach, such
as a Redis: with Celery's `memory://` each process has a broker of its own, and waits forever.

Run in CI with each change.
"""

import os
from typing import Any

from celery import Celery, Task

from onehouse_tracker import OutageError, sync

app = Celery(
    "celery_task",
    broker=os.environ.get("CELERY_BROKER_URL", "redis://127.0.0.1:6379/0"),
    backend=os.environ.get("CELERY_RESULT_BACKEND", "redis://127.0.0.1:6379/1"),
)
# A task is given back to the broker when its worker dies: asking again does no harm.
app.conf.update(task_acks_late=True, broker_connection_retry_on_startup=True)


@app.task(bind=True, max_retries=5)
def follow(self: Task, request_ids: list[str], timeout: float = 3600) -> dict[str, Any]:
    """Wait until every request has ended, and return how, in plain data."""
    try:
        results = sync.wait_all(request_ids, timeout=timeout, limiter="host")
    except OutageError as error:
        # Nothing is lost: the requests go on at the server, and their IDs are in the task.
        raise self.retry(exc=error, countdown=60) from error
    return {request_id: str(result.outcome) for request_id, result in results.items()}
