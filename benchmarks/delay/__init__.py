"""
What the detection-delay benchmark is made of: its workloads and its contestants.
"""
