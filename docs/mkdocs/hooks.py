"""
What the documentation is made of besides the pages, and what must hold when it is built.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from site_check import loaded_from_elsewhere
from site_order import boost, in_reading_order

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

SECTIONS = {
    "How to": "how-to",
    "Explanations": "explanations",
    "Reference": "reference",
}
_COMMENT = re.compile(r"^<!--.*?-->\n?", flags=re.DOTALL | re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let the navigation follow the folders."""
    nav: list[object] = [{"Home": "index.md"}, "quickstart.md"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for title, folder in SECTIONS.items():
        pages = [page.relative_to(DOCS).as_posix() for page in DOCS.glob(f"{folder}/**/*.md")]
        nav.append({title: in_reading_order(pages, readme)})
    nav.append({"Project": ["CONTRIBUTING.md", "CHANGELOG.md"]})
    config.nav = nav

    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what stands at the top of the repository: the README is the first page."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - so that tests need no mkdocs

    for source, name in (
        ("README.md", "index.md"),
        ("CONTRIBUTING.md", "CONTRIBUTING.md"),
        ("CHANGELOG.md", "CHANGELOG.md"),
    ):
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name, content=text))

    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Leave out comments, which are for the tests, and say how much the page counts."""
    page.meta["search"] = {"boost": boost(page.file.src_uri), **page.meta.get("search", {})}
    return _COMMENT.sub("", markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Fail where a reader's browser would ask anybody else for something."""
    from mkdocs.exceptions import PluginError  # noqa: PLC0415 - so that tests need no mkdocs

    found = loaded_from_elsewhere(Path(config.site_dir))
    if found:
        raise PluginError("\n".join(["the site loads what is not its own:", *found]))
