"""
Operators that are ended: what Airflow's signal handlers make of a task that submits.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.exceptions import AirflowException

from onehouse_tracker.integrations.airflow import _record_store
from onehouse_tracker.integrations.airflow.operators import OnehouseSqlOperator
from tests.airflow.simulation import Simulate, connection


def test_a_task_that_is_killed_while_it_submits(
    simulate: Simulate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """
    Airflow 3 calls `on_kill` and leaves the task five seconds: it ends at once, says what
    continues, and the next try submits the others.
    """
    variables: dict[str, str] = {}
    monkeypatch.setattr(_record_store, "read_variable", variables.get)
    monkeypatch.setattr(
        _record_store, "write_variable", lambda key, text, _: variables.update({key: text})
    )
    monkeypatch.setattr(_record_store, "delete_variable", lambda key: variables.pop(key, None))
    statements = [f"RUN JOB {number}" for number in range(20)]
    operator = OnehouseSqlOperator(task_id="t", statements=statements, wait=False)
    ti = SimpleNamespace(
        dag_id="d", task_id="t", run_id="r", map_index=-1, max_tries=1, try_number=1
    )
    before = signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    with simulate() as simulator:
        described = connection(simulator.url, tmp_path=tmp_path, limit=4)
        monkeypatch.setenv("AIRFLOW_CONN_ONEHOUSE_DEFAULT", json.dumps(described))
        timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGTERM))
        began = time.monotonic()
        timer.start()
        try:
            with pytest.raises(AirflowException, match="the task was ended while it submitted"):
                operator.execute({"ti": ti})
        finally:
            timer.join()
            signal.signal(signal.SIGTERM, before)
        assert time.monotonic() - began < 4
        accepted = list(simulator.project.requests)
        assert 0 < len(accepted) < 20
        described = connection(simulator.url, tmp_path=tmp_path, limit=54)
        monkeypatch.setenv("AIRFLOW_CONN_ONEHOUSE_DEFAULT", json.dumps(described))
        assert operator.execute({"ti": ti})[: len(accepted)] == accepted

    labels = Counter(one.kind for one in simulator.project.arrivals)
    assert labels == {"submit": 20}
    assert len(simulator.project.requests) == 20
    out, err = capfd.readouterr()
    text = caplog.text + out + err
    said = re.search(r"but (\d+) requests continue on the server: ((?:[\w-]+, )*[\w-]+)", text)
    assert said is not None
    listed = said[2].split(", ")
    # The signal may come between the server's answer and our hearing of it: one less, at most.
    assert listed == accepted[: int(said[1])]
    assert len(accepted) - len(listed) <= 1
