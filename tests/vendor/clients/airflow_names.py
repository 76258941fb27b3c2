"""
Say what the vendor's Airflow provider has, and which statements its operators send.

Runs in the vendor's environment, so it knows nothing of ours.  Stdin holds a list of expressions
that make operators; one JSON object goes to the file named on the command line: Airflow logs to
stdout.
"""

import importlib
import inspect
import json
import pkgutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import airflow_providers_onehouse as provider
from airflow.models import BaseOperator
from airflow_providers_onehouse.hooks.onehouse import OnehouseHook


class SubmittedError(Exception):
    """In place of a submission."""


def classes() -> dict[str, Any]:
    """All operators and sensors that people use, by their names."""
    modules = [
        importlib.import_module(one.name)
        for one in pkgutil.walk_packages(provider.__path__, f"{provider.__name__}.")
    ]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, BaseOperator) and "Base" not in name
    }


def statement_of(expression: str, names: dict[str, Any]) -> str:
    """The statement that an operator would submit."""
    sent: list[str] = []

    def submit(_: Any, sql: str) -> str:
        sent.append(sql)
        raise SubmittedError

    OnehouseHook.submit_sql = submit
    make = expression.replace("(", "(task_id='t', ", 1)
    with suppress(SubmittedError):
        eval(make, dict(names)).execute({})  # noqa: S307 - what the documentation shows
    return sent[0]


if __name__ == "__main__":
    found = classes()
    told = {
        "arguments": {
            name: [one for one in inspect.signature(value.__init__).parameters if one != "self"]
            for name, value in found.items()
        },
        "statements": [statement_of(one, found) for one in json.load(sys.stdin)],
    }
    Path(sys.argv[1]).write_text(json.dumps(told), encoding="utf-8")
