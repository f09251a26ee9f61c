"""The database of a stack: its users' passwords, generated or given, and the resource that brings it about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pulumi
import pulumi_random as random

from components.database.resource import Database, DatabaseArgs, DatabaseUser
from components.settings.postgres import DatabaseUser as DeclaredUser
from components.settings.postgres import Postgres
from components.settings.types import in_url

PASSWORD_LENGTH = 32


@dataclass(frozen=True, kw_only=True)
class RagDatabaseArgs:
    """`host` and `port`: the server as its machine reaches it; `reach`: how to get to that machine, None for the one at
    hand; `identity`: changes with the server."""

    settings: Postgres
    host: pulumi.Input[str]
    port: pulumi.Input[int]
    admin_user: pulumi.Input[str]
    admin_password: pulumi.Input[str]
    identity: pulumi.Input[str]
    reach: pulumi.Input[Mapping[str, Any]] | None = None


class RagDatabase(pulumi.ComponentResource):
    """`url` is the application user's connection string and secret; `schema` is where its tables live."""

    url: pulumi.Output[str]
    schema: pulumi.Output[str]

    def __init__(self, name: str, args: RagDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:database:RagDatabase", name, None, opts)
        settings = args.settings
        passwords = {user.name: self._password(name, user) for user in settings.users}
        database = Database(
            f"{name}-{settings.database}",
            DatabaseArgs(
                host=args.host,
                port=args.port,
                admin_user=args.admin_user,
                admin_password=args.admin_password,
                database=settings.database,
                users=[
                    DatabaseUser(name=user.name, role=user.role, password=passwords[user.name])
                    for user in settings.users
                ],
                extension_min_version=settings.extension_min_version,
                server=args.identity,
                reach=args.reach,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        application = next(user for user in settings.users if user.role == "app")
        self.schema = database.schema
        self.url = pulumi.Output.secret(
            pulumi.Output.format(
                "postgresql://{0}:{1}@{2}:{3}/{4}",
                application.name,
                passwords[application.name].apply(lambda password: quote(password, safe="")),
                pulumi.Output.from_input(args.host).apply(in_url),
                database.port,
                database.database,
            )
        )
        self.register_outputs({"schema": self.schema})

    def _password(self, name: str, user: DeclaredUser) -> pulumi.Output[str]:
        if user.password is not None:
            return pulumi.Output.secret(user.password.get_secret_value())
        generated = random.RandomPassword(
            f"{name}-{user.name}-password",
            length=PASSWORD_LENGTH,
            special=False,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return pulumi.Output.secret(generated.result)
