"""Who may ask, and how much.

keys.py                  what a key looks like, and its digest
new_key.py               what an administrator asks for
key_auth.py              authentication by keys: the parts below, put together
key_store.py             keys are issued, listed and revoked
key_cache.py             keys that were shown lately, with a bound on their age
revocation_watcher.py    ends what a dead key began
guesses.py               keys and tickets that nobody has, counted by address
tickets.py               one-minute tickets for browsers; in memory
redis_tickets.py         the same, in a Redis that processes share
limits.py                rates and slots, taken in one step; in memory
redis_limits.py          the same, in a Redis that processes share
redis_limits_scripts.py  its scripts
answer_charge.py         what one answer costs: tokens, and a stream at once
"""
