"""A scratch copy of the fixture program per test, and a tiny image made from a static busybox."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound

from components.errors import StackError
from components.hosts.engine import DEFAULT_SOCKET, Endpoint, open_client

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "trial-fixture-base:1"


@dataclass
class Run:
    code: int
    text: str
    document: dict[str, Any]

    def ops(self) -> dict[str, str]:
        """name -> op of every resource of the run."""
        return {change["name"]: change["op"] for change in self.document["changes"]}


@dataclass
class Program:
    """The fixture program in a folder of its own; every call is a real `python -m trial` in a process of its own."""

    folder: Path
    notes: Path
    prefix: str
    config: dict[str, str] = field(default_factory=dict)

    def start(self, command: str, *flags: str, **config: str) -> subprocess.Popen[str]:
        pairs = {**self.config, **config}
        arguments = [item for key, value in pairs.items() for item in ("-c", f"{key}={value}")]
        return subprocess.Popen(
            [sys.executable, "-m", "trial", command, "--program", str(self.folder), *arguments, *flags],
            cwd=ROOT,
            env={**os.environ, "TRIAL_FIXTURE_FOLDER": str(self.notes)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str, *flags: str, **config: str) -> Run:
        process = self.start(command, "--json", *flags, **config)
        out, err = process.communicate(timeout=180)
        return Run(process.returncode, err, json.loads(out) if out.strip() else {})

    def up(self, **config: str) -> Run:
        result = self.run("up", **config)
        assert result.code == 0, result.text
        return result

    @property
    def web(self) -> str:
        return f"{self.prefix}-web"

    @property
    def state_file(self) -> Path:
        return self.folder / ".ragstack" / "trial" / "dev.json"

    def state(self) -> dict[str, Any]:
        raw: dict[str, Any] = json.loads(self.state_file.read_text())
        return raw

    def state_names(self) -> list[str]:
        """The names of all resources made so far."""
        return [item["name"] for item in self.state()["resources"]] if self.state_file.exists() else []

    def password(self) -> str:
        """The generated password, in the clear, as the state file keeps it."""
        entries = {item["name"]: item for item in self.state()["resources"]}
        marked: dict[str, str] = entries["password"]["outputs"]["result"]
        return marked["value"]

    def calls(self) -> list[list[str]]:
        """Every [call, title] that the dynamic provider got."""
        file = self.notes / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    try:
        client = open_client(Endpoint(address=DEFAULT_SOCKET))
    except StackError as error:
        pytest.skip(error.cause)
    yield client
    client.close()


@pytest.fixture(scope="session")
def base_image(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    try:
        engine.images.get(IMAGE)
    except ImageNotFound:
        archive = tmp_path_factory.mktemp("image") / "base.tar"
        with tarfile.open(archive, "w") as tar:
            for folder in ("www", "tmp", "data"):
                info = tarfile.TarInfo(folder)
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            tar.add(_static_busybox(tmp_path_factory.mktemp("busybox")), arcname="bin/busybox")
        engine.api.import_image_from_file(str(archive), *IMAGE.split(":"))
    return IMAGE


def _static_busybox(folder: Path) -> Path:
    found = shutil.which("busybox")
    if found and subprocess.run(["ldd", found], capture_output=True, check=False).returncode != 0:
        return Path(found)
    if not shutil.which("apt-get"):
        pytest.skip("no static busybox on PATH, and no apt-get to fetch one")
    fetched = subprocess.run(["apt-get", "download", "busybox-static"], cwd=folder, capture_output=True, check=False)
    if fetched.returncode:
        pytest.skip(f"busybox-static cannot be fetched: {fetched.stderr.decode()[-200:]}")
    subprocess.run(["dpkg-deb", "-x", str(next(folder.glob("*.deb"))), str(folder)], check=True)
    return folder / "bin" / "busybox"


@pytest.fixture
def program(engine: docker.DockerClient, base_image: str, tmp_path: Path) -> Iterator[Program]:
    folder, notes = tmp_path / "program", tmp_path / "notes"
    shutil.copytree(ROOT / "tests" / "trial" / "fixture", folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    notes.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    prefix = f"trialtest-{port}"
    yield Program(folder, notes, prefix, {"prefix": prefix, "port": str(port), "image": base_image})
    for container in engine.containers.list(all=True, filters={"name": prefix}):
        container.remove(force=True, v=True)
    for network in engine.networks.list(filters={"label": f"fixture.prefix={prefix}"}):
        network.remove()
    for volume in engine.volumes.list(filters={"name": prefix}):
        volume.remove()
