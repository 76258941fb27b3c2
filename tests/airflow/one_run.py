"""
Run the DAG `once` on Airflow 3, the same run whenever this is started again.

``airflow dags test`` makes a new run there each time, which is no retry of the first.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from tests.airflow.dags import statements

DATE = datetime(2026, 2, 3, tzinfo=UTC)

if __name__ == "__main__":
    run = statements.once.test(run_after=DATE, logical_date=DATE)
    sys.exit(str(run.state) != "success")
