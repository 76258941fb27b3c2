"""
Where credentials and settings can stand, and what was found there.
"""
