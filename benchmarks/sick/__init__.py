"""
Parts of `benchmarks/isolation.py`: ways of being sick, runs, other trouble, limits, tables.
"""
