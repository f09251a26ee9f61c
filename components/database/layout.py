"""What there should be in the database, as plain values. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from components.errors import StackError
from components.settings.identifiers import MAX_NAME_BYTES, owner_of, reader_of


@dataclass(frozen=True, kw_only=True)
class User:
    """A role that can log in: `app` reads and writes, `readonly` reads."""

    name: str
    password: str = field(repr=False)
    role: Literal["app", "readonly"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A database, its schema and who may use it. `extension_min_version` is of pgvector, as `0.8.2`; empty: any.

    Raises StackError when two of the names would be one role, or a name is too long for PostgreSQL.
    """

    database: str
    schema: str
    users: tuple[User, ...]
    admin_user: str
    extension_min_version: str = ""

    def __post_init__(self) -> None:
        names = [self.admin_user, self.owner, self.reader, *(user.name for user in self.users)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise StackError(
                f"the name {', '.join(twice)} is used twice among the roles of database {self.database}",
                "give every user a name of its own, other than the superuser and the groups "
                f"{self.owner} and {self.reader}",
            )
        for name in (*names, self.schema):
            if not name or name.startswith("pg_") or len(name.encode()) > MAX_NAME_BYTES:
                raise StackError(
                    f"PostgreSQL cannot have a role or schema named {name!r}",
                    f"choose a name of 1 to {MAX_NAME_BYTES} bytes that does not begin with pg_",
                )

    @property
    def owner(self) -> str:
        """The role that owns the schema."""
        return owner_of(self.database)

    @property
    def reader(self) -> str:
        """The role that may read the schema."""
        return reader_of(self.database)

    @property
    def mark(self) -> str:
        """The comment on every role that belongs to this layout, by which an undeclared one is known later."""
        return f"managed by ragstack for database {self.database}"


def version(text: str) -> tuple[int, ...]:
    """`0.8.2` as (0, 8, 2), for comparison; empty text is below everything."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())
