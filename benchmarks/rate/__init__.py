"""
The parts of `benchmarks/budget.py`: servers that enforce, clients that spend, and the judge.
"""
