"""
What readers of SQL do not agree on, and sets of readings.

A *reading* answers every one of these questions.  A set of readings is an int with one bit for
each, so that a lexer can follow all of them at once and knows which answers belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

__all__ = ["Choice", "Readings", "UnaskedError"]


class Choice(Enum):
    """
    One question on which two readers differ, with the words for each answer.

    Not among them is what moves no end of a statement (a doubled quote is one string or two next
    to each other, and either way the same characters are inside quotes), and what only readers
    far from this dialect do: brackets and three quotes in a row as quotes.
    """

    def __init__(self, yes: str, no: str, advice: str) -> None:
        self.yes = yes
        self.no = no
        self.advice = advice

    BARE_ESCAPE = (
        "a backslash outside of quotes escapes what follows",
        "a backslash outside of quotes is a plain character",
        "Put the backslash into quotes",
    )
    SINGLE_ESCAPE = (
        "a backslash escapes the ' after it",
        "a backslash in single quotes is a plain character",
        "Write '' for a quote inside single quotes, and no backslash before the last one",
    )
    DOUBLE_ESCAPE = (
        'a backslash escapes the " after it',
        "a backslash in double quotes is a plain character",
        'Write "" for a quote inside double quotes, and no backslash before the last one',
    )
    BACKTICK_ESCAPE = (
        "a backslash escapes the ` after it",
        "a backslash in backticks is a plain character",
        "Write no backslash before a backtick",
    )
    PREFIX = (
        "an r or e before a quote says whether backslashes escape",
        "an r or e before a quote means nothing",
        "Write '' for a quote inside quotes, and no backslash before the last one",
    )
    TEMPLATE = (
        "{{ }}, {% %} and {# #} enclose parts of a template",
        "braces are plain characters",
        "Render the template first",
    )
    NESTED = (
        "a comment in a comment needs an end of its own",
        "a comment ends at the first */",
        "Write no /* inside a comment",
    )
    HINT = (
        "the text between /*+ or /*! and */ is part of the statement",
        "it is a comment like any other",
        "Write no quotes and no semicolons there, and nothing that consists only of it",
    )
    HASH = (
        "# begins a comment",
        "# is a plain character",
        "Begin comments with --, and put a # into quotes",
    )
    SLASHES = (
        "// begins a comment",
        "// are plain characters",
        "Begin comments with --, and put a path or URL into quotes",
    )
    MINUS = (
        "-- with no space after it is two minus signs",
        "-- begins a comment",
        "Write a space after --",
    )
    DOLLAR = (
        "$$ and $name$ are quotes",
        "$ is a plain character",
        "Use other quotes, and put $$ into them",
    )
    DOLLAR_IN_WORD = (
        "$$ is a quote even after a letter or digit",
        "$$ after a letter or digit is part of the word",
        "Use other quotes, and put $$ into them",
    )
    CARRIAGE_RETURN = (
        "a line and its comment end at a carriage return",
        "they end at a line feed only",
        "Save the file with line feeds (LF or CRLF)",
    )
    OTHER_LINE_END = (
        "a line and its comment end at a Unicode line separator, form feed or the like",
        "they end at a line feed only",
        "Save the file with line feeds (LF or CRLF)",
    )
    CONTINUED = (
        "a comment whose line ends with a backslash continues in the next",
        "it ends with its line",
        "Write no backslash at the end of a comment",
    )


class UnaskedError(Exception):
    """The text depends on a choice that `Readings` leave open."""

    def __init__(self, choice: Choice) -> None:
        super().__init__(choice)
        self.choice = choice


class Readings:
    """
    All combinations of answers to *choices*: a text depends on few of them.

    Reading number n says yes to a choice if bit i of n is set, i being its place in `choices`.
    """

    def __init__(self, choices: Sequence[Choice] = ()) -> None:
        self.choices = sorted(choices, key=list(Choice).index)
        """The questions, those that explain a difference best first."""

        self.all = (1 << (1 << len(self.choices))) - 1
        """The set of all readings."""

        self._yes = {choice: self._saying_yes(place) for place, choice in enumerate(self.choices)}

    def _saying_yes(self, place: int) -> int:
        # Runs of zeros and ones in turn.
        run = 1 << place
        bits, width = ((1 << run) - 1) << run, 2 * run
        while width < 1 << len(self.choices):
            bits |= bits << width
            width *= 2
        return bits

    def yes(self, choice: Choice) -> int:
        """
        The set of the readings that say yes to *choice*.

        Raises:
            UnaskedError: It is not among the choices.
        """
        try:
            return self._yes[choice]
        except KeyError:
            raise UnaskedError(choice) from None

    def pair(self, one: int, other: int) -> tuple[Choice, int, int] | None:
        """
        Find a reading in *one* and a reading in *other* that differ in one answer.

        Returns:
            The choice, the reading in *one*, which says yes, and the reading in *other*, as sets;
            `None` if no two are that close.
        """
        for place, choice in enumerate(self.choices):
            step = 1 << place
            both = (one & self._yes[choice]) & ((other & ~self._yes[choice]) << step)
            if both:
                reading = both & -both
                return choice, reading, reading >> step
        return None
