"""
Calls that type checkers must reject: a comment that has nothing to ignore is an error, too.
"""

from __future__ import annotations

from onehouse_tracker import (
    Credentials,
    OnehouseClient,
    Request,
    StatusReply,
    Tracker,
    TrackerPool,
    sync,
)


class Deaf:
    """No client: it cannot be polled."""


class Late:
    """Its fetch is no coroutine."""

    def fetch(self, request_id: str) -> StatusReply:
        return StatusReply(request_id)


async def calls(tracker: Tracker, blocking: sync.Tracker, pool: TrackerPool) -> None:
    Tracker.from_env(limt=5)  # type: ignore[call-arg]
    Tracker.from_env(limit="5")  # type: ignore[arg-type]
    Tracker.from_env(profil="staging")  # type: ignore[call-arg]
    Tracker.from_env(on_journal_error="ignore")  # type: ignore[arg-type]
    sync.Tracker.from_env(limt=5)  # type: ignore[call-arg]
    sync.wait_all(["a"], limt=5)  # type: ignore[call-arg]
    OnehouseClient.from_env(api_ky="k")  # type: ignore[call-arg]
    Credentials.from_env(api_ky="k")  # type: ignore[call-arg]
    Tracker(Deaf())  # type: ignore[arg-type]
    Tracker(Late())  # type: ignore[arg-type]
    Tracker(source=Deaf())  # type: ignore[call-arg]
    sync.Tracker(Late(), limit=5)  # type: ignore[arg-type,call-arg]
    Request(5)  # type: ignore[arg-type]
    await tracker.wait_all("a", label="x")  # type: ignore[call-arg]
    await tracker.wait_all([5])  # type: ignore[list-item]
    await tracker.wait_all(["a"], on_result=5)  # type: ignore[arg-type]
    tracker.as_completed(["a"], label="x")  # type: ignore[call-arg]
    tracker.track(5)  # type: ignore[arg-type]
    await tracker.execute(["SHOW TABLES"])  # type: ignore[arg-type]
    await tracker.execute_all(["SHOW TABLES"], max_runing=2)  # type: ignore[call-arg]
    await tracker.submit_all([5])  # type: ignore[list-item]
    await tracker.status(5)  # type: ignore[arg-type]
    blocking.submit_all(["SHOW TABLES"], inorder=True)  # type: ignore[call-arg]
    pool.add("prod", source=None)  # type: ignore[call-arg]
    await pool.wait_all(["a"])  # type: ignore[arg-type]
