"""A machine that is already there, reached by SSH: an on-premises NVIDIA or AMD box, or any Linux machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pulumi

from components.errors import StackError
from components.hosts.readiness.probe import ask
from components.hosts.readiness.wait import Wanted, check, unfinished
from components.hosts.remote import COMMON_OPTIONS, RemoteArgs, RemoteHost
from components.plan import HostFacts
from components.reach import SshTarget
from components.settings import Settings
from components.settings.ssh import SshHost
from components.settings.types import duration_seconds


def target_of(host: SshHost) -> SshTarget:
    """The machine as ssh names it. What the settings leave out is the user's own ssh configuration's to say."""
    options = [*COMMON_OPTIONS, "-o", f"ConnectTimeout={max(1, round(duration_seconds(host.connect_timeout)))}"]
    if host.port:
        options += ["-p", str(host.port)]
    if host.private_key:
        options += ["-i", host.private_key, "-o", "IdentitiesOnly=yes"]
    if host.proxy_command:
        options += ["-o", f"ProxyCommand={host.proxy_command}"]
    destination = f"{host.user}@{host.address}" if host.user else host.address
    return SshTarget(destination=destination, options=tuple(options))


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What the machine said before anything was declared."""

    address: str
    facts: HostFacts


def survey(settings: Settings) -> Survey:
    """Asks the machine. Raises `StackError` when it cannot be reached, its preparation is unfinished or failed, or it
    lacks Docker, the toolkit or a device that the accelerator needs."""
    host = required(settings)
    if host.private_key and not Path(host.private_key).expanduser().is_file():
        raise StackError(
            f"The SSH key {host.private_key} of ragstack:host.ssh.private_key is not there.",
            "name the private key's file, or leave it to your ssh configuration: "
            "pulumi config rm --path ragstack:host.ssh.private_key",
        )
    target = target_of(host)
    probe = ask(target)
    pending = unfinished(probe, target, Wanted(accelerator=settings.accelerator, prepared=False))
    if pending and probe.docker:
        raise StackError(f"{target.destination} is not ready: {pending}", "wait for its end, then try again")
    facts = check(probe, settings.accelerator, target.destination, ollama=settings.ollama_version)
    return Survey(address=host.address, facts=facts)


def declare(settings: Settings) -> RemoteHost:
    """The machine's gate and provider."""
    target = target_of(required(settings))
    return RemoteHost(
        "host",
        RemoteArgs(
            destination=target.destination,
            options=target.options,
            machine=target.destination,
            prepared=False,
            gpus=0,
            settings=settings,
        ),
    )


def required(settings: Settings) -> SshHost:
    """The section that the settings have when host.type is ssh."""
    if settings.host.ssh is None:
        raise StackError(
            "host.type is ssh, and host.ssh says of no machine.",
            f"pulumi config set --stack {pulumi.get_stack()} --path ragstack:host.ssh.address <name>",
        )
    return settings.host.ssh
