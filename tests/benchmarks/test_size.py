"""
What `benchmarks/size.py` takes for a line of code.
"""

from __future__ import annotations

import pytest

from benchmarks.size import lines_of

PYTHON = '''"""
A docstring.
"""

x = """two
lines"""  # and a comment
"""The docstring of x."""


def f() -> int:
    """One more."""
    # Only a comment.
    return (
        x
    )
'''


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.py", PYTHON, 6),
        ("a.py", "", 0),
        ("a.mjs", "// no\n/* no\nno */\nf();\n\nconst url = 'http://x'; // yes\n", 2),
        ("a.css", "/* no */\na {\n}\n", 2),
        ("a.html", "<!-- no -->\n<p>\n", 1),
        ("a.md", "text\n", 0),
    ],
)
def test_comments_docstrings_and_blank_lines_do_not_count(
    name: str, text: str, lines: int
) -> None:
    """
    Else an explanation would count like code.
    """
    assert lines_of(name, text) == lines
