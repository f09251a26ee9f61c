"""What a running gateway is asked and told: its runtime API, its next configuration, the draining of a server.

Not here: Pulumi. Everything is a function of a container and may be called again at any time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.dynamic import Report
from components.engine import put, run
from components.errors import StackError
from components.proxies.haproxy import BACKEND, FILE, FOLDER, RUNTIME_PORT, revision_of, with_revision

if TYPE_CHECKING:
    from docker.models.containers import Container

# The user `haproxy` of the official image (github.com/docker-library/haproxy).
USER_ID = 99
CURRENT = f"{FOLDER}/current"
# Starts the proxy once it has a configuration. The container itself holds none, so that keys and certificates change
# without it; what was delivered lies in its own layer and is there after a restart.
START = f"until [ -e {CURRENT}/{FILE} ]; do sleep 0.1; done; exec haproxy -W -db -f {CURRENT}/{FILE}"
# Seconds for a new process to read its files and take over the ports; it takes well under one.
RELOAD_S = 30.0
_ASK = f'exec 3<>/dev/tcp/127.0.0.1/{RUNTIME_PORT} && printf "%s\\n" "$1" >&3 && cat <&3'
# Seconds that a server which leaves the pool for good may take to finish.
LEAVING_S = 300.0
_SERVER = re.compile(r"^    server (\S+)", re.MULTILINE)
# `srv_op_state` and `srv_admin_state` of `show servers state` (docs.haproxy.org/3.0/management.html).
_RUNNING = "2"


class ConfigurationRefusedError(StackError):
    """The proxy does not take a configuration; the former one goes on."""


ConfigurationRefusedError.__module__ = "builtins"


def ask(container: Container, command: str) -> str | None:
    """The runtime API's answer, None when the proxy does not run (yet)."""
    code, said = run(container, "bash", "-c", _ASK, "ask", command)
    return said if code == 0 else None


def revision(container: Container) -> str | None:
    """The revision of the configuration that is in force, None when none is."""
    info = ask(container, "show info") or ""
    described = [line.partition(": ")[2] for line in info.splitlines() if line.startswith("description: ")]
    return described[0] if described else None


def deliver(container: Container, files: Mapping[str, str], tell: Report) -> str:
    """Puts a configuration in force without closing a connection; its revision. Does nothing when it is in force.

    A server that is in it no more is drained first.

    Raises `ConfigurationRefusedError` with HAProxy's own words, before anything has changed.
    """
    wanted = revision_of(files)
    found = revision(container)
    if found == wanted:
        return wanted
    named = {f"{wanted}/{name}": text for name, text in with_revision(files).items()}
    put(container, FOLDER, named, owner=USER_ID, links={})
    code, said = run(container, "haproxy", "-c", "-f", f"{FOLDER}/{wanted}/{FILE}")
    if code:
        alerts = [line for line in said.splitlines() if "[ALERT]" in line] or said.splitlines()
        raise ConfigurationRefusedError(
            f"the gateway does not take its configuration: {' '.join(alerts)[:600]}",
            "correct the gateway's settings; a certificate must come with its whole chain and its own key, in PEM",
        )
    for server in _servers(container) - set(_SERVER.findall(files[FILE])):
        # Afterwards nobody could tell what it still has in hand.
        drain(container, server, LEAVING_S, tell)
    put(container, FOLDER, {}, owner=USER_ID, links={"current": wanted})
    if found is not None:
        # The master starts a process with the new files; the old one finishes what it has begun.
        container.kill(signal="USR2")
    _wait_for(container, wanted)
    return wanted


def _wait_for(container: Container, wanted: str) -> None:
    until = time.monotonic() + RELOAD_S
    while revision(container) != wanted:
        if time.monotonic() > until:
            last = container.logs(tail=5).decode(errors="replace").strip().replace("\n", " | ")
            raise ConfigurationRefusedError(
                f"the gateway did not take its configuration within {RELOAD_S:.0f} s: {last}",
                f"docker logs {container.name}",
            )
        time.sleep(0.1)


def drain(container: Container, server: str, limit_s: float, tell: Report) -> bool:
    """Gives a server nothing more to do and waits until it has answered; whether it had within `limit_s` seconds."""
    if ask(container, f"set server {BACKEND}/{server} state drain") is None:
        return True
    until = time.monotonic() + limit_s
    told = 0.0
    while _in_flight(container, server) + _former_processes(container) > 0:
        if time.monotonic() > until:
            return False
        if time.monotonic() - told > 5:
            tell(f"{server} finishes what it has in hand before it goes")
            told = time.monotonic()
        time.sleep(0.2)
    return True


def ready(container: Container, server: str, limit_s: float) -> bool:
    """Gives a server work again; whether its health check passed within `limit_s` seconds."""
    ask(container, f"set server {BACKEND}/{server} state ready")
    until = time.monotonic() + limit_s
    while _state(container, server) != _RUNNING:
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def is_known(container: Container, server: str) -> bool:
    """Whether the configuration in force has a server of this name."""
    return _state(container, server) is not None


def _servers(container: Container) -> set[str]:
    """The servers of the configuration in force."""
    table = (ask(container, f"show stat {BACKEND} 4 -1") or "").splitlines()
    return {line.split(",")[1] for line in table if line.startswith(f"{BACKEND},")}


def _state(container: Container, server: str) -> str | None:
    """`srv_op_state` of a server, None when there is none or it is not to get work."""
    table = (ask(container, f"show servers state {BACKEND}") or "").splitlines()
    header = next((line.removeprefix("# ").split() for line in table if line.startswith("# ")), [])
    for line in table:
        row = dict(zip(header, line.split(), strict=False))
        if row.get("srv_name") == server:
            return row["srv_op_state"] if row["srv_admin_state"] == "0" else "0"
    return None


def _former_processes(container: Container) -> int:
    """Processes of a former configuration, which end with the last answer they carry, beside a master and a worker."""
    listed = container.top()["Processes"] or []
    return max(0, sum("haproxy" in " ".join(row) and "bash" not in " ".join(row) for row in listed) - 2)


def _in_flight(container: Container, server: str) -> int:
    """Requests that a server works on, as far as the process in charge knows."""
    table = (ask(container, f"show stat {BACKEND} 4 -1") or "").splitlines()
    header = next((line.removeprefix("# ").split(",") for line in table if line.startswith("# ")), [])
    rows = [dict(zip(header, line.split(","), strict=False)) for line in table]
    return sum(int(row["scur"]) for row in rows if row.get("svname") == server)
