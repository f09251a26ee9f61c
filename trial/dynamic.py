"""Dynamic resources: the program's own provider classes, unpickled and called as the engine's plugin host would."""

# ruff: noqa: ARG002 - every kind answers the whole protocol of trial/kinds.py

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import dill
import pulumi
import pulumi.dynamic as pd
from pulumi.runtime._serialization import _deserialize

from components.errors import StackError
from trial.kinds import Change, Interrupted, Step
from trial.state import Entry
from trial.values import PROVIDER_KEY, UNKNOWN, changed_keys, plain

PREFIX = "pulumi-python:dynamic"
_T = TypeVar("_T")


class Dynamic:
    """Calls check, diff, create, update, delete and read of a program's `ResourceProvider`, in this process.

    As under the engine, `olds` of diff, update and delete are the outputs of the last create or update, and `olds` of
    check its inputs. A diff that does not say whether anything changed is answered by comparing inputs.
    """

    def __init__(self, config: Mapping[str, str], project: str) -> None:
        self._config = pd.Config(raw_config=dict(config), project_name=project)
        self._providers: dict[str, pd.ResourceProvider] = {}
        self._lock = threading.Lock()

    def check(self, step: Step, old: Entry | None) -> dict[str, Any]:
        pickled = step.inputs[PROVIDER_KEY]
        if pickled == UNKNOWN:
            return step.inputs
        olds = plain(old.inputs) if old else {}
        result = self._call(step, "check", lambda: self._provider(step, pickled).check(olds, dict(step.inputs)))
        if result.failures:
            reasons = "; ".join(f"{failure.property}: {failure.reason}" for failure in result.failures)
            raise StackError(f"{step.name} is not valid: {reasons}", "correct the values named above")
        return {**result.inputs, PROVIDER_KEY: pickled}

    def diff(self, step: Step, old: Entry) -> tuple[Change, str]:
        pickled = step.inputs[PROVIDER_KEY]
        olds = {**plain(old.outputs), PROVIDER_KEY: plain(old.inputs).get(PROVIDER_KEY)}
        if pickled == UNKNOWN:
            return Change.UPDATE, "its provider is not known yet"
        provider = self._provider(step, pickled)
        result = self._call(step, "diff", lambda: provider.diff(old.id, olds, dict(step.inputs)))
        changed = changed_keys(plain(old.inputs), step.inputs)
        why = ", ".join("the provider's code" if key == PROVIDER_KEY else key for key in changed)
        if result.replaces:
            return Change.REPLACE, ", ".join(result.replaces)
        if result.changes or (result.changes is None and changed):
            return Change.UPDATE, why
        return Change.SAME, ""

    def create(self, step: Step, old: Entry | None) -> tuple[str, dict[str, Any]]:
        provider = self._provider(step, step.inputs[PROVIDER_KEY])
        result = self._call(step, "create", lambda: provider.create(dict(step.inputs)))
        return result.id, {**(result.outs or {}), PROVIDER_KEY: step.inputs[PROVIDER_KEY]}

    def update(self, step: Step, old: Entry) -> dict[str, Any]:
        provider = self._provider(step, step.inputs[PROVIDER_KEY])
        olds = plain(old.outputs)
        result = self._call(step, "update", lambda: provider.update(old.id, olds, dict(step.inputs)))
        return {**(result.outs or {}), PROVIDER_KEY: step.inputs[PROVIDER_KEY]}

    def delete(self, step: Step, old: Entry) -> None:
        provider, olds = self._old_provider(step, old)
        self._call(step, "delete", lambda: provider.delete(old.id, olds))

    def read(self, step: Step, old: Entry) -> tuple[dict[str, Any], dict[str, Any]] | None:
        provider, olds = self._old_provider(step, old)
        result = self._call(step, "read", lambda: provider.read(old.id, olds))
        if not result.id:
            return None
        pickled = {PROVIDER_KEY: olds[PROVIDER_KEY]}
        inputs = plain(old.inputs) if result.inputs is None else {**result.inputs, **pickled}
        return inputs, {**(result.outs or {}), **pickled}

    def delete_first(self, step: Step, old: Entry) -> bool:
        if step.inputs[PROVIDER_KEY] == UNKNOWN:
            return False
        provider = self._provider(step, step.inputs[PROVIDER_KEY])
        result = self._call(step, "diff", lambda: provider.diff(old.id, plain(old.outputs), dict(step.inputs)))
        return bool(result.delete_before_replace)

    def _old_provider(self, step: Step, old: Entry) -> tuple[pd.ResourceProvider, dict[str, Any]]:
        olds = plain(old.outputs)
        olds.setdefault(PROVIDER_KEY, plain(old.inputs).get(PROVIDER_KEY))
        return self._provider(step, olds[PROVIDER_KEY]), olds

    def _provider(self, step: Step, pickled: str) -> pd.ResourceProvider:
        with self._lock:
            if pickled not in self._providers:
                provider: pd.ResourceProvider = self._call(step, "unpickling", lambda: _deserialize(_load(pickled)))
                self._call(step, "configure", lambda: provider.configure(pd.ConfigureRequest(config=self._config)))
                self._providers[pickled] = provider
            return self._providers[pickled]

    def _call(self, step: Step, method: str, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except (StackError, pulumi.RunError, Interrupted):
            raise
        except Exception as error:
            raise StackError(
                f"{step.name}: {method} of its provider failed with {type(error).__name__}: {error}",
                "correct what it names, then run the command again; `--debug` prints the traceback",
            ) from error


def _load(pickled: str) -> Callable[[], Any]:
    return lambda: dill.loads(base64.b64decode(pickled))  # noqa: S301 - pickled by this program in this or its last run
