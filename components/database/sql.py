"""Brings the database about: extension, schema, roles, privileges. Every statement may run again at any time.

Who may do what, in the database and nowhere else on the server:

    <database>_owner    cannot log in; owns the schema and everything the applications make in it
    app users           may connect, make temporary tables, and act as <database>_owner from the first statement on
    <database>_reader   cannot log in; may read what <database>_owner has made and will make
    readonly users      may connect and are members of <database>_reader
    PUBLIC              nothing but the types in `public`: no connection, no temporary tables

Because all applications own things together, a user can be replaced by another without moving a table. Only the
superuser makes extensions; `vector` lives in the schema `public`, which nobody else may write to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import errors as pg
from psycopg import sql

from components.database.audit import EXTENSION, SYSTEM_DATABASES, has_password, is_member, missing, undeclared
from components.database.connect import Server, connect
from components.database.layout import Layout, User, version
from components.dynamic import Report
from components.errors import StackError


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the server says. `missing` holds a sentence for everything that is not as declared."""

    server_version: str
    extension_version: str
    missing: list[str]


def ensure(server: Server, layout: Layout, tell: Report, ready_timeout_s: float = 60.0) -> Facts:
    """Bring the layout about and check it. Rows are never touched; users no longer declared lose their role.

    Raises StackError when the server is not ready, refuses the superuser, has no pgvector or too old a one, or when
    something is still missing afterwards.
    """
    with connect(server, "postgres", tell, ready_timeout_s) as main:
        _roles(main, layout)
        _database(main, layout)
    with connect(server, layout.database, tell, ready_timeout_s) as here:
        _extension(here, layout)
        with here.transaction():
            _retire(here, layout)
            _schema(here, layout)
            _privileges(here, layout)
        facts = _inspect_open(here, layout)
    if facts.missing:
        raise StackError(
            f"database {layout.database} at {server.address} is still not as declared: {'; '.join(facts.missing)}",
            "see the server's log for who changes it back, then run `pulumi up` again",
        )
    return facts


def inspect(server: Server, layout: Layout, tell: Report, ready_timeout_s: float = 60.0) -> Facts | None:
    """What the server says now, or None when the database is gone. Reads only. Raises StackError as `connect` does."""
    try:
        with connect(server, layout.database, tell, ready_timeout_s) as here:
            return _inspect_open(here, layout)
    except pg.InvalidCatalogName:
        return None


def _inspect_open(connection: psycopg.Connection, layout: Layout) -> Facts:
    """As `inspect`, over a superuser's connection to the layout's database."""
    row = connection.execute(
        "select current_setting('server_version'), (select extversion from pg_extension where extname = %s)",
        (EXTENSION,),
    ).fetchone()
    server_version, extension_version = row or ("", "")
    return Facts(
        server_version=server_version, extension_version=extension_version or "", missing=missing(connection, layout)
    )


def _run(connection: psycopg.Connection, statement: LiteralString, *names: str) -> None:
    connection.execute(sql.SQL(statement).format(*(sql.Identifier(name) for name in names)))


def _exists(connection: psycopg.Connection, query: LiteralString, name: str) -> bool:
    return connection.execute(query, (name,)).fetchone() is not None


def _roles(main: psycopg.Connection, layout: Layout) -> None:
    modest = "nosuperuser nocreatedb nocreaterole noreplication nobypassrls"
    for group in (layout.owner, layout.reader):
        if not _exists(main, "select 1 from pg_roles where rolname = %s", group):
            _run(main, "create role {}", group)
        main.execute(sql.SQL("alter role {} nologin " + modest).format(sql.Identifier(group)))
        _comment(main, group, layout)
    for user in layout.users:
        if not _exists(main, "select 1 from pg_roles where rolname = %s", user.name):
            _run(main, "create role {}", user.name)
        main.execute(sql.SQL("alter role {} login inherit " + modest).format(sql.Identifier(user.name)))
        _comment(main, user.name, layout)
        _password(main, user)


def _comment(main: psycopg.Connection, role: str, layout: Layout) -> None:
    main.execute(sql.SQL("comment on role {} is {}").format(sql.Identifier(role), sql.Literal(layout.mark)))


def _password(main: psycopg.Connection, user: User) -> None:
    if has_password(main, user):
        return
    # libpq makes the verifier here, so the password itself reaches neither the server nor its log.
    verifier = main.pgconn.encrypt_password(user.password.encode(), user.name.encode(), b"scram-sha-256").decode()
    main.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(user.name), sql.Literal(verifier)))


def _database(main: psycopg.Connection, layout: Layout) -> None:
    if not _exists(main, "select 1 from pg_database where datname = %s", layout.database):
        _run(main, "create database {}", layout.database)
    for database in (layout.database, *SYSTEM_DATABASES):
        _run(main, "revoke all on database {} from public", database)


def _extension(here: psycopg.Connection, layout: Layout) -> None:
    row = here.execute("select default_version from pg_available_extensions where name = %s", (EXTENSION,)).fetchone()
    if row is None:
        raise StackError(
            f"the PostgreSQL server of {layout.database} has no pgvector",
            "use an image that carries it, for example pgvector/pgvector",
        )
    available, wanted = str(row[0]), layout.extension_min_version
    if version(available) < version(wanted):
        raise StackError(
            f"the PostgreSQL server of {layout.database} carries pgvector {available}, and at least {wanted} is wanted",
            "raise the tag of the pgvector image in the stack file",
        )
    _run(here, "create extension if not exists {} with schema public", EXTENSION)
    installed = here.execute("select extversion from pg_extension where extname = %s", (EXTENSION,)).fetchone()
    if installed is not None and version(str(installed[0])) < version(available):
        _run(here, "alter extension {} update", EXTENSION)


def _schema(here: psycopg.Connection, layout: Layout) -> None:
    _run(here, "revoke create on schema public from public")
    _run(here, "create schema if not exists {} authorization {}", layout.schema, layout.owner)
    _run(here, "alter schema {} owner to {}", layout.schema, layout.owner)
    _run(here, "revoke all on schema {} from public", layout.schema)
    _run(here, "grant usage on schema {} to {}", layout.schema, layout.reader)
    _run(here, "grant select on all tables in schema {} to {}", layout.schema, layout.reader)
    _run(here, "grant select on all sequences in schema {} to {}", layout.schema, layout.reader)
    for kind in ("tables", "sequences"):
        here.execute(
            sql.SQL("alter default privileges for role {} in schema {} grant select on " + kind + " to {}").format(
                sql.Identifier(layout.owner), sql.Identifier(layout.schema), sql.Identifier(layout.reader)
            )
        )


def _privileges(here: psycopg.Connection, layout: Layout) -> None:
    for user in layout.users:
        app = user.role == "app"
        _run(here, "revoke all on database {} from {}", layout.database, user.name)
        _run(here, "grant connect on database {} to {}", layout.database, user.name)
        ours, theirs = (layout.owner, layout.reader) if app else (layout.reader, layout.owner)
        _run(here, "grant {} to {}", ours, user.name)
        # Of one who is no member it would be a warning in the server's log.
        if is_member(here, user.name, theirs):
            _run(here, "revoke {} from {}", theirs, user.name)
        _run(
            here, "alter role {} in database {} set search_path = {}, public", user.name, layout.database, layout.schema
        )
        if app:
            _run(here, "grant temporary on database {} to {}", layout.database, user.name)
            _run(here, "alter role {} in database {} set role = {}", user.name, layout.database, layout.owner)
        else:
            _run(here, "alter role {} in database {} reset role", user.name, layout.database)


def _retire(here: psycopg.Connection, layout: Layout) -> None:
    for name in undeclared(here, layout):
        _run(here, "reassign owned by {} to {}", name, layout.owner)
        _run(here, "drop owned by {}", name)
        _run(here, "drop role {}", name)
