"""
The judge of the headline benchmark: a benchmark that cannot be missed proves nothing.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import headline
from benchmarks.headline import Known, Score, missed, score, table

GOOD = Score(lost=0, refused=0, requests=400, delay_p50_s=1.0, delay_max_s=2.0, returned_s=2.5)


def _report(count: int) -> dict[str, Any]:
    ended_at = {f"r{number}": 1000.0 + number for number in range(count)}
    return {"requests": 7, "refused": 1, "ended_at": ended_at}


def test_a_delay_runs_from_the_end_at_the_server() -> None:
    """
    The client's own idea of when a request ended does not count.
    """
    known = Known({f"r{number}": 1000.5 + 2 * number for number in range(100)}, 1201.0)

    assert score(_report(100), known) == Score(
        lost=0, refused=1, requests=7, delay_p50_s=50.0, delay_max_s=99.5, returned_s=102.0
    )


def test_what_the_client_does_not_know_is_lost() -> None:
    """
    Whoever loses the slow ones must not look fast: there is no time to return then.
    """
    judged = score(_report(90), Known({"r1": 1002.0}, 1003.0))

    assert (judged.lost, judged.delay_max_s, judged.returned_s) == (99, 1.0, None)


def test_a_client_that_knows_nothing_has_no_delay() -> None:
    """
    No delay is not a delay of zero.
    """
    judged = score(_report(100), Known({}, 1003.0))

    assert (judged.lost, judged.delay_p50_s, judged.delay_max_s) == (100, None, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lost": 1}, "tracker: 1 lost, not 0"),
        ({"refused": 2}, "tracker: 2 refused, not 0"),
        ({"delay_max_s": 12.1}, "tracker: delay_max_s 12.1, not at most 12"),
        ({"returned_s": 12.1}, "tracker: returned_s 12.1, not at most 12"),
        ({"returned_s": None}, "tracker: returned_s None, not at most 12"),
    ],
)
def test_each_promise_that_is_not_kept_is_named(changes: dict[str, Any], said: str) -> None:
    """
    ``--check`` must say what was missed, not only that something was.
    """
    scores = {"tracker": replace(GOOD, **changes), "tracker_spread": GOOD, "sdk": None}

    assert missed(scores) == [said]


def test_the_spread_case_has_a_limit_of_its_own() -> None:
    """
    Only requests that all end together may take a whole round.
    """
    scores = {"tracker": GOOD, "tracker_spread": replace(GOOD, returned_s=3.1)}

    assert missed(scores) == ["tracker_spread: returned_s 3.1, not at most 3"]


def test_a_contestant_of_ours_that_did_not_run_is_missed() -> None:
    """
    Skipping is for the vendor's SDK, which may not be installable.
    """
    assert missed({"tracker": GOOD}) == ["tracker_spread: did not run"]


def test_the_table_says_who_was_skipped() -> None:
    """
    A missing comparison must not look like one that was never meant to be.
    """
    lines = table({"tracker": GOOD, "sdk": None}).splitlines()

    assert lines[1].split() == ["tracker", "0", "0", "400", "1.00", "s", "2.00", "s", "2.50", "s"]
    assert lines[2].split() == ["sdk", "skipped"]


def test_a_failed_installation_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    Without the SDK the benchmark still measures us, and says what is missing.
    """
    vendor = tmp_path / "vendor"
    monkeypatch.setattr(headline, "VENDOR", vendor)
    monkeypatch.setattr(headline, "VENDOR_PYTHON", vendor / "bin" / "python")
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))

    assert headline.install_sdk().startswith("the vendor's SDK cannot be installed into vendor")
