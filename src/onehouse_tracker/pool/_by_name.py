"""
What a pool passes on to the tracker of one project.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onehouse_tracker._engine.open_tracker.callbacks import OnResult
    from onehouse_tracker._engine.open_tracker.statements import Label
    from onehouse_tracker.handles import Handle
    from onehouse_tracker.models import RequestLike, Result
    from onehouse_tracker.results import RequestStatus
    from onehouse_tracker.statement_results import StatementResults
    from onehouse_tracker.tracker import Tracker

__all__ = ["ByName"]


class ByName:
    """
    Methods of `Tracker` with the name of a project before their arguments.

    Each opens the project with its first use, and raises what `TrackerPool.tracker` raises, too.
    """

    async def tracker(self, name: str) -> Tracker:
        """Return the tracker of a project, open."""
        raise NotImplementedError

    async def submit(self, name: str, statement: str, *, label: str | None = None) -> Handle:
        """Submit one statement to a project, and track it; see ``Tracker.submit``."""
        return await (await self.tracker(name)).submit(statement, label=label)

    async def submit_all(
        self,
        name: str,
        statements: Iterable[str],
        *,
        label: Label = None,
        in_order: bool = False,
    ) -> StatementResults[Handle]:
        """Submit many statements to a project; see ``Tracker.submit_all``."""
        tracker = await self.tracker(name)
        return await tracker.submit_all(statements, label=label, in_order=in_order)

    async def execute(
        self,
        name: str,
        statement: str,
        *,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Result:
        """Submit one statement to a project and wait for it; see ``Tracker.execute``."""
        return await (await self.tracker(name)).execute(statement, label=label, timeout=timeout)

    async def execute_all(
        self,
        name: str,
        statements: Iterable[str],
        *,
        label: Label = None,
        max_running: int | None = None,
        in_order: bool = False,
        stop_on_failure: bool = False,
        timeout: float | None = None,
        on_result: OnResult | None = None,
    ) -> StatementResults[Handle]:
        """Submit many statements to a project and wait for all; see ``Tracker.execute_all``."""
        return await (await self.tracker(name)).execute_all(
            statements,
            label=label,
            max_running=max_running,
            in_order=in_order,
            stop_on_failure=stop_on_failure,
            timeout=timeout,
            on_result=on_result,
        )

    async def status(
        self, name: str, request_ids: Iterable[RequestLike], *, label: str | None = None
    ) -> dict[str, RequestStatus]:
        """Poll each request of a project once; see ``Tracker.status``."""
        return await (await self.tracker(name)).status(request_ids, label=label)
