"""
Makes one self-contained HTML file of a view: no address outside, and every value escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.report._scripts import one_script
from onehouse_tracker.report._view import STATES, View, named_rows, totals

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["check_renderer", "live_policy", "page_json", "render"]

_WITHOUT_SCRIPT: Final = 2_000
"""Failures that a browser without scripts shows, at most."""


def check_renderer() -> None:
    """
    Do nothing if pages can be rendered.

    Raises:
        ConfigError: An extra is missing; the text says how to install it.
    """
    try:
        import jinja2  # noqa: F401, PLC0415 - an extra that may be missing
    except ModuleNotFoundError as error:
        raise ConfigError(
            "a report or a live page needs Jinja2: pip install 'onehouse-tracker[report]'"
        ) from error


def render(view: View, *, title: str = "onehouse-tracker", live: bool = False) -> str:
    """
    One HTML file.

    Args:
        view: What it shows.

        title: Its heading.

        live: Whether it follows the server that it came from.

    Raises:
        ConfigError: Jinja2 is missing.
    """
    counts = totals(view)
    bad = [row for row in named_rows(view) if STATES[row["state"]] == "not ok"]
    return _template().render(
        title=title,
        live=live,
        policy=_policy("connect-src 'self'" if live else ""),
        style=_style(),
        script=_script(),
        data=page_json(view),
        head=view["head"],
        counts=[(state, counts[state]) for state in STATES if counts[state]],
        labels=_labels(view),
        bad=bad[:_WITHOUT_SCRIPT],
        bad_count=sum(counts[state] for state, kind in STATES.items() if kind == "not ok"),
    )


def live_policy() -> str:
    """The ``Content-Security-Policy`` of a page that is served."""
    return _policy("connect-src 'self'", "frame-ancestors 'none'")


def page_json(value: Any) -> str:
    """
    JSON for a script element or an event stream.

    It is ASCII on one line, and holds no character that HTML gives a meaning to.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _labels(view: View) -> list[tuple[str, Counter[str]]]:
    found: dict[str, Counter[str]] = {}
    for row in named_rows(view):
        found.setdefault(row["label"] or "", Counter())[row["state"]] += 1
    for folded in view["head"]["folded"]:
        found.setdefault(folded["label"] or "", Counter())[folded["state"]] += folded["count"]
    return sorted(found.items())


@cache
def _template() -> Template:
    check_renderer()
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - an extra

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_read("page.html"))


@cache
def _style() -> str:
    return _read("page.css")


@cache
def _script() -> str:
    return one_script("main.mjs", lambda name: _read(f"scripts/{name}"))


def _read(name: str) -> str:
    return (files("onehouse_tracker.report") / "page" / name).read_text(encoding="utf-8")


def _policy(*more: str) -> str:
    """Nothing is loaded or run but the style and the script of this very page."""
    rules = (
        "default-src 'none'",
        f"script-src '{_hash(_script())}'",
        f"style-src '{_hash(_style())}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        *more,
    )
    return "; ".join(rule for rule in rules if rule)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
