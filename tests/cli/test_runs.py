"""
``run``, ``runs`` and ``cancel``: what counts is how each run ended, not that it was started.
"""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onehouse_tracker.cli._app import app
from onehouse_tracker.testing import RunKind, SimulatedJobs
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from onehouse_tracker.testing.statements import Kind
from tests.cli.harness import PATIENCE, Ended, end, environment, run, start

# More would only keep this machine busy with checks.
FAST = ("--limit", "30")
LONG = RunKind(job="long*", queued=0, duration=1e6)


def project() -> SimulatedProject:
    """Requests take no time, runs a second; those of jobs with a name like long* never end."""
    made = SimulatedProject(
        kinds=[Kind(label="", duration=0)],
        jobs=SimulatedJobs(kinds=[LONG, RunKind(queued=0, duration=1)], cancel_takes=0.1),
    )
    made.force("RUN JOB bad", "run-failed")
    made.force("RUN JOB broken", "failed")
    made.force("RUN JOB nameless", "run-started")
    return made


def words(server: SimulatorServer) -> dict[str, str | None]:
    """What the server says of each run now, by its job."""
    now = asyncio.get_running_loop().time()
    return {each.job: each.word_at(now) for each in server.project.runs.values()}


async def pasted(ended: Ended, beginning: str, server: SimulatorServer) -> Ended:
    """Run the command that stderr offers."""
    (line,) = (row for row in ended.err.splitlines() if row.startswith(beginning))
    command = line.removeprefix(beginning).replace(
        "onehouse-tracker", f"{sys.executable} -m onehouse_tracker"
    )
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command),
        env=environment(server.environment()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return await end(process)


class Ends:
    """How every command of this module ended: they wait for runs, so all do it at once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        asyncio.run(self._all())

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:  # one that fails leaves no process behind
            for part in (self._of_run, self._of_runs, self._of_timeouts, self._of_ctrl_c):
                group.create_task(part())

    async def _of_run(self) -> None:
        wanted = "RUN JOB good", "RUN JOB bad", "RUN JOB broken", "SHOW X", "RUN JOB nameless"
        async with SimulatorServer(project()) as server, SimulatorServer(project()) as other:
            self.lines, self.stopped = await asyncio.gather(
                run("run", *wanted, *FAST, "--output", "jsonl", variables=server.environment()),
                run(
                    *("run", "RUN JOB bad", "RUN JOB good", "RUN JOB c", "-o", "csv", *FAST),
                    *("--max-running", "1", "--stop-on-failure"),
                    variables=other.environment(),
                ),
            )
            self.runs_started = dict(server.project.runs)
            self.jobs_before_the_stop = set(words(other))

    async def _of_runs(self) -> None:
        made = project()
        for run_id, job in (("r1", "a"), ("r2", "a"), ("r3", "it's b")):
            made.add_run(job, run_id, duration=0)
        made.add_run("a", "r4", duration=0, status="FAILED")
        made.add_run("long", "r5", duration=1e6)
        table = self._directory / "runs.csv"
        table.write_text("run_id,job,label\nr3,it's b,mine\nr1,a,\n")
        async with SimulatorServer(made) as server:
            self.followed, self.failed = await asyncio.gather(
                run(
                    *("runs", "--job", "a", "r1", "r2", "--from", str(table)),
                    *(*FAST, "--output", "json"),
                    variables=server.environment(),
                ),
                run(
                    *("runs", "--from", "-", "--job", "a", "--fail-fast"),
                    *(*FAST, "--output", "csv"),
                    variables=server.environment(),
                    given='{"run_id": "r4"}\n{"run_id": "r5", "job": "long"}\n',
                ),
            )

    async def _of_timeouts(self) -> None:
        wanted = "RUN JOB 'long it''s'", "RUN JOB `long b`"
        until = "--timeout", "3"
        async with SimulatorServer(project()) as server:
            self.left, self.canceled = await asyncio.gather(
                run("run", *wanted, *FAST, *until, variables=server.environment()),
                run(
                    *("run", "RUN JOB long_c", "--cancel-on-timeout", "--output", "jsonl"),
                    *(*FAST, *until),
                    variables=server.environment(),
                ),
            )
            self.words_after_the_timeout = words(server)
            self.pasted_cancel = await pasted(self.left, "cancel with: ", server)
            self.words_in_the_end = words(server)

    async def _of_ctrl_c(self) -> None:
        wanted = "RUN JOB long_a", "RUN JOB long_b", "RUN JOB long_c"
        journal = "--journal", str(self._directory / "runs.db")
        async with SimulatorServer(project()) as server:
            process = await start(
                ["run", *wanted, *journal, "--max-running", "2", *FAST, "--output", "json"],
                server.environment(),
            )
            async with asyncio.timeout(PATIENCE):
                # Once runs are checked, their IDs are known.
                while sum("JOB_RUN" in seen.body for seen in server.seen) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            process.send_signal(signal.SIGINT)
            self.interrupted = await end(process)
            self.left_running = {each.job: each.run_id for each in server.project.runs.values()}
            self.words_after_ctrl_c = set(words(server).values())
            self.resumed = await run(
                *("run", *wanted, *journal, "--resume", "--output", "csv"),
                *(*FAST, "--timeout", "3", "--cancel-on-timeout"),
                variables=server.environment(),
            )
            self.started_in_the_end = sorted(each.job for each in server.project.runs.values())


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Ends:
    """All commands, run at once."""
    return Ends(tmp_path_factory.mktemp("runs"))


def test_run_follows_to_the_real_end_of_each_run(ends: Ends) -> None:
    """
    The request of a run that fails later succeeds all the same: that is not what was asked.
    """
    found = {item["statement"]: item for item in ends.lines.objects()}
    assert {statement: (item["outcome"], item["ok"]) for statement, item in found.items()} == {
        "RUN JOB good": ("SUCCEEDED", True),
        "RUN JOB bad": ("FAILED", False),
        "RUN JOB broken": ("NOT_STARTED", False),
        "SHOW X": ("SUCCEEDED", True),
        "RUN JOB nameless": ("STARTED", False),
    }
    assert ends.lines.code == 1
    good = found["RUN JOB good"]
    assert ends.runs_started[good["run_id"]].request_id == good["request_id"]
    assert (good["job"], good["status"]) == ("good", "SPARK_JOB_RUN_STATUS_COMPLETED")
    assert good["checks"] >= 1
    assert good["delay_bound_s"] is None or good["delay_bound_s"] < good["waited_s"]
    assert found["SHOW X"]["run_id"] is None
    assert ends.lines.err == "2 succeeded, 1 failed, 1 not started, 1 started\n"


def test_runs_follows_what_others_started(ends: Ends) -> None:
    """
    Runs come as arguments, as a table, or as JSON; each is followed once.
    """
    assert ends.followed.code == 0
    results = json.loads(ends.followed.out)
    assert [(each["job"], each["run_id"], each["label"]) for each in results] == [
        ("a", "r1", None),
        ("a", "r2", None),
        ("it's b", "r3", "mine"),
    ]
    assert all(each["ok"] for each in results)
    assert ends.failed.code == 1
    said = ends.failed.err.splitlines()
    assert said[:3] == ["stopped: run r4 ended FAILED", "1 failed", "1 still running"]
    assert [row.split(",")[2:6] for row in ends.failed.out.splitlines()[1:]] == [
        ["a", "r4", "", "FAILED"],
        ["long", "r5", "", ""],
    ]


def test_after_a_timeout_the_runs_are_left_or_canceled(ends: Ends) -> None:
    """
    What is left is named in two commands that can be pasted, whatever the name of its job.
    """
    assert ends.left.code == 124
    assert ends.left.out.count("TIMED_OUT") == 2
    assert ends.canceled.code == 124
    (result,) = ends.canceled.objects()
    assert result["outcome"] == "CANCELED"
    assert result["cancellation"] == "API_OPERATION_STATUS_SUCCESS"
    assert ends.words_after_the_timeout == {
        "long it's": "SPARK_JOB_RUN_STATUS_RUNNING",
        "long b": "SPARK_JOB_RUN_STATUS_RUNNING",
        "long_c": "SPARK_JOB_RUN_STATUS_CANCELED",
    }
    assert "\nfollow with: printf '%s\\n' job,run_id " in ends.left.err
    assert ends.pasted_cancel.code == 0
    assert ends.pasted_cancel.out.count("CANCELED") == 2
    assert set(ends.words_in_the_end.values()) == {"SPARK_JOB_RUN_STATUS_CANCELED"}


def test_ctrl_c_leaves_runs_running_and_says_so(ends: Ends) -> None:
    """
    Nobody must look for them in the console: each run is named, and so is what was not sent.
    """
    runs = ends.left_running
    assert ends.interrupted.code == 130
    assert ends.words_after_ctrl_c == {"SPARK_JOB_RUN_STATUS_RUNNING"}
    assert set(runs) == {"long_a", "long_b"}
    printed = json.loads(ends.interrupted.out)
    assert [(each["job"], each["run_id"], each["outcome"]) for each in printed] == [
        ("long_a", runs["long_a"], None),
        ("long_b", runs["long_b"], None),
    ]
    *told, cancel, advice = ends.interrupted.err.splitlines()
    assert told == [
        "interrupted: 0 of 3 known",
        "not submitted: 1 of 3, the last ones",
        "2 still running",
    ]
    assert cancel.startswith("cancel with: ")
    assert all(f"{job},{run_id}" in cancel for job, run_id in runs.items())
    assert "--resume" in advice


def test_resume_sends_only_what_was_never_sent(ends: Ends) -> None:
    """
    Each job of the interrupted command runs once, and all of them are followed.
    """
    assert ends.started_in_the_end == ["long_a", "long_b", "long_c"]
    assert ends.resumed.code == 124, ends.resumed
    rows = [row.split(",") for row in ends.resumed.out.splitlines()[1:]]
    assert [(row[2], row[5]) for row in rows] == [
        ("long_a", "CANCELED"),
        ("long_b", "CANCELED"),
        ("long_c", "CANCELED"),
    ]
    assert {row[2]: row[3] for row in rows[:2]} == ends.left_running


def test_nothing_is_sent_after_a_failure_if_so_wished(ends: Ends) -> None:
    """
    With --stop-on-failure the statements after it are not sent, and the output says so.
    """
    assert ends.jobs_before_the_stop == {"bad"}
    assert ends.stopped.code == 1
    assert [row.split(",")[5] for row in ends.stopped.out.splitlines()[1:]] == [
        "FAILED",
        "NOT_STARTED",
        "NOT_STARTED",
    ]


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (["runs"], "", "give run IDs, or --from FILE"),
        (["run"], "", "give statements, or --from FILE"),
        (["run", "RUN JOB a", "--cancel-on-timeout"], "", "--cancel-on-timeout needs --timeout"),
        (["run", "RUN JOB a", "--resume"], "", "--resume needs the --journal FILE"),
        (["runs", "r1"], "", "argument: no job: give --job NAME"),
        (["cancel", "--from", "FILE"], "run_id\nr1\n", "FILE, line 2: no job: give --job NAME"),
        (["runs", "--from", "FILE"], "job,run_id\na,\n", "FILE, line 2: no run ID in 'run_id'"),
        (
            ["runs", "--from", "FILE"],
            "job,id\na,b\n",
            "there are 'job, id'. Its columns are job, run_id",
        ),
        (["runs", "--job", "a`b", "r1"], "", "argument: "),
        (["runs", "--job", "a", "r`1"], "", "argument: "),
        (["runs", "--from", "FILE"], "", "no runs in FILE"),
        (["run", "RUN JOB ''"], "", "error: "),
    ],
)
def test_what_cannot_be_followed_is_refused_before_anything_is_sent(
    arguments: list[str],
    given: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The server wants the name of the job beside the run ID, so nothing goes without it.
    """
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text(given)
    # Nobody listens there.
    for name, value in SimulatorServer(port=9).environment().items():
        monkeypatch.setenv(name, value)
    ended = CliRunner().invoke(app, arguments)

    assert ended.exit_code == 2, ended.output
    assert said in ended.output


async def test_runs_goes_on_with_those_of_a_journal(tmp_path: Path) -> None:
    """
    Nobody has to keep the statements, or run IDs, to learn how the runs ended after all.
    """
    made = project()
    made.force("RUN JOB slow*", "run-timed-out")
    journal = "--journal", str(tmp_path / "runs.db")
    async with SimulatorServer(made) as server:
        left = await run(
            *("run", "RUN JOB slow_a", "RUN JOB slow_b", "RUN JOB unsent"),
            *(*journal, *FAST, "--timeout", "3", "--max-running", "2"),
            variables=server.environment(),
        )
        resumed = await run("resume", *journal, *FAST, variables=server.environment())
        again = await run(
            *("runs", *journal, *FAST, "-o", "jsonl", "--timeout", "1"),
            variables=server.environment(),
        )
        for each in server.project.runs.values():
            if each.job == "slow_a":
                each.cancel(asyncio.get_running_loop().time())
        sent = len(server.project.runs)
        last = await run(
            *("runs", *journal, *FAST, "-o", "json", "--timeout", "2", "--cancel-on-timeout"),
            variables=server.environment(),
        )
        once_more = await run("runs", *journal, *FAST, variables=server.environment())
        assert len(server.project.runs) == sent == 2
    missing = await run("runs", "--journal", str(tmp_path / "no.db"), variables={})

    assert left.code == 124
    assert "2 of its runs have not ended; follow with: onehouse-tracker runs" in resumed.err
    assert "1 never sent" in resumed.err
    found = {item["job"]: item for item in again.objects()}
    assert {job: item["outcome"] for job, item in found.items()} == {
        "slow_a": "TIMED_OUT",
        "slow_b": "TIMED_OUT",
        "unsent": "NOT_STARTED",
    }
    assert found["unsent"]["reason"] == "never sent: the same 'run' command with --resume sends it"
    assert again.code == 124
    assert f"continue with: onehouse-tracker runs --timeout 1 --limit 30 {' '.join(journal)}" in (
        again.err
    )
    assert {item["job"]: item["outcome"] for item in json.loads(last.out)} == {
        "slow_a": "CANCELED",
        "slow_b": "CANCELED",
        "unsent": "NOT_STARTED",
    }
    # What ended was delivered; what was canceled only because time was up is told once more.
    assert {row.split()[1]: row.split()[2] for row in once_more.out.splitlines()[1:]} == {
        "slow_b": "CANCELED",
        "unsent": "NOT_STARTED",
    }
    assert missing.code == 2
    assert "no.db" in missing.err
