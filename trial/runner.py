"""The commands: which passes they make, under which lock, and what they give back."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pulumi.runtime

from components.errors import StackError
from trial import config as configuration
from trial.console import Console
from trial.containers import CONTAINER, Container
from trial.deployment import Deployment
from trial.docker_engine import Engines
from trial.docker_simple import NETWORK, VOLUME, Network, Volume
from trial.dynamic import PREFIX, Dynamic
from trial.images import REMOTE_IMAGE, RemoteImage
from trial.kinds import Interrupted, Kind
from trial.monitor import Engine, Monitor, refusal_error
from trial.order import protected_with_needs
from trial.plugins import Plugins
from trial.program import inside, run_program
from trial.randoms import TYPES as RANDOM_TYPES
from trial.randoms import Random
from trial.state import State, locked
from trial.values import has_unavailable, has_unknown, masked, plain, secret_strings

BANNER = "trial: a runner for development and live tests, not the Pulumi engine"
COMMANDS = ("up", "preview", "refresh", "destroy", "outputs")
# How long Ctrl-C waits for steps that can stop by themselves before the rest is abandoned.
_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Result:
    """What a command did. `changes` has one {op, type, name, urn, why} per resource; `outputs` keep secrets marked."""

    counts: dict[str, int]
    changes: list[dict[str, str]]
    outputs: dict[str, Any]
    seconds: float
    redact: Callable[[str], str] = field(repr=False)

    def shown_outputs(self, show_secrets: bool = False) -> dict[str, Any]:
        """The stack's outputs, with `[secret]` in place of secrets unless they are asked for."""
        show = plain if show_secrets else masked
        return {key: show(value) for key, value in self.outputs.items()}


def run(
    command: str,
    *,
    stack: str = "dev",
    program: str | Path = ".",
    config_file: str | Path | None = None,
    config: Mapping[str, str] | None = None,
    console: Console | None = None,
    ignore_protect: bool = False,
    exclude_protected: bool = False,
) -> Result:
    """Runs one command of `COMMANDS` on the program in a folder; progress goes to `console`
    (by default standard output, after a first line that says what this is).

    `config` (key -> text) wins over the stack's file; `ignore_protect` lets `destroy` take the protected too, and
    `exclude_protected` makes it spare them with all that they need. Raises
    StackError for what the user can mend, whatever the program raised otherwise, and KeyboardInterrupt after Ctrl-C,
    with everything done so far recorded.
    """
    if command not in COMMANDS:
        raise ValueError(f"{command!r} is none of {', '.join(COMMANDS)}")
    folder = Path(program).resolve()
    file = Path(config_file).resolve() if config_file else None
    if console is None:
        console = Console(sys.stdout)
        console.line(BANNER)
    session = _Session(configuration.load(folder, stack, file, config), console, ignore_protect, exclude_protected)
    return session.run(command)


class _Session:
    def __init__(
        self, project: configuration.Project, console: Console, ignore_protect: bool, exclude_protected: bool
    ) -> None:
        self._project = project
        self._ignore_protect = ignore_protect
        self._exclude_protected = exclude_protected
        self._console = console
        self._stopping = threading.Event()
        self._engines = Engines(project.config)
        self._plugins = Plugins(project.config, Engine(console).Log)
        docker_kinds: dict[str, Kind] = {
            NETWORK: Network(self._engines),
            VOLUME: Volume(self._engines),
            REMOTE_IMAGE: RemoteImage(self._engines),
            CONTAINER: Container(self._engines),
        }
        dynamic: dict[str, Kind] = {PREFIX: Dynamic(project.config, project.name)}
        self._kinds = {**docker_kinds, **dynamic, **{type_: Random() for type_ in RANDOM_TYPES}}
        console.redact.learn(iter([project.config[key] for key in project.secret_keys if key in project.config]))

    def run(self, command: str) -> Result:
        began = time.monotonic()
        path = self._project.folder / ".ragstack" / "trial" / f"{self._project.stack}.json"
        try:
            if command == "outputs":
                if not path.exists():
                    raise StackError(
                        f"The stack {self._project.stack!r} has no outputs: it was never brought up.",
                        f"run `python -m trial up --stack {self._project.stack}` first",
                    )
                state = State(path)
                return self._result(None, state, began)
            with self._stoppable(), inside(self._project.folder), self._console.capturing():
                if command == "preview":
                    return self._preview(State(path), began)
                with locked(path.with_suffix(".lock")):
                    result: Result = getattr(self, f"_{command}")(State(path), began)
                    return result
        finally:
            self._plugins.close()
            self._engines.close()

    def _up(self, state: State, began: float) -> Result:
        with self._console.held():
            self._plan(state)
        deployment = self._deployment(state, dry_run=False)
        state.save()
        monitor = self._pass(deployment)
        deployment.remove_undeclared()
        state.outputs = monitor.outputs
        unknown = [key for key, value in state.outputs.items() if has_unknown(value) or has_unavailable(value)]
        if unknown:
            raise StackError(
                f"The outputs {', '.join(unknown)} hold what the trial runner cannot give, such as a bcrypt hash.",
                "export another value, or run with the engine: `pulumi up`",
            )
        self._console.redact.learn(secret_strings(monitor.outputs))
        state.save()
        return self._summary(deployment, state, began)

    def _preview(self, state: State, began: float) -> Result:
        return self._summary(self._plan(state), state, began)

    def _plan(self, state: State) -> Deployment:
        """Runs the program with nothing allowed to change, so that what cannot work is found before the first step."""
        deployment = self._deployment(state, dry_run=True)
        self._pass(deployment)
        deployment.remove_undeclared()
        return deployment

    def _refresh(self, state: State, began: float) -> Result:
        deployment = self._deployment(state, dry_run=False)
        self._in_context(deployment.refresh)
        return self._summary(deployment, state, began)

    def _destroy(self, state: State, began: float) -> Result:
        if self._ignore_protect:
            for entry in state.entries.values():
                entry.protect = False
        deployment = self._deployment(state, dry_run=False)
        if self._exclude_protected:
            deployment.declared |= protected_with_needs(state.entries.values())
        self._in_context(deployment.remove_undeclared)
        state.outputs = {}
        state.save()
        return self._summary(deployment, state, began)

    def _deployment(self, state: State, dry_run: bool) -> Deployment:
        stack = f"{self._project.name}/{self._project.stack}"
        shared = (self._kinds, self._plugins, self._console)
        return Deployment(state, *shared, stack=stack, dry_run=dry_run, stopping=self._stopping)

    def _pass(self, deployment: Deployment) -> Monitor:
        monitor, engine = Monitor(self._project, deployment), Engine(self._console)
        try:
            with self._console.working("running the program"):
                run_program(self._project, monitor, engine, deployment.dry_run)
        except KeyboardInterrupt:
            self._let_steps_end()
            raise
        except Exception as error:
            self._raise_if_stopped()
            if deployment.errors:
                for further in deployment.errors[1:]:
                    self._console.line(f"error: {further}")
                raise deployment.errors[0] from (deployment.errors[0].__cause__ or error)
            raise
        self._raise_if_stopped()
        if monitor.refused:
            raise refusal_error(monitor.refused)
        if engine.logged_errors:
            raise StackError("The program logged an error, shown above.", "mend what it names, then run again")
        return monitor

    def _in_context(self, work: Callable[[], None]) -> None:
        # Providers log and read configuration through the runtime, also when the program itself does not run.
        monitor = Monitor(self._project, self._deployment(State(Path("/nonexistent")), dry_run=True))
        settings = pulumi.runtime.Settings(
            project=self._project.name, stack=self._project.stack, monitor=monitor, engine=Engine(self._console)
        )
        pulumi.runtime.configure(settings)
        pulumi.runtime.set_all_config(self._project.config, self._project.secret_keys)
        try:
            work()
        except Interrupted:
            raise KeyboardInterrupt from None

    def _raise_if_stopped(self) -> None:
        if self._stopping.is_set():
            raise KeyboardInterrupt

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Turns SIGINT and SIGTERM into an orderly stop. Only the main thread may set signal handlers."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(_number: int, _frame: FrameType | None) -> None:
            self._stopping.set()
            raise KeyboardInterrupt

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _let_steps_end(self) -> None:
        self._stopping.set()
        if self._console.busy():
            self._console.line(f"stopping; a step that takes more than {_GRACE_SECONDS:.0f} s to end is abandoned")
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._console.busy() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _summary(self, deployment: Deployment, state: State, began: float) -> Result:
        signs = {"create": "+", "update": "~", "replace": "+-", "delete": "-"}
        if deployment.dry_run:
            words = {"create": "to create", "update": "to update", "replace": "to replace", "delete": "to delete"}
        else:
            words = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted"}
        words |= {"same": "unchanged", "retain": "kept", "forget": "gone"}
        counts = deployment.counts()
        parts = [f"{signs[op]} {counts[op]} {word}" if op in signs else f"{counts[op]} {word}"
                 for op, word in words.items() if counts.get(op)]  # fmt: skip
        result = self._result(deployment, state, began)
        self._console.line(f"Resources: {', '.join(parts) or 'none'}")
        self._console.line(f"Duration: {result.seconds:.1f}s")
        return result

    def _result(self, deployment: Deployment | None, state: State, began: float) -> Result:
        self._console.redact.learn(secret_strings(state.outputs))
        return Result(
            counts=deployment.counts() if deployment else {},
            changes=deployment.changes if deployment else [],
            outputs=dict(sorted(state.outputs.items())),
            seconds=time.monotonic() - began,
            redact=self._console.redact,
        )
