"""Connections to Docker engines, found as the Docker provider and the Docker command find them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import docker
from docker.context import ContextAPI
from docker.errors import DockerException
from docker.tls import TLSConfig

from components.errors import StackError
from trial.docker_errors import explain_connection

_LOCAL = "unix:///var/run/docker.sock"  # the provider's own default
_FIELDS = {"host", "context", "sshOpts", "registryAuth", "certPath", "disableDockerDaemonCheck"}
_IGNORED = {"version", "pluginDownloadURL"}
# A pull or build may stay silent while the engine unpacks a large layer.
_TIMEOUT_SECONDS = 600
# Through Session Manager a connection takes up to ten seconds, on a machine that has just started longer.
_SSH_SECONDS = 60
# Of an option given twice ssh takes the first: a connection of its own, as a shared one may end while this one is idle.
_OWN_CONNECTION = ("-o", "ControlMaster=no", "-o", "ControlPath=none")
# A machine that was stopped or replaced does not say goodbye.
_NOTICE_DEATH = ("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3")
_CONNECTIONS = 32  # as many as there are threads, or they would queue for one another


class Engines:
    """One client per endpoint, shared by all threads."""

    def __init__(self, config: Mapping[str, str]) -> None:
        self._config = config
        self._clients: dict[str, docker.DockerClient] = {}
        self._forwards: dict[str, tuple[subprocess.Popen[bytes], str]] = {}
        self._lock = threading.Lock()

    def client(self, provider: Mapping[str, Any]) -> docker.DockerClient:
        """The client for a Docker provider's plain inputs, {} meaning the default one.

        Raises StackError when the engine does not answer or an input is not implemented.
        """
        endpoint = self.endpoint(provider)
        with self._lock:
            if endpoint in self._forwards and self._forwards[endpoint][0].poll() is not None:
                # The machine was stopped or replaced since.
                self._drop(endpoint)
            if endpoint not in self._clients:
                self._clients[endpoint] = self._connect(endpoint, provider)
            return self._clients[endpoint]

    def endpoint(self, provider: Mapping[str, Any]) -> str:
        """The engine's URL: the provider's host or context, else configuration, DOCKER_HOST, DOCKER_CONTEXT, local."""
        check_provider(provider)
        context = provider.get("context") or self._config.get("docker:context")
        host = provider.get("host") or self._config.get("docker:host")
        if host:
            return str(host)
        if context:
            return _context_host(str(context))
        if os.environ.get("DOCKER_HOST"):
            return os.environ["DOCKER_HOST"]
        name = os.environ.get("DOCKER_CONTEXT") or ""
        return _context_host(name) if name and name != "default" else _LOCAL

    def close(self) -> None:
        for endpoint in {*self._clients, *self._forwards}:
            self._drop(endpoint)

    def _drop(self, endpoint: str) -> None:
        client = self._clients.pop(endpoint, None)
        if client:
            client.close()
        process, folder = self._forwards.pop(endpoint, (None, ""))
        if process:
            process.terminate()
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)

    def _connect(self, endpoint: str, provider: Mapping[str, Any]) -> docker.DockerClient:
        # The configuration of a provider reaches it as text, lists as JSON.
        given = provider.get("sshOpts") or []
        options = [str(option) for option in (json.loads(given) if isinstance(given, str) else given)]
        url = self._forward(endpoint, options) if endpoint.startswith("ssh://") else endpoint
        try:
            client = docker.DockerClient(
                base_url=url, tls=_tls(url, provider) or False, timeout=_TIMEOUT_SECONDS, max_pool_size=_CONNECTIONS
            )
            client.ping()
        except (DockerException, OSError) as error:
            raise explain_connection(endpoint, error) from error
        return client

    def _forward(self, endpoint: str, options: list[str]) -> str:
        """A local socket that leads to the remote engine's, through the system's ssh with the provider's options."""
        url = urlparse(endpoint)
        folder = tempfile.mkdtemp(prefix="trial-ssh-")
        local = Path(folder, "docker.sock")
        host = f"{url.username}@{url.hostname}" if url.username else str(url.hostname)
        target = ["-p", str(url.port), host] if url.port else [host]
        own = [*_OWN_CONNECTION, "-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes"]
        command = ["ssh", "-nNT", *own, *options, *_NOTICE_DEATH]
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen([*command, "-L", f"{local}:/var/run/docker.sock", *target], stderr=errors)
            self._forwards[endpoint] = (process, folder)
            deadline = time.monotonic() + _SSH_SECONDS
            while not local.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    errors.seek(0)
                    said = errors.read().decode(errors="replace").strip()[-300:]
                    self._drop(endpoint)
                    raise StackError(
                        f"ssh does not reach the Docker engine at {endpoint}: {said or 'no answer'}",
                        f"see that `ssh {url.netloc} docker info` works without a question",
                    )
                time.sleep(0.1)
        return f"unix://{local}"


def check_provider(provider: Mapping[str, Any]) -> None:
    """Raises StackError for an input of docker.Provider that is not implemented."""
    unknown = sorted(key for key, value in provider.items() if key not in _FIELDS | _IGNORED and value is not None)
    if unknown:
        raise StackError(
            f"The Docker provider sets {', '.join(unknown)}, which the trial runner does not implement.",
            f"use only {', '.join(sorted(_FIELDS))}, or run with the engine: `pulumi up`",
        )


def _context_host(name: str) -> str:
    context = ContextAPI.get_context(name)
    if context is None:
        raise StackError(f"There is no Docker context {name!r}.", "choose one of `docker context ls`")
    return str(context.Host)


def _tls(url: str, provider: Mapping[str, Any]) -> TLSConfig | None:
    folder = provider.get("certPath") or os.environ.get("DOCKER_CERT_PATH")
    if not folder or not url.startswith("tcp://"):
        return None
    pair = (str(Path(folder, "cert.pem")), str(Path(folder, "key.pem")))
    return TLSConfig(client_cert=pair, ca_cert=str(Path(folder, "ca.pem")), verify=True)
