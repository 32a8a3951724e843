"""What survives a restart: tables, how they came to be, and the only SQL there is.

tables.py      what is kept, as SQLAlchemy Core has it
migrations/    how a database becomes that (Alembic)
database.py    one database, by its URL: transactions, time-outs, what an engine needs
keys.py        the functions on keys

A function takes a transaction and returns plain values. Nobody holds one while a stream runs:
the functions are called at the start and the end of things, and `Database` gives the connection
back. What differs between engines stands in `database.py` alone.
"""
