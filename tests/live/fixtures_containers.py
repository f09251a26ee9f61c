"""Throw-away containers for the live tests of models and database: own names, loopback, ports chosen by the kernel.

An image is taken from the environment variable of its test when set, else by its default reference; a test without its
image is skipped with the reason.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import docker
import pytest
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container

from components.errors import StackError
from components.hosts.engine import endpoint_of, open_client
from components.settings.host import Host

OLLAMA_IMAGE = os.environ.get("RAGSTACK_TEST_OLLAMA_IMAGE", "127.0.0.1:5055/ollama/ollama:0.17.4-trixie")
PGVECTOR_IMAGE = os.environ.get("RAGSTACK_TEST_PGVECTOR_IMAGE", "127.0.0.1:5055/pgvector/pgvector:0.8.0-pg17-trixie")
MODEL_REGISTRY = os.environ.get("RAGSTACK_TEST_MODEL_REGISTRY", "host.docker.internal:5055")
# Seconds of silence that are no failure: the engine says nothing while it unpacks a large layer.
ENGINE_TIMEOUT_S = 300


@cache
def docker_client() -> docker.DockerClient:
    """The one connection of the tests to the engine that their stacks run on; skips the test when there is none."""
    try:
        client = open_client(endpoint_of(Host()))
    except StackError as error:
        pytest.skip(error.cause)
    client.api.timeout = ENGINE_TIMEOUT_S
    return client


def image(client: docker.DockerClient, reference: str) -> str:
    """The reference, once the engine has the image; skips the test when it cannot be had."""
    try:
        client.images.get(reference)
    except ImageNotFound:
        try:
            client.images.pull(reference)
        except DockerException as error:
            pytest.skip(f"image {reference} is not here and cannot be pulled: {error}")
    return reference


@contextmanager
def running(reference: str, port: int, host_port: int = 0, **options: Any) -> Iterator[tuple[Container, int]]:
    """A container of an image and the loopback port that its `port` is published on; removed with its volumes.

    A container that a test starts again needs a `host_port`, or it gets another one each time.
    """
    client = docker_client()
    container = client.containers.run(
        image(client, reference),
        name=f"ragstack-test-{uuid.uuid4().hex[:12]}",
        detach=True,
        ports={f"{port}/tcp": ("127.0.0.1", host_port)},
        extra_hosts={"host.docker.internal": "host-gateway"},
        **options,
    )
    try:
        yield container, published_port(container, port)
    finally:
        container.remove(force=True, v=True)


def free_port() -> int:
    """A loopback port that nobody holds now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def published_port(container: Container, port: int) -> int:
    """The loopback port, which changes whenever a container starts again."""
    deadline = time.monotonic() + 10
    while True:
        container.reload()
        bindings = container.ports.get(f"{port}/tcp")
        if bindings:
            return int(bindings[0]["HostPort"])
        if time.monotonic() > deadline:
            raise AssertionError(f"port {port} of {container.name} was not published: {container.logs()!r}")
        time.sleep(0.1)


def eventually_state(container: Container, holds: Callable[[dict[str, Any]], bool], within_s: float = 30.0) -> bool:
    """Whether `docker inspect` comes to say so in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        container.reload()
        if holds(container.attrs):
            return True
        time.sleep(0.1)
    return False
