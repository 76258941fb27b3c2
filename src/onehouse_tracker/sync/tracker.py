"""
The blocking tracker: the asynchronous one on a private event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, cast, final

from onehouse_tracker import tracker as _async
from onehouse_tracker._engine.open_tracker.inside import refuse_inside
from onehouse_tracker._engine.open_tracker.statements import Label
from onehouse_tracker._engine.open_tracker.validation import checked, ids_of
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.models import RequestLike, Result
from onehouse_tracker.onehouse._credential_sources.hidden import hide_settings
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.protocols import StatusSource
from onehouse_tracker.results import RequestStatus, Results, TimeLeft
from onehouse_tracker.settings import TrackerOptions, TrackerSettings
from onehouse_tracker.statement_results import StatementResults, attach, statements_of
from onehouse_tracker.stats import TrackerStats
from onehouse_tracker.sync._calls import Calls
from onehouse_tracker.sync._progress_bar import shown
from onehouse_tracker.sync.handles import Completions, Handle

if TYPE_CHECKING:
    from onehouse_tracker.onehouse.client import OnehouseClient
    from onehouse_tracker.sync._runs import Runs
    from onehouse_tracker.sync.live_page import LivePage

__all__ = ["OnResult", "Tracker"]

OnResult = Callable[[Result], object]
"""A plain function of one result.  It runs in a thread of its own, one call at a time."""


@final
class Tracker:
    """
    Follows requests until each has its outcome, for callers that block.

    Use it with ``with``.  Without, it opens with its first use, and closes with `close`, when
    it is garbage-collected, or when the interpreter exits.  Any number of threads may use it
    at the same time.

    Ctrl-C in a call cancels that call, waits until nothing is left of it, and continues as
    `KeyboardInterrupt`; the requests go on at the server.  Where ``asyncio.run`` is running in
    the same thread, it keeps the first Ctrl-C for itself, and the second one arrives here.

    Args:
        client: The API to poll.  If it is an asynchronous context manager, such as an
            `OnehouseClient`, it is opened and closed on the private loop.

        **settings: Keywords of ``onehouse_tracker.Tracker``.
    """

    def __init__(self, client: StatusSource, **settings: Unpack[TrackerOptions]) -> None:
        self._adopt(_async.Tracker(client, **settings), client)

    @classmethod
    def from_env(cls, **settings: Unpack[TrackerSettings]) -> Self:
        """
        A tracker for Onehouse, configured like the vendor's own tools.

        Args:
            **settings: Keywords of ``onehouse_tracker.Tracker.from_env``.

        Raises:
            ConfigError: Credentials are missing, all of them are named at once; a setting
                makes no sense; or there is an ``http_session``, which belongs to its own loop.
        """
        settings = hide_settings(settings)
        if settings.get("http_session") is not None:
            raise ConfigError("a session belongs to its own event loop; here is a private one")
        tracker = cls.__new__(cls)
        # What `from_env` made opens its client itself.
        tracker._adopt(_async.Tracker.from_env(**settings), None)  # noqa: SLF001 - ours
        return tracker

    def _adopt(self, inner: _async.Tracker, client: object) -> None:
        self._inner = inner
        self._calls = Calls(inner, client)

    def __repr__(self) -> str:
        return f"<sync {'closed' if self.closed else 'open'} {self._inner!r}>"

    @property
    def closed(self) -> bool:
        """Whether every call raises `TrackerClosedError`: closed, failed, or inherited."""
        return self._calls.closed

    @property
    def runs(self) -> Runs:
        """Starts runs of jobs, and follows them to their real end."""
        from onehouse_tracker.sync._runs import Runs  # noqa: PLC0415 - not everyone has runs

        return Runs(self._calls)

    # --- Life cycle --------------------------------------------------------------------

    def __enter__(self) -> Self:
        """
        Open it, if that was not done.

        Raises:
            TrackerClosedError: It was closed, or belongs to the parent process.

            JournalError: The journal cannot be used.
        """
        try:
            self._calls.thread.open()
        except BaseException:
            self._calls.thread.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close(exc)

    def close(self) -> None:
        """
        Stop all polling; those that still wait, in another thread, get a `TrackerClosedError`.

        Results that were handed out count as acknowledged.  Closing twice does no harm;
        what belongs to the parent process is left alone.

        Raises:
            RuntimeError: It was called from a callback, which it would wait for.

            JournalError: Something could not be written down at last.
        """
        self._close(None)

    def _close(self, cause: BaseException | None) -> None:
        refuse_inside(self._inner._session)  # noqa: SLF001 - the same, inside
        self._calls.thread.close(cause)

    # --- Waiting -----------------------------------------------------------------------

    def wait_all(
        self,
        request_ids: Iterable[RequestLike],
        *,
        timeout: float | None = None,
        default_label: str | None = None,
        on_result: OnResult | None = None,
        progress: bool | None = None,
    ) -> Results:
        """
        Wait until every request has an outcome; see ``onehouse_tracker.Tracker.wait_all``.

        Several threads may wait for the same request; it is polled once.

        Args:
            request_ids: What to wait for: IDs, and what `submit` and `track` return.  It is
                read to its end before anything is polled.

            timeout: Seconds; `None` waits without limit.

            default_label: The label of requests that have none of their own.

            on_result: Called in another thread with each result as it is known.

            progress: Show how far it is.  `None` does so in a notebook, in the output of the
                cell; `True` on a terminal too, on stderr, where rich is needed for it.

        Returns:
            One result per request, in the order given.  ``ack()`` of it waits until the
            acknowledgment is on disk.

        Raises:
            InvalidRequestError: Something is not a request ID; nothing was polled yet.

            ProjectError: As the asynchronous one raises it.

            KeyboardInterrupt: Ctrl-C; nothing waits any more, the requests go on.

            ConfigError: The timeout makes no sense, or rich is missing for ``progress``.

            SystemExit: ``on_result`` raised it; so with `KeyboardInterrupt`.
        """
        requests = checked(request_ids)
        with shown(progress, len(ids_of(requests)), self.stats) as tally:
            results = self._calls.call(
                partial(
                    self._inner._wait_all,  # noqa: SLF001 - the same, with somebody who counts
                    requests,
                    timeout,
                    default_label,
                    on_result,
                    on_each=None if tally is None else tally.note,
                )
            )
        return self._calls.own(results)

    def as_completed(
        self,
        request_ids: Iterable[RequestLike],
        *,
        timeout: float | None = None,
        default_label: str | None = None,
    ) -> Completions:
        """
        Iterate over the results in the order in which the requests end.

        Tracking begins with this call.  The arguments are those of `wait_all`; the iterator is
        also a context manager, and raises what `wait_all` raises, after the results that were
        known before.
        """
        requests = checked(request_ids)
        work = partial(
            self._inner.as_completed, requests, timeout=timeout, default_label=default_label
        )
        return Completions(self._calls, self._calls.do(work))

    def resume(self, *, timeout: float | None = None) -> Completions:
        """Continue with what the journal holds; see ``onehouse_tracker.Tracker.resume``."""
        return Completions(
            self._calls, self._calls.do(partial(self._inner.resume, timeout=timeout))
        )

    def track(
        self,
        request_id: RequestLike,
        *,
        label: str | None = None,
        submitted_at: datetime | None = None,
    ) -> Handle:
        """
        Track one request from now on; see ``onehouse_tracker.Tracker.track``.

        Returns:
            A handle: ``handle.result()`` waits for the result.
        """
        track = partial(self._inner.track, request_id, label=label, submitted_at=submitted_at)
        return Handle(self._calls, self._calls.do(track))

    def status(
        self, request_ids: Iterable[RequestLike], *, label: str | None = None
    ) -> dict[str, RequestStatus]:
        """Poll each request once; see ``onehouse_tracker.Tracker.status``."""
        requests = checked(request_ids)
        return self._calls.call(partial(self._inner.status, requests, label=label))

    # --- Statements --------------------------------------------------------------------

    def submit(self, statement: str, *, label: str | None = None) -> Handle:
        """
        Submit one statement, and track it; see ``onehouse_tracker.Tracker.submit``.

        Ctrl-C before the slot comes sends nothing; Ctrl-C while the statement is on the wire
        leaves its fate unknown.

        Returns:
            A handle: ``handle.result()`` waits for the result.
        """
        return Handle(
            self._calls, self._calls.call(partial(self._inner.submit, statement, label=label))
        )

    def submit_all(
        self, statements: Iterable[str], *, label: Label = None, in_order: bool = False
    ) -> StatementResults[Handle]:
        """
        Submit many statements; see ``onehouse_tracker.Tracker.submit_all``.

        Of a Ctrl-C, too, `statements_of` says what became of each.
        """
        return self._told(
            partial(self._inner.submit_all, _listed(statements), label=label, in_order=in_order)
        )

    def execute(
        self, statement: str, *, label: str | None = None, timeout: float | None = None
    ) -> Result:
        """Submit one statement and wait for it; see ``onehouse_tracker.Tracker.execute``."""
        return self._calls.call(
            partial(self._inner.execute, statement, label=label, timeout=timeout)
        )

    def execute_all(
        self,
        statements: Iterable[str],
        *,
        label: Label = None,
        max_running: int | None = None,
        in_order: bool = False,
        stop_on_failure: bool = False,
        timeout: float | None = None,
        on_result: OnResult | None = None,
    ) -> StatementResults[Handle]:
        """
        Submit many statements and wait for all; see ``onehouse_tracker.Tracker.execute_all``.

        Of a Ctrl-C, too, `statements_of` says what became of each.
        """
        return self._told(
            partial(
                self._inner.execute_all,
                _listed(statements),
                label=label,
                max_running=max_running,
                in_order=in_order,
                stop_on_failure=stop_on_failure,
                timeout=timeout,
                on_result=on_result,
            )
        )

    def _told(
        self, work: Callable[[], Coroutine[Any, Any, StatementResults[_async.Handle]]]
    ) -> StatementResults[Handle]:
        """Run *work*, and hand out what works in any thread, also in an error."""
        found: list[StatementResults[Handle]] = []

        async def noted() -> StatementResults[Handle]:
            try:
                return self._own(await work())
            except BaseException as error:
                if (statements := statements_of(error)) is not None:
                    found.append(self._own(statements))
                raise

        try:
            return self._calls.call(noted)
        except BaseException as error:
            if found:  # a Ctrl-C is another error than the one on the private loop
                attach(error, found[0])
            raise

    def _own(self, told: StatementResults[_async.Handle]) -> StatementResults[Handle]:
        return StatementResults(
            (
                replace(cast("Any", item), handle=item.handle and Handle(self._calls, item.handle))
                for item in told
            ),
            results=self._calls.own(told.results),
        )

    def serve_page(self, port: int = 0, *, title: str = "onehouse-tracker") -> LivePage:
        """
        Show what happens on a page at ``http://127.0.0.1:port/``, live, for any browser.

        See ``onehouse_tracker.Tracker.serve_page``; close the page earlier with ``close()``, or
        use it with ``with``.
        """
        from onehouse_tracker.sync.live_page import LivePage  # noqa: PLC0415 - a server, for few

        serve = partial(self._inner.serve_page, port, title=title)
        return LivePage(self._calls, self._calls.call(serve))

    def time_left(self, request: RequestLike) -> TimeLeft | None:
        """
        How long a request will still take, by what earlier runs took.

        Args:
            request: A request that is tracked: its ID, its `Handle` and the like.

        Returns:
            The median and a range of seconds; `None` where nothing is known.

        Raises:
            InvalidRequestError: It is not a request ID.

            TrackerClosedError: The tracker was closed, or belongs to the parent process.
        """
        return self._calls.do(partial(self._inner.time_left, request))

    def stats(self) -> TrackerStats:
        """
        What the tracker is doing now.

        Raises:
            TrackerClosedError: The tracker was closed, or belongs to the parent process.
        """
        return self._calls.do(self._inner.stats)

    # --- How it is done ----------------------------------------------------------------

    def _credentials(self) -> Credentials:
        """Who we are to the server; of a tracker that `from_env` made."""
        return cast("OnehouseClient", self._inner._client).credentials  # noqa: SLF001


def _listed(statements: Iterable[str]) -> Iterable[str]:
    """Read *statements* in the caller's thread; what is no list is refused later."""
    return statements if isinstance(statements, str | bytes | Mapping) else list(statements)
