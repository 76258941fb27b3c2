"""
What Airflow reads about this package: ``airflow providers get onehouse-tracker``.
"""

from __future__ import annotations

from typing import Any

from onehouse_tracker import __version__
from onehouse_tracker.integrations.airflow._form import FIELDS, HIDDEN, LABELS, PLACEHOLDERS

__all__ = ["get_provider_info"]

_PACKAGE = "onehouse_tracker.integrations.airflow"


def get_provider_info() -> dict[str, Any]:
    """Describe the provider; Airflow calls it by its entry point."""

    def modules(*names: str) -> list[dict[str, Any]]:
        found = [f"{_PACKAGE}.{name}" for name in names]
        return [{"integration-name": "Onehouse", "python-modules": found}]

    return {
        "package-name": "onehouse-tracker",
        "name": "Onehouse Tracker",
        "description": "Submits SQL to Onehouse, defers, and tracks it within one rate limit.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "Onehouse",
                "external-doc-url": "https://docs.onehouse.ai/",
                "tags": ["service"],
            }
        ],
        "connection-types": [
            {
                "connection-type": "onehouse",
                "hook-class-name": f"{_PACKAGE}.hook.OnehouseHook",
                "hook-name": "Onehouse",
                # Airflow 3.2 and later read the form from here; the hook has it for those before.
                "conn-fields": {field.name: _described(field) for field in FIELDS},
                "ui-field-behaviour": {
                    "hidden-fields": list(HIDDEN),
                    "relabeling": dict(LABELS),
                    "placeholders": dict(PLACEHOLDERS),
                },
            }
        ],
        "hooks": modules("hook"),
        "operators": modules("operators", "jobs"),
        "sensors": modules("sensors", "jobs"),
        "triggers": modules("trigger", "run_trigger"),
        "extra-links": [f"{_PACKAGE}.links.OnehouseReportLink"],
    }


def _described(field: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": ["string", "null"]}
    if field.is_secret:
        schema["format"] = "password"
    described: dict[str, Any] = {"label": field.label, "schema": schema}
    if field.description:
        described["description"] = field.description

    return described
