"""The designs: one database each, on one server, equal but for how they count."""

from pathlib import Path

import psycopg
from psycopg import sql

from glyphforge.database import desired
from glyphforge.embedded import Server
from tests.support import bulk

DESIGNS = ("bare", "untriggered", "naive", "ours")
KIT = ("glyphforge.database", "glyphforge.audit", "glyphforge.web")  # what billing's tables and functions need
USERS = 1000
# User and key number n, as SQL of a number.
USER_ID = "('00000000-0000-4000-8000-' || lpad({n}::text, 12, '0'))::uuid"
KEY_ID = "('00000000-0000-4000-9000-' || lpad({n}::text, 12, '0'))::uuid"


def build(server: Server) -> None:
    """Makes the databases anew: ours from the files of the product, the others from a copy of it."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        for design in DESIGNS:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(design)))
        connection.execute("CREATE DATABASE ours")
        with psycopg.connect(server.url("ours"), autocommit=True) as ours:
            install_product(ours)
        for design in DESIGNS[:-1]:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE ours").format(sql.Identifier(design)))
    for design in DESIGNS[:-1]:
        with psycopg.connect(server.url(design), autocommit=True) as connection:
            if design == "naive":
                connection.execute((Path(__file__).parent / "untriggered.sql").read_bytes())
            connection.execute((Path(__file__).parent / f"{design}.sql").read_bytes())


def reset(server: Server, design: str) -> None:
    """Empties what a run has filled and flushes it, so that every run starts alike."""
    with psycopg.connect(server.url(design), autocommit=True) as connection:
        connection.execute("TRUNCATE api_usage, api_usage_deltas, monthly_usage_totals")
        connection.execute("VACUUM api_keys")
        connection.execute("CHECKPOINT")


def install_product(connection: psycopg.Connection) -> None:
    """What counting needs of the product, in an empty database, with its users and keys."""
    connection.execute("SET check_function_bodies = off")
    connection.execute("CREATE EXTENSION pg_trgm")  # for the search of the back office

    def attempt(statement: str) -> bool:
        try:
            connection.execute(statement.encode())
        except desired.NOT_YET:
            return False
        return True

    # Of the monitoring app only its indexes matter here; the tables of dj-stripe are not there.
    billing = [file for file in desired.statements([*KIT, "billing"]) if not file.name.startswith("djstripe_")]
    files = [*billing, *_indexes_of_monitoring()]
    if left := desired.create_in_any_order(files, attempt):
        raise SystemExit(f"The SQL files cannot all be run: {', '.join(file.name for file in left)}")
    connection.execute("SELECT create_api_usage_partitions()")
    bulk.customers(connection, USERS, id=USER_ID.format(n="n"))
    bulk.of_each_customer(connection, "api_keys", id=KEY_ID.format(n="n"))


def _indexes_of_monitoring() -> list:
    return [file for file in desired.statements(["monitoring"]) if file.name == "api_usage.sql"]
