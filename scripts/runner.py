"""Who runs the program: the Pulumi engine, or `trial` where the engine can neither be found nor installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import StackError
from scripts.pulumi_cli import backend_environment, find_pulumi, install_pulumi
from scripts.say import say


@dataclass(frozen=True, kw_only=True)
class Target:
    """A stack of this project, and the stack file it runs with."""

    project: Path
    stack: str
    config_file: Path


class Runner(ABC):
    """Runs one operation after another on one target; a failed one ends the command with the operation's exit code."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @abstractmethod
    def run(self, operation: str) -> None:
        """`operation`: up, preview, refresh or destroy. Raises `SystemExit` when it fails."""

    @abstractmethod
    def outputs(self) -> dict[str, Any]:
        """The stack's outputs with secrets in clear. Raises `StackError` when the stack is not up."""

    def _call(self, command: list[str], environment: dict[str, str]) -> None:
        result = subprocess.run(command, cwd=self.target.project, env=environment, check=False)
        if result.returncode:
            raise SystemExit(result.returncode)

    def _read(self, command: list[str], environment: dict[str, str]) -> dict[str, Any]:
        result = subprocess.run(
            command, cwd=self.target.project, env=environment, capture_output=True, text=True, check=False
        )
        outputs = json.loads(result.stdout) if result.returncode == 0 and result.stdout.strip() else {}
        if not outputs:
            reason = (result.stderr.strip() or "it has no outputs").splitlines()[-1]
            raise StackError(f"The stack {self.target.stack} is not up: {reason}", f"make up STACK={self.target.stack}")
        return dict(outputs)


class EngineRunner(Runner):
    """The Pulumi CLI, non-interactive, with the local file backend unless the user has another."""

    def __init__(self, target: Target, cli: Path) -> None:
        super().__init__(target)
        self.cli = cli
        self.environment = backend_environment(target.project)
        self.environment["PATH"] = f"{cli.parent}{os.pathsep}{self.environment['PATH']}"

    def run(self, operation: str) -> None:
        self._select_stack()
        confirmed = [] if operation == "preview" else ["--yes", "--skip-preview"]
        # The engine adds its salt to the file it is given; the config file it runs with is always named.
        common = ["--stack", self.target.stack, "--non-interactive", "--config-file", str(self.target.config_file)]
        self._call([str(self.cli), operation, *confirmed, *common], self.environment)

    def outputs(self) -> dict[str, Any]:
        command = [str(self.cli), "stack", "output", "--json", "--show-secrets", "--stack", self.target.stack]
        return self._read([*command, "--non-interactive"], self.environment)

    def _select_stack(self) -> None:
        select = [str(self.cli), "stack", "select", "--create", "--stack", self.target.stack, "--non-interactive"]
        own = self.target.project / f"Pulumi.{self.target.stack}.yaml"
        before = own.read_bytes() if own.exists() else None
        result = subprocess.run(
            select, cwd=self.target.project, env=self.environment, capture_output=True, text=True, check=False
        )
        if result.returncode:
            reason = (result.stderr or result.stdout).strip()
            raise StackError(
                f"The stack {self.target.stack} cannot be opened: {reason}",
                "check PULUMI_BACKEND_URL and the passphrase (PULUMI_CONFIG_PASSPHRASE or its _FILE)",
            )
        if self.target.config_file != own and before is not None and own.read_bytes() != before:
            own.write_bytes(before)


class TrialRunner(Runner):
    """The program under Pulumi's test runtime. For development stacks on the engine at hand."""

    def run(self, operation: str) -> None:
        confirmed = [] if operation == "preview" else ["--yes"]
        self._call([sys.executable, "-m", "trial", operation, *confirmed, *self._common()], dict(os.environ))

    def outputs(self) -> dict[str, Any]:
        command = [sys.executable, "-m", "trial", "outputs", "--json", "--show-secrets", *self._common()]
        return self._read(command, dict(os.environ))

    def _common(self) -> list[str]:
        return ["--stack", self.target.stack, "--config-file", str(self.target.config_file)]


def trial_state(target: Target) -> Path:
    return target.project / ".ragstack" / "trial" / f"{target.stack}.json"


def choose_runner(target: Target, *, is_local: bool) -> Runner:
    """RUNNER=engine or RUNNER=trial decides; else the engine where it can be had; else, for local stacks, `trial`.

    Raises `StackError` when the two would meet on one stack: each knows only the objects it made itself.
    """
    wanted = os.environ.get("RUNNER", "auto")
    if wanted not in ("auto", "engine", "trial"):
        raise StackError(f"RUNNER={wanted} is no runner.", "use RUNNER=engine, RUNNER=trial, or leave it out")
    if wanted == "trial":
        return TrialRunner(target)
    cli = find_pulumi() or install_pulumi()
    if cli is None:
        if wanted == "engine" or not is_local:
            raise StackError(
                "The Pulumi CLI is not here and cannot be installed, and this stack needs it.",
                "install it: https://www.pulumi.com/docs/install/",
            )
        say("no Pulumi CLI: running the program by trial, which is for development stacks")
        return TrialRunner(target)
    if trial_state(target).exists():
        raise StackError(
            f"The stack {target.stack} was made by trial, before the Pulumi CLI was here.",
            f"make down STACK={target.stack} RUNNER=trial (rows and models stay on their volumes), then make up",
        )
    return EngineRunner(target, cli)
