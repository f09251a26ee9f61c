"""The local registry: one container that serves images to `docker pull` and models to Ollama's `/api/pull`.

Reached as 127.0.0.1 from this machine and as `host.docker.internal` from containers (with the extra host
`host.docker.internal:host-gateway`). Plain HTTP, no login: it listens on loopback and the bridge's gateway only.
"""

from __future__ import annotations

import io
import json
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.models.volumes import Volume
from docker.types import LogConfig

from components.errors import StackError

from . import base, cache, engine
from .go_tools import DOCKERFILES
from .progress import step

NAME = "ragstack-registry"
VOLUME = "ragstack-registry-data"
PORT = 5055
BLOB_PORT = 5056
IMAGES_AT = f"127.0.0.1:{PORT}"
MODELS_AT = f"host.docker.internal:{PORT}"
HOST_ALIAS = {"host.docker.internal": "host-gateway"}
DATA = "/var/lib/registry"
RECORDS = "stand-ins"
"""Folder beside the registry's own, with one small file per pushed name: the key of its inputs and its digest."""

REQUEST_TIMEOUT_S = 10
START_TIMEOUT_S = 30
MANIFEST_TYPES = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    )
)


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The running registry."""

    client: docker.DockerClient
    gateway: str
    """IPv4 address of this machine that containers reach."""

    def digest(self, repository: str, tag: str) -> str | None:
        """The digest (`sha256:...`) of the manifest under a name, None when there is none."""
        answer = _session().head(
            f"http://{IMAGES_AT}/v2/{repository}/manifests/{tag}",
            headers={"Accept": MANIFEST_TYPES},
            timeout=REQUEST_TIMEOUT_S,
        )
        return answer.headers["Docker-Content-Digest"] if answer.ok else None

    def holds(self, repository: str, tag: str, key: str) -> bool:
        """Whether the name holds what was pushed for inputs of this key, and nothing else was pushed over it since."""
        answer = _session().get(self._record_url(repository, tag), timeout=REQUEST_TIMEOUT_S)
        return answer.ok and answer.json() == {"key": key, "digest": self.digest(repository, tag)}

    def record(self, repository: str, tag: str, key: str) -> None:
        """Notes beside the data that the name now holds what inputs of this key give.

        Raises:
            StackError: the registry does not have the name, so the push before it did not arrive.
        """
        digest = self.digest(repository, tag)
        if digest is None:
            raise StackError(f"{repository}:{tag} was pushed but the registry does not have it", "run `up` again")
        content = json.dumps({"key": key, "digest": digest}).encode()
        entry = tarfile.TarInfo(f"{RECORDS}/{repository}/{tag}.json")
        entry.size = len(content)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(entry, io.BytesIO(content))
        self.client.containers.get(NAME).put_archive(DATA, archive.getvalue())

    def save(self) -> None:
        """Copies the registry's data into the cache, so that it survives the loss of the engine's volumes."""
        unfinished = snapshot().with_suffix(".unfinished")
        with step("Saving the registry's content to the cache"), unfinished.open("wb") as file:
            chunks, _ = self.client.containers.get(NAME).get_archive(DATA)
            for chunk in chunks:
                file.write(chunk)
        unfinished.rename(snapshot())

    def _record_url(self, repository: str, tag: str) -> str:
        return f"http://{self.gateway}:{BLOB_PORT}/{RECORDS}/{repository}/{tag}.json"


def snapshot() -> Path:
    """The cached copy of the registry's data; may not exist."""
    return cache.folder("registry") / "data.tar"


def ensure(client: docker.DockerClient) -> Registry:
    """The registry, started when it is not running as declared here; a new volume gets its data from the cache.

    Raises:
        StackError: it cannot be built or started, for example because another program holds its port.
    """
    registry = Registry(client=client, gateway=engine.bridge_gateway(client))
    image_key = cache.key_of(base.KEY, cache.key_of_folder(DOCKERFILES / "registry"))
    key = container_key(image_key, registry.gateway)
    container = _find(client)
    if container and container.status == "running" and container.labels.get(engine.KEY_LABEL) == key:
        return registry
    image = _ensure_image(client, image_key)
    with step(f"Starting the local registry on {IMAGES_AT}"):
        if container:
            container.remove(force=True)
        _start(registry, image, key)
    return registry


def declared(gateway: str) -> dict[str, Any]:
    """Everything that makes the container what it is but its image, as the Docker library takes it."""
    return {
        "environment": {"BLOB_URL": f"http://{gateway}:{BLOB_PORT}/"},
        "volumes": {VOLUME: {"bind": DATA, "mode": "rw"}},
        "ports": _published(gateway),
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "log_config": LogConfig(type="json-file", config={"max-size": "10m", "max-file": "2"}),
    }


def container_key(image_key: str, gateway: str) -> str:
    """The key of the running container: the registry is shared, so only what it is declared as may restart it."""
    return cache.key_of(image_key, json.dumps(declared(gateway), sort_keys=True))


def remove(client: docker.DockerClient, *, volumes: bool) -> list[str]:
    """Removes the registry's container, and with `volumes` its data; says what was removed. Absence is success."""
    removed = []
    if container := _find(client):
        container.remove(force=True)
        removed.append(f"container {NAME}")
    if volumes:
        try:
            client.volumes.get(VOLUME).remove()
            removed.append(f"volume {VOLUME}")
        except NotFound:
            pass
    return removed


def _find(client: docker.DockerClient) -> Container | None:
    try:
        return client.containers.get(NAME)
    except NotFound:
        return None


def _ensure_image(client: docker.DockerClient, key: str) -> str:
    """The registry's own image: it cannot come from the registry, so it has a file of its own in the cache."""
    reference = f"ragstack/registry:{base.SUITE}-{key}"
    if engine.has_image(client, reference):
        return reference
    saved = cache.folder("registry") / f"image-{key}.tar"
    if saved.exists():
        with step("Loading the registry's image from the cache"), saved.open("rb") as file:
            client.images.load(file)
        return reference
    base_reference = base.ensure(client)
    with step("Building the registry's image") as note:
        engine.build(client, DOCKERFILES / "registry", reference, note, arguments={"BASE": base_reference})
        unfinished = saved.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            for chunk in client.images.get(reference).save(named=True):
                file.write(chunk)
        unfinished.rename(saved)
    return reference


def _start(registry: Registry, image: str, key: str) -> None:
    client, gateway = registry.client, registry.gateway
    new_volume = _make_volume(client)
    container: Container | None = None
    try:
        container = client.containers.create(
            image,
            name=NAME,
            labels={engine.LABEL: "registry", engine.KEY_LABEL: key},
            **declared(gateway),
        )
        if new_volume and snapshot().exists():
            with snapshot().open("rb") as file:
                container.put_archive(str(Path(DATA).parent), file)
        container.start()
        _wait_until_it_answers(registry, container)
    except BaseException as error:
        # A container or volume left half made would pass for a whole one next time.
        if container:
            container.remove(force=True)
        if new_volume:
            new_volume.remove()
        if not isinstance(error, APIError):
            raise
        raise StackError(
            f"the local registry cannot start: {error.explanation}",
            f"free ports {PORT} and {BLOB_PORT} (`ss -ltnp` shows who holds them), then run `up` again",
        ) from error


def _published(gateway: str) -> dict[str, Any]:
    """Where the two ports are published; the blob server only where both this machine and containers reach it."""
    return {f"{PORT}/tcp": [("127.0.0.1", PORT), (gateway, PORT)], f"{BLOB_PORT}/tcp": (gateway, BLOB_PORT)}


def _make_volume(client: docker.DockerClient) -> Volume | None:
    """The volume when it had to be made, None when it was there."""
    try:
        client.volumes.get(VOLUME)
    except NotFound:
        return client.volumes.create(VOLUME, labels={engine.LABEL: "registry"})
    return None


def _wait_until_it_answers(registry: Registry, container: Container) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    urls = (f"http://{IMAGES_AT}/v2/", f"http://{registry.gateway}:{BLOB_PORT}/")
    while time.monotonic() < deadline:
        try:
            for url in urls:
                _session().get(url, timeout=REQUEST_TIMEOUT_S)
            return
        except requests.ConnectionError:
            time.sleep(0.2)
    log = container.logs(tail=5).decode(errors="replace").strip().replace("\n", " | ")
    raise StackError(
        f"the local registry does not answer after {START_TIMEOUT_S} s: {log}",
        "run `down --volumes`, then `up`: that starts it afresh",
    )


def _session() -> requests.Session:
    session = requests.Session()
    # A proxy from the environment would be asked for loopback addresses too.
    session.trust_env = False
    return session
