"""
The polls: the dispatcher that sends them, what follows from each reply, and who is told.
"""
