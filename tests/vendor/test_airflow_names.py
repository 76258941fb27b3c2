"""
What the page about Airflow says of the vendor's provider, beside the provider itself.
"""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.vendor.conftest import CREDENTIALS, ROOT, Run

PROGRAM = Path(__file__).parent / "clients" / "airflow_names.py"
PAGE = (ROOT / "docs/how-to/airflow.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Coming from the vendor's provider")[2]
ROWS = re.findall(r"^\| `(Onehouse\w+\(.*\))` \| `([A-Z]{2}.*)` \|$", SECTION, re.MULTILINE)
"""An operator of the provider's, and the statement that the page has for it."""

JOBS = ROOT / "src/onehouse_tracker/integrations/airflow/jobs.py"


@pytest.fixture
async def told(run: Run, tmp_path: Path) -> dict[str, Any]:
    """What the provider has, and sends."""
    extra = {"user_id" if name == "user_uid" else name: it for name, it in CREDENTIALS.items()}
    connection = {"conn_type": "generic", "host": "http://127.0.0.1:9", "extra": extra}
    answers = tmp_path / "answers"
    ran = await run(
        ".venv-vendor-airflow/bin/python",
        PROGRAM,
        answers,
        environment={
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW_CONN_ONEHOUSE_DEFAULT": json.dumps(connection),
        },
        stdin=json.dumps([made for made, _ in ROWS]),
    )
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(answers.read_text(encoding="utf-8"))
    return found


def _arguments(name: str) -> set[str]:
    """The arguments of a class of ours, without those of its bases."""
    tree = ast.parse(JOBS.read_text(encoding="utf-8"))
    [made] = [one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == name]
    [init] = [
        one for one in made.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"
    ]
    return {one.arg for one in init.args.kwonlyargs}


async def test_the_page_has_all_that_the_provider_has(told: dict[str, Any]) -> None:
    """
    Each operator and sensor has something beside it, and each statement is the one that the
    provider sends.
    """
    names = re.findall(r"^\| `(Onehouse\w+)\(", SECTION, re.MULTILINE)
    assert set(told["arguments"]) == set(names) - {"OnehouseHook"}
    assert len(ROWS) == 6
    assert [" ".join(one.split()) for one in told["statements"]] == [ours for _, ours in ROWS]


async def test_what_has_the_same_name_takes_the_same_arguments(told: dict[str, Any]) -> None:
    """
    So that a DAG changes its imports and nothing else.
    """
    same = {
        "OnehouseRunJobOperator": {"conn_id"},  # in the base of ours
        "OnehouseJobRunSensor": set(),
        "OnehouseCancelJobRunOperator": set(),
    }
    for name, inherited in same.items():
        theirs = set(told["arguments"][name]) - {"args", "kwargs"}
        assert theirs <= _arguments(name) | inherited
