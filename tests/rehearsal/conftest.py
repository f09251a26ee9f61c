"""The prod program with AWS alone stood in for: moto behind a provider plugin, and machines that really boot."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
import yaml

from components.plan.names import names_of
from components.settings import Settings
from images.stand_ins import catalogue, pipeline, registry
from scripts.command import PROJECT
from tests.doubles import aws_server, machines

STACK = "rehearsal"
DOUBLES = PROJECT / "tests" / "doubles" / "bin"
INSTANCE = "aws:ec2/instance:Instance"


@dataclass
class Rehearsal:
    """One stack on one pretended AWS account. `settings` may be changed between two runs."""

    folder: Path
    environment: dict[str, str]
    settings: dict[str, Any]
    log: list[str] = field(default_factory=list)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs one operation; gives its output, both streams in one."""
        file = self.folder / f"Pulumi.{STACK}.yaml"
        file.write_text(yaml.safe_dump({"config": {f"ragstack:{key}": value for key, value in self.settings.items()}}))
        done = subprocess.run(
            [sys.executable, "-m", "trial", *command, "--stack", STACK, "--config-file", str(file)],
            cwd=PROJECT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.log.append(done.stdout)
        return done

    def up(self) -> str:
        """An update that has to succeed."""
        done = self.run("up")
        assert done.returncode == 0, done.stdout
        return done.stdout

    def outputs(self) -> dict[str, Any]:
        file = str(self.folder / f"Pulumi.{STACK}.yaml")
        shown = ("outputs", "--json", "--show-secrets", "--stack", STACK, "--config-file", file)
        done = subprocess.run(
            [sys.executable, "-m", "trial", *shown],
            cwd=PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(json.loads(done.stdout))

    def aws(self, service: str) -> Any:
        """A client of the pretended account."""
        return boto3.client(
            service,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="rehearsal",
            aws_secret_access_key="rehearsal",
        )

    @property
    def instance(self) -> str:
        """The id of the one machine that runs."""
        found = self.aws("ec2").describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])
        ids = [instance["InstanceId"] for held in found["Reservations"] for instance in held["Instances"]]
        assert len(ids) == 1, ids
        return str(ids[0])

    def on_machine(self, *command: str) -> str:
        """What a command on the machine prints, beside all that the program uses."""
        name = machines.name_of(self.instance)
        done = subprocess.run(["docker", "exec", name, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def containers(self) -> dict[str, str]:
        """Name -> id of the containers on the machine."""
        lines = self.on_machine("docker", "ps", "--no-trunc", "--format", "{{.Names}} {{.ID}}").splitlines()
        return dict(line.split() for line in lines)

    @property
    def names(self) -> Any:
        return names_of(Settings.model_validate(self.settings), "ragstack", STACK)


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    if platform.machine() != "x86_64" or os.geteuid() != 0:
        pytest.skip("the machine is built for x86_64, and as root")
    pipeline.up()
    folder = tmp_path_factory.mktemp("rehearsal")
    os.environ["RAGSTACK_REHEARSAL"] = str(folder)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "id")], check=True)
    with aws_server.aws_server() as account:
        path = f"{DOUBLES}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, **account, "RAGSTACK_PYTHON": sys.executable, "PATH": path}
        given = Rehearsal(folder=folder, environment=environment, settings=_settings(folder))
        try:
            yield given
        finally:
            given.run("destroy", "--yes", "--ignore-protect")
            machines.release_all()
            (PROJECT / ".ragstack" / "trial" / f"{STACK}.json").unlink(missing_ok=True)
            del os.environ["RAGSTACK_REHEARSAL"]


def _settings(folder: Path) -> dict[str, Any]:
    """A CPU machine of the catalogue: there is no GPU here, and its limits have to fit into what is."""
    overlay: Mapping[str, Any] = catalogue.overlay(registry.IMAGES_AT, registry.MODELS_AT)
    aws = {
        "instance_type": "m7i.xlarge",
        "key": str(folder / "id"),
        "data_volume": {"size": "12g"},
        "network": {"egress_ports": [80, 443, registry.PORT]},
        "schedule": {"stop": "0 20 ? * MON-FRI *", "start": "0 7 ? * MON-FRI *"},
        "budget": {"monthly_usd": 300, "emails": ["somebody@example.org"]},
    }
    return {
        **overlay,
        "profile": "prod",
        "host": {"type": "aws", "aws": aws},
        "accelerator": {"kind": "cpu"},
        "ollama": {"container": {"memory": "2g", "cpus": 1}},
        "gateway": {"container": {"cpus": 1}, "keys": [{"name": "app"}, {"name": "ops", "scope": "admin"}]},
        "postgres": {**overlay["postgres"], "container": {"memory": "1g", "cpus": 1}},
    }
