"""
Something that is opened once for all tasks of a loop that use it, and closed after the last.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Generic, TypeVar

__all__ = ["Shared"]

_log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Shared(Generic[K, T]):
    """
    Opens a resource for its first user, and closes it after its last.

    Each event loop has its own resources.  A separate task opens and closes each of them: this
    delays no user, and a user that is cancelled does not disturb the others; and what the
    resource logs is not attributed to the user that happened to be the first.

    A resource is *opening*, *open*, *idle* (it has no users), or *gone*.  A user that comes while
    it is gone, though it may still be closing, gets a new one.

    Args:
        open_resource: Makes the context manager of one resource.

        linger: Seconds that an idle resource stays open.

        invalid_after: What a user raises when the resource is of no use any more: the next user
            gets a new one, and those that have it keep it.
    """

    def __init__(
        self,
        open_resource: Callable[[K], AbstractAsyncContextManager[T]],
        *,
        linger: float = 0.0,
        invalid_after: tuple[type[Exception], ...] = (),
    ) -> None:
        self._open = open_resource
        self._linger = linger
        self._invalid_after = invalid_after
        self._loops: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[K, _Resource[T]]
        ] = weakref.WeakKeyDictionary()

    @asynccontextmanager
    async def use(self, key: K) -> AsyncIterator[T]:
        """
        Use the resource *key* while the block runs.

        Cancelling is safe at any moment; a resource that is still opening and has no other
        users is given up.

        Raises:
            Exception: What opening raised, a separate object for each user.  The next user
                tries again.
        """
        resources = self._loops.setdefault(asyncio.get_running_loop(), {})
        resource = resources.get(key)
        if resource is None:
            resource = _Resource(self._open(key), self._linger, partial(_forget, resources, key))
            resources[key] = resource
            resource.enter()  # an eager task would find no users
            resource.start()
        else:
            resource.enter()
        try:
            yield await resource.value()
        except self._invalid_after:
            resource.forget()
            raise
        finally:
            resource.leave()


class _Resource(Generic[T]):
    """
    One resource and its users on one loop.

    All but `_keep` is synchronous: no user can come or go between counting the users and acting
    on the count.
    """

    def __init__(
        self,
        context: AbstractAsyncContextManager[T],
        linger: float,
        forget: Callable[[_Resource[T]], None],
    ) -> None:
        self._context = context
        self._linger = linger
        self._forget = forget
        self._users = 0
        self._is_forgotten = False
        self._came_or_went = asyncio.Event()
        self._opened: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to open it."""
        # It ends by itself when the last user is gone, and with the loop at the latest, which
        # cancels and awaits what is left.  Its context is empty: Airflow keeps there to which task
        # a log line belongs.
        self._task = asyncio.get_running_loop().create_task(
            self._keep(), name="onehouse-tracker shared", context=contextvars.Context()
        )

    def enter(self) -> None:
        """Count one user more."""
        self._users += 1
        self._came_or_went.set()

    def leave(self) -> None:
        """Count one user less."""
        self._users -= 1
        self._came_or_went.set()
        if not self._users and not self._opened.done() and self._task is not None:
            self.forget()
            self._task.cancel()

    def forget(self) -> None:
        """Let the next user have a new one; those that have this one keep it."""
        self._is_forgotten = True
        self._came_or_went.set()
        self._forget(self)

    async def value(self) -> T:
        """Wait until it is open."""
        try:
            # Shielded: a user that is cancelled does not cancel it for the others.
            return await asyncio.shield(self._opened)
        except Exception as error:
            own = _copy(error)
            if own is error:
                raise
            raise own from error

    async def _keep(self) -> None:
        try:
            async with self._context as value:
                self._opened.set_result(value)
                await self._until_unused()
                self.forget()
        except BaseException as error:
            self.forget()
            if not isinstance(error, Exception):
                self._opened.cancel()
                raise
            if self._opened.done():
                _log.exception("a shared resource was not closed as it should be")
            else:
                self._opened.set_exception(error)
                self._opened.exception()  # seen, even if no user waits any more

    async def _until_unused(self) -> None:
        while True:
            self._came_or_went.clear()
            if self._users:
                await self._came_or_went.wait()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(0 if self._is_forgotten else self._linger):
                    await self._came_or_went.wait()
            if not self._users:
                return


def _forget(resources: dict[K, _Resource[T]], key: K, gone: _Resource[T]) -> None:
    if resources.get(key) is gone:
        del resources[key]


def _copy(error: Exception) -> Exception:
    try:
        return copy.copy(error)
    except Exception:  # noqa: BLE001 - of somebody else's class, which cannot be copied
        return error
