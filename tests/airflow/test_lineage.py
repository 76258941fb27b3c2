"""
What OpenLineage gets to know of a task, through Airflow's own provider for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onehouse_tracker.integrations.airflow import _lineage, _record_store
from onehouse_tracker.integrations.airflow._airflow import AirflowException
from onehouse_tracker.integrations.airflow.jobs import OnehouseRunJobOperator
from onehouse_tracker.integrations.airflow.operators import OnehouseSqlOperator
from onehouse_tracker.testing import RunKind, SimulatedJobs
from onehouse_tracker.testing.threaded import RunningSimulator
from tests.airflow.simulation import REASON, Simulate, connection


@pytest.fixture
def simulator(
    simulate: Simulate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningSimulator]:
    """A project that the connection leads to."""
    kept: dict[str, str] = {}
    monkeypatch.setattr(_record_store, "read_variable", kept.get)
    monkeypatch.setattr(_record_store, "write_variable", lambda *_: None)
    monkeypatch.setattr(_record_store, "delete_variable", lambda _: None)
    jobs = SimulatedJobs(kinds=[RunKind(queued=0.1, duration=0.2)])
    with simulate(jobs=jobs) as simulator:
        described = connection(simulator.url, tmp_path=tmp_path)
        monkeypatch.setenv("AIRFLOW_CONN_ONEHOUSE_DEFAULT", json.dumps(described))
        yield simulator


def _context() -> dict[str, Any]:
    ti = SimpleNamespace(
        dag_id="d", task_id="t", run_id="r", map_index=-1, max_tries=0, try_number=1,
        xcom_push=lambda **_: None,
    )  # fmt: skip
    return {"ti": ti}


def _facets(operator: Any, moment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The facets of the run and of the job, as Airflow's provider sends them."""
    base = pytest.importorskip("airflow.providers.openlineage.extractors.base")
    from openlineage.client.serde import Serde

    extractor = base.DefaultExtractor(operator)
    found = extractor.extract() if moment == "start" else getattr(extractor, moment)(None)
    run, job = (
        {name: json.loads(Serde.to_json(facet)) for name, facet in facets.items()}
        for facets in (found.run_facets, found.job_facets)
    )
    return run, job


def test_job_run_and_statements_are_reported(simulator: RunningSimulator) -> None:
    """
    Before it is submitted the statement, afterwards also what became of it.
    """
    operator = OnehouseRunJobOperator(task_id="t", job_name="orders")
    run, job = _facets(operator, "start")
    assert run == {}
    assert job["sql"]["query"] == "RUN JOB `orders`"

    result = operator.execute(_context())

    run, job = _facets(operator, "extract_on_complete")
    assert job["sql"]["query"] == "RUN JOB `orders`"
    [request] = run["onehouse_requests"]["requests"]
    assert request == {
        "request_id": result["request_id"],
        "job": "orders",
        "run_id": result["run_id"],
        "label": "RUN JOB",
        "outcome": "SUCCEEDED",
        "status": "SPARK_JOB_RUN_STATUS_COMPLETED",
    }
    assert run["externalQuery"]["externalQueryId"] == result["request_id"]


def test_a_failure_is_reported_with_its_reason(simulator: RunningSimulator) -> None:
    """
    Of several statements, each; and no response, which may hold a secret.
    """
    operator = OnehouseSqlOperator(task_id="t", statements=["SHOW JOBS", "DELETE TABLE orders"])
    with pytest.raises(AirflowException, match=REASON):
        operator.execute(_context())

    run, job = _facets(operator, "extract_on_failure")

    assert job["sql"]["query"] == "SHOW JOBS;\nDELETE TABLE orders"
    requests = run["onehouse_requests"]["requests"]
    assert [one["outcome"] for one in requests] == ["SUCCEEDED", "FAILED"]
    assert requests[1]["reason"] == REASON
    assert not any("response" in one for one in requests)
    assert "externalQuery" not in run


def test_without_the_provider_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    And nothing fails.
    """
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage", None)
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage.extractors.base", None)

    assert _lineage.lineage(["SHOW JOBS"], ()) is None
    operator = OnehouseSqlOperator(task_id="t", statement="SHOW JOBS")
    assert operator.get_openlineage_facets_on_start() is None
