"""The containers of a benchmark on a network of their own, all gone when it ends."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from components.engine import put
from components.proxies import haproxy, keys
from components.settings import Settings
from components.settings.load import parse
from images.stand_ins import base, cache, catalogue, engine, registry
from images.stand_ins.progress import step

HERE = Path(__file__).parent
TOOLS = f"ragstack/bench-tools:{cache.key_of_folder(HERE / 'tools')}"
KEY = "bench-key-of-no-worth"
MODELS = ("tiny-chat:random", "tiny-chat:other", "all-minilm:22m")
LABEL = "io.ragstack.bench"
_MIB = 2**20


@dataclass
class Site:
    """`run` starts a container that others find by its name; `url` is where this machine reaches one."""

    client: docker.DockerClient
    network: str
    made: list[Container] = field(default_factory=list)

    def run(self, name: str, image: str, command: list[str], **options: Any) -> Container:
        container = self.client.containers.create(
            image, command, network=self.network, name=f"{self.network}-{name}", labels={LABEL: ""}, **options
        )
        self.made.append(container)
        # By its short name too, which is how configurations name it.
        network = self.client.networks.get(self.network)
        network.disconnect(container)
        network.connect(container, aliases=[name])
        return container

    def url(self, container: Container, port: int) -> str:
        container.reload()
        return f"http://127.0.0.1:{container.ports[f'{port}/tcp'][0]['HostPort']}"

    def memory_mib(self, container: Container) -> float:
        """What the container holds, without the page cache: an image's files lie there when they were just written."""
        stats = container.stats(stream=False)["memory_stats"]
        kept = stats["stats"]
        return float((stats["usage"] - kept.get("total_cache", kept.get("file", 0))) / _MIB)


@contextmanager
def site() -> Iterator[Site]:
    client = docker.from_env()
    name = f"ragstack-bench-{time.strftime('%H%M%S')}"
    network = client.networks.create(name, labels={LABEL: ""})
    here = Site(client=client, network=name)
    try:
        yield here
    finally:
        for container in here.made:
            container.remove(force=True, v=True)
        network.remove()


def image(setting: str) -> str:
    """The reference of a stand-in image; `make bench` has had it built."""
    found = next(one for one in catalogue.IMAGES if one.setting == setting)
    return f"{registry.IMAGES_AT}/{found.name}"


def tools(client: docker.DockerClient) -> str:
    """The image with wrk and nginx, built when it is missing."""
    if not engine.has_image(client, TOOLS):
        with step("Building the image of the benchmarks' tools") as note:
            engine.build(client, HERE / "tools", TOOLS, note, arguments={"BASE": base.ensure(client)})
    return TOOLS


def settings_of(routing: str, **more: Mapping[str, Any]) -> Settings:
    """A stack with gateway and two servers, and limits that nobody reaches."""
    sections: dict[str, Any] = {
        "profile": "dev",
        "models": [{"name": name, "purpose": "embedding" if "minilm" in name else "chat"} for name in MODELS],
        "gateway": {"enabled": True, "rate": {"requests": 10_000_000, "per": "1s"}},
        "pool": {"servers": 2, "routing": routing, "slots": 256, "queue": {"length": 10_000}},
        **more,
    }
    config = {f"ragstack:{name}": value if name == "profile" else json.dumps(value) for name, value in sections.items()}
    return parse(config, project="ragstack", stack="bench")


def gateway(here: Site, settings: Settings, homes: Mapping[str, str], name: str = "gateway") -> Container:
    """The gateway exactly as the program renders it, with one key."""
    upstreams = tuple(haproxy.Upstream(name=f"ollama-{one}", address=f"ollama-{one}:11434") for one in (1, 2))
    files = haproxy.render(settings, upstreams, slots=int(settings.pool.slots), homes=homes)
    files |= {
        "keys.map": f"{keys.hash_of(KEY)} bench\n",
        "scopes.map": keys.scope_map(settings.gateway),
        "limits.map": keys.limit_map(settings.gateway),
    }
    revision = haproxy.revision_of(files)
    container = here.run(
        name,
        image("haproxy"),
        ["haproxy", "-f", f"{haproxy.FOLDER}/{revision}/{haproxy.FILE}"],
        ports={haproxy.PORT: ("127.0.0.1", None)},
    )
    named = {f"{revision}/{file}": text for file, text in haproxy.with_revision(files).items()}
    put(container, haproxy.FOLDER, named, owner=99, links={})
    container.start()
    return container


def nginx_text(balance: str, *, kept: bool) -> str:
    """The baseline's configuration; `kept` keeps its connections to the servers open."""
    text = (HERE / "nginx.conf").read_text(encoding="utf-8")
    settings = {
        "@BALANCE@": balance,
        "@KEEP@": "keepalive 64;" if kept else "",
        "@KEPT@": 'proxy_http_version 1.1; proxy_set_header Connection "";' if kept else "",
    }
    for mark, value in settings.items():
        text = text.replace(mark, value)
    return text


def uploaded(container: Container, folder: str, name: str, text: str) -> Container:
    """Starts a container with one more file, in a folder that its image has."""
    marked = hashlib.sha256(text.encode()).hexdigest()[:8]
    put(container, folder, {f"{marked}/{name}": text}, owner=0, links={name: f"{marked}/{name}"})
    container.start()
    return container
