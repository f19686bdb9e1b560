"""The servers of the tests under one name."""
from .kafka import Kafka  # noqa: F401
from .postgres import Postgres, Session, SqlError, lsn_number, lsn_text  # noqa: F401
