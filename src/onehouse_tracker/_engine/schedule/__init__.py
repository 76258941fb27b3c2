"""
When each request is due for its next poll, and which of those that are due goes first.
"""
