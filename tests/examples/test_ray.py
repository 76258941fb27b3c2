"""
The Ray actors: processes on what could be several machines, one budget for each project.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from onehouse_tracker.testing import RunningSimulator
from tests.examples.conftest import EXAMPLES, Start
from tests.limiters.redis_server import SERVER

FIELDS = ("account_uid", "project_uid", "api_key", "api_secret", "link_uid", "region", "user_uid")


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis of our own, without a file."""
    if SERVER is None:
        pytest.skip("no redis-server here, and none in a wheel: apt-get install redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [SERVER, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path],
        stdout=subprocess.DEVNULL,
    )
    with server:
        yield f"redis://127.0.0.1:{port}/0"
        server.terminate()


def test_three_actors_share_the_budget_of_each_project(
    start: Start, onehouse_simulator: RunningSimulator, redis_url: str, tmp_path: Path
) -> None:
    """
    Two projects, spread over three processes each: right outcomes, and no project sees more
    than ten polls in a second.
    """
    project = onehouse_simulator.project
    ids = {name: [f"{name}-{number}" for number in range(30)] for name in ("prod", "staging")}
    for names in ids.values():
        for name in names:
            project.add(name, 1.0)
    profiles = tmp_path / "credentials"
    profiles.write_text(
        "\n".join(
            f"[{profile}]\nbase_url = {onehouse_simulator.url}\n"
            + "\n".join(f"{field} = {profile}" for field in FIELDS)
            for profile in ids
        )
    )
    profiles.chmod(0o600)
    directory = tempfile.mkdtemp(prefix="ray")  # the paths of its sockets must be short
    variables = {
        "TMPDIR": directory,
        "ONEHOUSE_CREDENTIALS_FILE": str(profiles),
        "ONEHOUSE_LIMITER": redis_url,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": "120",  # a busy machine
    }
    wanted = [f"{profile}={','.join(names)}" for profile, names in ids.items()]

    try:
        with start("ray", EXAMPLES / "ray_actors.py", *wanted, **variables) as run:
            said, _ = run.communicate(timeout=240)
    finally:
        shutil.rmtree(directory, ignore_errors=True)

    assert run.returncode == 0, said
    outcomes = dict(line.split() for line in said.splitlines() if " SUCCEEDED" in line)
    assert set(outcomes) >= {name for names in ids.values() for name in names}, said
    everything = project.arrivals
    for profile in ids:
        project.arrivals = [each for each in everything if each.request_id.startswith(profile)]
        assert len(project.arrivals) >= 30
        assert project.peak_in_any_second() <= 10
