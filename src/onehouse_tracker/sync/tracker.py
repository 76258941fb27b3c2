"""
The blocking tracker: the asynchronous one on a private event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack, cast, final

from onehouse_tracker import tracker as _async
from onehouse_tracker._engine.open_tracker.inside import refuse_inside
from onehouse_tracker._engine.open_tracker.validation import checked, ids_of
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.models import RequestLike, Result
from onehouse_tracker.onehouse._credential_sources.hidden import hide_settings
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.protocols import StatusSource
from onehouse_tracker.results import Results
from onehouse_tracker.settings import TrackerOptions, TrackerSettings
from onehouse_tracker.stats import TrackerStats
from onehouse_tracker.sync._calls import Calls
from onehouse_tracker.sync._progress_bar import shown
from onehouse_tracker.sync.handles import Completions, Handle

if TYPE_CHECKING:
    from onehouse_tracker.onehouse.client import OnehouseClient
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
        Wait until every request has an outcome.

        Several threads may wait for the same request; it is polled once.

        Args:
            request_ids: What to wait for: IDs, and what `submit` and `track` return.  It is
                read to its end before anything is polled.

            timeout: Seconds; `None` waits without limit.

            default_label: The label of requests that have none of their own.

            on_result: Called with each result as it is known.  What it raises is logged, kept
                in `Results.callback_errors`, and disturbs nobody.

            progress: Show how far it is.  `None` does so in a notebook, in the output of the
                cell; `True` on a terminal too, on stderr, where rich is needed for it.

        Returns:
            One result per request, in the order given.  What was still pending at the
            deadline has the outcome `TIMED_OUT` and can be waited for again.  ``ack()`` of it
            waits until the acknowledgment is on disk.

        Raises:
            InvalidRequestError: Something is not a request ID; nothing was asked yet.

            AuthenticationError: The server refused our credentials.

            OutageError: Nothing answered for ``PollPolicy.patience`` seconds.

            JournalError: Something could not be written down.

            TrackerClosedError: The tracker was closed, or belongs to the parent process.

            KeyboardInterrupt: Ctrl-C; nobody waits any more, the requests go on.

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

        Following begins with this call, not with the first step of the iteration.

        Args:
            request_ids: What to wait for, as in `wait_all`.

            timeout: Seconds from now; what is pending then comes as `TIMED_OUT`.

            default_label: The label of requests that have none of their own.

        Returns:
            A plain iterator that is also a context manager.  It raises what `wait_all`
            raises, after the results that were known before.

        Raises:
            InvalidRequestError: Something is not a request ID; nothing was asked yet.

            TrackerClosedError: The tracker was closed, or belongs to the parent process.
        """
        requests = checked(request_ids)
        return Completions(
            self._calls,
            self._calls.do(
                partial(
                    self._inner.as_completed,
                    requests,
                    timeout=timeout,
                    default_label=default_label,
                )
            ),
        )

    def resume(self, *, timeout: float | None = None) -> Completions:
        """
        Go on with everything that the journal holds and nobody acknowledged.

        See ``onehouse_tracker.Tracker.resume``.

        Args:
            timeout: Seconds from now; what is pending then comes as `TIMED_OUT`, and stays
                pending in the journal.

        Raises:
            ConfigError: The tracker has no journal.

            TrackerClosedError: The tracker was closed, or belongs to the parent process.

            JournalError: From the iterator: the journal cannot be read.
        """
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
        Follow one request from now on.

        Args:
            request_id: Its ID, or a `Request`, a `Handle` or a `Result`.

            label: Your name for this kind of statement.

            submitted_at: When it was submitted, time-zone aware.  `None` counts from now.

        Returns:
            A handle: ``handle.result()`` waits for the result.

        Raises:
            InvalidRequestError: It is not a request ID, or the time has no zone.

            TrackerClosedError: The tracker was closed, or belongs to the parent process.
        """
        track = partial(self._inner.track, request_id, label=label, submitted_at=submitted_at)
        return Handle(self._calls, self._calls.do(track))

    def submit(self, statement: str, *, label: str | None = None) -> Handle:
        """
        Submit one statement within the budget, and follow it.

        A statement is sent once, and again only after a 429.  Ctrl-C before the slot comes sends
        nothing; Ctrl-C while the statement is on the wire leaves its fate unknown.

        Args:
            statement: One SQL statement.

            label: Your name for this kind of statement.

        Returns:
            A handle: ``handle.result()`` waits for the result.

        Raises:
            InvalidRequestError: There is no statement, or it has characters that cannot be SQL.

            SubmissionError: It was refused, never sent, or its fate is unknown.

            AuthenticationError: The server refused our credentials.

            JournalError: It could not be written down.

            TrackerClosedError: The tracker was closed, or belongs to the parent process.
        """
        return Handle(
            self._calls, self._calls.call(partial(self._inner.submit, statement, label=label))
        )

    def serve_page(self, port: int = 0, *, title: str = "onehouse-tracker") -> LivePage:
        """
        Show what happens on a page at ``http://127.0.0.1:port/``, live, for any browser.

        See ``onehouse_tracker.Tracker.serve_page``.

        Args:
            port: Where; 0 takes one that is free, see ``url`` of what is returned.

            title: Its heading.

        Returns:
            The page: close it earlier with ``close()``, or use it with ``with``.

        Raises:
            ConfigError: The port is taken, or may not be used; or Jinja2 is missing.

            TrackerClosedError: The tracker was closed, or belongs to the parent process.
        """
        from onehouse_tracker.sync.live_page import LivePage  # noqa: PLC0415 - a server, for few

        serve = partial(self._inner.serve_page, port, title=title)
        return LivePage(self._calls, self._calls.call(serve))

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
