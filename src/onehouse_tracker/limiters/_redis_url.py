"""
What the URL of a Redis may say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from onehouse_tracker.errors import ConfigError

__all__ = ["check_url"]

_SCHEMES: Final = ("redis://", "rediss://", "unix://")

# redis-py hands everything else that a URL names to the constructor of its connections: our
# own timeouts could be overridden there, or calls repeated, which would book twice.
_OPTIONS: Final = frozenset({"db", "username", "password", "client_name"})
_FILES: Final = frozenset({"ssl_keyfile", "ssl_certfile", "ssl_ca_certs", "ssl_ca_path"})
_TLS_OPTIONS: Final = _FILES | {
    "ssl_ca_data",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_password",
}


def check_url(url: str) -> None:
    """
    Do nothing if *url* can lead to a Redis, and names only what is ours to name.

    Raises:
        ConfigError: It cannot.  The URL is not shown, because it may hold a password.
    """
    if not url.startswith(_SCHEMES):
        raise ConfigError("the URL of Redis begins with redis://, rediss:// or unix://")
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")  # as a look-up does: no label is empty or too long
        options = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        raise ConfigError("the URL of Redis cannot be read") from None
    allowed = _OPTIONS | _TLS_OPTIONS if url.startswith("rediss://") else _OPTIONS
    for name, value in options:
        if name not in allowed:
            raise ConfigError(
                "the URL of Redis names an option that is none here; it may name"
                f" {', '.join(sorted(allowed))}"
                + ("" if allowed & _TLS_OPTIONS else ", and those for TLS with rediss://")
            )
        if name in _FILES and not Path(value).exists():
            raise ConfigError(f"the URL of Redis names a file as {name} that is not there")
