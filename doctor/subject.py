"""What the checks look at: one stack's settings and outputs, its machine, engine, containers, servers and database.

Everything is opened on first use and kept for the run, so that a check costs no connection of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import docker
import psycopg

from components.engine import SOCKET
from components.errors import StackError
from components.hosts.engine import endpoint_of, open_client
from components.hosts.readiness import probe
from components.models.api import OllamaClient
from components.plan.names import Names, names_of
from components.reach import SshTarget, forwarded_socket, forwarded_url
from components.services.labels import STACK_LABEL
from components.settings import Settings
from components.settings.types import in_url
from doctor.finding import NoGroundError
from doctor.shell import Shell

PROJECT = "ragstack"
# Seconds for an answer of Ollama or PostgreSQL that takes milliseconds when all is well.
ANSWER_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Server:
    """One Ollama server of the stack: its name within the gateway, its container (None for the native server of a
    Mac), and its URL as its machine reaches it."""

    name: str
    container: str | None
    url: str


class Subject:
    """A stack to look at. `outputs` are those of its last update, empty when there was none."""

    def __init__(
        self, stack: str, settings: Settings, outputs: Mapping[str, Any], environment: Mapping[str, str] | None = None
    ) -> None:
        self.stack = stack
        self.settings = settings
        self.outputs = outputs
        self.reach: Mapping[str, Any] | None = outputs.get("reach") or _reach_of(settings)
        self.shell = Shell(reach=self.reach, environment=environment)
        self._opened = ExitStack()
        self._urls: dict[str, str] = {}

    def close(self) -> None:
        """Ends every connection."""
        self._opened.close()

    @property
    def is_remote(self) -> bool:
        return self.reach is not None

    @cached_property
    def names(self) -> Names:
        return names_of(self.settings, PROJECT, self.stack)

    def set_command(self, path: str, value: object) -> str:
        """The command that sets a key of this stack: `path` such as `accelerator.kind`."""
        return f"pulumi config set --stack {self.stack} --path '{PROJECT}:{path}' {value}"

    @property
    def up_command(self) -> str:
        return f"make up STACK={self.stack}"

    def there(self, command: str) -> str:
        """A command as a person runs it on the stack's machine."""
        return f"on {self.reach['destination']}: {command}" if self.reach else command

    @cached_property
    def engine(self) -> docker.DockerClient:
        """The Docker engine. Raises `StackError` when it is down or not permitted."""
        if not self.reach:
            client = open_client(endpoint_of(self.settings.host))
        else:
            address = self._opened.enter_context(forwarded_socket(self.reach, SOCKET))
            try:
                client = docker.DockerClient(base_url=address, timeout=60)
                client.ping()
            except (docker.errors.DockerException, OSError) as error:
                raise StackError(
                    f"The Docker engine of {self.reach['destination']} does not answer: {error}",
                    "on the machine: sudo systemctl status docker",
                ) from None
        self._opened.callback(client.close)
        return client

    @cached_property
    def info(self) -> dict[str, Any]:
        """`docker info`. Raises `StackError` when the engine does not give it."""
        try:
            return dict(self.engine.info())
        except (docker.errors.DockerException, OSError) as error:
            raise StackError(f"The Docker engine gives no information: {error}", "docker info") from None

    @cached_property
    def probe(self) -> probe.Probe:
        """Docker's info, NVIDIA's cards, device nodes and CDI specifications of the machine, asked in one go."""
        said = self.shell.run("sh", "-s", stdin=probe.SCRIPT, timeout_s=60)
        try:
            return probe.parse(said.text)
        except ValueError:
            raise StackError(
                f"The machine gave no shell to look around with: {said.text[-200:]}", "sh -c true"
            ) from None

    @cached_property
    def containers(self) -> dict[str, dict[str, Any]]:
        """`docker inspect` of the stack's containers by name, also of those that do not run."""
        found = self.engine.containers.list(all=True, filters={"label": f"{STACK_LABEL}={self.names.prefix}"})
        return {container.name: container.attrs for container in found}

    @cached_property
    def expected(self) -> tuple[str, ...]:
        """The names of the containers that the settings ask for."""
        settings, names = self.settings, self.names
        servers = [server.container for server in self.servers if server.container]
        proxies = [names.gateway_container] if settings.gateway.enabled else []
        edges = [names.edge_container] if settings.edge.enabled else []
        return (*servers, names.postgres_container, *proxies, *edges)

    @cached_property
    def servers(self) -> tuple[Server, ...]:
        settings = self.settings
        native = settings.accelerator.kind == "apple"
        return tuple(
            Server(
                name=f"ollama-{index + 1}",
                container=None if native else self.names.ollama_server(index),
                url=f"http://{in_url(settings.ollama.bind)}:{settings.ollama.port + index}",
            )
            for index in range(settings.pool.servers)
        )

    def running_servers(self) -> list[tuple[str, dict[str, Any]]]:
        """Container and `docker inspect` of every server that runs in one."""
        found = [(server.container, self.containers.get(server.container or "")) for server in self.servers]
        return [(name, attrs) for name, attrs in found if name and attrs and _runs(attrs)]

    @cached_property
    def serving(self) -> tuple[Server, ...]:
        """The servers that can answer: those whose container runs, and a native one. Raises `NoGroundError` when there
        is none."""
        running = {name for name, _ in self.running_servers()}
        found = tuple(one for one in self.servers if one.container is None or one.container in running)
        if not found:
            raise NoGroundError("containers.running")
        return found

    def require_container(self, name: str) -> None:
        """Raises `NoGroundError` when a container of the stack does not run."""
        if not _runs(self.containers.get(name) or {}):
            raise NoGroundError("containers.running")

    @contextmanager
    def ollama(self, server: Server) -> Iterator[OllamaClient]:
        """A client of a server, through SSH where the machine is another."""
        with OllamaClient(self._reached(server), read_timeout=ANSWER_S) as client:
            yield client

    @contextmanager
    def patient_ollama(self, server: Server) -> Iterator[OllamaClient]:
        """As `ollama`, for what takes as long as a load takes."""
        with OllamaClient(self._reached(server)) as client:
            yield client

    def _reached(self, server: Server) -> str:
        """Where a server is reached from here, by one forward for the whole run."""
        if server.name not in self._urls:
            self._urls[server.name] = self._opened.enter_context(forwarded_url(self.reach, server.url))
        return self._urls[server.name]

    def tags(self, server: Server) -> list[dict[str, Any]]:
        """The models a server has. Raises `StackError` when it does not answer."""
        with self.ollama(server) as client:
            return client.tags()

    @cached_property
    def database(self) -> psycopg.Connection[Any]:
        """A connection as the stack's application user. Raises `StackError` with PostgreSQL's words."""
        url = self.outputs.get("database_url")
        if not url:
            raise StackError("The stack has no database_url among its outputs.", self.up_command)
        reached = self._opened.enter_context(forwarded_url(self.reach, url))
        try:
            connection = psycopg.connect(reached, connect_timeout=int(ANSWER_S), autocommit=True)
        except psycopg.Error as error:
            raise StackError(f"PostgreSQL gives no connection: {str(error).strip()}", self.up_command) from None
        self._opened.callback(connection.close)
        return connection

    def log(self, container: str, lines: int = 2000) -> str:
        """The end of a container's log, both streams."""
        text: bytes = self.engine.containers.get(container).logs(tail=lines)
        return text.decode(errors="replace")

    def last_start(self, container: str) -> str:
        """What a server has logged since it last started, as far as the end of its log goes back."""
        log = self.log(container)
        return log[max(log.rfind("Listening on "), 0) :]

    def restart(self, container: str) -> str:
        """Restarts a container; what was done."""
        self.engine.containers.get(container).restart(timeout=30)
        return f"restarted {container}"

    def run_in(self, container: str, *command: str) -> tuple[int, str]:
        """Exit code and output of a command in a running container; 126 or 127 where it has no such command."""
        done = self.engine.containers.get(container).exec_run(list(command))
        return int(done.exit_code), done.output.decode(errors="replace").strip()


def _runs(attrs: Mapping[str, Any]) -> bool:
    state = attrs.get("State") or {}
    return bool(state.get("Running")) and not state.get("Paused")


def _reach_of(settings: Settings) -> Mapping[str, Any] | None:
    """How a machine that was never deployed to is reached: a rented one is not."""
    if settings.host.type != "ssh" or settings.host.ssh is None:
        return None
    from components.hosts.ssh import target_of

    target: SshTarget = target_of(settings.host.ssh)
    return target.as_input()
