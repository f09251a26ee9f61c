"""`ragstack:edge`: HTTPS without a certificate of one's own, and passwords for people, in front of the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from components.settings.base import RuleError, Section
from components.settings.container import Container
from components.settings.gateway import KeyName
from components.settings.types import Address, Port, is_loopback, matching

NAME = r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}|[0-9A-Fa-f:]*:[0-9A-Fa-f:]+"
# What `caddy hash-password` prints; crypt(5) calls the form bcrypt.
Bcrypt = Annotated[
    str,
    matching(
        r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}",
        "a bcrypt hash, as `caddy hash-password` prints it, never the password itself",
    ),
]
Domain = Annotated[
    str,
    matching(
        r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])",
        "a domain name such as rag.example.com",
    ),
]


class EdgeUser(Section):
    """A person, who logs in by HTTP basic authentication and may use the models."""

    name: KeyName
    password_hash: Bcrypt


class Edge(Section):
    """`certificate: automatic` takes one for `domain` from a public authority, which has to reach ports 80 and 443;
    `internal` signs one for `names` by an authority of Caddy's own, which clients have to be told to trust."""

    enabled: bool = False
    bind: Address = "127.0.0.1"
    port: Port = 8443
    http_port: Port = 80
    certificate: Literal["automatic", "internal"] = "internal"
    domain: Domain | None = Field(default=None, examples=["rag.example.com"])
    email: Annotated[str, matching(r"[^@\s{}\"']+@[^@\s{}\"']+", "an e-mail address")] | None = Field(
        default=None, examples=["ops@example.com"]
    )
    names: Annotated[
        tuple[Annotated[str, matching(NAME, "a host name or an IP address")], ...],
        Field(min_length=1),
    ] = ("localhost", "127.0.0.1")
    users: tuple[EdgeUser, ...] = ()
    container: Container = Container()

    @field_validator("users")
    @classmethod
    def _names_differ(cls, users: Sequence[EdgeUser]) -> Sequence[EdgeUser]:
        names = [user.name for user in users]
        if len(set(names)) != len(names):
            raise ValueError("names a user twice; allowed: every user once")
        return users

    @model_validator(mode="after")
    def _automatic_needs_a_domain(self) -> Edge:
        if self.certificate == "automatic" and self.domain is None:
            raise RuleError(
                "is automatic without a domain; allowed: internal, or domain with it",
                field="certificate",
                mend=("domain", "<name>"),
            )
        return self

    @model_validator(mode="after")
    def _a_domain_is_public(self) -> Edge:
        if self.domain is None:
            return self
        if self.certificate != "automatic":
            raise RuleError(
                "is set although certificate is internal; allowed: with certificate: automatic (internal uses names)",
                field="domain",
                mend=("certificate", "automatic"),
            )
        if is_loopback(self.bind):
            raise RuleError(
                "is set, but bind is a loopback address, where no authority can check it and nobody can call it; "
                "allowed: with a public bind",
                field="domain",
                mend=("bind", "0.0.0.0"),  # noqa: S104
            )
        if self.port != 443:
            raise RuleError(
                "is set, but port is not 443, on which the authority checks it; allowed: with port: 443",
                field="domain",
                mend=("port", "443"),
            )
        return self
