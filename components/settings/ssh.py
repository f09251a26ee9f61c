"""`ragstack:host.ssh`: a machine that is already there, as ssh reaches it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from components.settings.base import Section
from components.settings.types import Port, PositiveDuration, key_path


class SshHost(Section):
    """`address` is a host name, an address, or an alias of the user's ssh configuration, which also decides on all that
    is left out here. `proxy_command` is ssh's ProxyCommand."""

    address: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$",
        examples=["gpu-box.lan"],
        description="a host name, IPv4 address or ssh alias, without user and port",
    )
    user: str | None = Field(
        default=None, pattern=r"^[A-Za-z_][A-Za-z0-9._-]{0,31}$", examples=["ubuntu"], description="a login name"
    )
    port: Port | None = None
    private_key: Annotated[str, AfterValidator(key_path)] | None = Field(
        default=None, examples=["~/.ssh/id_ed25519"], description="the path of a private key"
    )
    proxy_command: str | None = Field(
        default=None, min_length=1, max_length=1000, examples=["ssh -W %h:%p bastion"], description="a ProxyCommand"
    )
    connect_timeout: PositiveDuration = Field(default="10s", examples=["10s"])
