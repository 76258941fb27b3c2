"""
What Airflow is told about this package: ``airflow providers get onehouse-tracker``.
"""

from __future__ import annotations

from typing import Any

from onehouse_tracker import __version__

__all__ = ["get_provider_info"]

_PACKAGE = "onehouse_tracker.integrations.airflow"


def get_provider_info() -> dict[str, Any]:
    """Describe the provider; Airflow calls it by its entry point."""

    def modules(name: str) -> list[dict[str, Any]]:
        return [{"integration-name": "Onehouse", "python-modules": [f"{_PACKAGE}.{name}"]}]

    return {
        "package-name": "onehouse-tracker",
        "name": "Onehouse Tracker",
        "description": "Submits SQL to Onehouse, defers, and follows it within one budget.",
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
            }
        ],
        "hooks": modules("hook"),
        "operators": modules("operators"),
        "sensors": modules("sensors"),
        "triggers": modules("trigger"),
        "extra-links": [f"{_PACKAGE}.links.OnehouseReportLink"],
    }
