"""How the deploying machine reaches a port on a remote machine's loopback: an SSH forward over one shared connection.

Docker, the model pulls and the database checks of one update are dozens of connections. Through Session Manager each
would take seconds to open, so all of them are sessions of one (ssh_config(5): ControlMaster).
Not here: which options a host needs (`components/hosts`) and what is spoken through a forward.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from components.errors import StackError

LOOPBACK = "127.0.0.1"
# Below the home folder, because a socket's path may have 108 bytes and a project's folder may be deep (unix(7)).
# ssh itself expands the tilde, so that a stack's state names no user's home.
SOCKETS = "~/.ragstack/ssh"
# Seconds the shared connection outlives its last session: longer than the pauses between the steps of an update.
PERSIST_S = 300
# Seconds until a first connection is up: Session Manager needs up to ten, a sleeping link more.
CONNECT_S = 60
# A user's own configuration might make some short-lived ssh the master, and others would wait for its end.
SHARED_OPTIONS = ("-o", "ControlMaster=no", "-o", f"ControlPath={SOCKETS}/%C")
# Another program may take a free port before ssh does.
_FORWARD_TRIES = 5


class UnreachableError(StackError):
    """SSH gave no connection to the machine."""


# As with StackError: users read the name of the error alone.
UnreachableError.__module__ = "builtins"


@dataclass(frozen=True, kw_only=True)
class SshTarget:
    """A machine as ssh(1) names it: `destination` is `[user@]host`, `options` are arguments such as `-p 2222`."""

    destination: str
    options: tuple[str, ...] = ()

    @classmethod
    def of(cls, reach: Mapping[str, Any]) -> SshTarget:
        """From the form in which a Pulumi resource carries it (`as_input`)."""
        return cls(destination=str(reach["destination"]), options=tuple(map(str, reach.get("options") or ())))

    def as_input(self) -> dict[str, Any]:
        return {"destination": self.destination, "options": list(self.options)}

    def command(self, *remote: str) -> list[str]:
        """The whole command line that runs `remote` there, by the shared connection when there is one."""
        return ["ssh", *self.options, *SHARED_OPTIONS, self.destination, "--", *remote]

    @property
    def docker_url(self) -> str:
        """The machine's Docker engine for a Docker client, which reaches it by the same ssh."""
        return f"ssh://{self.destination}"

    @property
    def docker_options(self) -> list[str]:
        return [*self.options, *SHARED_OPTIONS]


def open_shared(target: SshTarget) -> None:
    """Opens the shared connection unless it is open. Raises `UnreachableError` with what ssh said."""
    require_ssh()
    Path(SOCKETS).expanduser().mkdir(parents=True, exist_ok=True, mode=0o700)
    if _control(target, "check").returncode == 0:
        return
    # A file instead of a pipe: the connection lives on in the background and would hold the pipe open.
    with tempfile.TemporaryFile() as said:
        # Of an option given twice, ssh takes the first.
        persist = ("-o", "ControlMaster=auto", "-o", f"ControlPersist={PERSIST_S}")
        try:
            code = subprocess.run(
                ["ssh", *target.options, *persist, *SHARED_OPTIONS, "-N", "-f", target.destination],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                check=False,
                timeout=CONNECT_S,
            ).returncode
            reason = ""
        except subprocess.TimeoutExpired:
            code, reason = 1, f"no connection within {CONNECT_S} s"
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if code:
        # The last line is ssh's own; those before it are the proxy's, which knows more.
        reason = reason or "; ".join(lines[-3:]) or f"ssh ended with {code}"
        raise UnreachableError(
            f"{target.destination} cannot be reached by SSH: {reason}", f"see what `{shown(target)}` says"
        )


def require_ssh() -> None:
    """Raises `StackError` where there is no ssh client."""
    if not shutil.which("ssh"):
        raise StackError(
            "There is no ssh on this machine, and the host is reached by it.", "install the OpenSSH client"
        )


def shown(target: SshTarget) -> str:
    """The command that a person types for a shell on the machine."""
    words = ["ssh", *target.options, target.destination]
    return " ".join(f'"{word}"' if " " in word else word for word in words)


def run(target: SshTarget, *remote: str, timeout_s: float, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a command there over the shared connection. Raises `UnreachableError` when there is no connection.

    `timeout_s` bounds the command; one that takes longer counts as a lost connection.
    """
    open_shared(target)
    try:
        return subprocess.run(
            target.command(*remote), input=stdin, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        # It may be the connection that is dead, to a machine that was stopped and started; the next try opens another.
        close_shared(target)
        raise UnreachableError(
            f"{target.destination} did not answer within {timeout_s:.0f} s.", f"see what `{shown(target)}` says"
        ) from None


def close_shared(target: SshTarget) -> None:
    """Ends the shared connection, if there is one: the next logs in anew, with the groups that a user has by then."""
    _control(target, "exit")


@contextmanager
def forwarded(reach: Mapping[str, Any] | None, host: str, port: int) -> Iterator[tuple[str, int]]:
    """Where `host:port` of the machine is reached from here while the block runs: itself, when `reach` is None.

    Raises `UnreachableError` when the machine cannot be reached.
    """
    if not reach:
        yield host, port
        return
    target = SshTarget.of(reach)
    open_shared(target)
    local, forward = _forward(target, host, port)
    try:
        yield LOOPBACK, local
    finally:
        _control(target, "cancel", "-L", forward)


@contextmanager
def forwarded_url(reach: Mapping[str, Any] | None, url: str) -> Iterator[str]:
    """As `forwarded`, for a URL with a port: `http://127.0.0.1:11434`."""
    parts = urlsplit(url)
    with forwarded(reach, parts.hostname or LOOPBACK, parts.port or 80) as (host, port):
        netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        user, at, _ = parts.netloc.rpartition("@")
        yield parts._replace(netloc=f"{user}{at}{netloc}").geturl() if reach else url


@contextmanager
def forwarded_socket(reach: Mapping[str, Any] | None, path: str) -> Iterator[str]:
    """The `unix://` address by which a socket of the machine is reached from here while the block runs: its own path,
    when `reach` is None. Raises `UnreachableError` when the machine cannot be reached."""
    if not reach:
        yield f"unix://{path}"
        return
    target = SshTarget.of(reach)
    open_shared(target)
    # Below the sockets' folder for the same reason as those; a name of its own, as ssh does not replace a file.
    local = Path(tempfile.mkdtemp(dir=Path(SOCKETS).expanduser(), prefix="f-")) / "s"
    forward = f"{local}:{path}"
    done = _control(target, "forward", "-L", forward)
    try:
        if done.returncode:
            raise UnreachableError(
                f"{target.destination} gave no forward to {path}: {done.stderr.strip()}",
                "allow it in the machine's sshd: AllowStreamLocalForwarding yes",
            )
        yield f"unix://{local}"
    finally:
        _control(target, "cancel", "-L", forward)
        shutil.rmtree(local.parent, ignore_errors=True)


def _forward(target: SshTarget, host: str, port: int) -> tuple[int, str]:
    remote = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    said = ""
    for _ in range(_FORWARD_TRIES):
        local = _free_port()
        forward = f"{LOOPBACK}:{local}:{remote}"
        done = _control(target, "forward", "-L", forward)
        if done.returncode == 0:
            return local, forward
        said = done.stderr.strip()
    raise UnreachableError(
        f"{target.destination} gave no forward to {remote}: {said}",
        "allow it in the machine's sshd: AllowTcpForwarding yes",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _control(target: SshTarget, order: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """An order to the shared connection's process; a return code other than 0 is a no, or that there is none."""
    command = ["ssh", *target.options, *SHARED_OPTIONS, "-O", order, *arguments, target.destination]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=CONNECT_S
    )
