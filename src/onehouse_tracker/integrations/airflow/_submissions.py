"""
What the tries of one task have submitted: written down before and after each submission.

Airflow forgets what a task has pushed when a retry begins, and a worker may die at any moment.
So a record holds, for each statement, that it is about to be submitted, and then its request
ID.  A try that finds an ID tracks that request; one that finds only the intent cannot know
whether the statement runs, and says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from onehouse_tracker.onehouse.labels import label_of

__all__ = ["FateUnknownError", "Known", "Store", "Submissions", "TaskKey"]

_BLOCK: Final = 50
"""Statements in one entry of the store: it stays small, whatever their number."""


@dataclass(frozen=True)
class TaskKey:
    """One task instance, whatever the number of its tries."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int

    @classmethod
    def of(cls, ti: Any) -> Self:
        """That of *ti*, Airflow's task instance."""
        return cls(ti.dag_id, ti.task_id, ti.run_id, int(ti.map_index))

    def __str__(self) -> str:
        index = f", map index {self.map_index}" if self.map_index >= 0 else ""
        return f"DAG {self.dag_id}, task {self.task_id}, run {self.run_id}{index}"


@dataclass(frozen=True)
class Store:
    """Where a task instance keeps its record."""

    read: Callable[[str], str | None]
    """Return a value, or `None` if there is none.  It raises where it cannot know."""

    write: Callable[[str, str, str], None]
    """Write a value, with a description for people."""

    delete: Callable[[str], None]
    """Delete a value, if there is one."""

    name: Callable[[int], str]
    """The name of the entry for a block of statements."""

    kind: str
    """What people call an entry."""


class FateUnknownError(Exception):
    """A statement was sent, or was about to be, and nothing says whether it runs."""


@dataclass(frozen=True)
class Known:
    """What an earlier try submitted."""

    request_id: str
    submitted_at: datetime
    run_id: str | None = None
    """The run that it has started, once that is known."""


class Submissions:
    """
    The record of one task instance.

    It ends by being deleted, when Airflow knows that the task has succeeded; if a user clears it
    then, a new life begins, in which everything is submitted again.  As long as it exists, what
    it knows is tracked, whatever became of the task: statements that succeeded are not
    submitted again because the task failed after them.

    Args:
        key: The task instance.

        statements: What is to be submitted, in this order; none where the record is only looked
            at.

        life: A number that is another one after a user has cleared the task: ``max_tries``.

        store: Where the record is kept.
    """

    def __init__(
        self, key: TaskKey, statements: Sequence[str], *, life: int, store: Store
    ) -> None:
        self._key = key
        self._statements = statements
        self._store = store
        self._entries: dict[int, dict[str, Any]] = {}
        self._epoch = life
        self._count = 0
        self._unwritten: set[int] = set()
        self._load()

    @property
    def names(self) -> list[str]:
        """The entries that may exist; without the first, the others mean nothing."""
        return [self._store.name(block) for block in range(self._blocks())]

    def known(self) -> dict[int, Known]:
        """
        What was submitted already, by position.

        Raises:
            FateUnknownError: Nothing says whether some statement runs; or there is another
                statement now in the place of one that was submitted.
        """
        for index, entry in self._entries.items():
            if index >= len(self._statements) or entry["digest"] != _digest(
                self._statements[index]
            ):
                raise FateUnknownError(self._changed(index, entry))
            if entry["request_id"] is None:
                raise FateUnknownError(self._advice(index))
        return {index: self.known_at(index) for index in sorted(self._entries)}

    def known_at(self, index: int) -> Known:
        """What was submitted of the statement at *index*."""
        entry = self._entries[index]
        return Known(entry["request_id"], datetime.fromisoformat(entry["at"]), entry.get("run_id"))

    def intend(self, index: int) -> None:
        """Write down that the statement at *index* is submitted next; before it is sent."""
        self._entries[index] = {
            "digest": _digest(self._statements[index]),
            "request_id": None,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._touch(index)
        self.flush()

    def accept(self, index: int, request_id: str) -> None:
        """Take note of the request ID; the next `intend` or `flush` writes it."""
        self._entries[index]["request_id"] = request_id
        self._touch(index)

    def note_runs(self, runs: Mapping[str, str]) -> None:
        """Write down which runs the requests have started: IDs of runs, by those of requests."""
        for index, entry in self._entries.items():
            run_id = runs.get(entry["request_id"])
            if run_id is not None and entry.get("run_id") != run_id:
                entry["run_id"] = run_id
                self._touch(index)
        self.flush()

    def forget(self, indices: Iterable[int]) -> None:
        """Write down that these statements do not run: they may be submitted again."""
        for index in list(indices):
            if self._entries.pop(index, None) is not None:
                self._touch(index)
        self.flush()

    def forget_requests(self, request_ids: Iterable[str]) -> None:
        """Write down that these requests do not run any more, whatever their statements were."""
        over = set(request_ids)
        self.forget(index for index, one in self._entries.items() if one["request_id"] in over)

    def flush(self) -> None:
        """Write what was not written yet; a record that holds nothing is deleted."""
        if self._unwritten and not self._entries:
            # The first one last: without it, the others mean nothing.
            for name in reversed(self.names):
                self._store.delete(name)
            self._unwritten.clear()
            self._count = 0
        for block in sorted(self._unwritten):
            self._store.write(
                self._store.name(block), json.dumps(self._block(block)), f"Onehouse: {self._key}"
            )
            self._unwritten.discard(block)

    def unknown_now(self, index: int) -> FateUnknownError:
        """What to raise where a submission ended and nothing says how."""
        return FateUnknownError(self._advice(index))

    # --- How it is kept ----------------------------------------------------------------

    def _load(self) -> None:
        head = self._read(0)
        if head is None:
            return
        self._epoch = head["epoch"]
        self._count = head["count"]
        blocks = [head, *(self._read(block) for block in range(1, self._blocks()))]
        for found in blocks:
            if found is not None and found["epoch"] == self._epoch:
                self._entries |= {
                    int(index): dict(entry) for index, entry in found["statements"].items()
                }

    def _read(self, block: int) -> dict[str, Any] | None:
        text = self._store.read(self._store.name(block))
        return None if text is None else json.loads(text)

    def _block(self, block: int) -> Mapping[str, Any]:
        content: dict[str, Any] = {"epoch": self._epoch}
        if block == 0:
            content |= {"task": str(self._key), "count": self._count}
        content["statements"] = {
            str(index): entry
            for index, entry in sorted(self._entries.items())
            if index // _BLOCK == block
        }
        return content

    def _touch(self, index: int) -> None:
        self._unwritten.add(index // _BLOCK)
        if self._count < len(self._statements):
            self._count = len(self._statements)
            self._unwritten.add(0)

    def _blocks(self) -> int:
        return max(1, -(-max(self._count, len(self._statements)) // _BLOCK))

    # --- What people read ----------------------------------------------------------

    def _advice(self, index: int) -> str:
        return (
            f"statement {index + 1} of {len(self._statements)}"
            f" ({label_of(self._statements[index]) or 'SQL'}) may or may not run: it was sent, or"
            " about to be, and no answer is known. It is not submitted again, since that might"
            " duplicate a resource. Look in the Onehouse console. Then edit the"
            f" {self._where(index)}:"
            f' under "statements", give entry "{index}" its request_id if it runs, or remove the'
            " entry to have it submitted again; and clear this task."
        )

    def _changed(self, index: int, entry: Mapping[str, Any]) -> str:
        request = entry["request_id"] or "of unknown fate"
        return (
            f"an earlier try submitted statement {index + 1} with another text, as request"
            f" {request}, and it may run. Nothing is submitted. If the statement was changed on"
            " purpose, or its template renders differently in each try, remove entry"
            f' "{index}" from "statements" in the {self._where(index)}, and clear this task.'
        )

    def _where(self, index: int) -> str:
        return f"{self._store.kind} {self._store.name(index // _BLOCK)}"


def _digest(statement: str) -> str:
    return hashlib.sha256(statement.strip().encode()).hexdigest()[:16]
