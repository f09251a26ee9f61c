"""The database resource on a real PostgreSQL with a real pgvector, in a container of its own."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from docker.models.containers import Container

from components.database import sql
from components.database.connect import Server, connect
from components.database.layout import Layout, User, version
from components.database.resource import DatabaseProvider
from components.errors import StackError
from tests.live.fixtures_containers import PGVECTOR_IMAGE, running

ADMIN_PASSWORD = secrets.token_urlsafe(12)
APP = User(name="rag_app", password=secrets.token_urlsafe(12), role="app")
SECOND = User(name="rag-second", password=secrets.token_urlsafe(12), role="app")
READER = User(name="rag_reader_1", password=secrets.token_urlsafe(12), role="readonly")
DENIED = psycopg.errors.InsufficientPrivilege


def quiet(message: str) -> None:
    """Progress is not what these tests look at."""


@pytest.fixture(scope="module")
def container() -> Iterator[tuple[Container, int]]:
    with running(
        PGVECTOR_IMAGE,
        5432,
        environment={"POSTGRES_PASSWORD": ADMIN_PASSWORD},
        command=["postgres", "-c", "log_statement=all"],
    ) as started:
        yield started


@pytest.fixture
def server(container: tuple[Container, int]) -> Server:
    return Server(host="127.0.0.1", port=container[1], admin_user="postgres", admin_password=ADMIN_PASSWORD)


@pytest.fixture
def layout(server: Server) -> Iterator[Layout]:
    """A layout of its own for every test, brought about; its roles and database are dropped afterwards."""
    mark = secrets.token_hex(4)
    users = tuple(replace(user, name=f"{user.name}_{mark}") for user in (APP, SECOND, READER))
    made = Layout(database=f"rag-{mark}", schema="rag", users=users, admin_user="postgres")
    sql.ensure(server, made, quiet)
    yield made
    with connect(server, "postgres", quiet) as main:
        main.execute(
            psycopg.sql.SQL("drop database if exists {} with (force)").format(psycopg.sql.Identifier(made.database))
        )
        for (role,) in main.execute("select rolname from pg_roles where rolname like %s", (f"%{mark}%",)).fetchall():
            main.execute(psycopg.sql.SQL("drop role {}").format(psycopg.sql.Identifier(role)))


@pytest.fixture
def login(server: Server, layout: Layout) -> Iterator[Callable[..., psycopg.Connection]]:
    opened: list[psycopg.Connection] = []

    def log_in(number: int, database: str | None = None) -> psycopg.Connection:
        user = layout.users[number]
        opened.append(
            psycopg.connect(
                host=server.host,
                port=server.port,
                user=user.name,
                password=user.password,
                dbname=database or layout.database,
                autocommit=True,
                connect_timeout=5,
            )
        )
        return opened[-1]

    yield log_in
    for connection in opened:
        connection.close()


def admin(server: Server, layout: Layout) -> psycopg.Connection:
    return connect(server, layout.database, quiet)


def test_a_new_database_is_as_declared_and_reports_versions(server: Server, layout: Layout) -> None:
    facts = sql.inspect(server, layout, quiet)
    assert facts is not None
    assert facts.missing == []
    assert version(facts.extension_version) >= (0, 5)
    assert facts.server_version[:2].isdigit()


def test_bringing_it_about_leaves_no_warning_about_roles_in_the_servers_log(
    layout: Layout, container: tuple[Container, int]
) -> None:
    log = container[0].logs().decode(errors="replace")
    assert f'to "{layout.users[0].name}"' in log, "the log of statements is what the warnings would stand in"
    assert not [line for line in log.splitlines() if "WARNING:" in line and "membership" in line]


def test_an_app_user_stores_and_searches_vectors(login: Callable[..., psycopg.Connection]) -> None:
    app = login(0)
    app.execute("create table notes (id bigserial primary key, body text, embedding vector(3))")
    app.execute("insert into notes (body, embedding) values ('near', '[1,0,0]'), ('far', '[0,1,0]')")
    app.execute("create index on notes using hnsw (embedding vector_cosine_ops)")
    rows = app.execute("select body from notes order by embedding <=> '[0.9,0.1,0]' limit 1").fetchall()
    assert rows == [("near",)]
    assert app.execute("select schemaname from pg_tables where tablename = 'notes'").fetchall() == [("rag",)]


def test_apps_share_their_tables_and_readers_only_read(login: Callable[..., psycopg.Connection]) -> None:
    login(0).execute("create table shared (n int)")
    login(1).execute("insert into shared values (7)")
    reader = login(2)
    assert reader.execute("select n from shared").fetchall() == [(7,)]
    for forbidden in (
        "insert into shared values (8)",
        "drop table shared",
        "create table own (n int)",
        "create temporary table t (n int)",
    ):
        with pytest.raises(DENIED):
            reader.execute(forbidden)


@pytest.mark.parametrize(
    "forbidden",
    [
        "select rolpassword from pg_authid",
        "create extension pg_trgm",
        "create schema mine",
        "create table public.t (n int)",
        "create role intruder",
        "create database other",
        "copy (select 1) to program 'true'",
        "alter system set log_statement = 'none'",
        "select pg_read_file('postgresql.conf')",
    ],
)
def test_an_app_user_may_not(login: Callable[..., psycopg.Connection], forbidden: str) -> None:
    with pytest.raises(DENIED):
        login(0).execute(forbidden)


def test_an_app_user_that_drops_its_group_gains_nothing(login: Callable[..., psycopg.Connection]) -> None:
    app = login(0)
    app.execute("reset role")
    with pytest.raises(DENIED):
        app.execute("create table public.t (n int)")
    with pytest.raises(DENIED):
        app.execute("select rolpassword from pg_authid")


def test_a_client_that_asks_for_the_extension_finds_it(login: Callable[..., psycopg.Connection]) -> None:
    login(0).execute("create extension if not exists vector")


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_no_user_gets_into_another_database(login: Callable[..., psycopg.Connection], database: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        login(0, database)


def test_running_it_again_changes_nothing_and_keeps_rows(
    server: Server, layout: Layout, login: Callable[..., psycopg.Connection]
) -> None:
    app = login(0)
    app.execute("create table kept (n int)")
    app.execute("insert into kept values (1)")
    with admin(server, layout) as here:
        before = here.execute("select rolname, rolpassword from pg_authid order by 1").fetchall()
    sql.ensure(server, layout, quiet)
    with admin(server, layout) as here:
        assert here.execute("select rolname, rolpassword from pg_authid order by 1").fetchall() == before
    assert app.execute("select n from kept").fetchall() == [(1,)]


DRIFTS = {
    "may not connect": 'revoke connect on database "{database}" from "{app}"',
    "everybody may connect": 'grant connect on database "{database}" to public',
    "may do more": 'alter role "{app}" createdb',
    "is missing or may do more": 'alter role "{app}" nologin',
    "declared password": "alter role \"{app}\" password 'other'",
    "not owned by": "alter schema rag owner to postgres",
    "no member of": 'revoke "{owner}" from "{app}"',
    "a member of": 'grant "{owner}" to "{reader}"',
    "search_path and role": 'alter role "{app}" in database "{database}" reset all',
    "everybody may create in schema public": "grant create on schema public to public",
    "everybody may use schema": "grant usage on schema rag to public",
    "may not use schema": 'revoke usage on schema rag from "{group}"',
    "may not read every table": 'revoke select on all tables in schema rag from "{group}"',
    "tables to come": 'alter default privileges for role "{owner}" in schema rag revoke all on tables from "{group}"',
    "may create schemas": 'grant create on database "{database}" to "{app}"',
    "may not make temporary": 'revoke temporary on database "{database}" from "{app}"',
    "may make temporary": 'grant temporary on database "{database}" to "{reader}"',
    "extension vector": "drop extension vector",
}


@pytest.mark.parametrize("sentence", DRIFTS)
def test_drift_is_seen_and_mended(
    server: Server, layout: Layout, login: Callable[..., psycopg.Connection], sentence: str
) -> None:
    login(0).execute("create table kept (n int)")
    names = {
        "database": layout.database,
        "app": layout.users[0].name,
        "reader": layout.users[2].name,
        "owner": layout.owner,
        "group": layout.reader,
    }
    with admin(server, layout) as here:
        here.execute(DRIFTS[sentence].format(**names))
    seen = sql.inspect(server, layout, quiet)
    assert seen is not None
    assert any(sentence in line for line in seen.missing), seen.missing
    assert sql.ensure(server, layout, quiet).missing == []
    login(0).execute("select n from kept")


def test_a_new_password_works_and_the_old_one_no_longer(server: Server, layout: Layout) -> None:
    old = layout.users[0]
    new = replace(old, password=secrets.token_urlsafe(12))
    sql.ensure(server, replace(layout, users=(new, *layout.users[1:])), quiet)
    logins = {"host": server.host, "port": server.port, "user": old.name, "dbname": layout.database}
    psycopg.connect(**logins, password=new.password).close()  # type: ignore[arg-type]
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(**logins, password=old.password)  # type: ignore[arg-type]


def test_a_user_no_longer_declared_is_gone_and_its_tables_stay(
    server: Server, layout: Layout, login: Callable[..., psycopg.Connection]
) -> None:
    second = login(1)
    second.execute("create table left_behind (n int)")
    second.close()
    fewer = replace(layout, users=(layout.users[0], layout.users[2]))
    seen = sql.inspect(server, fewer, quiet)
    assert seen is not None
    assert seen.missing == [f"role {layout.users[1].name} is no longer declared"]
    assert sql.ensure(server, fewer, quiet).missing == []
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        login(1)
    login(0).execute("select n from left_behind")


def test_no_password_reaches_the_log_of_the_server(
    container: tuple[Container, int], server: Server, layout: Layout
) -> None:
    sql.ensure(server, replace(layout, users=tuple(replace(u, password="Pa55-" + u.name) for u in layout.users)), quiet)
    log = container[0].logs().decode()
    assert f'alter role "{layout.users[0].name}" password' in log, (
        "statements are not logged, so this test sees nothing"
    )
    assert "Pa55-" not in log


def test_too_old_a_pgvector_is_refused_with_the_mend(server: Server, layout: Layout) -> None:
    with pytest.raises(StackError, match=r"at least 99\.0\.0 is wanted") as caught:
        sql.ensure(server, replace(layout, extension_min_version="99.0.0"), quiet)
    assert "raise the tag" in caught.value.mend


def test_a_wrong_password_of_the_superuser_fails_at_once_without_showing_it(server: Server, layout: Layout) -> None:
    started = time.monotonic()
    with pytest.raises(StackError, match="does not let postgres in") as caught:
        sql.ensure(replace(server, admin_password="wrong-one"), layout, quiet)
    assert time.monotonic() - started < 5
    assert "wrong-one" not in str(caught.value)


def test_a_server_that_is_not_there_fails_in_time_with_the_mend(server: Server, layout: Layout) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = replace(server, port=closed.getsockname()[1])
    said: list[str] = []
    with pytest.raises(StackError, match="was not ready within 3 s") as caught:
        sql.ensure(nowhere, layout, said.append, ready_timeout_s=3.0)
    assert "docker logs" in caught.value.mend
    assert said, "three seconds went by without a word"


def properties(server: Server, layout: Layout) -> dict[str, Any]:
    return {
        "host": server.host,
        "port": float(server.port),
        "admin_user": "postgres",
        "admin_password": ADMIN_PASSWORD,
        "database": layout.database,
        "schema": layout.schema,
        "server": "one",
        "extension_min_version": "",
        "users": [vars(user) for user in layout.users],
    }


def test_the_resource_goes_through_its_life(server: Server, layout: Layout) -> None:
    provider, inputs = DatabaseProvider(), properties(server, layout)
    created = provider.create(provider.check({}, inputs).inputs)
    assert created.id == layout.database
    state = created.outs or {}
    assert not provider.diff(created.id, state, inputs).changes
    assert provider.read(created.id, state).outs == state

    with admin(server, layout) as here:
        here.execute("grant usage on schema rag to public")
    refreshed = provider.read(created.id, state).outs or {}
    drifted = provider.diff(created.id, refreshed, inputs)
    assert (drifted.changes, drifted.replaces) == (True, [])
    assert (provider.update(created.id, refreshed, inputs).outs or {}) == state

    provider.delete(created.id, state)
    assert sql.inspect(server, layout, quiet) is not None, "deleting the resource took the rows"


def test_a_database_that_is_gone_is_read_as_gone(server: Server, layout: Layout) -> None:
    with connect(server, "postgres", quiet) as main:
        main.execute(psycopg.sql.SQL("drop database {} with (force)").format(psycopg.sql.Identifier(layout.database)))
    assert not DatabaseProvider().read(layout.database, properties(server, layout)).id


def test_a_server_that_is_started_late_is_waited_for(container: tuple[Container, int], layout: Layout) -> None:
    with running(PGVECTOR_IMAGE, 5432, environment={"POSTGRES_PASSWORD": ADMIN_PASSWORD}) as (_, port):
        fresh = Server(host="127.0.0.1", port=port, admin_user="postgres", admin_password=ADMIN_PASSWORD)
        assert sql.ensure(fresh, layout, quiet).missing == []
