"""
Announces the beginning and the end of one wait to the observers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count, islice

from onehouse_tracker import events
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker.models import Outcome

__all__ = ["announced"]

_numbers = count(1)


@contextmanager
def announced(emit: events.Emitter, wait: Wait, label: str | None) -> Iterator[None]:
    """Emit `WaitBegan` now and `WaitEnded` at the end, however it ends."""
    now = asyncio.get_running_loop().time
    began = now()
    number = next(_numbers)
    known = wait.results()
    ids = tuple(islice(chain(known, wait.open_ids()), events.FEW))
    requests = len(known) + sum(1 for _ in wait.open_ids())
    emit(events.WaitBegan(at=began, wait=number, requests=requests, request_ids=ids, label=label))
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        error = error or wait.error
        counts = dict.fromkeys(("succeeded", "failed", "unfinished"), 0)
        not_ok: list[tuple[str, Outcome]] = []
        for result in wait.results().values():
            outcome = result.outcome
            if outcome.ok:
                counts["succeeded"] += 1
            else:
                counts["failed" if outcome.finished else "unfinished"] += 1
                if len(not_ok) < events.FEW:
                    not_ok.append((result.request_id, outcome))
        emit(
            events.WaitEnded(
                at=now(),
                wait=number,
                took=now() - began,
                **counts,
                not_ok=tuple(not_ok),
                error=None if error is None else type(error).__name__,
            )
        )
