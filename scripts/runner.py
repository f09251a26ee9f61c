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
from components.plan.names import names_of
from components.settings import Settings
from components.settings.host import Host
from scripts.backend import backend_environment, stack_states
from scripts.private_dir import NAME
from scripts.pulumi_cli import find_pulumi, install_pulumi
from scripts.recovery import release_dead_lock, remove_forgotten, show_failed_containers
from scripts.say import say
from scripts.stack_file import PROJECT_NAME


@dataclass(frozen=True, kw_only=True)
class Target:
    """A stack of this project, the stack file it runs with, and what that file says, where it was read."""

    project: Path
    stack: str
    config_file: Path
    settings: Settings | None = None

    @property
    def on_aws(self) -> bool:
        """Whether the stack has a machine of its own, rented from AWS."""
        return self.settings is not None and self.settings.host.type == "aws"

    @property
    def local(self) -> tuple[Host, str] | None:
        """The host and the prefix of the stack's Docker names, when its engine is the one at hand."""
        if self.settings is None or self.settings.host.type != "local":
            return None
        return self.settings.host, names_of(self.settings, PROJECT_NAME, self.stack).prefix


class Runner(ABC):
    """Runs operations on one target. `environment` is what every command runs in."""

    environment: dict[str, str]

    # Whether a destroy takes the protected, too. Protected are volumes with data.
    release_protected = False

    def __init__(self, target: Target) -> None:
        self.target = target
        self.environment = dict(os.environ)

    @property
    def destroying(self) -> list[str]:
        """What a destroy does with the protected. Docker's volumes stay whatever is forgotten, as the provider keeps
        them; a data volume on AWS would be gone for good, so it is spared unless released on purpose."""
        return ["--exclude-protected"] if self.target.on_aws and not self.release_protected else ["--ignore-protect"]

    @abstractmethod
    def command(self, operation: str) -> list[str]:
        """The command line of `up`, `preview`, `refresh`, `destroy` or `outputs` (JSON, with secrets in clear)."""

    @abstractmethod
    def prepare(self) -> None:
        """Brings about what has to be there before any operation. Raises `StackError`."""

    @abstractmethod
    def recover(self) -> None:
        """Puts right what an update that died hard has left behind. Raises `StackError`."""

    @abstractmethod
    def explain_failed_up(self) -> None:
        """Shows what a failed `up` has not said itself."""

    def run(self, operation: str) -> None:
        """Shows the operation as it goes; a failed one ends this program with the operation's exit code."""
        self.prepare()
        if operation in ("up", "destroy"):
            self.recover()
        done = subprocess.run(self.command(operation), cwd=self.target.project, env=self.environment, check=False)
        if done.returncode:
            if operation == "up":
                self.explain_failed_up()
            raise SystemExit(done.returncode)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs with secrets in clear. Raises `StackError` when the stack is not up."""
        done = subprocess.run(
            self.command("outputs"),
            cwd=self.target.project,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        found = json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else {}
        if not found:
            reason = (done.stderr.strip() or "it has no outputs").splitlines()[-1]
            raise StackError(f"The stack {self.target.stack} is not up: {reason}", f"make up STACK={self.target.stack}")
        return dict(found)


class EngineRunner(Runner):
    """The Pulumi CLI, non-interactive, with the local file backend unless the user has another."""

    def __init__(self, target: Target, cli: Path) -> None:
        super().__init__(target)
        self.cli = str(cli)
        self.environment = backend_environment(target.project, target.config_file, cli)
        self.environment["PATH"] = f"{cli.parent}{os.pathsep}{self.environment['PATH']}"

    def command(self, operation: str) -> list[str]:
        common = ["--stack", self.target.stack, "--non-interactive"]
        if operation == "outputs":
            return [self.cli, "stack", "output", "--json", "--show-secrets", *common]
        confirmed = [] if operation == "preview" else ["--yes", "--skip-preview"]
        confirmed += self.destroying if operation == "destroy" else []
        if operation == "destroy" and self.target.on_aws:
            # What is on a machine goes with it, and a machine that is stopped or broken must not keep it from going.
            confirmed += ["--refresh=false"]
        return [self.cli, operation, *confirmed, *common, "--config-file", str(self.target.config_file)]

    def explain_failed_up(self) -> None:
        """The logs of containers that failed, which the engine does not show."""
        if self.target.local:
            show_failed_containers(*self.target.local)

    def recover(self) -> None:
        """The lock of a dead process, and objects that the state does not know."""
        release_dead_lock(self.environment.get("PULUMI_BACKEND_URL", ""), self.target.stack)
        if not self.target.local:
            return
        export = [self.cli, "stack", "export", "--stack", self.target.stack, "--non-interactive"]
        done = subprocess.run(
            export, cwd=self.target.project, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            remove_forgotten(*self.target.local, json.loads(done.stdout))

    def prepare(self) -> None:
        """Selects or creates the stack. The engine then adds its salt to the user's stack file, also where another file
        is the one to run with: that change is taken back."""
        own = self.target.project / f"Pulumi.{self.target.stack}.yaml"
        before = own.read_bytes() if own.exists() else None
        select = [self.cli, "stack", "select", "--create", "--stack", self.target.stack, "--non-interactive"]
        done = subprocess.run(
            select, cwd=self.target.project, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise StackError(
                f"The stack {self.target.stack} cannot be opened: {(done.stderr or done.stdout).strip()}",
                "check PULUMI_BACKEND_URL and the passphrase (PULUMI_CONFIG_PASSPHRASE or its _FILE)",
            )
        if self.target.config_file == own:
            return
        if before is None:
            own.unlink(missing_ok=True)
        elif own.read_bytes() != before:
            own.write_bytes(before)


class TrialRunner(Runner):
    """The program under Pulumi's test runtime. For development stacks on the engine at hand."""

    def prepare(self) -> None:
        """Nothing: `trial` keeps a state of its own and makes it on first use."""

    def recover(self) -> None:
        """Nothing: `trial` records an object before it makes it, and its lock goes with its process."""

    def explain_failed_up(self) -> None:
        """Nothing: `trial` shows a failed container's log itself."""

    def command(self, operation: str) -> list[str]:
        more = {
            "preview": [],
            "outputs": ["--json", "--show-secrets"],
            "destroy": ["--yes", *self.destroying],
        }.get(operation, ["--yes"])
        target = ["--stack", self.target.stack, "--config-file", str(self.target.config_file)]
        return [sys.executable, "-m", "trial", operation, *more, *target]


def trial_state(target: Target) -> Path:
    return target.project / NAME / "trial" / f"{target.stack}.json"


def _has_engine_state(target: Target) -> bool:
    """Whether the local file backend holds resources of this stack."""
    for file in stack_states(target.project, target.stack):
        latest = json.loads(file.read_text(encoding="utf-8")).get("checkpoint", {}).get("latest") or {}
        if latest.get("resources"):
            return True
    return False


def choose_runner(target: Target, *, is_local: bool, may_install: bool) -> Runner:
    """RUNNER=engine or RUNNER=trial decides; else the engine where it can be had; else, for local stacks, `trial`.

    Raises `StackError` when the two would meet on one stack: each knows only the objects it made itself.
    """
    wanted = os.environ.get("RUNNER", "auto")
    if wanted not in ("auto", "engine", "trial"):
        raise StackError(f"RUNNER={wanted} is no runner.", "use RUNNER=engine, RUNNER=trial, or leave it out")
    if wanted == "trial":
        if _has_engine_state(target):
            raise StackError(
                f"The stack {target.stack} was made by the Pulumi engine.",
                f"make down STACK={target.stack} (rows and models stay on their volumes), or leave out RUNNER=trial",
            )
        return TrialRunner(target)
    cli = find_pulumi() or (install_pulumi() if may_install else None)
    if cli is None:
        if wanted == "engine" or not is_local:
            raise StackError(
                "The Pulumi CLI is not here and cannot be installed, and this stack needs it.",
                "install it: https://www.pulumi.com/docs/install/",
            )
        if may_install:
            say("no Pulumi CLI: running the program by trial, which is for development stacks")
        return TrialRunner(target)
    if trial_state(target).exists():
        raise StackError(
            f"The stack {target.stack} was made by trial, before the Pulumi CLI was here.",
            f"make down STACK={target.stack} RUNNER=trial (rows and models stay on their volumes), then make up",
        )
    return EngineRunner(target, cli)
