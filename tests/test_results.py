"""
The results of one wait: a mapping in input order that knows what went wrong.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Awaitable, Iterable, Mapping
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker.errors import OutageError, RequestFailedError
from onehouse_tracker.models import Outcome, Result
from onehouse_tracker.results import PoolResults, Results
from tests.support import run

ANY_RESULTS = st.lists(
    st.builds(
        Result,
        request_id=st.sampled_from("abcdefgh"),
        outcome=st.sampled_from(Outcome),
        polls=st.integers(0, 9),
    ),
    max_size=12,
)


def _results(*outcomes: Outcome) -> Results:
    return Results(
        Result(request_id=f"r-{number}", outcome=outcome)
        for number, outcome in enumerate(outcomes)
    )


@given(ANY_RESULTS)
def test_results_behave_like_the_dict_they_are(given_results: list[Result]) -> None:
    """
    Everything that takes a mapping takes results: the last of equal IDs counts, in place.
    """
    expected = {result.request_id: result for result in given_results}

    results = Results(given_results)

    assert isinstance(results, Mapping)
    assert list(results) == list(expected)
    assert list(results.keys()) == list(expected)
    assert list(results.values()) == list(expected.values())
    assert list(results.items()) == list(expected.items())
    assert len(results) == len(expected)
    assert bool(results) is bool(expected)
    assert results == expected
    assert results == Results(expected.values())
    for key in "abcdefgh?":
        assert (key in results) is (key in expected)
        assert results.get(key) is expected.get(key)


@given(ANY_RESULTS)
def test_each_result_is_in_exactly_one_group(given_results: list[Result]) -> None:
    """
    Succeeded, failed, unfinished: nothing is counted twice and nothing is forgotten.
    """
    results = Results(given_results)
    groups = [results.succeeded, results.failed, results.unfinished]

    assert sorted(result.request_id for group in groups for result in group) == sorted(results)
    assert results.ok is (len(results.succeeded) == len(results))
    assert len(results.to_dicts()) == len(results)
    assert [data["request_id"] for data in results.to_dicts()] == list(results)


def test_the_groups_keep_the_order_of_the_input() -> None:
    """
    Whoever prints a group wants it in the order in which the IDs were given.
    """
    results = _results(*Outcome)

    assert [result.outcome for result in results.succeeded] == [
        Outcome.SUCCEEDED,
        Outcome.PARTIALLY_SUCCEEDED,
    ]
    assert [result.outcome for result in results.failed] == [
        Outcome.FAILED,
        Outcome.INVALID,
        Outcome.UNRECOGNIZED,
        Outcome.NOT_FOUND,
        Outcome.REJECTED,
    ]
    assert [result.outcome for result in results.unfinished] == [
        Outcome.UNREACHABLE,
        Outcome.TIMED_OUT,
    ]
    assert repr(results) == "<Results: 2 succeeded, 5 failed, 2 unfinished>"


def test_an_unknown_id_is_a_key_error() -> None:
    """
    Asking for what was never waited for is a mistake, not a missing result.
    """
    with pytest.raises(KeyError, match="r-7"):
        _results(Outcome.FAILED)["r-7"]


def test_results_cannot_be_changed() -> None:
    """
    Several readers may hold them.
    """
    results = _results(Outcome.FAILED)

    with pytest.raises(TypeError):
        results["r-0"] = results["r-0"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        results.extra = 1  # type: ignore[attr-defined]


def test_nothing_is_raised_where_everything_is_ok() -> None:
    """
    A partial success is a success; so is nothing at all.
    """
    _results(Outcome.SUCCEEDED, Outcome.PARTIALLY_SUCCEEDED).raise_for_failures()
    Results().raise_for_failures()

    assert Results().ok


def test_failures_are_raised_as_one_group() -> None:
    """
    One error per request that is not ok, the unfinished included, in input order.
    """
    results = _results(*Outcome)

    with pytest.raises(ExceptionGroup) as caught:
        results.raise_for_failures()

    group = caught.value
    assert group.message == "7 of 9 requests did not succeed"
    assert [
        (error.request_id, error.outcome)
        for error in group.exceptions
        if isinstance(error, RequestFailedError)
    ] == [(f"r-{number}", outcome) for number, outcome in enumerate(Outcome) if number > 1]
    errors = [error for error in group.exceptions if isinstance(error, RequestFailedError)]
    assert all(error.result is results[error.request_id] for error in errors)


def test_the_group_can_be_split_and_pickled() -> None:
    """
    ``except*`` and process pools both take the group apart and build it again.
    """
    results = _results(Outcome.FAILED, Outcome.TIMED_OUT)

    with pytest.raises(ExceptionGroup) as caught:
        results.raise_for_failures()

    other = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - made in this test
    assert other.message == "2 of 2 requests did not succeed"
    assert [error.result for error in other.exceptions] == list(results.values())
    failed, rest = caught.value.split(
        lambda error: isinstance(error, RequestFailedError) and error.outcome is Outcome.FAILED
    )
    assert failed is not None
    assert rest is not None
    assert [len(failed.exceptions), len(rest.exceptions)] == [1, 1]


def test_results_travel_with_the_errors_of_callbacks() -> None:
    """
    Jobs return them across processes; what a callback raised must not get lost there.
    """
    mistake = ValueError("disk full")
    results = Results(_results(Outcome.FAILED).values(), callback_errors={"r-0": mistake})

    for other in (
        pickle.loads(pickle.dumps(results)),  # noqa: S301 - made in this test
        copy.copy(results),
        copy.deepcopy(results),
    ):
        assert type(other) is Results
        assert other == results
        assert [(key, repr(error)) for key, error in other.callback_errors.items()] == [
            ("r-0", "ValueError('disk full')")
        ]


def test_the_errors_of_callbacks_are_a_copy() -> None:
    """
    The callbacks' own books may go on changing.
    """
    mutable: dict[str, Exception] = {}

    results = Results(callback_errors=mutable)
    mutable["r-0"] = ValueError()

    assert results.callback_errors == {}
    assert results.ok


def test_what_is_finished_is_acknowledged() -> None:
    """
    What may still end well has not arrived yet; what failed has.
    """
    written: list[list[str]] = []

    def acknowledge(request_ids: Iterable[str]) -> Awaitable[None]:
        written.append(list(request_ids))
        return on_disk()

    async def on_disk() -> None:
        written.append(["on disk"])

    async def scenario() -> None:
        results = Results(_results(*Outcome).values(), acknowledge=acknowledge)
        await results.ack_and_wait()

    run(scenario())
    assert written == [[f"r-{number}" for number in range(7)], ["on disk"]]


def test_without_a_journal_there_is_nothing_to_acknowledge() -> None:
    """
    Code that acknowledges runs unchanged without a journal, and on results from elsewhere.
    """

    def refuse(request_ids: Iterable[str]) -> Awaitable[None]:
        raise AssertionError("a copy acknowledges nothing")

    original = Results(_results(Outcome.FAILED).values(), acknowledge=refuse)

    async def scenario() -> None:
        await Results().ack_and_wait()
        await copy.copy(original).ack_and_wait()
        await pickle.loads(pickle.dumps(original)).ack_and_wait()  # noqa: S301 - made in this test

    run(scenario())
    copy.copy(original).ack()  # needs no loop and no await


def _shown(results: Results) -> tuple[list[list[str]], str]:
    """The rows of a notebook's view, and its text as a browser would show it."""

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.rows: list[list[str]] = []
            self.open: list[str] = []
            self.text = ""

        def handle_starttag(self, tag: str, attrs: object) -> None:
            assert tag in {"div", "table", "thead", "tr", "th", "td", "p"}
            self.open.append(tag)
            if tag == "tr":
                self.rows.append([])
            elif tag in {"td", "th"}:
                self.rows[-1].append("")

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

        def handle_data(self, data: str) -> None:
            self.text += data
            if self.open[-1] in {"td", "th"}:
                self.rows[-1][-1] += data

    reader = Reader()
    reader.feed(results._repr_html_())
    reader.close()
    assert not reader.open
    return reader.rows, reader.text


def test_a_notebook_shows_totals_and_what_went_wrong() -> None:
    """
    The last line of a cell tells at a glance how many ended how, and why.
    """
    rows, _ = _shown(
        Results(
            [
                *_results(Outcome.SUCCEEDED, Outcome.SUCCEEDED).values(),
                Result(
                    request_id="bad",
                    label="RUN JOB",
                    outcome=Outcome.FAILED,
                    response={"message": "no cluster", "secret": "s3cr3t"},
                ),
            ]
        )
    )

    assert rows == [
        ["outcome", "requests"],
        ["SUCCEEDED", "2"],
        ["FAILED", "1"],
        ["request ID", "label", "outcome", "reason"],
        ["bad", "RUN JOB", "FAILED", "no cluster"],
    ]
    assert _shown(_results(Outcome.SUCCEEDED))[0] == [["outcome", "requests"], ["SUCCEEDED", "1"]]
    assert _shown(Results()) == ([["outcome", "requests"]], "outcomerequests")


def test_what_a_notebook_shows_is_text() -> None:
    """
    A label is the user's and a reason is the server's: neither is HTML.
    """
    evil = "<script>alert('&amp;')</script>"

    rows, _ = _shown(
        Results(
            [
                Result(
                    request_id=evil, label=evil, outcome=Outcome.FAILED, response={"message": evil}
                )
            ]
        )
    )

    assert rows[-1] == [evil, evil, "FAILED", evil]


def test_what_a_notebook_shows_is_bounded() -> None:
    """
    A cell with 5,000 rows, or with a reason of megabytes, makes a notebook unusable.
    """
    results = Results(
        Result(request_id=f"r-{number}", outcome=Outcome.FAILED, response={"message": "x" * 9999})
        for number in range(5000)
    )

    rows, text = _shown(results)

    assert len(rows) == 2 + 1 + 50
    assert rows[1] == ["FAILED", "5,000"]
    assert "4,950 more" in text
    assert len(results._repr_html_()) < 30_000


def test_no_label_turns_the_text_of_a_notebook() -> None:
    """
    With U+202E in it, a label would show what follows it backwards.
    """
    result = Result(request_id="r", label="a\u202eb\u2066\n", outcome=Outcome.FAILED)

    assert _shown(Results([result]))[0][-1][1] == "a b  "


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_results_are_pickled_with_every_protocol(protocol: int) -> None:
    """
    Queues and caches choose their own, and some are old.
    """
    results = Results([Result(request_id="a", outcome=Outcome.FAILED)])
    pooled = PoolResults({"p": results}, errors={"q": OutageError("gone")})

    assert pickle.loads(pickle.dumps(results, protocol)) == results  # noqa: S301 - our own
    again: PoolResults = pickle.loads(pickle.dumps(pooled, protocol))  # noqa: S301 - our own
    assert again == pooled
    assert str(again.errors["q"]) == "gone"
