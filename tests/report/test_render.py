"""
The report as a file: self-contained, escaped, readable without scripts, and written whole.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import (
    ConfigError,
    JournalError,
    JournalReader,
    Outcome,
    Request,
    Result,
    Results,
    RunOutcome,
    SqliteJournal,
    Tracker,
    report,
)
from onehouse_tracker.errors import SubmissionRejectedError
from onehouse_tracker.report import (
    ReportObserver,
    journal_view,
    render,
    results_view,
    write_report,
)
from onehouse_tracker.report._render import page_json
from onehouse_tracker.report._view import STATES, named_rows
from onehouse_tracker.testing import InlineExecutor, ScriptedSource
from onehouse_tracker.testing.scripted import hang
from tests.report.batches import FAILING, NOON, batch
from tests.support import FAILED, PENDING, SUCCESS, run

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028&amp;'\""


class Page(HTMLParser):
    """What a parser finds in a file."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.texts.append((self._inside, data))

    def data(self) -> dict[str, Any]:
        """What is embedded for the script."""
        (start,) = [
            index
            for index, (tag, attributes) in enumerate(
                item for item in self.elements if item[0] == "script"
            )
            if attributes.get("type") == "application/json"
        ]
        scripts = [text for tag, text in self.texts if tag == "script" and text.strip()]
        found: dict[str, Any] = json.loads(scripts[start])
        return found


def bad_results() -> Results:
    """One request whose every word is hostile."""
    return Results(
        [
            Result(
                request_id=EVIL,
                label=EVIL,
                outcome=Outcome.FAILED,
                response={"message": EVIL},
                detected_at=NOON,
                waited=1.0,
            )
        ]
    )


def test_no_label_turns_the_text_around_it() -> None:
    """
    With U+202E in it, a label would show what follows it backwards.
    """
    label = "abc\u202ecba\u2066\u200f\ufeff"
    result = Result(request_id="r", label=label, outcome=Outcome.FAILED, detected_at=NOON)
    page = render(results_view(Results([result])))

    assert "abc cba" in page
    for character in label[3::4] + label[-3:]:
        assert character not in page
        assert f"\\u{ord(character):04x}" not in page


def test_nothing_that_a_server_says_becomes_markup() -> None:
    """
    Labels, IDs and reasons come from others; in a report they are text, and only text.
    """
    page = Page(render(results_view(bad_results()), title=EVIL))

    assert [tag for tag, _ in page.elements].count("script") == 2  # the data and ours
    assert "img" not in {tag for tag, _ in page.elements}
    (row,) = named_rows(page.data())
    assert row["request_id"] == row["label"] == EVIL.replace("\u2028", " ")
    assert "<script>alert(1)" in row["reason"]
    assert ("h1", EVIL) in page.texts or EVIL in "".join(
        text for tag, text in page.texts if tag == "h1"
    )


def test_json_in_a_page_holds_nothing_that_html_reads() -> None:
    """
    Not even the end of a comment, nor a line separator, which old browsers take for a line end.
    """
    text = page_json({"<a>": "<!-- --> & \u2028 \ud800"})

    assert not set("<>&") & set(text)
    assert text.isascii()
    assert json.loads(text) == {"<a>": "<!-- --> & \u2028 \ud800"}
    with pytest.raises(ValueError, match="Out of range"):
        page_json(float("nan"))


def test_a_file_names_no_address_and_allows_nothing_but_itself() -> None:
    """
    It opens from disk, in a train, and tells nobody that it was opened.
    """
    text = render(batch(30, 3)[0].view())
    page = Page(text)

    addresses = {
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "action", "data", "srcset", "poster"}
    }
    assert all(value and value.startswith(("#", "data:")) for value in addresses)
    assert set(re.findall(r"https?://[^\s'\"\\]+", text)) == {"http://www.w3.org/2000/svg"}
    (policy,) = [
        attributes["content"]
        for _, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "connect-src" not in policy


def test_the_policy_allows_the_script_and_the_style_that_are_there() -> None:
    """
    A hash of anything else would make the page a blank one.
    """
    text = render(results_view(Results()))
    script = text.rpartition("<script>")[2].partition("</script>")[0]
    style = text.partition("<style>")[2].partition("</style>")[0]

    for part in (script, style):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"sha256-{digest}" in text.replace("&#39;", "'").replace("&#43;", "+")


def test_failures_can_be_read_without_scripts() -> None:
    """
    Some servers of build results, and some people, forbid them.
    """
    recording, results, _ = batch(60, 6)
    text = render(recording.view())
    static = text.partition("<noscript>")[2].partition("</noscript>")[0]

    assert static.count(">FAILED</td>") == len(results.failed) == 6
    for label, reason in FAILING:
        assert f"<td>{label}</td>" in static
        assert reason.replace("<", "&lt;").replace(">", "&gt;") in static
    assert all(result.request_id in static for result in results.failed)


# --- What a journal and results tell -------------------------------------------------------


def test_a_journal_tells_everything_but_the_budget(tmp_path: Path) -> None:
    """
    What it does not know is not made up.
    """
    path = tmp_path / "t.db"
    moments = iter(NOON + timedelta(seconds=n) for n in range(1000))
    source = ScriptedSource(
        {"a": [PENDING, SUCCESS], "b": [FAILED], "c": [hang]},
        submissions=["a", SubmissionRejectedError("no such job", http_status=400)],
    )

    async def scenario() -> None:
        journal = SqliteJournal(path, executor=InlineExecutor())
        tracker = Tracker(source, journal=journal, wall_clock=lambda: next(moments))
        async with tracker:
            await tracker.submit("RUN JOB x", label="RUN JOB")
            with pytest.raises(SubmissionRejectedError):
                await tracker.submit("RUN JOB y")
            await tracker.wait_all([Request("a"), Request("b", label="<DDL>"), "c"], timeout=60)

    run(scenario())
    view = journal_view(JournalReader(path))

    rows = named_rows(view)
    states = {row["request_id"]: (row["label"], row["state"]) for row in rows}
    assert states == {
        "a": ("RUN JOB", "SUCCEEDED"),
        "b": ("<DDL>", "FAILED"),
        "c": (None, "PENDING"),
    }
    assert view["budget"] is None
    assert view["head"]["refusals"] is None
    (statement,) = view["statements"]
    assert statement["at"] >= 0
    assert statement == {
        "label": "RUN JOB",
        "state": "REFUSED",
        "reason": "no such job",
        "at": statement["at"],
    }
    times = rows[0]
    assert 0 <= times["joined"] <= times["first"] <= times["ended"] <= view["head"]["now"]

    write_report(tmp_path / "r.html", JournalReader(path))
    assert "&lt;DDL&gt;" in (tmp_path / "r.html").read_text()


def test_results_tell_when_requests_were_added_as_far_as_it_is_known() -> None:
    """
    A request that timed out and was never asked about has no times at all.
    """
    view = results_view(
        Results(
            [
                Result(
                    request_id="a",
                    outcome=Outcome.SUCCEEDED,
                    first_polled_at=NOON + timedelta(seconds=3),
                    detected_at=NOON + timedelta(seconds=9),
                    waited=9.0,
                    polls=2,
                ),
                Result(request_id="b", outcome=Outcome.TIMED_OUT, waited=9.0),
            ]
        )
    )

    times = [(row["joined"], row["first"], row["ended"]) for row in named_rows(view)]
    assert times == [(0.0, 3.0, 9.0), (None, None, None)]
    assert view["head"]["started_at"] == "2026-05-04T12:00:00.000+00:00"


# --- The file ------------------------------------------------------------------------------


def test_a_report_replaces_an_older_one_whole(tmp_path: Path) -> None:
    """
    Whoever reloads it in a browser meanwhile sees the old one or the new one.
    """
    path = tmp_path / "r.html"
    path.write_text("old")

    write_report(path, ReportObserver(), title="Nightly")

    assert "<h1>Nightly</h1>" in path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]


@pytest.mark.parametrize(
    ("path", "why"), [("", "is a directory"), ("missing/r.html", "no such directory")]
)
def test_a_path_that_cannot_be_written_is_told(tmp_path: Path, path: str, why: str) -> None:
    """
    By name, and with the reason.
    """
    with pytest.raises(ConfigError, match=why):
        write_report(tmp_path / path, ReportObserver())


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Half a report would look like a whole one.
    """
    path = tmp_path / "r.html"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ConfigError, match=r"cannot write the report .*r\.html: No space left"):
        write_report(path, ReportObserver())

    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]
    assert path.read_text() == "old"


def test_a_journal_that_is_none_is_told(tmp_path: Path) -> None:
    """
    In the words of the journal.
    """
    with pytest.raises(JournalError, match="no such file"):
        write_report(tmp_path / "r.html", JournalReader(tmp_path / "none.db"))


def test_recording_needs_no_extra_and_rendering_says_which() -> None:
    """
    A service records everywhere; the sentence stands where somebody wants the page.
    """
    program = """
import sys
sys.modules["jinja2"] = None
from onehouse_tracker import ConfigError
from onehouse_tracker.report import ReportObserver, check_renderer, render
view = ReportObserver().view()
for action in (check_renderer, lambda: render(view)):
    try:
        action()
    except ConfigError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )

    sentence = "a report or a live page needs Jinja2: pip install 'onehouse-tracker[report]'\n"
    assert done.stdout == 2 * sentence


def test_times_are_told_in_utc() -> None:
    """
    The browser shows them in its own zone.
    """
    local = datetime(2026, 5, 4, 14, tzinfo=UTC).astimezone()
    result = Result(request_id="a", outcome=Outcome.SUCCEEDED, detected_at=local)

    assert results_view(Results([result]))["head"]["started_at"] == "2026-05-04T14:00:00.000+00:00"


# --- What the page knows -------------------------------------------------------------------

PAGE = Path(report.__file__).parent / "page"


def test_a_page_is_told_what_its_rows_and_states_mean() -> None:
    """
    With every whole view: the page may be an older one that found a newer server.
    """
    empty = results_view(Results())
    recording = ReportObserver()
    whole = recording.view()

    for view in (empty, whole):
        assert {state["name"]: state["kind"] for state in view["states"]} == {
            **{str(each): "ok" if each.ok else "not ok" for each in (*Outcome, *RunOutcome)},
            "OPEN": "open",
            "PENDING": "pending",
        }
        assert [column["title"] for column in view["columns"] if column["title"]] == [
            "Request",
            "Label",
            "Outcome",
            "Job",
            "Run",
            "Reason",
            "Polls",
            "Checks",
            "Waited",
            "Time left",
            "Usually takes",
            "Late by at most",
            "Late by",
        ]
    changes = recording.view(since=whole["head"]["version"])
    assert not {"states", "columns"} & set(changes)


def test_no_script_names_a_state() -> None:
    """
    Only Python knows the outcomes: a script that named one would be a second source.
    """
    scripts = {path.name: path.read_text() for path in PAGE.rglob("*.mjs")}

    assert scripts
    for name, text in scripts.items():
        assert not re.findall(rf"\b({'|'.join(STATES)})\b", text), name


def test_every_color_is_that_of_a_state() -> None:
    """
    A state without a color of its own has that of its kind; a color of no state is a mistake.
    """
    style = (PAGE / "page.css").read_text()

    assert set(re.findall(r"--([A-Z_]+)\b", style)) <= set(STATES)
