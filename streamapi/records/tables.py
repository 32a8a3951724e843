"""The tables as they are now. Each change needs a migration; a test compares the two.

Times are in seconds since 1970, as everywhere in the program. The types are those that every
engine has.
"""

from sqlalchemy import JSON, BigInteger, Column, Double, MetaData, String, Table, Text

metadata = MetaData()

keys = Table(
    "keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),
    Column("owner", String(100), nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("models", JSON(none_as_null=True)),
    Column("created", Double, nullable=False, index=True),
    Column("expires", Double),
    Column("revoked", Double),
    Column("last_used", Double),
    Column("requests_per_minute", BigInteger),
    Column("tokens_per_minute", BigInteger),
    Column("tokens_per_day", BigInteger),
    Column("streams", BigInteger),
)
