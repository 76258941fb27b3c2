"""
What the documentation shows: its commands, and its DAGs as they stand there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from onehouse_tracker.integrations.airflow._airflow import RENDERS_IN_TRIGGERER
from onehouse_tracker.testing.threaded import RunningSimulator
from tests.airflow.command import Airflow
from tests.airflow.parts import free_port
from tests.airflow.simulation import connection
from tests.docs.pages import ROOT, Block, blocks_of

pytestmark = pytest.mark.running

BLOCKS = blocks_of(ROOT / "docs/how-to/airflow.md")
DAGS = {str(block.title).removesuffix(".py"): block for block in BLOCKS if block.title}
ADDRESSES = re.compile(r"https://api\.onehouse\.ai|http://127\.0\.0\.1:\d+")


def _commands(block: Block) -> Iterator[list[str]]:
    joined = block.text.replace("\\\n", "")
    for command in re.split(r"^\$ ", joined, flags=re.MULTILINE)[1:]:
        yield shlex.split(command, comments=True)


def _only(dag_id: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{dag_id}.py").write_text(DAGS[dag_id].text, encoding="utf-8")
    return folder


def test_the_commands_of_the_documentation(airflow: Airflow, tmp_path: Path) -> None:
    """
    In the order of the page, against the server that it starts; a connection is added once.
    """
    airflow.connect({})
    airflow.settings(AIRFLOW__CORE__DAGS_FOLDER=str(_only("nightly", tmp_path / "dags")))
    blocks = [block for block in BLOCKS if block.language == "console"]
    commands = [command for block in blocks for command in _commands(block)]
    # The server comes first, since the first connection is tested, too.
    [simulate] = [command for command in commands if command[0] == "onehouse-tracker"]
    port = free_port()
    simulate[simulate.index("--port") + 1] = str(port)
    done = []
    with airflow.running("onehouse-tracker", *simulate[1:]) as server:
        for command in commands:
            if command[0] in {"pip", "onehouse-tracker"}:
                continue
            words = [ADDRESSES.sub(f"http://127.0.0.1:{port}", word) for word in command]
            while "=" in words[0]:
                name, _, value = words.pop(0).partition("=")
                airflow.settings(**{name: value})
            program, *words = words
            assert program == "airflow"
            if "add" in words and "add" in done:
                assert airflow.run("connections", "delete", "onehouse_default") == 0
            if words[:2] == ["dags", "unpause"]:
                # Where Airflow runs, it has read the folder by then.
                assert airflow.run("dags", "reserialize") == 0, airflow.log
                words.append("--yes")
            assert airflow.run(*words) == 0, airflow.log
            done.append(words[1])
        assert server.poll() is None

    assert done == ["get", "add", "test", "add", "test", "unpause", "trigger"]


@pytest.mark.parametrize("dag_id", DAGS)
def test_a_dag_of_the_documentation_runs(
    dag_id: str, airflow: Airflow, simulator: RunningSimulator, tmp_path: Path
) -> None:
    """
    With ``dags test``, which needs no running Airflow, and with a connection that is stored.
    """
    if dag_id == "without_worker" and not RENDERS_IN_TRIGGERER:
        pytest.skip("the page says that it needs 3.3")
    airflow.connect({})
    airflow.store(connection(simulator.url, tmp_path=tmp_path))
    airflow.settings(AIRFLOW__CORE__DAGS_FOLDER=str(_only(dag_id, tmp_path / "dags")))

    assert airflow.run("dags", "test", dag_id) == 0, airflow.log

    assert simulator.project.requests
    assert airflow.records() == []
