"""Alembic runs this: on the connection, and in the transaction, that `database.py` began."""

from alembic import context

from streamapi.records.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite's is, since `database.py` begins its transactions itself
)
context.run_migrations()
