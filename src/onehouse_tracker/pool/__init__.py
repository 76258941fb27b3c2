"""
Many projects in one process: each with credentials, limit and journal of its own.
"""

from onehouse_tracker.pool.tracker_pool import TrackerPool

__all__ = ["TrackerPool"]
