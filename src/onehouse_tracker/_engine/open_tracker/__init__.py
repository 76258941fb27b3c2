"""
One opened tracker, and what is done with it: joining, waiting, submitting, resuming.
"""
