"""The records that survive a restart. Only this package has SQL.

tables.py      the tables, for SQLAlchemy Core
migrations/    the steps that make the tables (Alembic)
database.py    one database, by its URL: transactions, time-outs and engines
keys.py        the functions on keys

A function opens a transaction, closes it, and returns plain values. So no stream holds a
connection while it runs. Only `database.py` depends on the engine.
"""
