"""The database as a Pulumi resource.

As with models, the provider is pickled by reference into the state and runs in a plugin process of its own: it holds
nothing, imports inside its methods, and leaves the work to sql.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, ResourceProvider
from pulumi.dynamic import UpdateResult as Updated

from components.dynamic import UNPROVEN, plain_errors

if TYPE_CHECKING:
    from components.database.connect import Server
    from components.database.layout import Layout

SECRETS = ("admin_password", "users")


@dataclass(frozen=True, kw_only=True)
class DatabaseUser:
    """A role that can log in: `app` reads and writes, `readonly` reads. Pass the password as a secret."""

    name: str
    password: pulumi.Input[str]
    role: Literal["app", "readonly"] = "app"


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """A database on a PostgreSQL server.

    host, port               the server as its machine reaches it
    reach                    how the deploying machine reaches that one (`SshTarget.as_input`); None: it is that one
    admin_user               the superuser that sets things up
    admin_password           its password, as a secret
    database                 another name is another database (replacement; the old one and its rows stay)
    schema                   where the applications' tables live
    users                    who may log in; one that is no longer listed loses its role, its tables stay
    extension_min_version    the least pgvector, for example `0.8.2`; empty: any
    server                   anything that changes when it has to be proven again, as the container's id
    ready_timeout_s          seconds to wait for a server that is still starting
    """

    host: pulumi.Input[str]
    port: pulumi.Input[int]
    admin_password: pulumi.Input[str]
    users: Sequence[DatabaseUser]
    admin_user: pulumi.Input[str] = "postgres"
    database: str = "rag"
    schema: str = "rag"
    extension_min_version: str = ""
    server: pulumi.Input[str] = ""
    ready_timeout_s: float = 60.0
    reach: pulumi.Input[Mapping[str, Any]] | None = None


class DatabaseProvider(ResourceProvider):
    """Brings a database about, checks it and watches it; never deletes a row."""

    serialize_as_secret_always = False

    @plain_errors
    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse names that cannot be at preview."""
        from components.dynamic import is_unknown

        users = news["users"] if isinstance(news["users"], list) else [news["users"]]
        named = [user["name"] if isinstance(user, Mapping) else user for user in users]
        if not is_unknown([*named, *(news[key] for key in ("admin_user", "database", "schema"))]):
            _layout(news)
        return CheckResult(news, [])

    @plain_errors
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another database replaces; anything else that differs, or was found missing by a refresh, updates."""
        from components.dynamic import changed, is_unknown

        keys = [key for key in DatabaseArgs.__dataclass_fields__ if key != "ready_timeout_s"]
        renamed = not is_unknown(_news["database"]) and _olds["database"] != _news["database"]
        different = changed(_olds, _news, keys)
        return DiffResult(
            changes=bool(different) or bool(_olds.get("missing")), replaces=["database"] if renamed else []
        )

    @plain_errors
    def create(self, props: dict[str, Any]) -> CreateResult:
        """Bring the database about, or take over the one that a kept volume still has. The id is its name."""
        return CreateResult(props["database"], _ensure(props))

    @plain_errors
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> Updated:
        """The same as create: every step may run again."""
        return Updated(_ensure(_news))

    @plain_errors
    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """What the server has now, with what is missing; an empty id when the database is gone.

        A server that does not answer is no reason to fail a refresh, which is what brings it back: the database counts
        as not proven, so that the same update proves it again.
        """
        from components.database.connect import NotReadyError
        from components.database.sql import inspect
        from components.dynamic import report, warn
        from components.reach import UnreachableError

        try:
            with _server(props) as server:
                facts = inspect(server, _layout(props), report, ready_timeout_s=5.0)
        except (NotReadyError, UnreachableError) as error:
            warn(f"the database {props['database']} was not looked at: {error.cause}")
            return ReadResult(id_, {**props, "server": UNPROVEN})
        if facts is None:
            return ReadResult("", {})
        return ReadResult(id_, _inputs(props) | asdict(facts))

    @plain_errors
    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Nothing: rows outlive the resource. They go with the volume, which is asked for by name."""


class Database(Resource, module="ragstack", name="Database"):
    """A database that is there, with pgvector in it, and open to none but its users."""

    host: pulumi.Output[str]
    port: pulumi.Output[int]
    database: pulumi.Output[str]
    schema: pulumi.Output[str]
    server_version: pulumi.Output[str]
    extension_version: pulumi.Output[str]
    missing: pulumi.Output[list[str]]

    def __init__(self, resource_name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        props: dict[str, Any] = {field: getattr(args, field) for field in DatabaseArgs.__dataclass_fields__}
        props["admin_password"] = pulumi.Output.secret(args.admin_password)
        props["users"] = [
            {"name": user.name, "role": user.role, "password": pulumi.Output.secret(user.password)}
            for user in args.users
        ]
        found = dict.fromkeys(("server_version", "extension_version", "missing"))
        secrets = pulumi.ResourceOptions(additional_secret_outputs=list(SECRETS))
        super().__init__(DatabaseProvider(), resource_name, props | found, pulumi.ResourceOptions.merge(opts, secrets))


def _inputs(props: Mapping[str, Any]) -> dict[str, Any]:
    return {field: props.get(field) for field in DatabaseArgs.__dataclass_fields__}


def _ensure(props: Mapping[str, Any]) -> dict[str, Any]:
    from components.database.sql import ensure
    from components.dynamic import report

    with _server(props) as server:
        facts = ensure(server, _layout(props), report, float(props.get("ready_timeout_s") or 60.0))
    return _inputs(props) | asdict(facts)


@contextmanager
def _server(props: Mapping[str, Any]) -> Iterator[Server]:
    from components.database.connect import Server
    from components.reach import forwarded

    with forwarded(props.get("reach"), props["host"], int(props["port"])) as (host, port):
        yield Server(host=host, port=port, admin_user=props["admin_user"], admin_password=props["admin_password"])


def _layout(props: Mapping[str, Any]) -> Layout:
    from components.database.layout import Layout, User

    return Layout(
        database=props["database"],
        schema=props["schema"],
        users=tuple(User(**{key: user[key] for key in ("name", "password", "role")}) for user in props["users"]),
        admin_user=props["admin_user"],
        extension_min_version=props.get("extension_min_version") or "",
    )
