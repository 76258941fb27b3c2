"""
Sends six tasks to a Celery worker, and prints what came back.

Run by the tests, with the Python that has Celery.
"""

import json
import sys

import celery_task


def main() -> None:
    """Give each task a sixth of the IDs."""
    ids = sys.argv[1:]
    sent = [celery_task.follow.delay(ids[first::6]) for first in range(6)]
    outcomes: dict[str, str] = {}
    for result in sent:
        outcomes |= result.get(timeout=60)
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
