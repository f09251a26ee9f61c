"""The fixture program against an AWS account of its own, for the tests of the AWS double."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]

from tests.doubles.aws_server import REGIONS

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / "tests" / "doubles" / "bin"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2v0eQ6pYqkP0bqZbcA0q4mYyU1cJ4b8Y2lqFv3kY0c"


@dataclass
class Run:
    code: int
    text: str
    document: dict[str, Any]

    def ops(self) -> dict[str, str]:
        return {change["name"]: change["op"] for change in self.document["changes"]}

    def changed(self) -> dict[str, str]:
        return {name: op for name, op in self.ops().items() if op != "same"}


@dataclass
class Account:
    """The fixture program in a folder of its own, and an AWS account of its own."""

    folder: Path
    aws: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, command: str, *flags: str, **config: str) -> Run:
        pairs = [item for key, value in {"key": KEY, **config}.items() for item in ("-c", f"{key}={value}")]
        process = subprocess.run(
            [sys.executable, "-m", "trial", command, "--json", "--program", str(self.folder), *pairs, *flags],
            cwd=ROOT, env={**self._base(), **self.aws, **self.environment},
            capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        return Run(process.returncode, process.stderr, json.loads(process.stdout) if process.stdout.strip() else {})

    def up(self, **config: str) -> Run:
        result = self.run("up", **config)
        assert result.code == 0, result.text
        return result

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What the double of `aws` does."""
        environment = {**self._base(), **self.aws, **self.environment}
        return subprocess.run(
            ["aws", *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def client(self, service: str) -> Any:
        return boto3.client(
            service, endpoint_url=self.aws["AWS_ENDPOINT_URL"], region_name=REGIONS[0],
            aws_access_key_id="test", aws_secret_access_key="test",
        )  # fmt: skip

    def instance(self, id_: str) -> dict[str, Any]:
        reservation = self.client("ec2").describe_instances(InstanceIds=[id_])["Reservations"][0]
        return dict(reservation["Instances"][0])

    @staticmethod
    def _base() -> dict[str, str]:
        foreign = ("AWS_", "PULUMI_", "RAGSTACK_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        return {**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "RAGSTACK_PYTHON": sys.executable}
