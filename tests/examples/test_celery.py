"""
The Celery task: the commands that it names, in processes of their own, and one budget for all.
"""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from onehouse_tracker.testing import RunningSimulator
from tests.examples.conftest import EXAMPLES, Start
from tests.limiters.redis_server import SERVER, RedisServer
from tests.support import FAILED, SUCCESS


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables that lead Celery to a Redis of our own."""
    if SERVER is None:
        pytest.skip("no redis-server here, and none in a wheel: apt-get install redis-server")
    server = RedisServer(tmp_path)
    server.start()
    yield {"CELERY_BROKER_URL": f"{server.url}/0", "CELERY_RESULT_BACKEND": f"{server.url}/1"}
    server.kill()


def named_commands() -> tuple[list[str], list[str]]:
    """The worker and the client as the example names them, to be run as ``python *words``."""
    text = ast.get_docstring(ast.parse((EXAMPLES / "celery_task.py").read_text())) or ""
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("    ")]
    worker = next(words for words in commands if words[0] == "celery")
    client = next(words for words in commands if words[0] == "python")
    return ["-m", *worker], client[1:]


def test_two_worker_processes_share_the_budget(
    start: Start, onehouse_simulator: RunningSimulator, broker: dict[str, str]
) -> None:
    """
    Sixty requests in six tasks: every outcome is right, and the server never sees more than
    ten polls in a second from both processes together.
    """
    project = onehouse_simulator.project
    ids = [f"r{number}" for number in range(60)]
    for number, name in enumerate(ids):
        project.add(name, 1.0, FAILED if number % 7 == 0 else SUCCESS)
    worker, _ = named_commands()
    worker[-1] = "2"
    program = Path(__file__).with_name("celery_client.py")

    with (
        start("celery", *worker, **broker),
        start("celery", program, *ids, **broker) as process,
    ):
        said, _ = process.communicate(timeout=90)

    assert json.loads(said.splitlines()[-1]) == {
        name: "FAILED" if number % 7 == 0 else "SUCCEEDED" for number, name in enumerate(ids)
    }
    assert project.refused == 0
    assert project.peak_in_any_second() <= 10


def test_the_commands_of_the_example_bring_an_outcome(
    start: Start, onehouse_simulator: RunningSimulator, broker: dict[str, str]
) -> None:
    """
    As a reader types them, with an ID in the place of the dots.
    """
    onehouse_simulator.project.add("r1", 1.0)
    worker, client = named_commands()
    client[-1] = client[-1].replace("...", "r1")

    with start("celery", *worker, **broker), start("celery", *client, **broker) as process:
        said, _ = process.communicate(timeout=60)

    assert said.splitlines()[-1] == "{'r1': 'SUCCEEDED'}"
