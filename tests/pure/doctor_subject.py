"""A subject whose machine is played: a folder of STUB commands as its PATH, containers and logs as given."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from doctor.examine import examine
from doctor.finding import Check, Result
from doctor.subject import Subject
from tests.pure.given import settings

INFO: dict[str, Any] = {
    "ServerVersion": "28.3.0",
    "NCPU": 8,
    "MemTotal": 64 * 1024**3,
    "Architecture": "x86_64",
    "Runtimes": {"runc": {}, "nvidia": {}},
    "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"],
    "CgroupDriver": "cgroupfs",
    "DockerRootDir": "/var/lib/docker",
}
OLLAMA = "ragstack-dev-ollama"


class PlayedSubject(Subject):
    """`logs`: container to text; `said`: container to what nvidia-smi says in it, with its exit code."""

    logs: Mapping[str, str]
    said: Mapping[str, tuple[int, str]]

    def log(self, container: str, lines: int = 2000) -> str:
        return "\n".join(self.logs.get(container, "").splitlines()[-lines:])

    def run_in(self, container: str, *command: str) -> tuple[int, str]:
        return self.said[container]


def container(**host: Any) -> dict[str, Any]:
    """`docker inspect` of a healthy Ollama container, as far as the checks read it."""
    environment = host.pop("env", ["OLLAMA_HOST=0.0.0.0:11434", "NVIDIA_VISIBLE_DEVICES=all"])
    return {
        "State": {"Running": True, "StartedAt": "2026-01-01T00:00:00", "ExitCode": 0},
        "Config": {"Env": environment},
        "HostConfig": {"Memory": 2 * 1024**3, "PortBindings": {}, **host},
        "RestartCount": 0,
        "Image": "sha256:1",
    }


def played(
    folder: Path,
    commands: Mapping[str, str],
    *,
    info: Mapping[str, Any] | None = None,
    containers: Mapping[str, dict[str, Any]] | None = None,
    logs: Mapping[str, str] | None = None,
    said: Mapping[str, tuple[int, str]] | None = None,
    **sections: Any,
) -> PlayedSubject:
    """`commands`: name to the shell text that plays it; `cat`, `sh` and the like are the real ones unless played."""
    folder.mkdir(exist_ok=True)
    for name, text in commands.items():
        stub = folder / name
        stub.write_text(f"#!/bin/sh\n# STUB of {name}: there is no such hardware here.\n{text}\n")
        stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    subject = PlayedSubject("dev", settings(**sections), {}, environment={"PATH": f"{folder}:/usr/bin:/bin"})
    # What is kept for a run is given beforehand.
    subject.__dict__["info"] = {**INFO, **(info or {})}
    subject.__dict__["containers"] = dict(containers or {OLLAMA: container(DeviceRequests=[{"Count": -1}])})
    subject.logs = logs or {}
    subject.said = said or {OLLAMA: (0, "GPU 0: NVIDIA A10G (UUID: GPU-5707)")}
    return subject


def results(subject: Subject, checks: Iterable[Check], *, fix: bool = False) -> dict[str, Result]:
    return {result.check.name: result for result in examine(subject, tuple(checks), fix=fix)}


def wrong(found: Mapping[str, Result]) -> dict[str, str]:
    """Every check that is not well: its name to what it saw."""
    return {
        name: "; ".join(finding.seen for finding in result.findings if finding.mend or result.status == "unknown")
        for name, result in found.items()
        if result.status in ("problem", "unknown")
    }
