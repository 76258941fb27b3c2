"""
Airflow's own command, in processes of its own that are gone when a test is over.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

__all__ = ["DAGS", "Airflow", "new_home"]

DAGS = Path(__file__).parent / "dags"
_COMMAND = Path(sys.executable).parent / "airflow"


def new_home(path: Path) -> Path:
    """Make a directory with an empty database of Airflow's, for others to copy."""
    Airflow(path).run("db", "migrate", seconds=300)
    return path


class Airflow:
    """One installation: a directory with a database, and the processes that use it."""

    def __init__(self, home: Path, *, copy_of: Path | None = None, **settings: str) -> None:
        if copy_of is not None:
            shutil.copytree(copy_of, home)
        self.home = home
        self.log = ""
        self._settings = settings
        self._connection: dict[str, Any] = {}

    def connect(self, connection: dict[str, Any]) -> None:
        """Give it the connection `onehouse_default` in its environment, which is faster."""
        self._connection = connection

    def store(self, connection: dict[str, Any]) -> None:
        """Store the connection `onehouse_default` in its database, as a user does."""
        command = ["connections", "add", "onehouse_default", "--conn-json", json.dumps(connection)]
        assert self.run(*command) == 0, self.log

    def settings(self, **settings: str) -> None:
        """Set more environment variables, for all that runs from now on."""
        self._settings |= settings

    def environment(self) -> dict[str, str]:
        """Nothing of this machine's owner gets in."""
        return {
            "HOME": str(self.home),
            "PATH": f"{_COMMAND.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(DAGS.parents[2]),
            "AIRFLOW_HOME": str(self.home),
            # Said here, because Airflow writes it into the file that is copied.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home / 'airflow.db'}",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            **(
                {"AIRFLOW_CONN_ONEHOUSE_DEFAULT": json.dumps(self._connection)}
                if self._connection
                else {}
            ),
            # So that what its processes run is measured, too.
            **{name: it for name, it in os.environ.items() if name.startswith("COVERAGE")},
            **self._settings,
        }

    def run(self, *arguments: str | Path, seconds: float = 240) -> int:
        """Run a command to its end, and return its exit code; `log` holds what it said."""
        try:
            with self.running(*arguments) as process:
                process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{arguments}:\n{self.log}") from None
        return process.returncode

    @contextmanager
    def running(self, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
        """
        Run a command while the block runs, and kill it with all that it started.

        A path is a Python program, ``onehouse-tracker`` is our command, and what begins with
        another word is a command of Airflow's.
        """
        program: str | Path = sys.executable if isinstance(arguments[0], Path) else _COMMAND
        if arguments[0] == "onehouse-tracker":
            program, *arguments = [_COMMAND.with_name("onehouse-tracker"), *arguments[1:]]  # type: ignore[assignment]
        self.home.mkdir(parents=True, exist_ok=True)
        out = self.home.with_name(f"{self.home.name}-{time.monotonic_ns()}.log")
        with out.open("wb") as file:
            process = subprocess.Popen(
                [program, *arguments],
                env=self.environment(),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                yield process
            finally:
                kill_tree(process.pid)
                process.wait()
                self.log = out.read_text(encoding="utf-8", errors="replace")

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database."""
        with closing(sqlite3.connect(self.home / "airflow.db", timeout=30)) as database:
            return database.execute(sql, values).fetchall()

    def results(self, task_id: str) -> Any:
        """What a task returned, in the last run of its DAG."""
        rows = self.query(
            "select value from xcom where task_id = ? and key = 'return_value'"
            " order by timestamp desc limit 1",
            task_id,
        )
        return self.decoded(rows[0][0])

    @staticmethod
    def decoded(value: str) -> Any:
        """What an XCom holds; Airflow 3 stores JSON in JSON."""
        found = json.loads(value)
        return json.loads(found) if isinstance(found, str) else found

    def records(self) -> list[str]:
        """The names under which it is kept what tasks have submitted."""
        found = self.query("select key from variable")
        if self.query("select 1 from sqlite_master where name = 'task_state_store'"):
            found += self.query("select key from task_state_store")
        return [key for (key,) in found]

    def task_log(self, dag_id: str) -> str:
        """All that the tasks of a DAG have logged, on workers and in the triggerer."""
        files = sorted((self.home / "logs").glob(f"dag_id={dag_id}/**/*.log*"))
        return "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files)


def kill_tree(pid: int) -> None:
    """Kill a process and all it started, those too that made sessions of their own."""
    found: dict[int, psutil.Process] = {}
    # Again, since they may start others while they are looked for.
    for _ in range(3):
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(pid)
            for process in (parent, *parent.children(recursive=True)):
                found[process.pid] = process
        for process in found.values():
            with suppress(psutil.NoSuchProcess):
                process.suspend()
    for process in found.values():
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(list(found.values()), timeout=10)
