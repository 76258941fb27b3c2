"""
The built documentation asks nobody else for anything: what looks for it finds it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.mkdocs.site_check import loaded_from_elsewhere


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.html", '<script src="https://cdn.example/x.js"></script>'),
        ("a.html", '<script src="//cdn.example/x.js"></script>'),
        ("a.html", '<link rel="stylesheet" href="https://fonts.example/css">'),
        ("a.html", '<link rel="preconnect" href="https://fonts.example" crossorigin>'),
        ("a.html", '<img alt="" src="HTTP://cdn.example/x.png">'),
        ("a.html", '<img alt="" src="x.png" srcset="y.png 1x, https://cdn.example/x.png 2x">'),
        ("a.html", '<iframe src="https://video.example/1"></iframe>'),
        ("a.html", "<style>p { background: url(https://cdn.example/x.png) }</style>"),
        ("a.html", "<p style=\"background: url('//cdn.example/x.png')\">"),
        ("deep/a.css", '@import "https://fonts.example/css";'),
        ("deep/a.css", "@font-face { src: url(https://fonts.example/x.woff2) }"),
        ("a.svg", "<style>@import url(https://fonts.example/css);</style>"),
    ],
)
def test_what_a_browser_would_fetch_elsewhere_is_found(
    name: str, content: str, tmp_path: Path
) -> None:
    """
    Who reads about a tracker need not be tracked, and may have no way out.
    """
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)

    (line,) = loaded_from_elsewhere(tmp_path)

    assert line.startswith(f"{name}: ")
    assert ".example" in line


def test_links_for_people_and_files_of_the_site_are_fine(tmp_path: Path) -> None:
    """
    A link is followed by whoever clicks on it.
    """
    (tmp_path / "a.html").write_text(
        '<a href="https://example.org">x</a><link rel="canonical" href="https://example.org/">'
        '<script src="assets/x.js"></script><img src="data:image/png;base64,//8=" alt="">'
        "<p>url(https://example.org)</p><style>p { background: url(x.png) }</style>"
    )

    assert loaded_from_elsewhere(tmp_path) == []
