"""
The live page of a blocking tracker.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self, final

from onehouse_tracker.report.live_page import LivePage as _LivePage
from onehouse_tracker.sync._calls import Calls

__all__ = ["LivePage"]


@final
class LivePage:
    """
    One page for a tracker; `Tracker.serve_page` makes it.

    Use it with ``with``, or leave it to the tracker, which closes it at its own end.
    """

    def __init__(self, calls: Calls, inner: _LivePage) -> None:
        self._calls = calls
        self._inner = inner

    def __repr__(self) -> str:
        return f"<sync {self._inner!r}>"

    @property
    def url(self) -> str:
        """Where it is."""
        return self._inner.url

    def close(self) -> None:
        """
        Tell every browser how it ended, and stop serving; closing twice does no harm.

        It takes half a second at most, whatever browsers do.
        """
        if not self._calls.closed:
            self._calls.call(self._inner.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
