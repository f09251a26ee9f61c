"""PostgreSQL: version and extension, settings in force, connections, indexes, and vectors that fit the model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from components.database.audit import EXTENSION
from components.database.layout import version
from components.errors import StackError
from components.plan.memory_check import HALFVEC_LIMIT, VECTOR_LIMIT
from doctor.checks.engine import REACHABLE
from doctor.finding import Check, Finding
from doctor.subject import Subject

ANSWERS = "postgres.answers"
_MOST_CONNECTIONS = 0.9


def _rows(subject: Subject, query: str, *values: object) -> list[tuple[Any, ...]]:
    try:
        return subject.database.execute(sql.SQL(query), values).fetchall()
    except psycopg.Error as error:
        raise StackError(f"PostgreSQL does not answer: {str(error).strip()}", subject.up_command) from None


def _schema(subject: Subject) -> str:
    return str(subject.outputs.get("database_schema") or "")


def _answers(subject: Subject) -> Iterator[Finding]:
    subject.require_container(subject.names.postgres_container)
    try:
        (row,) = _rows(subject, "select current_user, current_database()")
    except StackError as error:
        name = subject.names.postgres_container
        yield Finding(seen=error.cause, mend=f"{subject.there(f'docker logs --tail 50 {name}')}, then {error.mend}")
        return
    yield Finding(seen=f"{row[0]} is let into {row[1]}")


def _version(subject: Subject) -> Iterator[Finding]:
    major = int(_rows(subject, "show server_version_num")[0][0]) // 10000
    declared = int(subject.settings.postgres.version)
    if major != declared:
        yield Finding(seen=f"PostgreSQL {major} runs, and {declared} is declared", mend=subject.up_command)
    rows = _rows(
        subject,
        "select e.extversion, a.default_version from pg_available_extensions a left join pg_extension e "
        "on e.extname = a.name where a.name = %s",
        EXTENSION,
    )
    installed, available = rows[0] if rows else (None, None)
    if installed is None or version(installed) < version(available or ""):
        yield Finding(
            seen=f"the extension {EXTENSION} is {installed or 'not installed'}, and {available or 'none'} is available",
            mend=subject.up_command,
        )
    yield Finding(seen=f"PostgreSQL {major} with {EXTENSION} {installed}")


def _settings(subject: Subject) -> Iterator[Finding]:
    # A reload marks what the command line says otherwise than the file, although a restart would change nothing.
    query = "select name from pg_settings where pending_restart and source <> 'command line' order by 1"
    pending = [row[0] for row in _rows(subject, query)]
    name = subject.names.postgres_container
    if pending:
        yield Finding(
            seen=f"changed and not in force before a restart: {', '.join(pending)}",
            mend=subject.there(f"docker restart {name}"),
        )
    buffers = int(_rows(subject, "select pg_size_bytes(current_setting('shared_buffers'))")[0][0])
    limit = int(subject.containers.get(name, {}).get("HostConfig", {}).get("Memory") or 0)
    if limit and buffers * 2 > limit:
        yield Finding(
            seen=f"shared_buffers of {buffers // 1024**2} MiB are more than half of the container's {limit // 1024**2}",
            mend=subject.set_command("postgres.tuning", "auto"),
        )
    yield Finding(seen=f"shared_buffers {buffers // 1024**2} MiB, nothing waits for a restart")


def _connections(subject: Subject) -> Iterator[Finding]:
    # Of other users' sessions one sees hardly more than that they are there.
    query = "select count(*), current_setting('max_connections')::int from pg_stat_activity where datname is not null"
    used, most = _rows(subject, query)[0]
    if used > most * _MOST_CONNECTIONS:
        yield Finding(
            seen=f"{used} of {most} connections are taken",
            mend="use a connection pool in the clients, or "
            + subject.set_command("postgres.tuning.max_connections", most * 2),
        )
    else:
        yield Finding(seen=f"{used} of {most} connections are taken")


def _indexes(subject: Subject) -> Iterator[Finding]:
    rows = _rows(
        subject,
        "select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid "
        "join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s and not i.indisvalid "
        # One that is being built is not valid yet, and no fault.
        "and not exists (select from pg_stat_progress_create_index p where p.index_relid = i.indexrelid) order by 1",
        _schema(subject),
    )
    for (name,) in rows:
        yield Finding(
            seen=f"the index {name} is invalid: it is kept up to date and never used",
            mend=f"REINDEX INDEX CONCURRENTLY {_schema(subject)}.{name}; after mending what it failed on",
            fix=lambda name=name: _reindex(subject, name),  # type: ignore[misc]
        )
    yield Finding(seen="every index is valid")


def _reindex(subject: Subject, name: str) -> str:
    try:
        subject.database.execute(
            sql.SQL("REINDEX INDEX CONCURRENTLY {}").format(sql.Identifier(_schema(subject), name))
        )
    except psycopg.Error as error:
        raise StackError(f"{name} could not be built again: {str(error).strip()}", "mend the rows first") from None
    return f"built {name} again"


def _dimension(subject: Subject) -> Iterator[Finding]:
    wanted = int(subject.outputs.get("embedding_dimension") or 0)
    rows = _rows(
        subject,
        "select c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod) from pg_attribute a "
        "join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = %s and c.relkind in ('r', 'p') and not a.attisdropped "
        "and format_type(a.atttypid, null) in ('vector', 'halfvec') order by 1",
        _schema(subject),
    )
    for column, type_ in rows:
        found = re.search(r"(\w+)\((\d+)\)", type_)
        size = int(found[2]) if found else 0
        if size and wanted and size != wanted:
            yield Finding(
                seen=f"{column} is {type_}, and {subject.outputs.get('embedding_model')} gives {wanted} dimensions",
                mend="embed the rows anew into a column of that size; vectors of two models cannot be compared",
            )
        elif found and size > (VECTOR_LIMIT if found[1] == "vector" else HALFVEC_LIMIT):
            yield Finding(seen=f"{column} is {type_}, which takes no index: every search reads all rows")
    yield Finding(seen=f"{len(rows)} columns of vectors, {wanted or 'no'} dimensions by the embedding model")


CHECKS: tuple[Check, ...] = (
    Check(
        name=ANSWERS,
        title="PostgreSQL lets the application in",
        why="Without it nothing is found, and a RAG answer is a guess.",
        look=_answers,
        after=(REACHABLE,),
    ),
    Check(
        name="postgres.version",
        title="PostgreSQL and pgvector are what is declared",
        why="Another major version does not read the files of this one; an older pgvector lacks repairs.",
        look=_version,
        after=(ANSWERS,),
    ),
    Check(
        name="postgres.settings",
        title="the settings are in force",
        why="A tuning that waits for a restart tunes nothing.",
        look=_settings,
        after=(ANSWERS,),
    ),
    Check(
        name="postgres.connections",
        title="connections are left",
        why="Beyond the limit every new client is refused.",
        look=_connections,
        after=(ANSWERS,),
    ),
    Check(
        name="postgres.indexes",
        title="every index is valid",
        why="A build that broke off leaves an index that costs with every row and serves no search.",
        look=_indexes,
        after=(ANSWERS,),
    ),
    Check(
        name="postgres.dimension",
        title="stored vectors fit the embedding model",
        why="A query vector of another length is an error, and one of another model finds nonsense.",
        look=_dimension,
        after=(ANSWERS,),
    ),
)
