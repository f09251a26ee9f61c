"""The Docker engine of a stack's machine, for the resources that have to act inside a container.

What the Docker provider declares goes through that provider; this is for what it has no word for: handing a running
proxy its next configuration, and telling it that a server is about to go.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from components.errors import StackError
from components.reach import forwarded_socket

if TYPE_CHECKING:
    from docker.models.containers import Container

# Seconds for one answer of the engine, also over SSH.
TIMEOUT_S = 60
SOCKET = "/var/run/docker.sock"


class EngineGoneError(StackError):
    """The engine, or the container on it, is not there any more."""


# As with StackError: users read the name of the error alone.
EngineGoneError.__module__ = "builtins"


@contextmanager
def container_of(engine: Mapping[str, Any], container: str) -> Iterator[Container]:
    """A container, by id or name. `engine`: `address` and `context` of the one at hand, or `reach` of a machine.

    Raises `EngineGoneError` when there is none, `UnreachableError` when the machine cannot be reached.
    """
    import docker
    from docker.context import ContextAPI
    from docker.errors import DockerException

    reach = engine.get("reach")
    with forwarded_socket(reach, SOCKET) as address:
        context = ContextAPI.get_context(engine["context"]) if engine.get("context") else None
        try:
            client = docker.DockerClient(
                base_url=address if reach else engine["address"],
                timeout=TIMEOUT_S,
                tls=(context.TLSConfig if context else None) or False,
            )
            found = client.containers.get(container)
        except (DockerException, OSError) as error:
            raise EngineGoneError(f"the container {container[:12]} is not there: {error}", "docker ps -a") from None
        try:
            yield found
        finally:
            client.close()


def run(container: Container, *command: str) -> tuple[int, str]:
    """The exit code of a command in the container, and what it said."""
    done = container.exec_run(list(command))
    return int(done.exit_code), done.output.decode(errors="replace").strip()


def put(container: Container, folder: str, files: Mapping[str, str], *, owner: int, links: Mapping[str, str]) -> None:
    """Lays files and symbolic links below an existing folder, readable by the user `owner` alone.

    They outlive a restart of the container, and go with it.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        folders = sorted({name.rpartition("/")[0] for name in files} - {""})
        for name in folders:
            archive.addfile(_entry(name, owner, mode=0o500, type_=tarfile.DIRTYPE))
        for name, text in sorted(files.items()):
            data = text.encode()
            entry = _entry(name, owner, mode=0o400)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for name, target in sorted(links.items()):
            entry = _entry(name, owner, mode=0o777, type_=tarfile.SYMTYPE)
            entry.linkname = target
            archive.addfile(entry)
    container.put_archive(folder, packed.getvalue())


def _entry(name: str, owner: int, *, mode: int, type_: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.uid = entry.gid = owner
    entry.mode, entry.type = mode, type_
    return entry
