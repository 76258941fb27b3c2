"""
How many lines of code there are: neither blank, nor comments, nor docstrings.

    python benchmarks/size.py                      src, one line per folder
    python benchmarks/size.py docs tests           other folders of the repository
    python benchmarks/size.py --at COMMIT          as it was at that commit
    python benchmarks/size.py --without 'src/onehouse_tracker/testing/*'    without some files

Python is read by its tokens; of JavaScript, CSS and HTML what is between comments counts.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tarfile
import tokenize
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
_COMMENT = re.compile(r"/\*.*?\*/|<!--.*?-->|\{#.*?#\}|^\s*//[^\n]*", re.DOTALL | re.MULTILINE)


def lines_of_python(text: str) -> int:
    """The lines of *text* that have a token which is no comment and in no docstring."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    with_docstring = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, with_docstring):
            for statement in node.body:
                # Strings below attributes document them, as docstrings do.
                if isinstance(statement, ast.Expr) and _is_string(statement.value):
                    lines -= set(range(statement.lineno, (statement.end_lineno or 0) + 1))
    return len(lines)


def _is_string(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def lines_of(name: str, text: str) -> int:
    """The lines of one file that count; 0 of a file that is no code."""
    ending = PurePosixPath(name).suffix
    if ending == ".py":
        return lines_of_python(text)
    if ending in {".mjs", ".js", ".css", ".html"}:
        return sum(1 for line in _COMMENT.sub("", text).splitlines() if line.strip())
    return 0


def files(folders: list[str], commit: str | None) -> dict[str, str]:
    """The text of each file below *folders* that git knows, by its name."""
    if commit is None:
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
        named = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        paths = [ROOT / name for name in named.stdout.splitlines()]
        found = {path: path.read_bytes() for path in paths if path.is_file()}
        contents = {path.relative_to(ROOT).as_posix(): content for path, content in found.items()}
    else:
        command = ["git", "archive", commit, *folders]
        archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        contents = {}
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar.getmembers():
                if (content := tar.extractfile(member)) is not None:
                    contents[member.name] = content.read()
    return {name: content.decode("utf-8", "replace") for name, content in contents.items()}


def folder_of(name: str) -> str:
    """The folder that a file counts for: two levels of the package."""
    parts = PurePosixPath(name).parent.parts
    return "/".join(parts[:4] if "integrations" in parts else parts[:3])


def main() -> int:
    """Print the lines of each folder, and of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("folders", nargs="*", default=["src"])
    parser.add_argument("--at", metavar="COMMIT")
    parser.add_argument("--without", metavar="PATTERN", action="append", default=[])
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for name, text in files(options.folders, options.at).items():
        lines = lines_of(name, text)
        if lines and not any(fnmatch(name, pattern) for pattern in options.without):
            counts[folder_of(name)] += lines
            counted[folder_of(name)] += 1
    for folder in sorted(counts):
        print(f"{counts[folder]:7,}  {counted[folder]:4} files  {folder}")
    print(f"{counts.total():7,}  {counted.total():4} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
