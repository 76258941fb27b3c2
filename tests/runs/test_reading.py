"""Status words out of answers of unknown shape: never a wrong one, the right one if clear."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from onehouse_tracker.runs._kinds import JOB_RUNS
from onehouse_tracker.runs._reading import is_large, read_many, read_one

PREFIX = JOB_RUNS.word_prefix
RUNNING, FAILED, DONE, QUEUED = (
    f"{PREFIX}{word}" for word in ("RUNNING", "FAILED", "COMPLETED", "QUEUED")
)
A, B, C, H = "run-a", "run-b", "run-c", "run-history"


def _seen(response: dict[str, Any], *run_ids: str) -> dict[str, str]:
    listing = read_many(response, frozenset(run_ids or (A, B)), prefix=PREFIX)
    return {run_id: sighting.word or "" for run_id, sighting in listing.seen.items()}


BOTH = {A: RUNNING, B: DONE}

CLEAR: dict[str, dict[str, Any]] = {
    "nested objects": {
        "x": {"runs": [{"run": {"id": A, "status": RUNNING}}, {"run": {"id": B, "status": DONE}}]}
    },
    "flat rows": {"rows": [{"id": A, "s": RUNNING}, {"id": B, "s": DONE}]},
    "the word beside the object with the ID": {
        "runs": [{"ref": {"id": A}, "s": RUNNING}, {"ref": {"id": B}, "s": DONE}]
    },
    "the word below": {
        "runs": [{"id": A, "state": {"s": RUNNING}}, {"id": B, "state": {"s": DONE}}]
    },
    "columns and rows": {
        "columns": ["job", "id", "status"],
        "rows": [["j", A, RUNNING], ["j", B, DONE], ["j", H, DONE]],
    },
    "a head as the first row": {"rows": [["id", "status"], [A, RUNNING], [B, DONE]]},
    "columns and one row": {"columns": ["id", "status"], "rows": [[A, RUNNING], [B, DONE]]},
    "cells that are objects": {
        "rows": [
            {"values": [{"text": "j"}, {"text": A}, {"text": RUNNING}]},
            {"values": [{"text": "j"}, {"text": B}, {"text": DONE}]},
            {"values": [{"text": "j"}, {"text": H}, {"text": FAILED}]},
        ]
    },
    "IDs as keys": {"runs": {A: {"s": RUNNING}, B: {"s": DONE}, H: {"s": FAILED}}},
    "IDs as keys of words": {A: RUNNING, B: DONE, H: FAILED},
    "history around": {
        "runs": [
            {"id": H, "s": FAILED},
            {"id": A, "s": RUNNING},
            {"id": "h2", "s": DONE},
            {"id": B, "s": DONE},
        ]
    },
    "attempts inside a run": {
        "runs": [
            {
                "id": A,
                "s": RUNNING,
                "attempts": [{"n": "1", "s": FAILED}, {"n": "2", "s": QUEUED}],
            },
            {"id": B, "s": DONE, "attempts": []},
        ]
    },
    "retriedFrom": {
        "runs": [
            {"id": A, "s": RUNNING},
            {"id": B, "s": DONE, "retriedFrom": A},
            {"id": H, "s": FAILED, "retriedFrom": B},
        ]
    },
    "retriedFrom in a table": {
        "rows": [[A, RUNNING, None], [B, DONE, A], [H, FAILED, B]],
    },
    "retriedFrom where IDs are keys": {
        "runs": {A: {"s": RUNNING}, B: {"s": DONE, "retriedFrom": A}, H: {"s": FAILED}}
    },
    "an empty retriedFrom in each row": {
        "runs": [
            {"id": A, "s": RUNNING, "retriedFrom": ""},
            {"id": B, "s": DONE, "retriedFrom": A},
            {"id": H, "s": DONE, "retriedFrom": ""},
        ]
    },
    "an ID that is the beginning of another": {
        "runs": [{"id": A, "s": RUNNING}, {"id": f"{A}-2", "s": FAILED}, {"id": B, "s": DONE}]
    },
    "an ID inside a URL": {
        "runs": [
            {"id": H, "s": FAILED, "log": f"https://x.example/{A}"},
            {"id": A, "s": RUNNING, "log": f"https://x.example/{B}"},
            {"id": B, "s": DONE},
        ]
    },
    "the same word twice": {
        "runs": [{"id": A, "s": RUNNING, "text": RUNNING}, {"id": B, "s": DONE}]
    },
    "the ID twice in its row": {
        "runs": [{"id": A, "uid": A, "s": RUNNING}, {"id": B, "uid": B, "s": DONE}]
    },
    "jobs around": {
        "jobs": [
            {"name": "x", "runs": [{"id": A, "s": RUNNING}]},
            {"runs": [{"id": B, "s": DONE}]},
        ]
    },
}


@pytest.mark.parametrize("shape", CLEAR)
def test_each_run_has_its_own_word_in_every_shape(shape: str) -> None:
    """
    Nobody knows the shape of a listing: whatever is clear to a reader must be read.
    """
    assert _seen(CLEAR[shape]) == BOTH


UNCLEAR: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "previousStatus beside status": (
        {"runs": [{"id": A, "previousStatus": QUEUED, "status": RUNNING}, {"id": B, "s": DONE}]},
        {B: DONE},
    ),
    "two rows with different words": (
        {"runs": [{"id": A, "s": RUNNING}, {"id": A, "s": FAILED}, {"id": B, "s": DONE}]},
        {B: DONE},
    ),
    "attempts that name the run": (
        {"runs": [{"id": A, "s": RUNNING, "attempts": [{"id": A, "s": FAILED}]}]},
        {},
    ),
    "attempts that name the run and themselves": (
        {
            "runs": [
                {
                    "id": A,
                    "s": RUNNING,
                    "attempts": [{"id": A, "s": FAILED}, {"id": "x", "s": DONE}],
                }
            ]
        },
        {},
    ),
    "a run that only others mention": (
        {"runs": [{"id": C, "s": FAILED, "retriedFrom": A}, {"id": H, "s": DONE}]},
        {},
    ),
    "columns apart": ({"id": [A, B], "status": [RUNNING, DONE]}, {}),
    "IDs without words": ({"ids": [A, B], "s": RUNNING}, {}),
    "words without IDs": ({"runs": [{"s": RUNNING}, {"s": DONE}]}, {}),
    "only a part of the ID": (
        {"runs": [{"id": f" {A}", "s": DONE}, {"id": A.upper(), "s": DONE}]},
        {},
    ),
    "nothing": ({}, {}),
    "the run beside another's word": (
        {"runs": [{"id": A}, {"id": B, "s": DONE}]},
        {B: DONE},
    ),
}


@pytest.mark.parametrize("shape", UNCLEAR)
def test_what_is_not_clear_counts_as_not_seen(shape: str) -> None:
    """
    A run that is not seen is asked about alone; a wrong word would be told to people.
    """
    response, expected = UNCLEAR[shape]

    assert _seen(response) == expected


def test_listing_says_what_it_holds_at_all() -> None:
    """
    A listing without IDs, or without words, is no good for this job; and its size counts.
    """
    listing = read_many({"runs": [{"id": H, "s": DONE}]}, {A}, prefix=PREFIX)
    assert (listing.has_ids, listing.has_words, dict(listing.seen)) == (False, True, {})
    listing = read_many({"runs": [{"id": A}]}, {A}, prefix=PREFIX)
    assert (listing.has_ids, listing.has_words) == (True, False)
    assert read_many(None, {A}, prefix=PREFIX).size == 0
    assert 20_000 < read_many({"x": "y" * 20_000}, {A}, prefix=PREFIX).size < 20_100


def test_place_of_the_ids_can_be_held_on_to() -> None:
    """
    Where one listing was right, a value at another place is no identity in the next.
    """
    first = read_many(
        {"runs": [{"id": A, "s": RUNNING}, {"id": B, "s": DONE}]}, {A}, prefix=PREFIX
    )
    moved = {"news": [{"about": A, "s": DONE}]}

    assert first.paths == {("runs", "[]", "id")}
    assert read_many(moved, {A}, prefix=PREFIX).seen
    assert not read_many(moved, {A}, prefix=PREFIX, paths=first.paths).seen


@pytest.mark.parametrize(
    ("response", "word"),
    [
        ({"describeJobRunApiResponse": {"sparkJobRun": {"status": RUNNING}}}, RUNNING),
        ({"describeJobRunApiResponse": {"sparkJobRun": {"status": "NEW"}}, "x": DONE}, "NEW"),
        ({"describeJobRunApiResponse": {"sparkJobRun": {"jobRunId": A}}, "x": DONE}, ""),
        ({"describeJobRunApiResponse": {"sparkJobRun": {}}}, ""),
        ({"other": {"id": A, "status": DONE}}, DONE),
        ({"other": {"status": DONE}}, DONE),
        ({"other": {"id": A, "status": DONE, "previous": RUNNING}}, ""),
        ({"other": [{"status": DONE}, {"status": RUNNING}]}, ""),
        ({"other": {"id": A}}, ""),
        ({"other": {"status": "COMPLETED"}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_answer_about_one_run(response: dict[str, Any] | None, word: str | None) -> None:
    """
    The known place counts first; an answer about one run needs no ID in it.

    A run that is there without a clear word (here an empty one) is told from no run at all.
    """
    found = read_one(response, A, word_at=JOB_RUNS.word_at, prefix=PREFIX)

    assert (None if found is None else found.word or "") == word


def test_large_answers_are_told_from_small_ones() -> None:
    """
    Some thousand values are read in a millisecond; beyond, a thread reads.
    """
    row = {"id": A, "status": RUNNING, "job": "j", "at": 1}
    assert not is_large({"runs": [row] * 500})
    assert is_large({"runs": [row] * 2_000})


# --- Against a plain reference -------------------------------------------------------------


def _everything(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, value
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _everything(below, (*path, key))
    elif isinstance(value, list):
        for below in value:
            yield from _everything(below, (*path, "[]"))


def _nearest(part: Any) -> str | None:
    depths: dict[int, set[str]] = {}
    for path, value in _everything(part):
        if isinstance(value, str) and value.startswith(PREFIX):
            depths.setdefault(len(path), set()).add(value)
    words = depths[min(depths)] if depths else {""}
    return words.pop() if len(words) == 1 else None


def _plain_reading(response: dict[str, Any], ours: set[str]) -> dict[str, str]:
    """The rules said again, as slowly and plainly as possible, for objects in lists."""
    by_path: dict[tuple[str, ...], list[str]] = {}
    lengths: dict[tuple[str, ...], int] = {}
    for path, value in _everything(response):
        if isinstance(value, str):
            by_path.setdefault(path, []).append(value)
        if path and path[-1] == "[]":
            lengths[path] = lengths.get(path, 0) + 1

    def rows(path: tuple[str, ...]) -> int:
        around = [path[:end] for end in range(1, len(path) + 1) if path[end - 1] == "[]"]
        return lengths[around[-1]] if around else 0

    places = {path: values for path, values in by_path.items() if ours & set(values)}
    if len(places) > 1:
        places = {path: vs for path, vs in places.items() if len(set(vs)) == len(vs)}
    places = {path: vs for path, vs in places.items() if len(vs) >= rows(path)}
    words: dict[str, set[str | None]] = {}
    for place, values in places.items():
        for run_id in ours & set(values):
            for part in _smallest_parts(response, place, run_id):
                words.setdefault(run_id, set()).add(_nearest(part))
    return {
        run_id: word
        for run_id, found in words.items()
        if len(found) == 1 and (word := found.pop())
    }


def _smallest_parts(response: Any, place: tuple[str, ...], run_id: str) -> Iterator[Any]:
    """For each time that the ID is at *place*: the smallest part with it and a word."""

    def ids_in(part: Any, at: tuple[str, ...]) -> set[str]:
        return {
            value
            for path, value in _everything(part, at)
            if path == place and isinstance(value, str)
        }

    def search(part: Any, at: tuple[str, ...], around: list[tuple[Any, tuple[str, ...]]]) -> Any:
        inside = [*around, (part, at)]
        steps = part.items() if isinstance(part, dict) else (("[]", item) for item in part)
        for key, value in steps:
            if isinstance(value, dict | list):
                yield from search(value, (*at, key), inside)
            elif value == run_id and (*at, key) == place:
                for container, where in reversed(inside):
                    if ids_in(container, where) != {run_id}:
                        break
                    if any(
                        isinstance(word, str) and word.startswith(PREFIX)
                        for _, word in _everything(container)
                    ):
                        yield container
                        break

    yield from search(response, (), [])


def _random_answer(draw: random.Random) -> dict[str, Any]:
    ids = [A, B, C, H, "h2", "h3"]
    words = [RUNNING, FAILED, DONE]

    def row(run_id: str, depth: int) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key in draw.sample(["id", "s", "t", "ref", "sub", "list", "n"], draw.randrange(2, 6)):
            match key:
                case "id":
                    content[key] = run_id
                case "s" | "t":
                    content[key] = draw.choice([*words, "text"])
                case "ref":
                    content[key] = draw.choice(ids)
                case "sub" if depth:
                    content[key] = row(run_id, depth - 1)
                case "list" if depth:
                    content[key] = [
                        row(draw.choice(ids), depth - 1) for _ in range(draw.randrange(3))
                    ]
                case _:
                    content[key] = draw.randrange(9)
        return content

    answer = {"runs": [row(run_id, 2) for run_id in draw.sample(ids, draw.randrange(1, 6))]}
    if draw.random() < 0.3:
        answer["more"] = [row(draw.choice(ids), 1) for _ in range(draw.randrange(3))]
    return answer


def test_random_answers_are_read_as_by_a_plain_reference() -> None:
    """
    Thousands of shapes that nobody thought of.
    """
    draw = random.Random(7)
    found = 0
    for _ in range(1_000):
        answer = _random_answer(draw)
        ours = set(draw.sample([A, B, C], draw.randrange(1, 4)))
        expected = _plain_reading(answer, ours)
        found += len(expected)
        assert _seen(answer, *ours) == expected, (answer, ours)
    assert found > 300


SHAPES: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
    "flat": lambda truth: {"runs": [{"id": key, "s": word} for key, word in truth.items()]},
    "nested": lambda truth: {
        "r": [{"meta": {"id": key}, "state": {"s": word}} for key, word in truth.items()]
    },
    "table": lambda truth: {"rows": [["job", key, word, "x"] for key, word in truth.items()]},
    "cells": lambda truth: {
        "rows": [{"v": [{"t": "job"}, {"t": key}, {"t": word}]} for key, word in truth.items()]
    },
    "keys": lambda truth: {"runs": {key: {"s": word} for key, word in truth.items()}},
    "words": lambda truth: {"runs": dict(truth)},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_any_number_of_rows_is_read_in_each_shape(shape: str) -> None:
    """
    From one row to many, of which any number is ours.
    """
    draw = random.Random(3)
    for count in (1, 2, 3, 10, 100):
        truth = {f"id-{n}": draw.choice([RUNNING, FAILED, DONE]) for n in range(count)}
        for size in {1, (count + 1) // 2, count}:
            ours = draw.sample(sorted(truth), size)
            assert _seen(SHAPES[shape](truth), *ours) == {key: truth[key] for key in ours}
