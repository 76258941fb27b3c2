"""
Finds where a statement ends, in every reading of the text at once.

The lexer knows quotes, comments and semicolons, and nothing else of SQL.  It walks through the
text in a set of states, each with the set of readings that are in it: where readers differ, a
state splits, and where they come to the same again, the states meet.  So all readings cost little
more than one, and no combination of answers is left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from heapq import heappop, heappush
from typing import NamedTuple

from onehouse_tracker.cli._readings import Choice, Readings

__all__ = ["Frame", "State", "Walk"]

_LINE = "--"
_BLOCK = "/*"
_HINT = "/*+"
_TEMPLATES = {"{{": "}}", "{%": "%}", "{#": "#}"}
_ESCAPES = {
    "'": Choice.SINGLE_ESCAPE,
    '"': Choice.DOUBLE_ESCAPE,
    "`": Choice.BACKTICK_ESCAPE,
}
# No reader escapes outside of quotes alone: or `"{\"a\": 1}"` would be read in three ways.
_ESCAPES_EVERYWHERE = tuple(
    (choice, True) for choice in (Choice.BARE_ESCAPE, Choice.SINGLE_ESCAPE, Choice.DOUBLE_ESCAPE)
)

# Control characters but tabs and ends of lines, and category Cf: marks of byte order and
# direction, joiners, soft hyphens.
_INVISIBLE = (
    "[\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    "\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001"
    "\U000e0020-\U000e007f]"
)
_OPENS_TEMPLATE = r"\{[{%#]"
_IN_CODE = re.compile(rf"[;'\"`\\#$]|//|--|/\*|\*/|{_OPENS_TEMPLATE}|{_INVISIBLE}")
_IN_LINE = re.compile(rf"\n|\r(?!\n)|[\v\f\x85\u2028\u2029]|\\(?=\r?\n)|{_OPENS_TEMPLATE}")
_IN_BLOCK = re.compile(rf"\*/|/\*|{_OPENS_TEMPLATE}")
_IN_QUOTES = {quote: re.compile(rf"\\+|{quote}|{_OPENS_TEMPLATE}") for quote in _ESCAPES}
_DOLLARS = re.compile(r"\$(?:[^\W\d]\w*)?\$")
_PREFIX = re.compile(r"(?<!\w)[bB]?([rReE])\Z")
_DEEPEST = 100
_OPERAND = re.compile(r"[\w'\"`)\]]\Z")


class Frame(NamedTuple):
    """Something that is open."""

    kind: str
    at: int


class State(NamedTuple):
    """Where a reader is."""

    at: int
    frames: tuple[Frame, ...] = ()
    """What is open there, the innermost last."""

    filled: bool = False
    """Whether there was more in the statement so far than white space and comments."""

    @property
    def unclosed(self) -> Frame | None:
        """What must still be closed.  A comment that ends with its line need not."""
        return next((frame for frame in self.frames if frame.kind != _LINE), None)


class _Step(NamedTuple):
    """What comes next, and where."""

    here: int
    then: State
    otherwise: State | None = None
    """Where readers go who do not give all of the `answers`; `None` if all go to `then`."""

    answers: tuple[tuple[Choice, bool], ...] = ()
    ended: bool = False
    unseen: bool = False


class Walk:
    """
    All ways through one statement.

    Args:
        text: The text.

        start: Where the statement begins, outside of everything.

        readings: What readers may differ in.

        followed: The readings to follow; all if not given.

    Raises:
        UnaskedError: Readers may differ in more than that.
    """

    def __init__(
        self, text: str, start: int, readings: Readings, followed: int | None = None
    ) -> None:
        self.ends: defaultdict[State, int] = defaultdict(int)
        """The readings by the state in which they find its end: at a semicolon, or at the end of
        the text."""

        self.parted = start
        """Where a state split last."""

        self._unseen: defaultdict[int, int] = defaultdict(int)
        self._readings = readings
        self._followed = readings.all if followed is None else followed
        self._waiting: dict[int, defaultdict[State, int]] = {}
        self._places: list[int] = []
        self._add(State(start), self._followed)
        while self._places:
            states = self._waiting.pop(heappop(self._places))
            alone = not self._places and len(states) == 1
            for state, those in states.items():
                step = _step(text, state)
                # Most of a text is read in one way only.
                while alone and step.otherwise is None and not (step.ended or step.unseen):
                    step = _step(text, step.then)
                self._take(step, those)

    @property
    def unseen(self) -> int | None:
        """The first invisible character that no reading finds in quotes or in a comment."""
        every = (at for at, those in self._unseen.items() if those == self._followed)
        return min(every, default=None)

    def _take(self, step: _Step, readings: int) -> None:
        if step.unseen:
            self._unseen[step.here] |= readings
        some = readings
        if step.otherwise is not None:
            for choice, answer in step.answers:
                yes = self._readings.yes(choice)
                some &= yes if answer else ~yes
            if some not in (0, readings):
                self.parted = step.here
            self._add(step.otherwise, readings & ~some)
        if step.ended:
            self.ends[step.then] |= some
        else:
            self._add(step.then, some)

    def _add(self, state: State, readings: int) -> None:
        if not readings:
            return
        if state.at not in self._waiting:
            self._waiting[state.at] = defaultdict(int)
            heappush(self._places, state.at)
        self._waiting[state.at][state] |= readings


def _step(text: str, state: State) -> _Step:
    if len(state.frames) > _DEEPEST:  # nobody closes that many
        return _unclosed(text, state)
    kind = state.frames[-1].kind if state.frames else _HINT
    if kind == _HINT:
        return _code(text, state)
    if kind == _LINE:
        return _line(text, state)
    if kind == _BLOCK:
        return _block(text, state)
    if kind in _ESCAPES:
        return _quoted(text, state)
    return _enclosed(text, state)


# --- Outside of quotes and comments --------------------------------------------------------


def _code(text: str, state: State) -> _Step:
    found = _IN_CODE.search(text, state.at)
    here = len(text) if found is None else found.start()
    filled = state.filled or not (here == state.at or text[state.at : here].isspace())
    state = State(here, state.frames, filled)
    if found is None or found[0] == ";":
        return _Step(here, state, ended=True)
    mark = found[0]
    plain = State(here + 1, state.frames, filled=True)
    if mark in _ESCAPES:
        return _Step(here, _push(state, mark, here + 1, filled=True))
    if mark in _TEMPLATES:
        # A comment or a tag of a template leaves nothing in the statement, a value does.
        inside = _push(state, mark, here + 2, filled=filled or mark == "{{")
        return _either(here, Choice.TEMPLATE, inside, plain)
    if mark == "*/":
        ends_hint = State(here + 2, state.frames[:-1], filled=True)
        return _Step(here, ends_hint if state.frames else plain)
    if mark in _MARKS:
        return _MARKS[mark](text, state, plain)
    return _Step(here, plain, unseen=True)


def _backslash(text: str, state: State, plain: State) -> _Step:
    if state.at + 1 == len(text):
        return _Step(state.at, plain)
    skipped = State(state.at + 2, state.frames, filled=True)
    return _Step(state.at, skipped, plain, _ESCAPES_EVERYWHERE)


def _hash(_: str, state: State, plain: State) -> _Step:
    return _either(state.at, Choice.HASH, _push(state, _LINE, state.at + 1), plain)


def _slashes(_: str, state: State, plain: State) -> _Step:
    return _either(state.at, Choice.SLASHES, _push(state, _LINE, state.at + 2), plain)


def _dashes(text: str, state: State, plain: State) -> _Step:
    here = state.at
    comment = _push(state, _LINE, here + 2)
    # Two minus signs need something to subtract from: no reader sees them at the beginning of a
    # line or of a statement, where people comment out a line of SQL.
    before = text[text.rfind("\n", 0, here) + 1 : here].rstrip(" \t-")
    spaced = here + 2 == len(text) or text[here + 2].isspace()
    if spaced or _OPERAND.search(before) is None:
        return _Step(here, comment)
    return _either(here, Choice.MINUS, plain, comment)


def _block_opens(text: str, state: State, _: State) -> _Step:
    here = state.at
    comment = _push(state, _BLOCK, here + 2)
    if not _is_hint(text, here):
        return _Step(here, comment)
    return _either(here, Choice.HINT, _push(state, _HINT, here + 3, filled=True), comment)


def _dollar(text: str, state: State, plain: State) -> _Step:
    here = state.at
    found = _DOLLARS.match(text, here)
    if found is None:
        return _Step(here, plain)
    answers = [(Choice.DOLLAR, True)]
    if here and (text[here - 1].isalnum() or text[here - 1] == "_"):
        answers.append((Choice.DOLLAR_IN_WORD, True))
    quoted = _push(state, found[0], found.end(), filled=True)
    return _Step(here, quoted, plain, tuple(answers))


_MARKS = {
    "\\": _backslash,
    "#": _hash,
    "//": _slashes,
    "--": _dashes,
    "/*": _block_opens,
    "$": _dollar,
}


# --- Inside quotes, comments and templates -------------------------------------------------


def _line(text: str, state: State) -> _Step:
    found = _IN_LINE.search(text, state.at)
    if found is None:
        return _unclosed(text, state)
    here, mark = found.start(), found[0]
    closed = State(here + 1, state.frames[:-1], state.filled)
    if mark == "\n":
        return _Step(here, closed)
    further = State(here + 1, state.frames, state.filled)
    if mark in _TEMPLATES:
        return _template(here, mark, state, further)
    if mark == "\\":
        continued = State(text.index("\n", here) + 1, state.frames, state.filled)
        return _either(here, Choice.CONTINUED, continued, further)
    choice = Choice.CARRIAGE_RETURN if mark == "\r" else Choice.OTHER_LINE_END
    return _either(here, choice, closed, further)


def _block(text: str, state: State) -> _Step:
    found = _IN_BLOCK.search(text, state.at)
    if found is None:
        return _unclosed(text, state)
    here, mark = found.start(), found[0]
    if mark == "*/":
        return _Step(here, State(here + 2, state.frames[:-1], state.filled))
    further = State(here + 1, state.frames, state.filled)
    if mark in _TEMPLATES:
        return _template(here, mark, state, further)
    answers = [(Choice.NESTED, True)]
    if _is_hint(text, here):  # which is no comment, so it does not nest
        answers.append((Choice.HINT, False))
    return _Step(here, _push(state, _BLOCK, here + 2, at=here), further, tuple(answers))


def _quoted(text: str, state: State) -> _Step:
    quote = state.frames[-1].kind
    found = _IN_QUOTES[quote].search(text, state.at)
    if found is None:
        return _unclosed(text, state)
    here, mark, after = found.start(), found[0], found.end()
    if mark in _TEMPLATES:
        return _template(here, mark, state, State(here + 1, state.frames, state.filled))
    if mark == quote:
        return _Step(here, State(after, state.frames[:-1], state.filled))
    further = State(after, state.frames, state.filled)
    if len(mark) % 2 and text[after : after + 1] == quote:
        return _escape(text, state, here, further)
    return _Step(here, further)


def _escape(text: str, state: State, here: int, further: State) -> _Step:
    """A backslash before the quote, not escaped by another: the quote may be part of the text."""
    quote, opened = state.frames[-1]
    escaped = State(further.at + 1, state.frames, state.filled)
    choice = _ESCAPES[quote]
    prefix = _PREFIX.search(text, max(0, opened - 3), opened)
    if prefix is None:
        return _either(here, choice, escaped, further)
    if prefix[1] in "eE":
        return _Step(here, further, escaped, ((choice, False), (Choice.PREFIX, False)))
    return _Step(here, escaped, further, ((choice, True), (Choice.PREFIX, False)))


def _enclosed(text: str, state: State) -> _Step:
    """In a template, or between dollars: all that counts is the end, or a template inside."""
    found = _closing(state.frames[-1].kind).search(text, state.at)
    if found is None:
        return _unclosed(text, state)
    here, mark = found.start(), found[0]
    if mark in _TEMPLATES:
        return _template(here, mark, state, State(here + 1, state.frames, state.filled))
    return _Step(here, State(found.end(), state.frames[:-1], state.filled))


@lru_cache
def _closing(kind: str) -> re.Pattern[str]:
    if kind in _TEMPLATES:
        return re.compile(re.escape(_TEMPLATES[kind]))
    return re.compile(f"{re.escape(kind)}|{_OPENS_TEMPLATE}")


def _template(here: int, mark: str, state: State, further: State) -> _Step:
    """A template is rendered before anybody looks at quotes and comments."""
    inside = _push(state, mark, here + 2, at=here)
    return _either(here, Choice.TEMPLATE, inside, further)


def _unclosed(text: str, state: State) -> _Step:
    return _Step(len(text), State(len(text), state.frames, state.filled), ended=True)


def _is_hint(text: str, at: int) -> bool:
    return text[at + 2 : at + 3] in ("+", "!")


def _push(
    state: State, kind: str, after: int, *, filled: bool | None = None, at: int | None = None
) -> State:
    frame = Frame(kind, state.at if at is None else at)
    return State(after, (*state.frames, frame), state.filled if filled is None else filled)


def _either(here: int, choice: Choice, then: State, otherwise: State) -> _Step:
    return _Step(here, then, otherwise, ((choice, True),))
