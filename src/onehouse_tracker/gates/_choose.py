"""
From a word of the user to a gate.
"""

from __future__ import annotations

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.gates._protocol import Gate
from onehouse_tracker.gates.host import HostGate
from onehouse_tracker.gates.local import LocalGate
from onehouse_tracker.gates.redis import RedisGate

__all__ = ["check_gate", "gate_from"]

_REDIS = frozenset({"redis", "rediss", "unix"})


def check_gate(text: str) -> None:
    """
    Do nothing if *text* names a kind of gate.

    Raises:
        ConfigError: It does not.
    """
    kind, _, rest = text.partition(":")
    if text == "local" or (kind == "host" and (rest or text == "host")) or kind in _REDIS:
        return
    # A URL may hold a password: what was given is not shown.
    raise ConfigError("a gate is local, host, host:PATH, or the URL of a Redis (redis://...)")


def gate_from(
    text: str, *, project: str, limit: float = 10.0, share: float = 1.0, processes: int = 4
) -> Gate:
    """
    Make the gate that *text* names.

    Args:
        text: ``local``; ``host`` or ``host:PATH``; or the URL of a Redis: ``redis://``,
            ``rediss://`` or ``unix://``.

        project: A key that tells projects apart, such as `Credentials.project_key`.

        limit: Requests per second of the whole project [vendor documentation: 10].

        share: Our part of it, or that of all who share the gate.

        processes: How many are expected to share a Redis.

    Raises:
        ConfigError: There is no such gate, or a value is out of its bounds.
    """
    check_gate(text)
    kind, _, rest = text.partition(":")
    if kind == "local":
        return LocalGate(limit, share=share, project=project)
    if kind == "host":
        return HostGate(limit, share=share, path=rest or None, project=project)
    return RedisGate(text, project=project, limit=limit, share=share, processes=processes)
