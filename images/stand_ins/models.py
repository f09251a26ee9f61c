"""Imports models into a temporary Ollama and pushes them to the local registry."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
import requests

from components.errors import StackError

from . import cache, engine, registry
from .importable import ImportRequest
from .progress import Note

PORT = "11434/tcp"
START_TIMEOUT_S = 60
CONNECT_AND_SILENCE_S = (5, 300)
"""Time to connect, and longest silence of the server: converting or pushing one large layer says nothing meanwhile."""


@contextmanager
def temporary_ollama(client: docker.DockerClient, image: str) -> Iterator[str]:
    """The URL of an Ollama that runs as long as the body does.

    Raises:
        StackError: it does not answer within `START_TIMEOUT_S`.
    """
    container = client.containers.run(
        image,
        detach=True,
        labels={engine.LABEL: "importer"},
        ports={PORT: ("127.0.0.1", 0)},
        extra_hosts=registry.HOST_ALIAS,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    )
    try:
        container.reload()
        bindings = container.ports.get(PORT)
        if not bindings:
            log = container.logs(tail=3).decode(errors="replace").strip()
            raise StackError(f"the temporary Ollama ended at once: {log}", f"try `docker run --rm {image}`")
        url = f"http://127.0.0.1:{bindings[0]['HostPort']}"
        _wait_until_it_answers(url)
        yield url
    finally:
        container.remove(force=True, v=True)


def import_and_push(url: str, name: str, request: ImportRequest, note: Note) -> None:
    """Imports `request` as `name` (with its registry) into the Ollama at `url`, and pushes it.

    Raises:
        StackError: Ollama refuses a step; quotes its reason.
    """
    digests = {}
    for file_name, path in request.files.items():
        note(f"handing {file_name} to Ollama")
        digests[file_name] = f"sha256:{cache.sha256_of(path)}"
        with path.open("rb") as file:
            answer = _session().post(f"{url}/api/blobs/{digests[file_name]}", data=file, timeout=CONNECT_AND_SILENCE_S)
        if not answer.ok:
            raise StackError(f"Ollama refused {file_name} of {name}: {answer.text.strip()}", "run `up` again")
    _follow(f"{url}/api/create", {"model": name, "files": digests, **request.fields}, f"importing {name}", note)
    _follow(f"{url}/api/push", {"model": name, "insecure": True}, f"pushing {name}", note)


def _follow(url: str, body: dict[str, Any], doing: str, note: Note) -> None:
    """Reads a stream of JSON lines to its `success`; errors come as a line under HTTP 200."""
    last: dict[str, Any] = {}
    with _session().post(url, json=body, stream=True, timeout=CONNECT_AND_SILENCE_S) as answer:
        for line in answer.iter_lines():
            last = json.loads(line)
            if "error" in last:
                break
            share = f" {100 * last.get('completed', 0) // last['total']} %" if last.get("total") else ""
            note(f"{doing}: {last.get('status', '')}{share}")
    if last.get("status") != "success":
        raise StackError(
            f"{doing} failed: {last.get('error', 'the stream ended early')}",
            f"look at `docker logs {registry.NAME}`, then run `up` again",
        )


def _wait_until_it_answers(url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            _session().get(f"{url}/api/version", timeout=CONNECT_AND_SILENCE_S).raise_for_status()
            return
        except requests.RequestException:
            time.sleep(0.2)
    raise StackError(f"the temporary Ollama does not answer after {START_TIMEOUT_S} s", "run `up` again")


def _session() -> requests.Session:
    session = requests.Session()
    # A proxy from the environment would be asked for loopback addresses too.
    session.trust_env = False
    return session
