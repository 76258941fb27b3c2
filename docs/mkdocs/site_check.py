"""
What a built site would load from anywhere but its own directory.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

__all__ = ["loaded_from_elsewhere"]

# Links are followed by people; all of these are fetched by the browser on its own.
_LOADS = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src", "srcdoc"),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("poster", "src"),
}
_NOT_FETCHED = frozenset({"alternate", "author", "canonical", "license", "next", "prev"})
_ELSEWHERE = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_IN_CSS = re.compile(
    r"""(?:url\(\s*|@import\s+)["']?\s*((?:https?:)?//[^"')\s]+)""", re.IGNORECASE
)


def loaded_from_elsewhere(site: Path) -> list[str]:
    """One line for each resource of another host that a file below *site* would load."""
    found = []
    for path in sorted(site.rglob("*")):
        if path.suffix == ".html":
            addresses = _in_html(path.read_text(encoding="utf-8"))
        elif path.suffix in {".css", ".svg"}:
            addresses = _IN_CSS.findall(path.read_text(encoding="utf-8"))
        else:
            continue
        found += [f"{path.relative_to(site)}: {address}" for address in addresses]
    return found


def _in_html(text: str) -> list[str]:
    parser = _Loads()
    parser.feed(text)
    parser.close()
    return parser.addresses


class _Loads(HTMLParser):
    """Collects what a page loads from other hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        names = _LOADS.get(tag, ())
        if tag == "link" and not _NOT_FETCHED & set(values.get("rel", "").split()):
            names = ("href",)
        for name in names:
            value = values.get(name, "")
            for address in value.split(",") if name == "srcset" else (value,):
                if _ELSEWHERE.match(address):
                    self.addresses.append(address.strip())
        self.addresses += _IN_CSS.findall(values.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.addresses += _IN_CSS.findall(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "style":
            self._in_style = False
