"""A stack of the real program for one test module: its own name, ports and state; by the engine, else by `trial`."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from components.services.labels import STACK_LABEL
from components.settings.problems import SettingsError
from images.stand_ins import catalogue, registry
from scripts.command import PROJECT
from scripts.pulumi_cli import find_pulumi
from scripts.runner import EngineRunner, Runner, Target, TrialRunner, trial_state
from scripts.stack_file import settings_of
from tests.live.fixtures_containers import docker_client, free_port

RANDOM_DOUBLE = PROJECT / "tests" / "doubles" / "pulumi_resource_random.py"
# Seconds. The slowest operation builds an image and pulls two models; a hang must not eat the whole run.
OPERATION_TIMEOUT_S = 420


@dataclass(frozen=True)
class Ran:
    """What one operation printed and how it ended."""

    code: int
    text: str

    @property
    def changed_nothing(self) -> bool:
        """By the summary: only unchanged resources were counted."""
        summary = re.search(r"Resources:((?:\s+.*\d+ \w+.*)+)", self.text)
        return self.code == 0 and summary is not None and not re.search(r"[+~-] ?\d|[+-]{2}", summary[1])


@dataclass
class LiveStack:
    """`config` holds sections of the stack file and may be changed between operations."""

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    name: str = field(default_factory=lambda: f"live-{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        overlay = catalogue.overlay(registry.IMAGES_AT, registry.MODELS_AT)
        own: dict[str, Any] = {
            "profile": "dev",
            "ollama": {"port": free_port(), "container": {"memory": "2g"}},
            "postgres": {"port": free_port(), "container": {"memory": "1g"}, **overlay.pop("postgres", {})},
        }
        self.config = {**overlay, **own, **self.config}
        cli = find_pulumi()
        file = self.folder / f"Pulumi.{self.name}.yaml"
        self._write(file)
        settings = None
        # Some tests are about settings that are refused.
        with contextlib.suppress(SettingsError):
            settings = settings_of(PROJECT, file, self.name)
        target = Target(project=PROJECT, stack=self.name, config_file=file, settings=settings)
        self.runner: Runner = EngineRunner(target, cli) if cli else TrialRunner(target)
        if cli:
            self._use_own_backend()

    @property
    def prefix(self) -> str:
        return f"ragstack-{self.name}"

    def run(self, operation: str, timeout: float = OPERATION_TIMEOUT_S) -> Ran:
        """The operation with the config as it is now; both output streams in one text."""
        done = subprocess.run(**self._ready(operation), timeout=timeout, check=False)
        return Ran(code=done.returncode, text=done.stdout)

    def start(self, operation: str) -> subprocess.Popen[str]:
        """The operation in a process group of its own, so that a test can interrupt it as a terminal would."""
        return subprocess.Popen(**self._ready(operation), start_new_session=True)

    def up(self) -> Ran:
        ran = self.run("up")
        assert ran.code == 0, ran.text
        return ran

    def outputs(self) -> dict[str, Any]:
        return self.runner.outputs()

    def container(self, service: str) -> dict[str, Any]:
        """`docker inspect` of one of the stack's containers."""
        found: dict[str, Any] = docker_client().api.inspect_container(f"{self.prefix}-{service}")
        return found

    def lives(self) -> dict[str, tuple[str, str]]:
        """Container name to (id, time of its last start): equal before and after means nothing was touched."""
        listed = docker_client().containers.list(filters={"label": f"{STACK_LABEL}={self.prefix}"})
        return {one.name: (one.id, one.attrs["State"]["StartedAt"]) for one in listed}

    def remove(self) -> None:
        """Everything of this stack, whatever state a test left it in."""
        self.run("destroy")
        client = docker_client()
        label = {"label": f"{STACK_LABEL}={self.prefix}"}
        for container in client.containers.list(all=True, filters=label):
            container.remove(force=True, v=True)
        for network in client.networks.list(filters=label):
            network.remove()
        # By name: a volume may have been made by somebody else, without the label.
        for volume in client.volumes.list(filters={"name": f"{self.prefix}-"}):
            volume.remove(force=True)
        for image in client.images.list():
            # By tag: equal builds of other stacks are one image.
            for tag in image.tags:
                if tag.startswith(f"{self.prefix}-"):
                    client.images.remove(tag)
        trial_state(self.runner.target).unlink(missing_ok=True)

    def _ready(self, operation: str) -> dict[str, Any]:
        """Writes the stack file and prepares the runner; gives the arguments of the operation's process."""
        self._write(self.runner.target.config_file)
        self.runner.prepare()
        return {
            "args": self.runner.command(operation),
            "cwd": PROJECT,
            "env": self.runner.environment,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
        }

    def _write(self, file: Path) -> None:
        """The sections as a stack file; what the engine added to it (its salt) stays."""
        kept = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}
        kept["config"] = {f"ragstack:{name}": section for name, section in self.config.items()}
        file.write_text(yaml.safe_dump(kept), encoding="utf-8")

    def _use_own_backend(self) -> None:
        """State in the test's folder, and the double of the random provider where its plugin is not installed."""
        backend = self.folder / "backend"
        backend.mkdir()
        plugins = self.folder / "plugins"
        plugins.mkdir()
        shim = plugins / "pulumi-resource-random"
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} {RANDOM_DOUBLE} "$@"\n', encoding="utf-8")
        shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
        environment = self.runner.environment
        environment["PULUMI_BACKEND_URL"] = backend.as_uri()
        environment["PULUMI_CONFIG_PASSPHRASE"] = "live tests only"
        environment.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
        environment.pop("PULUMI_ACCESS_TOKEN", None)
        environment["PATH"] = f"{plugins}{os.pathsep}{environment['PATH']}"


def has_traceback(text: str) -> bool:
    return "Traceback (most recent call last)" in text


def secrets_of(outputs: dict[str, Any]) -> list[str]:
    """The passwords in a stack's outputs."""
    return [outputs["database_url"].split("://", 1)[1].split("@", 1)[0].split(":", 1)[1]]
