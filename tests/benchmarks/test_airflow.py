"""
What `benchmarks/airflow.py` derives, and where it writes its tables.
"""

from pathlib import Path

import pytest

from benchmarks import airflow
from benchmarks.pages import begin

PAGE = Path(__file__).parents[2] / "docs/how-to/airflow.md"

FEW = {
    "tasks": 8,
    "slots": 4,
    "wall_s": 120.0,
    "slot_s": 400.0,
    "lost": 1,
    "refused": 1,
    "requests": 64,
    "first_failure": None,
    "derived": False,
}


def test_many_tasks_are_derived_from_a_few() -> None:
    """
    In rounds of as many as there are slots, the last of them not full; what got lost by chance
    is not multiplied.
    """
    found = airflow.derive(FEW, 50)

    assert found["wall_s"] == 13 * 60.0
    assert found["slot_s"] == 2500.0
    assert found["requests"] == 400
    assert found["lost"] is None
    assert airflow.table({"sensors": found}, airflow.NAMES_OF_JOBS, "jobs").splitlines()[2] == (
        "| the vendor's operator and sensor, derived | 50 | 4 | 780 s | 2,500 | 400 |  |"
    )


def test_the_shortest_deferral_is_part_of_its_row() -> None:
    """
    In Airflow 2.11 there is none.
    """
    row = {"airflow": "3.3.2", "min_deferral_s": 8.0, "tasks": 200, "failed": 0, "twice": 0}
    both = {"3": {**row, "wall_s": 406.5}, "2": {**row, "min_deferral_s": None, "wall_s": 1.0}}

    lines = airflow.mapped_table(both).splitlines()

    assert lines[2] == "| 3.3.2 | 8 s | 200 | 0 | 0 | 406 s |"
    assert lines[3].startswith("| 3.3.2 | none |")


@pytest.mark.parametrize("options", ["", " --jobs", " --mapped"])
def test_the_page_has_a_place_for_each_table(options: str) -> None:
    """
    So that ``--page`` finds it.
    """
    assert begin(f"airflow.py{options}") in PAGE.read_text(encoding="utf-8")
