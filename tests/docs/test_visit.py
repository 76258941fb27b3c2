"""
What runs the documentation notices what is wrong with it.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from tests.docs.pages import blocks_of
from tests.docs.visit import Visit


def _visit(text: str, directory: Path) -> None:
    page = directory / "page.md"
    page.write_text(textwrap.dedent(text), encoding="utf-8")
    home = directory / "home"
    home.mkdir()
    with Visit(home, {"GREETING": "hello"}) as visit:
        for block in blocks_of(page):
            visit.do(block)


def test_a_page_is_one_session(tmp_path: Path) -> None:
    """
    Files, variables and definitions of one block serve the next, as they serve the reader.
    """
    text = """
        <!-- hidden
        ```console
        $ echo 7f3e0c1a-0000-4000-8000-000000000001 > ids.txt
        $ export NUMBER=5
        ```
        -->

        ```console
        $ echo $GREETING; \\
          cat ids.txt
        hello
        9a9a9a9a-1111-4111-8111-111111111111
        ```

        ```python title="greet.py"
        import os

        number = int(os.environ["NUMBER"])
        ```

        <!-- continues -->
        ```python
        from pathlib import Path

        print(number + 1, Path("ids.txt").read_text())
        ```

        <!-- output -->
        ```text
        6 12345678-1111-4111-8111-111111111111
        ```

        <!-- exits: 3 -->
        ```console
        $ python -c "import greet; raise SystemExit(3)"
        ```
    """

    _visit(text, tmp_path)


def test_a_cell_of_a_notebook_awaits_where_no_program_may(tmp_path: Path) -> None:
    """
    Readers of the page about notebooks paste it as it is.
    """
    _visit("```python\nimport asyncio\nawait asyncio.sleep(0)\nprint(1)\n```\n", tmp_path)


def test_what_runs_in_the_background_ends_with_the_page(tmp_path: Path) -> None:
    """
    A server that a page starts must serve the blocks below, and nobody after them.
    """
    text = """
        <!-- background: ready -->
        ```console
        $ echo $$ > pid; echo ready; sleep 60
        ```

        ```console
        $ kill -0 $(cat pid)
        ```
    """

    _visit(text, tmp_path)

    pid = (tmp_path / "home" / "pid").read_text().strip()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python\n1 / 0\n```\n", "ZeroDivisionError"),
        ("\n\n```python\n1 / 0\n```\n", "line 4"),
        ("```python\nimport warnings\nwarnings.warn('old')\n```\n", "old"),
        ("```python\ndef test_it():\n    assert 1 == 2\n```\n", "1 failed"),
        ("```python\nname\n```\n", "NameError"),
        ("```console\n$ false\n$ true\n```\n", "exit 1"),
        ("```console\n$ false | true\n```\n", "exit 1"),
        ("```console\n$ echo $UNSET\n```\n", "unbound"),
        ("<!-- exits: 1 -->\n```console\n$ true\n```\n", "exit 0"),
        ("```console\n$ echo yes\nno\n```\n", "what came is"),
        ("```console\n$ echo 0.31 s\n12 m\n```\n", "what came is"),
        ("```python\nprint(1)\n```\n<!-- output -->\n```text\none\n```\n", "what came is"),
        ("<!-- background: ready -->\n```console\n$ echo no\n```\n", "ended"),
    ],
)
def test_what_does_not_work_fails(text: str, complaint: str, tmp_path: Path) -> None:
    """
    A page that rots must fail, and say where.
    """
    with pytest.raises(AssertionError, match=complaint):
        _visit(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```rust\nfn main() {}\n```\n", r"page\.md:1.*'rust'"),
        ("```\nplain\n```\n", "''"),
        ("~~~perl\n1\n~~~\n", "'perl'"),
        ("text\n\n```python\nprint(1)\n", r"page\.md:3: the block does not end"),
        ("<!-- skip -->\n```python\n1\n```\n", "no marker skip"),
        ("<!-- not run -->\n```python\n1\n```\n", "say why"),
        ("```console\nls\n```\n", "no line begins with"),
        ("```json\n{,}\n```\n", "Expecting"),
        ("```toml\na = \n```\n", "Invalid value"),
    ],
)
def test_what_cannot_be_checked_fails(text: str, complaint: str, tmp_path: Path) -> None:
    """
    A block that nothing checks, without a reason, would be the first to rot.
    """
    with pytest.raises(ValueError, match=complaint):
        _visit(text, tmp_path)


def test_a_block_that_is_not_run_is_not_run(tmp_path: Path) -> None:
    """
    It may need what no test has, or do what no test should.
    """
    _visit("<!-- not run: it fails -->\n```console\n$ false\n```\n", tmp_path)


def test_a_block_with_a_name_becomes_a_file(tmp_path: Path) -> None:
    """
    Commands of the page use the files that the page shows.
    """
    _visit('```json title="a.json"\n{"a": 1}\n```\n', tmp_path)

    assert json.loads((tmp_path / "home" / "a.json").read_text()) == {"a": 1}
