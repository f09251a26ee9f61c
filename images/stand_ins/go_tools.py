"""Programs built from Go modules at pinned versions, in a container, so that the machine needs no Go."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import docker

from components.errors import StackError

from . import base, cache, engine
from .progress import Note, step

DOCKERFILES = Path(__file__).parent / "dockerfiles"
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
PASSED_ON = (
    "GOPROXY",
    "GONOPROXY",
    "GOPRIVATE",
    "GOSUMDB",
    "GONOSUMDB",
    "GOINSECURE",
    "GOFLAGS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
"""Environment variables of the caller that decide how modules are fetched."""
LEVEL_3_FLAGS = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}
"""What /proc/cpuinfo shows of level 3 of the x86-64 psABI, which amd64 machines have had since about 2013."""


@dataclass(frozen=True, kw_only=True)
class GoTool:
    """A program to build: its package path, its module version with the leading `v`, and how to build it."""

    package: str
    version: str
    cgo: bool = False
    """Links the base's C and C++ libraries: such a program runs in images on the base, not surely on this machine."""
    link_flags: str = "-s -w"

    @property
    def name(self) -> str:
        """The file name that `go install` gives the program."""
        return self.package.rsplit("/", 1)[-1]

    @property
    def key(self) -> str:
        """Changes when the built file might."""
        return cache.key_of(_builder_key(), self.package, self.version, self.link_flags, *self.environment.values())

    @property
    def environment(self) -> dict[str, str]:
        """The variables that decide what the compiler makes."""
        flags = f"-O2 -march={_cpu_level()}"
        return {"CGO_ENABLED": "1", "CGO_CFLAGS": flags, "CGO_CXXFLAGS": flags} if self.cgo else {"CGO_ENABLED": "0"}


def build_go_tool(module: str, version: str) -> Path:
    """The cached program of a Go package such as `github.com/rhysd/actionlint/cmd/actionlint` at `v1.7.12`.

    Built when missing, without cgo, so that the file runs on any linux/amd64 machine.

    Raises:
        StackError: no Docker engine answers, or the build fails.
    """
    tool = GoTool(package=module, version=version)
    binary = _path_of(tool)
    if binary.exists():
        return binary
    client = engine.connect()
    with cache.exclusive():
        return ensure(client, tool)


def ensure(client: docker.DockerClient, tool: GoTool) -> Path:
    """The cached program, built when missing.

    Raises:
        StackError: the build fails; quotes the compiler's last lines.
    """
    binary = _path_of(tool)
    if not binary.exists():
        builder = _ensure_builder(client)
        with step(f"Building {tool.name} {tool.version} from its Go module (minutes when nothing is cached)") as note:
            _install(client, builder, tool, binary, note)
    return binary


def _cpu_level() -> str:
    """What C code is compiled for: on the baseline every f16 number is converted in software, many times slower."""
    cpu_info = Path("/proc/cpuinfo")
    flags = set(re.findall(r"\w+", cpu_info.read_text())) if cpu_info.exists() else set()
    return "x86-64-v3" if flags >= LEVEL_3_FLAGS else "x86-64"


def _path_of(tool: GoTool) -> Path:
    return cache.folder("go", "bin", f"{tool.name}-{tool.version}-{tool.key}") / tool.name


def _builder_key() -> str:
    return cache.key_of(base.KEY, cache.key_of_folder(DOCKERFILES / "go-builder"))


def _ensure_builder(client: docker.DockerClient) -> str:
    reference = f"ragstack/stand-in-go-builder:{_builder_key()}"
    if not engine.has_image(client, reference):
        base_reference = base.ensure(client)
        with step("Building the image that compiles Go programs") as note:
            engine.build(client, DOCKERFILES / "go-builder", reference, note, arguments={"BASE": base_reference})
    return reference


def _install(client: docker.DockerClient, builder: str, tool: GoTool, binary: Path, note: Note) -> None:
    unfinished = binary.parent / "unfinished"
    unfinished.mkdir(exist_ok=True)
    volumes = [
        f"{cache.folder('go', 'modules')}:/go/modules",
        f"{cache.folder('go', 'objects')}:/go/objects",
        f"{unfinished}:/go/bin",
    ]
    if CA_BUNDLE.exists():
        volumes.append(f"{CA_BUNDLE}:{CA_BUNDLE}:ro")
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
        "GOMODCACHE": "/go/modules",
        "GOCACHE": "/go/objects",
        "GOBIN": "/go/bin",
        "GOTOOLCHAIN": "auto",
        **tool.environment,
    }
    container = client.containers.run(
        builder,
        ["go", "install", "-v", "-trimpath", f"-ldflags={tool.link_flags}", f"{tool.package}@{tool.version}"],
        detach=True,
        network_mode="host",
        volumes=volumes,
        environment=environment,
        labels={engine.LABEL: "go-build"},
    )
    try:
        for chunk in container.logs(stream=True, follow=True):
            note(chunk.decode(errors="replace"))
        code = container.wait()["StatusCode"]
        if code != 0:
            last_lines = container.logs(tail=6).decode(errors="replace").strip().replace("\n", " | ")
            raise StackError(
                f"building {tool.package}@{tool.version} ended with code {code}: {last_lines}",
                "check that the Go module proxy can be reached (GOPROXY is passed on) and the disk has room",
            )
    finally:
        container.remove(force=True)
    (unfinished / tool.name).rename(binary)
    unfinished.rmdir()
