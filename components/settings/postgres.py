"""`ragstack:postgres`: PostgreSQL with pgvector: version, database, users, port, tuning and container."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from components.settings.base import Section
from components.settings.container import Container
from components.settings.identifiers import DatabaseName, RoleName
from components.settings.types import DockerName, LoopbackAddress, Memory, Port

_LONG_ASCII = "a text of at least 12 characters, all of them printable ASCII (space to ~)"
_PRINTABLE_ASCII = re.compile(r"[ -~]*")


class DatabaseUser(Section):
    """`app` owns its schema and nothing else; `readonly` may read it. Left out, the password is generated."""

    name: RoleName = Field(examples=["rag"])
    role: Literal["app", "readonly"] = "app"
    password: SecretStr | None = Field(default=None, min_length=12, description=_LONG_ASCII)

    @field_validator("password")
    @classmethod
    def _means_the_same_everywhere(cls, password: SecretStr | None) -> SecretStr | None:
        """Clients prepare other characters in different ways (SASLprep, NFKC, or not at all), so that a password with
        them may be right for one and wrong for another."""
        if password is not None and not _PRINTABLE_ASCII.fullmatch(password.get_secret_value()):
            raise ValueError(f"has characters that are not printable ASCII; allowed: {_LONG_ASCII}")
        return password


class Tuning(Section):
    """PostgreSQL's own parameters. Left out means computed from the memory limit (`components/plan/postgres.py`)."""

    shared_buffers: Memory | None = Field(default=None, examples=["512m"])
    effective_cache_size: Memory | None = Field(default=None, examples=["1536m"])
    work_mem: Memory | None = Field(default=None, examples=["16m"])
    maintenance_work_mem: Memory | None = Field(default=None, examples=["256m"])
    max_connections: Annotated[int, Field(ge=5, le=10_000)] | None = None
    max_parallel_maintenance_workers: Annotated[int, Field(ge=0, le=256)] | None = None
    hnsw_ef_search: Annotated[int, Field(ge=1, le=1000)] | None = None
    hnsw_iterative_scan: Literal["off", "strict_order", "relaxed_order"] | None = None


def _number(value: object) -> object:
    """Other numbers may be quoted in a stack file; a version too."""
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 4 else value


class Postgres(Section):
    """One database with the `vector` extension. The administrator's password is generated and stays in the stack."""

    version: Annotated[Literal[16, 17, 18], BeforeValidator(_number)] = 17
    database: DatabaseName = "rag"
    users: Annotated[tuple[DatabaseUser, ...], Field(min_length=1, description="a list of at least one user")] = (
        DatabaseUser(name="rag"),
    )
    bind: LoopbackAddress = "127.0.0.1"
    port: Port = 5432
    tuning: Literal["auto"] | Tuning = Field(default="auto", description="auto, or a section of parameters")
    # 0.8.2 repairs an overflow in parallel HNSW builds, 0.8.4 HNSW vacuum (pgvector's CHANGELOG).
    extension_min_version: str = Field(
        default="0.8.4", pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$", examples=["0.8.4"], description="a version such as 0.8.4"
    )
    volume: DockerName | None = Field(default=None, examples=["ragstack-dev-postgres"])
    container: Container = Container()

    @field_validator("users")
    @classmethod
    def _one_application(cls, users: tuple[DatabaseUser, ...]) -> tuple[DatabaseUser, ...]:
        names = [user.name for user in users]
        if len(set(names)) != len(names):
            raise ValueError("names a user twice; allowed: different names")
        if [user.role for user in users].count("app") != 1:
            raise ValueError(
                "needs exactly one user with role: app; allowed: one app user, any number of readonly ones"
            )
        return users
