"""Resources and functions of packages that have a plugin: `pulumi-resource-<package>` on PATH, one per configuration.

The plugin decides what a change means, as under the engine (pulumi/pulumi, pkg/resource/deploy/step_generator.go); this
runner only keeps the order. In this repository the one such package is aws, and its plugin a test double.
"""

# ruff: noqa: ARG002 - every kind answers the whole protocol of trial/kinds.py

from __future__ import annotations

import json
import secrets
import shutil
import threading
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.runtime.proto import provider_pb2

from components.errors import StackError
from trial.kinds import Change, Step
from trial.plugin_process import Log, LogServer, PluginError, PluginProcess
from trial.state import Entry
from trial.values import changed_keys, decode, has_unknown, plain, to_struct

# Inputs of every provider resource that are for the engine and not for the plugin.
_ENGINES_OWN = {"version", "pluginDownloadURL"}
_SEED_BYTES = 32


class Plugins:
    """The plugins of one run. A configuration that is not known yet starts none."""

    def __init__(self, config: Mapping[str, str], log: Log) -> None:
        self._config = config
        self._log = log
        self._server: LogServer | None = None
        self._running: dict[str, PluginProcess] = {}
        self._lock = threading.Lock()

    def serves(self, package: str) -> bool:
        return self._executable(package) is not None

    def process(self, package: str, provider: Mapping[str, Any]) -> PluginProcess:
        """The plugin configured by the plain inputs of an explicit provider, {} meaning the stack's configuration.

        Raises StackError when it cannot be started or refuses its configuration.
        """
        prefix = f"{package}:"
        default = {key.removeprefix(prefix): text for key, text in self._config.items() if key.startswith(prefix)}
        given = {key: value for key, value in (provider or default).items() if key not in _ENGINES_OWN}
        key = f"{package} {json.dumps(given, sort_keys=True)}"
        with self._lock:
            if key not in self._running:
                executable = self._executable(package)
                if executable is None:
                    raise StackError(
                        f"The package {package} needs its plugin pulumi-resource-{package}, which is not on PATH.",
                        "run this stack with the Pulumi engine: `pulumi up`",
                    )
                self._server = self._server or LogServer(self._log)
                self._running[key] = PluginProcess(package, executable, self._server.address, given)
            return self._running[key]

    def invoke(self, token: str, arguments: Mapping[str, Any], provider: Mapping[str, Any], dry_run: bool) -> Any:
        """What the function answers, as the wire's structure. Raises pulumi.RunError with the plugin's words."""
        process = self.process(package_of(token), provider)
        request = provider_pb2.InvokeRequest(tok=token, args=to_struct(plain(arguments)), preview=dry_run)
        try:
            answer = process.call("Invoke", request)
            if answer.failures:
                raise PluginError("; ".join(f"{item.property}: {item.reason}" for item in answer.failures))
        except PluginError as error:
            raise pulumi.RunError(f"invocation of {token} returned an error: {error}") from error
        return getattr(answer, "return")

    def close(self) -> None:
        for process in self._running.values():
            process.stop()
        if self._server:
            self._server.stop()

    @staticmethod
    def _executable(package: str) -> str | None:
        return shutil.which(f"pulumi-resource-{package}")


class Plugin:
    """Every resource of such a package. Inputs and outputs are what the plugin makes of them."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    def check(self, step: Step, old: Entry | None) -> dict[str, Any]:
        if has_unknown(step.provider):
            return step.inputs
        request = provider_pb2.CheckRequest(
            **_named(step),
            olds=to_struct(plain(old.inputs) if old else {}),
            news=to_struct(step.inputs),
            randomSeed=secrets.token_bytes(_SEED_BYTES),
        )
        answer = self._call(step, "Check", request)
        if answer.failures:
            reasons = "; ".join(": ".join(filter(None, (item.property, item.reason))) for item in answer.failures)
            raise StackError(f"{step.name} ({step.type}) is not valid: {reasons}", "correct the values named above")
        return plain_dict(answer.inputs)

    def diff(self, step: Step, old: Entry) -> tuple[Change, str]:
        answer = self._diff(step, old)
        changed = changed_keys(plain(old.inputs), step.inputs)
        if answer.replaces:
            return Change.REPLACE, ", ".join(sorted(answer.replaces))
        unsaid = answer.changes == provider_pb2.DiffResponse.DIFF_UNKNOWN
        if answer.changes == provider_pb2.DiffResponse.DIFF_SOME or (unsaid and changed):
            return Change.UPDATE, ", ".join(sorted(answer.diffs) or changed)
        return Change.SAME, ""

    def create(self, step: Step, old: Entry | None) -> tuple[str, dict[str, Any]]:
        answer = self._create(step, preview=False)
        return answer.id, decode(answer.properties)

    def update(self, step: Step, old: Entry) -> dict[str, Any]:
        return decode(self._update(step, old, preview=False).properties)

    def planned(self, step: Step, old: Entry | None, change: Change) -> dict[str, Any]:
        """The outputs that creation or update would give, unknown where only the doing can tell."""
        if has_unknown(step.provider):
            return step.inputs
        answer = self._update(step, old, True) if old and change is Change.UPDATE else self._create(step, True)
        return decode(answer.properties)

    def delete(self, step: Step, old: Entry) -> None:
        request = provider_pb2.DeleteRequest(
            id=old.id, **_named(step), properties=_struct(old.outputs), old_inputs=_struct(old.inputs)
        )
        self._call(step, "Delete", request)

    def read(self, step: Step, old: Entry) -> tuple[dict[str, Any], dict[str, Any]] | None:
        request = provider_pb2.ReadRequest(
            id=old.id, **_named(step), properties=_struct(old.outputs), inputs=_struct(old.inputs)
        )
        answer = self._call(step, "Read", request)
        return (plain_dict(answer.inputs), plain_dict(answer.properties)) if answer.id else None

    def delete_first(self, step: Step, old: Entry) -> bool:
        return not has_unknown(step.provider) and bool(self._diff(step, old).deleteBeforeReplace)

    def _diff(self, step: Step, old: Entry) -> Any:
        request = provider_pb2.DiffRequest(
            id=old.id,
            **_named(step),
            olds=_struct(old.outputs),
            old_inputs=_struct(old.inputs),
            news=to_struct(step.inputs),
        )
        return self._call(step, "Diff", request)

    def _create(self, step: Step, preview: bool) -> Any:
        request = provider_pb2.CreateRequest(**_named(step), properties=to_struct(step.inputs), preview=preview)
        return self._call(step, "Create", request)

    def _update(self, step: Step, old: Entry, preview: bool) -> Any:
        request = provider_pb2.UpdateRequest(
            id=old.id,
            **_named(step),
            olds=_struct(old.outputs),
            old_inputs=_struct(old.inputs),
            news=to_struct(step.inputs),
            preview=preview,
        )
        return self._call(step, "Update", request)

    def _call(self, step: Step, method: str, request: Any) -> Any:
        process = self._plugins.process(package_of(step.type), step.provider)
        try:
            return process.call(method, request)
        except PluginError as error:
            raise StackError(f"{step.name}: {error}", "correct what it names, then run the command again") from error


def package_of(type_: str) -> str:
    """The package of a resource's type, of a function's token, or of the provider of a type `pulumi:providers:x`."""
    parts = type_.split(":")
    return parts[2] if type_.startswith("pulumi:providers:") else parts[0]


def plain_dict(struct: Any) -> dict[str, Any]:
    return dict(plain(decode(struct)))


def _struct(properties: Mapping[str, Any]) -> Any:
    return to_struct(plain(properties))


def _named(step: Step) -> dict[str, Any]:
    return {"urn": step.urn, "name": step.name, "type": step.type}
