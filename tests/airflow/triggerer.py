"""
Airflow's own TriggerRunner in this process, without a database.

What is written here is the other side of the runner: who hands it triggers, and takes what it
has to tell.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, Protocol

from airflow.models.trigger import Trigger

from onehouse_tracker.integrations.airflow._airflow import AIRFLOW_3
from onehouse_tracker.integrations.airflow.trigger import OnehouseTrackTrigger

__all__ = ["Triggerer", "run_triggers"]


class Triggerer(Protocol):
    """One TriggerRunner, while it runs."""

    fired: dict[int, Any]
    """The payload of the event of each trigger that has fired."""

    failed: dict[int, Any]
    """What went wrong, of each trigger that ended without an event."""

    connections_read: int
    """How often the runner asked for a connection."""

    def run(self, until: int, seconds: float) -> None:
        """Run until so many triggers have fired or failed, or raise `TimeoutError`."""

    fired_at: dict[int, float]
    """Seconds from the start of the runner to each event."""

    def cancel_after(self, trigger_id: int, seconds: float) -> None:
        """Cancel a trigger, as Airflow does when a user ends its task."""


def run_triggers(
    triggers: Iterable[OnehouseTrackTrigger],
    read_connection: Callable[[], dict[str, Any]],
    *,
    seconds: float = 60,
    cancel: dict[int, float] | None = None,
) -> Triggerer:
    """Run *triggers*, whose IDs count from 0, until each has fired, failed or was cancelled."""
    stored = [_stored(trigger) for trigger in triggers]
    triggerer = (_Supervisor if AIRFLOW_3 else _Thread)(stored, read_connection)
    for trigger_id, after in (cancel or {}).items():
        triggerer.cancel_after(trigger_id, after)
    triggerer.run(len(stored) - len(cancel or {}), seconds)
    return triggerer


def _stored(trigger: OnehouseTrackTrigger) -> Trigger:
    """What the database would hold: the arguments went through Airflow's serialization."""
    classpath, kwargs = trigger.serialize()
    return Trigger(classpath=classpath, kwargs=kwargs)


class _Common:
    def __init__(
        self, stored: list[Trigger], read_connection: Callable[[], dict[str, Any]]
    ) -> None:
        self.stored = stored
        self.read_connection = read_connection
        self.fired: dict[int, Any] = {}
        self.failed: dict[int, Any] = {}
        self.connections_read = 0
        self.fired_at: dict[int, float] = {}
        self.to_cancel: dict[int, float] = {}
        self.began = 0.0

    def cancel_after(self, trigger_id: int, seconds: float) -> None:
        self.to_cancel[trigger_id] = seconds

    def take_due(self) -> list[int]:
        # Counted from the moment at which the runner gets its triggers.
        self.began = self.began or time.monotonic()
        age = time.monotonic() - self.began
        due = [key for key, seconds in self.to_cancel.items() if seconds <= age]
        for key in due:
            del self.to_cancel[key]
        return due

    def note(self, trigger_id: int, event: Any) -> None:
        self.fired[trigger_id] = event
        self.fired_at[trigger_id] = time.monotonic() - self.began

    def is_over(self, until: int) -> bool:
        return len(self.fired) + len(self.failed) >= until and not self.to_cancel


class _Thread(_Common):
    """Airflow 2.11: the runner is a thread, and deques lead to it and from it."""

    def run(self, until: int, seconds: float) -> None:
        from airflow.hooks.base import BaseHook
        from airflow.jobs.triggerer_job_runner import TriggerRunner
        from airflow.models import Connection

        runner = TriggerRunner()
        for trigger_id, row in enumerate(self.stored):
            trigger = runner.get_trigger_by_classpath(row.classpath)(**row.kwargs)
            ti = SimpleNamespace(
                dag_id="d", run_id="r", task_id=f"t{trigger_id}", map_index=-1, try_number=1,
                max_tries=0, trigger_timeout=None, is_trigger_log_context=True,
            )  # fmt: skip
            runner.set_trigger_logging_metadata(ti, trigger_id, trigger)
            runner.to_create.append((trigger_id, trigger))

        def read(conn_id: str) -> Connection:
            self.connections_read += 1
            return Connection(conn_id=conn_id, **self.read_connection())

        original, BaseHook.get_connection = BaseHook.get_connection, read
        runner.daemon = True
        runner.start()
        try:
            give_up = time.monotonic() + seconds
            while not self.is_over(until):
                if time.monotonic() > give_up:
                    raise TimeoutError(f"{len(self.fired)} fired, {len(self.failed)} failed")
                runner.to_cancel.extend(self.take_due())
                time.sleep(0.05)
                while runner.events:
                    trigger_id, event = runner.events.popleft()
                    self.note(trigger_id, event)
                while runner.failed_triggers:
                    trigger_id, error = runner.failed_triggers.popleft()
                    self.failed[trigger_id] = error
        finally:
            runner.stop = True
            runner.join(20)
            BaseHook.get_connection = original
        assert not runner.is_alive()


class _Supervisor(_Common):
    """Airflow 3: the runner speaks through its stdin, a socket, with a process that supervises."""

    def run(self, until: int, seconds: float) -> None:
        from airflow.jobs.triggerer_job_runner import TriggerRunner

        ours, theirs = socket.socketpair()
        stdin = os.dup(0)
        os.dup2(theirs.fileno(), 0)
        theirs.close()
        context = os.environ.get("_AIRFLOW_PROCESS_CONTEXT")
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "client"
        runner = TriggerRunner()
        # In a thread, because greenlets, which the runner uses, confuse the one they run in.
        thread = threading.Thread(target=asyncio.run, args=(_run(runner),), daemon=True)
        thread.start()
        try:
            self._supervise(ours, runner, until, seconds)
        finally:
            ours.close()
            thread.join(20)
            os.dup2(stdin, 0)
            os.close(stdin)
            if context is None:
                del os.environ["_AIRFLOW_PROCESS_CONTEXT"]
        assert not thread.is_alive()
        if not self.is_over(until):
            raise TimeoutError(f"{len(self.fired)} fired, {len(self.failed)} failed")

    def _supervise(self, sock: socket.socket, runner: Any, until: int, seconds: float) -> None:
        from airflow.executors.workloads import RunTrigger
        from airflow.jobs.triggerer_job_runner import messages

        give_up = time.monotonic() + seconds
        to_create = [
            RunTrigger(
                id=i, ti=None, classpath=row.classpath, encrypted_kwargs=row.encrypted_kwargs
            )
            for i, row in enumerate(self.stored)
        ]
        self._send(sock, 0, messages.StartTriggerer())
        while (request := self._receive(sock)) is not None:
            frame_id, body = request
            if body["type"] == "GetConnection":
                self.connections_read += 1
                absent = dict.fromkeys(("schema", "login", "password", "port"))
                reply = {"type": "ConnectionResult", "conn_id": body["conn_id"], **absent}
                self._send(sock, frame_id, reply | self.read_connection())
            elif body["type"] == "TriggerStateChanges":
                for trigger_id, event, *_ in body.get("events") or ():
                    self.note(trigger_id, SimpleNamespace(**event))
                self.failed.update(body.get("failures") or ())
                sync = messages.TriggerStateSync(
                    to_create=to_create, to_cancel=set(self.take_due())
                )
                to_create = []
                self._send(sock, frame_id, sync)
                if self.is_over(until) or time.monotonic() > give_up:
                    runner.stop = True
            else:
                self._send(sock, frame_id, {"type": "OKResponse", "ok": True})

    def _send(self, sock: socket.socket, frame_id: int, message: Any) -> None:
        from airflow.sdk.execution_time.comms import _ResponseFrame

        body = message if isinstance(message, dict) else message.model_dump()
        sock.sendall(_ResponseFrame(id=frame_id, body=body).as_bytes())

    def _receive(self, sock: socket.socket) -> tuple[int, dict[str, Any]] | None:
        import msgspec
        from airflow.sdk.execution_time.comms import _RequestFrame

        try:
            head = _exactly(sock, 4)
            if not head:
                return None
            frame = msgspec.msgpack.Decoder(_RequestFrame).decode(
                _exactly(sock, int.from_bytes(head, "big"))
            )
        except OSError:
            return None
        return frame.id, frame.body or {}


async def _run(runner: Any) -> None:
    try:
        await runner.arun()
    finally:
        # It took over our stdin, and its process would end now.
        runner.comms_decoder._async_writer.close()
        # A second object for the same descriptor; collected later, it would close another one.
        runner.comms_decoder.socket.detach()


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return data
