"""
A Prefect flow that submits each statement once, however often it is retried.

The ID of a request is the persisted result of the task that submitted it: when the flow run is
retried, Prefect hands out the IDs it has, and only the waiting begins anew.  The tasks of one
process share one tracker, and so one budget.

    pip install onehouse-tracker prefect
    python prefect_flow.py

Last run on 2026-11-23 with prefect 3.7.2 on Python 3.11: `make test-example-prefect`.
"""

from prefect import flow, get_run_logger, task

from onehouse_tracker import Result, sync

STATEMENTS = ("DESCRIBE TABLE orders", "DESCRIBE TABLE customers", "DESCRIBE TABLE returns")


@task(persist_result=True)
def submit(statement: str) -> str:
    """Submit one statement.  No retries: one whose fate is unknown may run already."""
    return sync.submit(statement, label="DESCRIBE").request_id


@task
def wait(request_ids: list[str]) -> None:
    """Wait until every request has ended; fail, with the reasons, if one did not succeed."""
    logger = get_run_logger()

    def tell(result: Result) -> None:
        logger.info("request %s: %s %s", result.request_id, result.outcome, result.reason)

    sync.wait_all(request_ids, timeout=3600, on_result=tell).raise_for_failures()


@flow(retries=2, retry_delay_seconds=2)
def nightly() -> None:
    """Submit everything, and wait for all of it."""
    wait([submit(statement) for statement in STATEMENTS])


if __name__ == "__main__":
    nightly()
