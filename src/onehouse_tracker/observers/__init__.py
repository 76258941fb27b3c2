"""
What listens to events: log lines, telemetry, progress.
"""
