"""
Every block of code of the documentation does what the page says.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onehouse_tracker.testing import Kind, RunningSimulator, SimulatedProject, SimulatorServer
from tests.docs.pages import PAGES, Block, blocks_of, name_of
from tests.docs.visit import Visit

NOT_RUN = [block for page in PAGES for block in blocks_of(page) if "not run" in block.markers]


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    """
    One service for all pages: what they submit ends soon, and nothing is refused.
    """
    project = SimulatedProject(kinds=[Kind(label="", duration=0.1)])
    with RunningSimulator(SimulatorServer(project)) as running:
        yield running


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_block_does_what_the_page_says(
    page: Path, simulator: RunningSimulator, tmp_path: Path
) -> None:
    """
    What a new user copies must work as it stands.
    """
    with Visit(tmp_path, simulator.environ) as visit:
        for block in blocks_of(page):
            visit.do(block)


@pytest.mark.parametrize("block", NOT_RUN, ids=str)
def test_a_block_that_is_not_run_has_a_reason(block: Block) -> None:
    """
    Each run lists them, so that nobody takes them for checked.
    """
    pytest.skip(block.markers["not run"])
