"""
The DAGs of the documentation run as they stand there.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from onehouse_tracker.testing.threaded import RunningSimulator
from tests.airflow.command import Airflow
from tests.docs.pages import ROOT, Block, blocks_of

pytestmark = pytest.mark.running

DAGS = [block for block in blocks_of(ROOT / "docs/how-to/airflow.md") if block.title]


@pytest.mark.parametrize("block", DAGS, ids=lambda block: str(block.title))
def test_a_dag_of_the_documentation_runs(
    block: Block, airflow: Airflow, simulator: RunningSimulator, tmp_path: Path
) -> None:
    """
    It is what people copy.
    """
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / str(block.title)).write_text(block.text, encoding="utf-8")
    airflow.settings(AIRFLOW__CORE__DAGS_FOLDER=str(folder))

    assert airflow.run("dags", "test", str(block.title).removesuffix(".py")) == 0, airflow.log

    assert simulator.project.requests
    assert airflow.records() == []
