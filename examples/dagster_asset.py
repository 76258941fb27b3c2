"""
A Dagster asset that is made by SQL statements at Onehouse.

The statements are submitted and followed within the project's budget; the asset fails if one
does, and names the reason of each.  How each statement ended is metadata of the asset.

    pip install onehouse-tracker dagster
    dagster dev -f dagster_asset.py        # or: python dagster_asset.py

Last run on 2026-11-23 with dagster 1.13.29 on Python 3.11: `make test-example-dagster`.
"""

import dagster

from onehouse_tracker import sync

STATEMENTS = {
    "orders": "RUN JOB load_orders",
    "customers": "RUN JOB load_customers",
    "returns": "RUN JOB load_returns",
}


@dagster.asset
def nightly_load(context: dagster.AssetExecutionContext) -> dagster.MaterializeResult:
    """Start every job.  SUCCESS of RUN JOB says that a run was started, not that it ended."""
    # Runs are processes of their own: those of one machine share the budget through a file.
    with sync.Tracker.from_env(limiter="host") as tracker:
        handles = {
            name: tracker.submit(statement, label="RUN JOB")
            for name, statement in STATEMENTS.items()
        }
        results = tracker.wait_all(handles.values())
    for name, handle in handles.items():
        result = results[handle.request_id]
        context.log.info("%s: %s %s", name, result.outcome, result.reason)
    results.raise_for_failures()
    return dagster.MaterializeResult(
        metadata={name: handle.request_id for name, handle in handles.items()}
    )


defs = dagster.Definitions(assets=[nightly_load])

if __name__ == "__main__":
    dagster.materialize([nightly_load])
