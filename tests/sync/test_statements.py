"""
Statements for callers that block: the same, from any thread, and after Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from onehouse_tracker import (
    InvalidRequestError,
    Outcome,
    SqliteJournal,
    StatementState,
    TrackerClosedError,
    statements_of,
    sync,
)
from onehouse_tracker.sync import _shared_tracker
from onehouse_tracker.testing import After, RunningSimulator, ScriptedSource
from tests.support import FAILED, PENDING, SUCCESS

SOURCE: dict[str, Any] = {"a": [SUCCESS], "b": [FAILED], "c": [PENDING]}


def test_statements_of_the_blocking_tracker(tmp_path: Any) -> None:
    """
    Handles and results work in any thread.
    """
    source = ScriptedSource(SOURCE, submissions=["a", "b", "c", "a", "a"])
    journal = SqliteJournal(tmp_path / "journal")
    with sync.Tracker(source, journal=journal) as tracker:
        done = tracker.execute_all((f"SHOW {n}" for n in range(2)), label="SHOW")
        assert [item.result.outcome for item in done if item.result] == [
            Outcome.SUCCEEDED,
            Outcome.FAILED,
        ]
        done.results.ack()
        sent = tracker.submit_all(["SHOW c"])
        [handle] = sent.handles
        assert isinstance(handle, sync.Handle)
        with pytest.raises(TimeoutError):
            handle.result(timeout=0.01)
        assert tracker.execute("SHOW a", timeout=5).ok
        assert tracker.status(["c", handle])["c"].pending
        assert list(tracker.wait_all(sent.handles, timeout=0)) == ["c"]
        with pytest.raises(InvalidRequestError, match="not one string"):
            tracker.submit_all("SHOW TABLES")
        with pytest.raises(InvalidRequestError, match=r"would be sent: .*give statements\.values"):
            tracker.execute_all({"SHOW TABLES": "SHOW CLUSTERS"})


@pytest.fixture
def settings(onehouse_simulator: RunningSimulator) -> Iterator[dict[str, Any]]:
    """
    What leads to the simulator; afterwards the shared tracker is closed.
    """
    yield {"environ": onehouse_simulator.environ, "limit": 500.0}
    for shared in tuple(_shared_tracker._trackers.values()):
        shared.tracker.close()
    _shared_tracker._trackers.clear()


def test_the_functions_share_a_tracker(settings: dict[str, Any]) -> None:
    """
    As `wait_all` and `submit` do.
    """
    assert sync.execute("SHOW TABLES", timeout=60, **settings).ok
    sent = sync.submit_all(["SHOW TABLES", "SHOW CLUSTERS"], in_order=True, **settings)
    assert set(sync.status(sent.handles, **settings)) == {item.request_id for item in sent}
    assert sync.execute_all(["SHOW TABLES"], timeout=60, **settings).ok


def test_ctrl_c_says_what_became_of_each() -> None:
    """
    `KeyboardInterrupt` comes from elsewhere than the error on the private loop.
    """
    source = ScriptedSource({"a": [After(30, PENDING)]}, submissions=["a", "b"], latency=0.05)

    def interrupt() -> None:
        while not source.calls:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    with sync.Tracker(source) as tracker:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt) as caught:
            tracker.execute_all(["SHOW a", "SHOW b"], in_order=True)
        statements = statements_of(caught.value)
        assert statements is not None
        assert [item.state for item in statements] == [
            StatementState.ACCEPTED,
            StatementState.UNSENT,
        ]
        assert statements[0].request_id == "a"


def test_a_closed_tracker_says_what_became_of_each() -> None:
    """
    In the thread that waits, with handles of this kind.
    """
    source = ScriptedSource({"a": [PENDING]}, submissions=["a", "b"])
    caught: list[BaseException] = []
    tracker = sync.Tracker(source)

    def execute() -> None:
        try:
            tracker.execute_all(["SHOW a", "SHOW b"], in_order=True)
        except TrackerClosedError as error:
            caught.append(error)

    with tracker:
        thread = threading.Thread(target=execute)
        thread.start()
        while not source.calls:
            time.sleep(0.01)
    thread.join()
    statements = statements_of(caught[0])
    assert statements is not None
    assert [item.request_id for item in statements] == ["a", None]
