"""Alembic runs this module, in the transaction that `database.py` has begun."""

from alembic import context

from streamapi.records.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # also on SQLite: `database.py` begins the transaction
)
context.run_migrations()
