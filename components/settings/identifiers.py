"""Names PostgreSQL takes for a role and for a database, and the two groups that every database of a stack has.

What is reserved: roles in postgresql.org/docs/current/sql-createrole.html and user-manag.html, databases in
manage-ag-templatedbs.html. Every name here is ASCII, so that its characters are its bytes.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

MAX_NAME_BYTES = 63  # NAMEDATALEN - 1; PostgreSQL cuts longer names off without an error
# `public` and `none` are words of GRANT and SET ROLE even when quoted.
_NO_ROLES = ("public", "none", "postgres")
_NO_DATABASES = ("postgres", "template0", "template1")
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")


def owner_of(database: str) -> str:
    """The role that owns what the applications make in a database."""
    return f"{database}_owner"


def reader_of(database: str) -> str:
    """The role that may read what the applications make in a database."""
    return f"{database}_reader"


MAX_DATABASE_BYTES = MAX_NAME_BYTES - max(len(owner_of("")), len(reader_of("")))


def _identifier(longest: int, reserved: tuple[str, ...]) -> AfterValidator:
    allowed = (
        f"a lower-case PostgreSQL identifier of at most {longest} characters that does not begin with pg_ "
        f"and is not {', '.join(reserved[:-1])} or {reserved[-1]}"
    )

    def check(text: str) -> str:
        if text in reserved or text.startswith("pg_"):
            raise ValueError(f"is a name PostgreSQL keeps for itself; allowed: {allowed}")
        if not _IDENTIFIER.fullmatch(text) or len(text) > longest:
            raise ValueError(f"is not valid; allowed: {allowed}")
        return text

    return AfterValidator(check)


RoleName = Annotated[str, _identifier(MAX_NAME_BYTES, _NO_ROLES)]
# Shorter than PostgreSQL's own limit, since the names of its two groups have to fit as well.
DatabaseName = Annotated[str, _identifier(MAX_DATABASE_BYTES, _NO_DATABASES)]
