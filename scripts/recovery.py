"""What an update that died hard leaves behind, put right before the next one: a lock, and objects nobody remembers."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import docker
from docker.errors import APIError, NotFound

from components.dynamic import still_going
from components.errors import StackError
from components.hosts.engine import endpoint_of, open_client
from components.services.labels import STACK_LABEL
from components.settings.host import Host
from scripts.say import say

LOG_LINES = 12
# Seconds. A first start takes a few; the health check gives up after about two minutes.
START_DEADLINE_S = 150
STOP_GRACE_S = 60


def release_dead_lock(backend_url: str, stack: str) -> None:
    """Releases the file backend's lock of an update whose process no longer runs on this machine.

    Raises `StackError` when the update is still running, or ran elsewhere.
    """
    url = urlsplit(backend_url)
    if url.scheme != "file":
        return
    locks = Path(url2pathname(url.netloc + url.path)) / ".pulumi" / "locks"
    for file in locks.glob(f"**/{stack}/*.json"):
        lock = json.loads(file.read_text(encoding="utf-8"))
        if lock.get("hostname") != socket.gethostname() or _runs(int(lock.get("pid", 0))):
            raise StackError(
                f"Another update of {stack} is running (process {lock.get('pid')} on {lock.get('hostname')}).",
                "wait for it; if it is certain that it died, pulumi cancel",
            )
        say(f"an earlier update of {stack} died without an end: releasing its lock")
        file.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def remove_forgotten(host: Host, prefix: str, state: dict[str, Any]) -> None:
    """Removes containers and networks with the stack's label that its state does not know; they hold no data.

    An update that was killed while it created them leaves them, and the next one would only meet their names.
    `state` is what `pulumi stack export` prints.
    """
    deployment = state.get("deployment") or {}
    known = {resource.get("id") for resource in deployment.get("resources") or ()}
    client = open_client(endpoint_of(host))
    try:
        label = {"label": f"{STACK_LABEL}={prefix}"}
        containers = [one for one in client.containers.list(all=True, filters=label) if one.id not in known]
        networks = [one for one in client.networks.list(filters=label) if one.id not in known]
        for container in containers:
            say(f"removing the container {container.name}, which an interrupted update left")
            _end(container)
        for network in networks:
            say(f"removing the network {network.name}, which an interrupted update left")
            _remove_network(client, network.id)
    except NotFound:
        pass
    except APIError as error:
        raise StackError(
            f"What an interrupted update left cannot be removed: {error.explanation}", "docker ps -a"
        ) from None
    finally:
        client.close()


def _end(container: Any) -> None:
    """Stops and removes a container without cutting short what it does to its volume.

    PostgreSQL that is killed while it initialises a new volume leaves one that no server can start from.
    """
    deadline = time.monotonic() + START_DEADLINE_S
    with still_going(f"waiting for {container.name} to finish its start", say):
        while _is_starting(container) and time.monotonic() < deadline:
            time.sleep(0.5)
    container.stop(timeout=STOP_GRACE_S)
    container.remove(force=True)


def _is_starting(container: Any) -> bool:
    container.reload()
    state = container.attrs["State"]
    return bool(state["Running"]) and (state.get("Health") or {}).get("Status") == "starting"


def _remove_network(client: docker.DockerClient, network_id: str) -> None:
    network = client.networks.get(network_id)
    for container in network.containers:
        network.disconnect(container, force=True)
    network.remove()


def show_failed_containers(host: Host, prefix: str) -> None:
    """Prints the last log lines of the stack's containers that stopped or are not healthy: the engine does not."""
    client = open_client(endpoint_of(host))
    try:
        for container in client.containers.list(all=True, filters={"label": f"{STACK_LABEL}={prefix}"}):
            state = container.attrs["State"]
            health = (state.get("Health") or {}).get("Status", "healthy")
            if state["Running"] and health == "healthy":
                continue
            how = health if state["Running"] else f"stopped with exit code {state['ExitCode']}"
            print(f"\n{container.name} is {how}. The end of its log:", flush=True)
            log = container.logs(tail=LOG_LINES).decode(errors="replace")
            print("".join(f"  | {line}\n" for line in log.splitlines()), flush=True)
    except APIError:
        # The update's own error stands above; a container that vanished meanwhile has no more to say.
        return
    finally:
        client.close()
