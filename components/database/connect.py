"""A connection to a PostgreSQL server that may still be starting, and what its refusals mean.

No message here carries a password: connections are opened by keyword, never by a connection string.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import psycopg
from psycopg import errors as pg

from components.dynamic import Report, still_going
from components.errors import StackError

CONNECT_TIMEOUT_S = 5
# Creating a role or an extension takes milliseconds; only a lock that someone else holds takes longer.
STATEMENT_TIMEOUT_MS = 60_000


class NotReadyError(StackError):
    """The server did not come up in time."""


# As with StackError: users read the name of the error alone.
NotReadyError.__module__ = "builtins"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server as the deploying machine reaches it, and the superuser that sets it up."""

    host: str
    port: int
    admin_user: str
    admin_password: str = field(repr=False)

    @property
    def address(self) -> str:
        """`host:port`, for messages."""
        return f"{self.host}:{self.port}"


def connect(server: Server, database: str, tell: Report, ready_timeout_s: float = 60.0) -> psycopg.Connection:
    """An autocommit connection as the superuser, retried for `ready_timeout_s` seconds while the server is starting.

    Raises psycopg's InvalidCatalogName when there is no such database, and StackError when the server does not come
    up in time or does not take the password.
    """
    deadline = time.monotonic() + ready_timeout_s
    with still_going(f"waiting for PostgreSQL at {server.address}", tell):
        while True:
            try:
                return _connect(server, database)
            except psycopg.OperationalError as error:
                if _is_missing_database(error, database):
                    raise pg.InvalidCatalogName(f'database "{database}" does not exist') from None
                if _is_refused_login(error):
                    raise _refused(server, error) from None
                if time.monotonic() >= deadline:
                    raise _not_ready(server, ready_timeout_s, error) from None
                time.sleep(0.5)


def _connect(server: Server, database: str) -> psycopg.Connection:
    return psycopg.connect(
        host=server.host,
        port=server.port,
        user=server.admin_user,
        password=server.admin_password,
        dbname=database,
        connect_timeout=CONNECT_TIMEOUT_S,
        application_name="ragstack",
        options=f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
        autocommit=True,
    )


# A failed start-up carries no SQLSTATE in libpq, so its English words are what there is to go by.
def _is_missing_database(error: psycopg.OperationalError, database: str) -> bool:
    return f'database "{database}" does not exist' in str(error)


def _is_refused_login(error: psycopg.OperationalError) -> bool:
    return "authentication failed" in str(error) or "no pg_hba.conf entry" in str(error)


def _last_words(error: psycopg.OperationalError) -> str:
    return str(error).strip().splitlines()[-1].strip()


def _refused(server: Server, error: psycopg.OperationalError) -> StackError:
    return StackError(
        f"PostgreSQL at {server.address} does not let {server.admin_user} in: {_last_words(error)}",
        "a volume keeps the password it was first made with: bring that one back with `pulumi config set --secret`, "
        f"or set the new one inside the container with `psql -U {server.admin_user} -c '\\password'`",
    )


def _not_ready(server: Server, seconds: float, error: psycopg.OperationalError) -> NotReadyError:
    return NotReadyError(
        f"PostgreSQL at {server.address} was not ready within {seconds:.0f} s: {_last_words(error)}",
        "check that its container runs and what it says (`docker ps -a`, `docker logs`), then run `pulumi up` again",
    )
