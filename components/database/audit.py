"""What is not as declared, as sentences. Reads only; needs a superuser's connection to the layout's database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg

from components.database.layout import Layout, User, version
from components.database.passwords import verifies

EXTENSION = "vector"
# The databases that initdb makes and that anybody could connect to.
SYSTEM_DATABASES = ("postgres", "template1")


def missing(here: psycopg.Connection, layout: Layout) -> list[str]:
    """A sentence for everything that is not as declared; empty when all is well."""
    # A privilege cannot be asked of a role or schema that is not there, so those come first.
    found = [*_roles(here, layout), *_schema_and_extension(here, layout)]
    return found or [*_public(here, layout), *_readers(here, layout), *_users(here, layout)]


def undeclared(here: psycopg.Connection, layout: Layout) -> list[str]:
    """Roles that an earlier layout of this database declared and this one does not."""
    rows = here.execute(
        "select rolname from pg_roles where shobj_description(oid, 'pg_authid') = %s order by 1", (layout.mark,)
    ).fetchall()
    declared = {layout.owner, layout.reader, *(user.name for user in layout.users)}
    return [row[0] for row in rows if row[0] not in declared]


def _holds(here: psycopg.Connection, query: LiteralString, **values: Any) -> bool:
    row = here.execute(query, values).fetchone()
    return row is not None and bool(row[0])


def _roles(here: psycopg.Connection, layout: Layout) -> Iterator[str]:
    modest: LiteralString = (
        "select rolcanlogin = %(login)s and not (rolsuper or rolcreatedb or rolcreaterole or rolreplication or "
        "rolbypassrls) and (rolinherit or not rolcanlogin) from pg_roles where rolname = %(role)s"
    )
    for group in (layout.owner, layout.reader):
        if not _holds(here, modest, role=group, login=False):
            yield f"role {group} is missing or may do more than it should"
    for user in layout.users:
        if not _holds(here, modest, role=user.name, login=True):
            yield f"role {user.name} is missing or may do more than it should"
        elif not has_password(here, user):
            yield f"role {user.name} does not have the declared password"
    for name in undeclared(here, layout):
        yield f"role {name} is no longer declared"


def has_password(connection: psycopg.Connection, user: User) -> bool:
    """Whether the role is there and its stored verifier belongs to the declared password."""
    row = connection.execute("select rolpassword from pg_authid where rolname = %s", (user.name,)).fetchone()
    return row is not None and verifies(row[0], user.password)


def is_member(here: psycopg.Connection, user: str, group: str) -> bool:
    """Whether a user may act as a group, itself or through another role. Both have to exist."""
    return _holds(here, "select pg_has_role(%(user)s, %(group)s, 'member')", user=user, group=group)


def _schema_and_extension(here: psycopg.Connection, layout: Layout) -> Iterator[str]:
    owned: LiteralString = (
        "select nspowner = to_regrole(quote_ident(%(owner)s)) from pg_namespace where nspname = %(schema)s"
    )
    if not _holds(here, owned, schema=layout.schema, owner=layout.owner):
        yield f"schema {layout.schema} is missing or not owned by {layout.owner}"
    row = here.execute(
        "select extversion, default_version from pg_extension join pg_available_extensions on extname = name "
        "where name = %s",
        (EXTENSION,),
    ).fetchone()
    if row is None or version(row[0]) < version(row[1] or ""):
        yield f"extension {EXTENSION} is missing or older than what the server carries"


def _public(here: psycopg.Connection, layout: Layout) -> Iterator[str]:
    for database in (layout.database, *SYSTEM_DATABASES):
        if _holds(
            here, "select has_database_privilege('public', %(database)s, 'connect, temporary')", database=database
        ):
            yield f"everybody may connect to database {database}"
    if _holds(here, "select has_schema_privilege('public', 'public', 'create')"):
        yield "everybody may create in schema public"
    if _holds(here, "select has_schema_privilege('public', %(schema)s, 'create, usage')", schema=layout.schema):
        yield f"everybody may use schema {layout.schema}"


def _readers(here: psycopg.Connection, layout: Layout) -> Iterator[str]:
    names = {"reader": layout.reader, "schema": layout.schema}
    if not _holds(here, "select has_schema_privilege(%(reader)s, %(schema)s, 'usage')", **names):
        yield f"{layout.reader} may not use schema {layout.schema}"
    unreadable: LiteralString = (
        "select exists (select from pg_class where relnamespace = to_regnamespace(quote_ident(%(schema)s)) "
        "and relkind in ('r', 'p', 'v', 'm', 'f') and not has_table_privilege(%(reader)s, oid, 'select'))"
    )
    if _holds(here, unreadable, **names):
        yield f"{layout.reader} may not read every table of schema {layout.schema}"
    default: LiteralString = (
        "select count(*) = 2 from pg_default_acl, aclexplode(defaclacl) a "
        "where defaclrole = to_regrole(quote_ident(%(owner)s)) and a.privilege_type = 'SELECT' "
        "and defaclobjtype in ('r', 'S') and defaclnamespace = to_regnamespace(quote_ident(%(schema)s)) "
        "and a.grantee = to_regrole(quote_ident(%(reader)s))"
    )
    if not _holds(here, default, owner=layout.owner, **names):
        yield f"{layout.reader} may not read tables to come in schema {layout.schema}"


def _users(here: psycopg.Connection, layout: Layout) -> Iterator[str]:
    for user in layout.users:
        app = user.role == "app"
        names = {"user": user.name, "database": layout.database}
        if not _holds(here, "select has_database_privilege(%(user)s, %(database)s, 'connect')", **names):
            yield f"{user.name} may not connect to {layout.database}"
        if _holds(here, "select has_database_privilege(%(user)s, %(database)s, 'temporary')", **names) != app:
            yield f"{user.name} may {'not ' if app else ''}make temporary tables in {layout.database}"
        if _holds(here, "select has_database_privilege(%(user)s, %(database)s, 'create')", **names):
            yield f"{user.name} may create schemas in {layout.database}"
        for group, belongs in ((layout.owner, app), (layout.reader, not app)):
            if is_member(here, user.name, group) != belongs:
                yield f"{user.name} is {'no ' if belongs else 'a '}member of {group}"
        if sorted(_settings(here, layout, user)) != sorted(_expected_settings(here, layout, user)):
            yield f"{user.name} does not start with the declared search_path and role in {layout.database}"


def _expected_settings(here: psycopg.Connection, layout: Layout, user: User) -> list[str]:
    row = here.execute("select 'search_path=' || quote_ident(%s) || ', public'", (layout.schema,)).fetchone()
    role = [f"role={layout.owner}"] if user.role == "app" else []
    return [*(row or ()), *role]


def _settings(here: psycopg.Connection, layout: Layout, user: User) -> list[str]:
    row = here.execute(
        "select setconfig from pg_db_role_setting s join pg_roles r on r.oid = s.setrole "
        "join pg_database d on d.oid = s.setdatabase where rolname = %s and datname = %s",
        (user.name, layout.database),
    ).fetchone()
    return list(row[0]) if row else []
