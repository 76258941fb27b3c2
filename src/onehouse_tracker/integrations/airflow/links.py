"""
The link of a task to its report.
"""

from __future__ import annotations

from typing import Any, Final

from onehouse_tracker.integrations.airflow._airflow import AIRFLOW_3, BaseOperatorLink, read_xcom

__all__ = ["REPORT_KEY", "OnehouseReportLink"]

REPORT_KEY: Final = "onehouse_report_url"
"""Under which key a task pushes the address of its report."""


class OnehouseReportLink(BaseOperatorLink):
    """Leads to the report that the task names with ``report_url``."""

    name = "Report"

    @property
    def xcom_key(self) -> str:
        """Under which key Airflow 3 keeps the link itself."""
        return "onehouse_report_link"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address; an empty string where the task has no report."""
        if AIRFLOW_3:
            # The worker calls this, where the template is filled in, and keeps the result.
            return operator.report_url or ""
        return str(read_xcom(REPORT_KEY, ti_key) or "")
