"""
Cuts a file of SQL into statements.

Onehouse's SQL is a dialect of its own, and which quotes, escapes and comments it knows is not
documented.  So nothing is parsed, and no dialect is assumed: a text is cut where every reading of
it ends a statement (see `_readings`), and where two readings end one in different places, or one
takes for a comment what is a statement for the other, it is refused.  What is sent is cut out of
the original text.

A reading that leaves a quote or a comment open at the end of the text counts like any other: if
it is the right one, a quote was forgotten, and nobody knows which of the text after it was to be a
statement.  It does not count where it makes no difference, which is in the last statement of a
text; and where every reading leaves something open, the text is refused for that.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from onehouse_tracker._checks import check_statement
from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.cli._lexer import State, Walk
from onehouse_tracker.cli._readings import Readings, UnaskedError
from onehouse_tracker.cli._sources import each_once, name_of, nothing_in, read_bytes
from onehouse_tracker.errors import InvalidRequestError

__all__ = ["Statement", "given", "read", "split", "statements_from"]

_NOTHING = re.compile(r"[\s;]*\Z")
_SHOWN = 40
_NAMES = {
    "'": "the string",
    '"': "the text in double quotes",
    "`": "the name in backticks",
    "/*": "the comment",
    "/*+": "the hint",
}


class Statement(NamedTuple):
    """What is sent at once."""

    text: str
    """As written; of a file, without the white space around it."""

    where: str = ""
    """The file and the line in which it begins; empty for an argument."""


def given(text: str, number: int) -> Statement:
    """
    Check an argument, which is one statement.

    Raises:
        CommandError: It cannot be sent.
    """
    try:
        return Statement(check_statement(text))
    except InvalidRequestError as error:
        raise CommandError(f"argument {number}: {error}") from None


def statements_from(
    arguments: Sequence[str], sources: Sequence[str], *, allow_empty: bool
) -> list[Statement]:
    """
    Return *arguments*, each one statement, and the statements of *sources*, in this order.

    Args:
        arguments: Sent as they are.

        sources: Files of SQL, ``-`` for stdin.

        allow_empty: Whether one of them may hold no statement at all.

    Raises:
        CommandError: A file cannot be read, holds nothing, or cannot be cut into statements; or
            an argument is none.
    """
    statements = [given(text, number) for number, text in enumerate(arguments, 1)]
    for source in each_once(sources):
        found = read(read_bytes(source), name_of(source))
        if not found and not allow_empty:
            raise nothing_in(source, "statements")
        statements += found
    return statements


def read(content: bytes, name: str) -> list[Statement]:
    """
    Cut the content of a file into statements, see `split`.

    Raises:
        CommandError: It is not UTF-8, or `split` raises it.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise CommandError(
            f"{name}, line {line}: not UTF-8 (byte 0x{error.object[error.start]:02x}): save the"
            " file as UTF-8"
        ) from None
    return split(text, name)


def split(text: str, name: str = "the file") -> list[Statement]:
    """
    Cut *text* into its statements, in order, comments and hints included.

    White space around a statement is left out, and so is what has nothing but comments in it.

    Args:
        text: SQL statements, separated by semicolons.

        name: What *text* is called in an error message.

    Raises:
        CommandError: It can be read in two ways, something in it is never closed, or there are
            characters that nobody can see; the message names the line.
    """
    source = _Source(text, name)
    found = text.find("\0")
    if found >= 0:
        raise source.error(found, "a NUL character; if the file is UTF-16, save it as UTF-8")
    statements: list[Statement] = []
    start = 0
    while start < len(text):
        end = _end(source, start)
        if end.filled:
            begin = _begin(text, start, end.at)
            try:
                statement = check_statement(text[begin : end.at].rstrip())
            except InvalidRequestError as error:
                raise source.error(begin, str(error)) from None
            statements.append(Statement(statement, source.where(begin)))
        start = end.at + 1
    return statements


class _Source:
    """A text, and where in it something is."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.readings = Readings()
        self._name = name
        self._at, self._line = 0, 1

    def line(self, at: int) -> int:
        """The line of a position, counted on from the one asked for before."""
        if at < self._at:
            self._at, self._line = 0, 1
        self._line += self.text.count("\n", self._at, at)
        self._at = at
        return self._line

    def where(self, at: int) -> str:
        """The line of a position, for people."""
        return f"{self._name}, line {self.line(at)}"

    def walk(self, start: int) -> Walk:
        """All ways through the statement that begins at *start*."""
        while True:
            try:
                return Walk(self.text, start, self.readings)
            except UnaskedError as error:
                self.readings = Readings([*self.readings.choices, error.choice])

    def error(self, at: int, what: str) -> CommandError:
        return CommandError(f"{self.where(at)}: {what}")


def _begin(text: str, start: int, end: int) -> int:
    """Where the white space after *start* ends."""
    return end - len(text[start:end].lstrip())


def _end(source: _Source, start: int) -> State:
    """
    Where the statement that begins at *start* ends, for every reader.

    Raises:
        CommandError: They do not agree.
    """
    text = source.text
    walk = source.walk(start)
    if walk.unseen is not None:
        raise source.error(walk.unseen, _invisible(text[walk.unseen]))
    readings: defaultdict[tuple[int, bool], int] = defaultdict(int)
    for end, those in walk.ends.items():
        readings[end.at, end.filled] |= those
    if len(readings) > 1 and not _only_last_differs(walk, text):
        raise _ambiguous(source, start, readings)
    closed = [end for end in walk.ends if end.unclosed is None]
    if not closed:
        (kind, at), *_ = (end.unclosed for end in walk.ends if end.unclosed is not None)
        raise source.error(
            at,
            f"{_NAMES.get(kind, f'the {kind}')} that begins here is not closed: close it, or give"
            " each statement as an argument, which is sent as it is",
        )
    return min(closed)


def _only_last_differs(walk: Walk, text: str) -> bool:
    """Whether readers differ only in what a semicolon is after which nothing comes."""
    first = min(end.at for end in walk.ends)
    after = _NOTHING.match(text, first)
    return len({end.filled for end in walk.ends}) == 1 and first < len(text) and after is not None


def _invisible(character: str) -> str:
    code = f"U+{ord(character):04X}"
    name = unicodedata.name(character, "")
    hints = {
        "\ufeff": "the byte order mark of another file",
        "\x1a": "Ctrl-Z, an old mark for the end of a file",
    }
    what = hints.get(character) or name.lower() or "a control character"
    return f"an invisible character ({code}, {what}) is not SQL: remove it"


def _ambiguous(source: _Source, start: int, readings: dict[tuple[int, bool], int]) -> CommandError:
    """Say which two readings differ, and how: those that differ in a single answer."""
    choice, one, other = next(
        found
        for those in readings.values()
        for rest in readings.values()
        if those != rest and (found := source.readings.pair(those, rest)) is not None
    )
    where = Walk(source.text, start, source.readings, one | other).parted
    told = []
    for reading, words in ((one, choice.yes), (other, choice.no)):
        (end,) = Walk(source.text, start, source.readings, reading).ends
        told.append(f"  if {words}, {_ends(source, start, end)}")
    return source.error(
        where,
        "this can be read in two ways, so nothing is sent\n"
        + "\n".join(told)
        + f"\n  {choice.advice}. Or give each statement as an argument, which is sent as it is.",
    )


def _ends(source: _Source, start: int, end: State) -> str:
    text = source.text
    begin = _begin(text, start, end.at)
    what = f"what begins in line {source.line(begin)}"
    if not end.filled:
        return f"{what} is nothing but a comment"
    if end.unclosed is not None and end.at == len(text):
        kind, at = end.unclosed
        opened = _NAMES.get(kind, f"the {kind}")
        return f"{opened} that begins in line {source.line(at)} is not closed"
    if end.at == len(text):
        return f"{what} is one statement up to the end of the file"
    before = " ".join(text[max(begin, end.at - _SHOWN) : end.at + 1].split())
    dots = "..." if end.at - _SHOWN > begin else ""
    return f"{what} is a statement that ends in line {source.line(end.at)} with {dots}{before}"
