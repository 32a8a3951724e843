"""Who may ask, and how much.

limits.py        rates and slots, taken in one step; in memory
redis_limits.py  the same, in a Redis that processes share (its scripts beside it)
fare.py          what one answer costs: tokens, and a stream at once
guesses.py       keys and tickets that nobody has, counted by address
"""
