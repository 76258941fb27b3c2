"""
What HTTP may do to us: connections, and what bodies, replies and headers mean.
"""
