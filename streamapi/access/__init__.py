"""Who may use the API, and how much.

keys.py                  the form of a key, and its digest
new_key.py               the request for a new key, and its validation
key_auth.py              authentication by keys: builds and starts the parts below
key_store.py             issues, lists and revokes keys
key_cache.py             remembers keys that were looked up, for a bounded time
revocation_watcher.py    ends what a revoked or expired key started
guesses.py               limits wrong keys and tickets by address
tickets.py               one-minute tickets for browsers; the memory backend
redis_tickets.py         the backend in a Redis that several processes share
limits.py                rates and slots, taken in one atomic step; the memory backend
redis_limits.py          the backend in a Redis that several processes share
redis_limits_scripts.py  the scripts of that backend
limit_key.py             the name under which every limit counts a caller
answer_charge.py         the charge for one answer: tokens, and one of the open streams
bounded_dict.py          a dict that drops its oldest entry
"""
