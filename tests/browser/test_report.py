"""
Reports in a real browser: people find what went wrong, whatever the size and the screen.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from onehouse_tracker import Outcome, Result, Results
from onehouse_tracker.report import write_report
from tests.browser.conftest import Visitor
from tests.report.batches import FAILING, NOON, batch

EVIL = "<script>document.title='evil'</script><img src=x onerror=\"document.title='evil'\">"


# Made before there is a browser: Playwright keeps a loop running in this thread from then on.
@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """
    Reports of runs of three sizes.
    """
    directory = tmp_path_factory.mktemp("reports")
    made = {}
    for count, failures in ((300, 20), (500, 12), (5000, 60)):
        recording, _, delays = batch(count, failures, trouble=count == 300)
        made[count] = directory / f"{count}.html"
        write_report(made[count], recording, title=f"Batch of {count}", delays=delays)
    return made


def first_column(page: Page) -> list[str]:
    """The request IDs that the table shows."""
    return page.locator("#lines th").all_inner_texts()


def luminance(page: Page, selector: str = "body") -> float:
    """How bright the background is, from 0 to 255."""
    color = page.eval_on_selector(selector, "e => getComputedStyle(e).backgroundColor")
    return sum(int(part) for part in color[4:-1].split(",")[:3]) / 3


def test_the_failing_labels_and_reasons_stand_first(
    visitor: Visitor, files: dict[int, Path]
) -> None:
    """
    300 requests, 20 failures: without a click, on the first screen, is what went wrong.
    """
    page = visitor.open(files[300])

    groups = page.locator("#groups tbody tr")
    expect(groups).to_have_count(3)
    texts = groups.all_inner_texts()
    for label, reason in FAILING:
        assert any(label in text and reason in text for text in texts)
    assert sum(int(text.split()[0]) for text in texts) == 20
    box = groups.last.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900

    groups.first.get_by_role("button").click()

    expect(page.locator("#found")).to_have_text(f"{texts[0].split()[0]} of 300 requests")
    shown = page.locator("#lines tr").all_inner_texts()
    assert len(shown) == int(texts[0].split()[0])
    assert len({text.split("\t")[3] for text in shown}) == 1


@pytest.mark.parametrize("count", [500, 5000])
def test_search_and_filters_leave_what_was_asked_for(
    visitor: Visitor, files: dict[int, Path], count: int
) -> None:
    """
    In the table and in the timeline, within the time in which a key is pressed again.
    """
    page = visitor.open(files[count])
    found = page.locator("#found")
    expect(found).to_have_text(f"{count:,} requests")
    somebody = page.locator("#lines th").nth(7).inner_text()

    page.get_by_label("Search").fill(somebody)
    expect(found).to_have_text(f"1 of {count:,} requests")
    assert first_column(page) == [somebody]

    page.get_by_label("Search").fill("EXISTS ALREADY")  # a reason, in whatever case
    failing = page.evaluate("document.querySelector('#found').textContent")
    assert 0 < int(failing.split()[0]) < 60

    page.get_by_role("button", name="Show all").click()
    page.get_by_label("Outcome", exact=True).select_option("FAILED")
    assert set(page.locator("#lines .state").all_inner_texts()) == {"FAILED"}
    page.get_by_label("Label", exact=True).select_option("=RUN JOB")
    assert set(page.locator("#lines .label").all_inner_texts()) == {"RUN JOB"}

    page.get_by_label("Search").fill("no such thing")
    expect(page.locator("#page")).to_have_text("no request matches")
    expect(found).to_have_text(f"0 of {count:,} requests")


def test_five_thousand_requests_are_drawn_quickly(
    visitor: Visitor, files: dict[int, Path]
) -> None:
    """
    Few elements, whatever the number of requests; a picture of the timeline in one frame.
    """
    began = time.monotonic()
    page = visitor.open(files[5000])
    expect(page.locator("#found")).to_have_text("5,000 requests")
    took = time.monotonic() - began

    assert took < 4
    assert page.evaluate("document.querySelectorAll('*').length") < 1500
    spent = page.evaluate(
        """() => {
            const began = performance.now();
            for (let n = 0; n < 5; n += 1) document.querySelector("#timeline").scrollTop = n;
            document.querySelector("#rows-in").click();
            document.querySelector("#rows-out").click();
            return performance.now() - began;
        }"""
    )
    assert spent < 500


def test_the_timeline_shows_every_failure_and_can_be_zoomed(
    visitor: Visitor, files: dict[int, Path]
) -> None:
    """
    Where a line is thinner than a pixel, a failure must be seen all the same.
    """
    page = visitor.open(files[5000])

    def bars() -> Counter[str]:
        return Counter(
            page.eval_on_selector_all(
                "#timeline path[stroke]",
                """paths => paths.flatMap(path =>
                    Array(path.getAttribute('d').split('M').length - 1)
                        .fill(path.getAttribute('stroke')))""",
            )
        )

    fitted = bars()
    assert fitted["var(--FAILED, var(--not-ok))"] >= 60
    assert page.locator("#timeline svg").get_attribute("aria-label") is not None

    for _ in range(8):
        page.locator("#rows-in").click(force=True)
    expect(page.locator("#rows-in")).to_be_disabled()
    assert 10 < page.locator("#timeline .name").count() < 60
    first = page.locator("#timeline .name").first.text_content()
    page.locator("#timeline").focus()
    page.keyboard.press("End")
    expect(page.locator("#timeline .name").first).not_to_have_text(str(first))

    page.locator("#rows-fit").click()
    expect(page.locator("#rows-out")).to_be_disabled()
    page.wait_for_timeout(300)  # the browser moves smoothly, and may still be on its way
    assert bars() == fitted
    sizes = page.eval_on_selector("#timeline", "e => [e.scrollHeight, e.clientHeight]")
    assert sizes[0] == sizes[1]  # where all lines fit there is nothing to scroll


def test_a_line_of_the_timeline_names_its_request(
    visitor: Visitor, files: dict[int, Path]
) -> None:
    """
    Pointing tells, clicking shows it in the table.
    """
    page = visitor.open(files[300])
    box = page.locator("#timeline").bounding_box()
    assert box is not None

    page.locator("#timeline").hover(position={"x": 80, "y": 200})
    told = page.locator("#pointed").inner_text()
    page.locator("#timeline").click(position={"x": 80, "y": 200})

    expect(page.locator("#found")).to_have_text("1 of 300 requests")
    assert first_column(page)[0] in told


def test_everything_can_be_reached_with_the_keyboard(
    visitor: Visitor, files: dict[int, Path]
) -> None:
    """
    No mouse: skip, search, choose, sort, turn the page; and where one is can be seen.
    """
    page = visitor.open(files[500])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "search"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.type("run job")
    expect(page.locator("#found")).to_contain_text("of 500 requests")

    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"state", "label", "reset", "rows-in", "timeline", "by-waited", "next"} <= reached

    page.locator("#by-waited").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "by-waited"
    head = page.locator("th", has=page.locator("#by-waited"))
    expect(head).to_have_attribute("aria-sort", "descending")
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    page.locator("#next").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#page")).to_contain_text("page 2 of ")


def test_a_screen_reader_finds_landmarks_headings_and_descriptions(
    visitor: Visitor, files: dict[int, Path]
) -> None:
    """
    Every chart says in words what it shows, and every table what its columns are.
    """
    page = visitor.open(files[300])

    for name in ("Summary", "What went wrong", "Requests", "Outcomes by label"):
        expect(page.get_by_role("region", name=name)).to_be_visible()
    expect(page.get_by_role("main")).to_be_visible()
    expect(page.get_by_role("search")).to_be_visible()
    images = page.get_by_role("img", name="Requests by outcome: SUCCEEDED")
    expect(images).to_be_visible()
    expect(page.get_by_role("img", name="Waiting, p50")).to_be_visible()
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, input, select, svg[role=img]')]
            .filter(e => !e.closest('.spare') && e.offsetParent !== null)
            .filter(e => !e.getAttribute('aria-label') && !e.textContent.trim())
            .filter(e => !e.labels?.length)
            .map(e => e.outerHTML)"""
    )
    assert unnamed == []
    assert page.locator("th:not([scope])").count() == 0

    budget = page.locator("#budget-chart details")
    budget.locator("summary").click()
    polls = budget.locator("tbody td:nth-child(2)").all_inner_texts()
    assert sum(int(text) for text in polls) == int(
        page.locator("#tiles dd").nth(4).inner_text().replace(",", "")
    )


@pytest.mark.parametrize("width", [400, 1400])
def test_light_and_dark_follow_the_system_and_the_switch(
    visitor: Visitor, files: dict[int, Path], width: int
) -> None:
    """
    And the page is never wider than the screen.
    """
    for scheme, bright in (("light", True), ("dark", False)):
        page = visitor.open(files[300], scheme=scheme, width=width)
        assert (luminance(page) > 128) is bright
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("button", name="Theme: auto").click()
        assert luminance(page) > 128
        page.get_by_role("button", name="Theme: light").click()
        assert luminance(page) < 128
        page.reload()
        expect(page.locator("#theme")).to_have_text("Theme: dark")  # it is remembered


def test_markup_in_a_label_or_a_reason_stays_text(visitor: Visitor, tmp_path: Path) -> None:
    """
    A statement may hold anything; here it is shown, not run.
    """
    result = Result(
        request_id=f"id {EVIL}",
        label=EVIL,
        outcome=Outcome.FAILED,
        response={"message": f"reason {EVIL}"},
        first_polled_at=NOON,
        detected_at=NOON,
        waited=1.0,
        polls=1,
    )
    path = tmp_path / "evil.html"
    write_report(path, Results([result]), title=f"title {EVIL}")

    page = visitor.open(path)

    assert page.title() == f"title {EVIL}"
    expect(page.locator("h1")).to_have_text(f"title {EVIL}")
    expect(page.locator("#lines th")).to_have_text(f"id {EVIL}")
    expect(page.locator("#lines .reason")).to_have_text(f"reason {EVIL}")
    expect(page.locator("#groups tbody th")).to_have_text(EVIL)
    page.get_by_role("button", name="Show 1 request").click()
    page.locator("#timeline").hover(position={"x": 40, "y": 30})
    assert EVIL in page.locator("#pointed").inner_text()
    assert page.locator("img").count() == 0


def test_a_file_that_was_tampered_with_runs_nothing_of_it(
    visitor: Visitor, files: dict[int, Path], tmp_path: Path
) -> None:
    """
    The policy in the file allows its own script only, and no request to anybody.
    """
    path = tmp_path / "tampered.html"
    text = files[300].read_text()
    added = "<script>document.title='evil'</script><img src='http://127.0.0.1:9/x'>"
    path.write_text(text.replace("</main>", f"{added}</main>"))

    page = visitor.open(path)

    assert page.title() == "Batch of 300"
    assert len(visitor.complaints) == 2  # Chromium says what it refused
    assert all("Content Security Policy" in text for text in visitor.complaints)
    assert visitor.requests == [path.as_uri()]
    visitor.complaints.clear()


def test_the_facts_are_there_without_scripts(visitor: Visitor, files: dict[int, Path]) -> None:
    """
    As a build server shows it that allows none.
    """
    page = visitor.open(files[300], script=False)

    expect(page.get_by_role("table", name="Requests that are not ok")).to_contain_text(
        "job orders_daily has no cluster assigned"
    )
    expect(page.locator("#summary")).to_be_hidden()


def test_paper_gets_all_that_the_filter_leaves(visitor: Visitor, files: dict[int, Path]) -> None:
    """
    On paper there is no next page, and no dark.
    """
    page = visitor.open(files[500], scheme="dark")
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")

    assert page.locator("#lines tr").count() == 500
    expect(page.locator("#filter")).to_be_hidden()
    assert page.pdf().startswith(b"%PDF")

    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("#lines tr").count() == 25
