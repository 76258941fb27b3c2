"""
Bridges to other systems; each needs an extra of its own and is imported by its full name.
"""
