"""The machine under the engine: disk, memory, ports, clock, and proxies that get in the way."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping

from components.errors import StackError
from components.hosts.local import wanted_ports
from components.hosts.ports import refuse_taken_ports
from components.plan.known_models import known_models
from components.plan.model_sizes import MARGIN_MIB
from doctor.checks.engine import REACHABLE
from doctor.finding import Check, Finding
from doctor.subject import PROJECT, Subject

_GIB = 1024**2  # KiB
_KIB_PER_MIB = 1024
# The share of a disk below which PostgreSQL and Docker themselves come into trouble.
_LEAST_FREE = 0.05
# Seconds. TLS and signatures of AWS allow minutes; a machine without time synchronization gets there in weeks.
_CLOCK_S = 5.0
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy")
_SPARED = ("NO_PROXY", "no_proxy")


def _disk(subject: Subject) -> Iterator[Finding]:
    root = subject.info["DockerRootDir"]
    said = subject.shell.run("df", "-Pk", root, f"{root}/volumes")
    rows = [line.split() for line in said.text.splitlines()[1:] if len(line.split()) >= 6]
    if not rows:
        raise StackError(f"df says nothing of {root}: {said.text[:200]}", subject.there(f"df -Pk {root}"))
    wanted = _missing_models_mib(subject) * _KIB_PER_MIB
    for mount, (size, free) in {row[5]: (int(row[1]), int(row[3])) for row in rows}.items():
        seen = f"{mount} has {free / _GIB:.1f} of {size / _GIB:.1f} GiB free"
        least = max(wanted + MARGIN_MIB * _KIB_PER_MIB // 5 if wanted else 0, int(size * _LEAST_FREE))
        if free < least:
            why = f", and models of {wanted / _GIB:.1f} GiB are still to be pulled" if wanted else ""
            yield Finding(seen=f"{seen}{why}", mend=_more_disk(subject))
        else:
            yield Finding(seen=seen)


def _missing_models_mib(subject: Subject) -> int:
    """MiB of the declared models that no server has yet, as far as anybody answers."""
    try:
        have = {entry["name"] for entry in subject.tags(subject.servers[0])}
    except StackError:
        return 0
    missing = [one for one in known_models(subject.settings) if one.model.name not in have]
    return sum((one.size or 0) // 1024**2 for one in missing)


def _more_disk(subject: Subject) -> str:
    clean = subject.there("docker system df, then docker system prune (keeps volumes)")
    if subject.settings.host.type == "aws":
        return f"{subject.set_command('host.aws.data_volume.size', '<GiB>g')} and {subject.up_command}, or {clean}"
    return clean


def _memory(subject: Subject) -> Iterator[Finding]:
    total = int(subject.info["MemTotal"])
    limits = {name: int(found["HostConfig"]["Memory"]) for name, found in subject.containers.items()}
    if sum(limits.values()) > total:
        yield Finding(
            seen=f"the containers may take {_gib(sum(limits.values()))} together, the machine has {_gib(total)}",
            mend=subject.set_command("ollama.container.memory", "auto"),
            details=tuple(f"{name} {_gib(limit)}" for name, limit in limits.items()),
        )
        return
    available = _available(subject.shell.run("cat", "/proc/meminfo").text)
    if available is not None and available < total * _LEAST_FREE:
        yield Finding(
            seen=f"only {_gib(available)} of {_gib(total)} of the machine's memory is available",
            mend=subject.there("see who has it: ps -eo rss,comm --sort=-rss | head"),
        )
        return
    yield Finding(seen=f"limits of {_gib(sum(limits.values()))} on a machine of {_gib(total)}")


def _available(meminfo: str) -> int | None:
    """Bytes, None on a machine without /proc."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _ports(subject: Subject) -> Iterator[Finding]:
    wanted = wanted_ports(subject.settings, PROJECT, subject.stack)
    for want in wanted:
        try:
            refuse_taken_ports(subject.engine, [want])
        except StackError as error:
            yield Finding(seen=error.cause, mend=error.mend)
    yield Finding(seen=f"{', '.join(str(want.port) for want in wanted)}: free or the stack's own")


def _clock(subject: Subject) -> Iterator[Finding]:
    before = time.time()
    said = subject.shell.run("date", "+%s")
    after = time.time()
    if not said.text.isdigit():
        raise StackError(f"The machine does not tell its time: {said.text[:200]}", subject.there("date +%s"))
    # Whole seconds, and read at some moment of the call.
    off = max(before - 1 - int(said.text), int(said.text) - after, 0.0)
    if off > _CLOCK_S:
        yield Finding(
            seen=f"the machine's clock is {off:.0f} s off this one",
            mend=subject.there("sudo timedatectl set-ntp true && timedatectl"),
        )
    else:
        yield Finding(seen="the machine's clock agrees with this one")


def _proxy(subject: Subject) -> Iterator[Finding]:
    # Nothing in the other containers is a client of anything.
    for name, found in subject.running_servers():
        variables = dict(line.partition("=")[::2] for line in found["Config"]["Env"] or ())
        if (proxy := _proxied(variables)) and not _spares_loopback(variables):
            yield Finding(
                seen=f"{name} has {proxy} and no NO_PROXY for its own loopback",
                mend=subject.set_command("ollama.extra_environment.NO_PROXY", "localhost,127.0.0.1,::1"),
            )
    here = subject.shell.environment if subject.shell.environment is not None else os.environ
    if (proxy := _proxied(here)) and not _spares_loopback(here):
        yield Finding(
            seen=f"this shell has {proxy} and no NO_PROXY for loopback, so other clients of the stack go astray",
            mend="export NO_PROXY=localhost,127.0.0.1,::1",
        )
    yield Finding(seen="no proxy stands between a client and loopback")


def _proxied(variables: Mapping[str, str]) -> str:
    return next((name for name in _PROXIES if variables.get(name)), "")


def _spares_loopback(variables: Mapping[str, str]) -> bool:
    listed = ",".join(variables.get(name, "") for name in _SPARED).split(",")
    # Libraries differ in what they read of it; these are the forms that are in use.
    return not {"*", "127.0.0.1", "127.0.0.0/8"}.isdisjoint(entry.strip() for entry in listed)


def _gib(size: float) -> str:
    return f"{size / 1024**3:.1f} GiB"


CHECKS: tuple[Check, ...] = (
    Check(
        name="machine.disk",
        title="there is room for models and rows",
        why="A pull that fills the disk stops PostgreSQL too, which then takes no more writes.",
        look=_disk,
        after=(REACHABLE,),
    ),
    Check(
        name="machine.memory",
        title="the containers' limits fit the machine",
        why="Beyond the machine's memory the kernel ends whatever is largest, which is the model.",
        look=_memory,
        after=(REACHABLE,),
    ),
    Check(
        name="machine.ports",
        title="nobody else holds the stack's ports",
        why="A container whose port is taken does not start.",
        look=_ports,
        after=(REACHABLE,),
        concerns=lambda subject: not subject.is_remote,
    ),
    Check(
        name="machine.clock",
        title="the machine's clock is right",
        why="Certificates, signatures and the times in logs are wrong with it.",
        look=_clock,
        concerns=lambda subject: subject.is_remote,
    ),
    Check(
        name="machine.proxy",
        title="no proxy stands before loopback",
        why="Ollama's own client and every library then ask the proxy for 127.0.0.1, and health checks lie.",
        look=_proxy,
        after=(REACHABLE,),
    ),
)
