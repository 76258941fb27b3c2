"""
Reports: one HTML file that shows what was followed, how it ended, and why.

A `ReportObserver` is an observer that keeps what a report needs; `write_report` makes the file of
it, of a journal, or of results of requests or runs.  Rendering needs the extra ``report``,
recording does not.
"""

from __future__ import annotations

from onehouse_tracker.report._files import check_report_path, write_report
from onehouse_tracker.report._observer import ReportObserver
from onehouse_tracker.report._render import check_renderer, render
from onehouse_tracker.report._stored import journal_view, results_view, run_results_view
from onehouse_tracker.report._view import View

__all__ = [
    "ReportObserver",
    "View",
    "check_renderer",
    "check_report_path",
    "journal_view",
    "render",
    "results_view",
    "run_results_view",
    "write_report",
]
