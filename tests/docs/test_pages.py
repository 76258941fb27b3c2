"""
Every block of code of the documentation does what the page says.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

from onehouse_tracker.testing import (
    Kind,
    RunKind,
    RunningSimulator,
    SimulatedJobs,
    SimulatedProject,
    SimulatorServer,
)
from tests.docs.pages import PAGES, Block, blocks_of
from tests.docs.visit import Visit

BLOCKS = [block for page in PAGES for block in blocks_of(page) if block.says_something]

VisitOf: TypeAlias = Callable[[Path], Visit]


@pytest.fixture(scope="module")
def visit_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VisitOf]:
    """
    A reader for each page, and one service for all: what they submit ends soon.
    """
    project = SimulatedProject(
        kinds=[Kind(label="", duration=0.1)],
        jobs=SimulatedJobs(kinds=[RunKind(queued=0, duration=0.5)], cancel_takes=0.1),
    )
    with RunningSimulator(SimulatorServer(project)) as simulator, ExitStack() as readers:

        @cache
        def visit_of(page: Path) -> Visit:
            home = tmp_path_factory.mktemp(page.stem)
            return readers.enter_context(Visit(home, simulator.environ))

        yield visit_of


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_does_what_the_page_says(block: Block, visit_of: VisitOf) -> None:
    """
    What a new user copies must work as it stands, after all that stands above it.

    What cannot run is listed by each run with its reason, so that nobody takes it for checked.
    """
    if "not run" in block.markers:
        pytest.skip(block.markers["not run"])
    # Whoever picks one block has all above it done in one test: more than one test may take.
    # None of them can hang, because each has a limit of its own.
    faulthandler.cancel_dump_traceback_later()
    visit = visit_of(block.page)
    for one in blocks_of(block.page):
        if one.line <= block.line:
            visit.do(one)
