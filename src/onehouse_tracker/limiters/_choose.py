"""
From a word of the user to a limiter.
"""

from __future__ import annotations

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.limiters._protocol import RateLimiter
from onehouse_tracker.limiters.local import LocalLimiter

__all__ = ["check_limiter", "limiter_from"]

_REDIS = frozenset({"redis", "rediss", "unix"})


def check_limiter(text: str) -> None:
    """
    Do nothing if *text* names a kind of limiter.

    Raises:
        ConfigError: It does not.
    """
    kind, _, rest = text.partition(":")
    if text == "local" or (kind == "host" and (rest or text == "host")) or kind in _REDIS:
        return
    # A URL may hold a password: what was given is not shown.
    raise ConfigError("a limiter is local, host, host:PATH, or the URL of a Redis (redis://...)")


def limiter_from(
    text: str, *, project: str, limit: float = 10.0, share: float = 1.0, processes: int = 4
) -> RateLimiter:
    """
    Make the limiter that *text* names.

    Args:
        text: ``local``; ``host`` or ``host:PATH``; or the URL of a Redis: ``redis://``,
            ``rediss://`` or ``unix://``.

        project: A key that tells projects apart, such as `Credentials.project_key`.

        limit: Requests per second of the whole project [vendor documentation: 10].

        share: Our part of it, or that of all who share the limiter.

        processes: How many are expected to share a Redis.

    Raises:
        ConfigError: There is no such limiter, or a value is out of its bounds.
    """
    check_limiter(text)
    kind, _, rest = text.partition(":")
    if kind == "local":
        return LocalLimiter(limit, share=share, project=project)
    # The others are imported where they are chosen: most programs never need them.
    if kind == "host":
        from onehouse_tracker.limiters.host import HostLimiter  # noqa: PLC0415

        return HostLimiter(limit, share=share, path=rest or None, project=project)
    from onehouse_tracker.limiters.redis import RedisLimiter  # noqa: PLC0415

    return RedisLimiter(text, project=project, limit=limit, share=share, processes=processes)
