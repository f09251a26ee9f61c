"""Decides and takes every step: what the program declares against what the state remembers and what is really there."""

from __future__ import annotations

import dataclasses
import time
import uuid
from typing import Any

from components.errors import StackError
from trial.containers import CONTAINER
from trial.docker_engine import check_provider
from trial.docker_simple import NETWORK, VOLUME
from trial.images import REMOTE_IMAGE
from trial.kinds import Change, Goal, Interrupted, Kind, Step
from trial.ledger import Ledger, check_protected
from trial.order import deletion_order, dependents
from trial.plugins import Plugin, package_of
from trial.state import Entry
from trial.values import (
    PROVIDER_KEY,
    UNKNOWN,
    changed_keys,
    has_unavailable,
    has_unknown,
    mark_outputs,
    plain,
    secret_strings,
)


@dataclasses.dataclass(frozen=True)
class Decision:
    """What is to become of one resource: its checked inputs with secrets marked, and why in a few words."""

    kind: Kind
    step: Step
    goal: Goal
    inputs: dict[str, Any]
    change: Change
    why: str
    old: Entry | None


class Deployment(Ledger):
    """A pass that follows the program: `register` for each resource it declares, then `remove_undeclared`."""

    def register(self, goal: Goal) -> tuple[str, dict[str, Any]]:
        """Brings one declared resource about; gives its id ("" while unknown) and its outputs, secrets marked."""
        with self._lock:
            if self._stopping.is_set() or self.errors:
                raise Interrupted
            if goal.urn in self.declared:
                raise StackError(
                    f"The program declares {goal.name} ({goal.type}) twice.", "give one of the two another name"
                )
            self.declared.add(goal.urn)
        self._console.redact.learn(secret_strings(goal.inputs))
        try:
            if goal.type.startswith("pulumi:providers:"):
                return self._register_provider(goal)
            with self._console.working(f"{'planning' if self.dry_run else 'working on'} {goal.name}", goal.name):
                return self._register(goal)
        except Interrupted:
            raise
        except BaseException as error:
            self._fail(goal, error)
            raise

    def _register_provider(self, goal: Goal) -> tuple[str, dict[str, Any]]:
        given = plain(goal.inputs)
        if goal.type == "pulumi:providers:docker":
            check_provider(given)
        elif self.plugins.serves(package_of(goal.type)) and not has_unknown(given):
            self.plugins.process(package_of(goal.type), given)
        old = self.state.get(goal.urn)
        id_ = old.id if old else str(uuid.uuid4())
        with self._lock:
            self._providers[goal.urn] = given
        if not self.dry_run:
            entry = self._entry(goal, goal.inputs, id_, goal.inputs)
            self.state.put(dataclasses.replace(entry, digest="provider"))
        return id_, goal.inputs

    def invoke(self, token: str, arguments: dict[str, Any], provider: str) -> Any:
        """What a function of a package with a plugin answers; `provider` is an explicit provider's URN, or empty."""
        with self._console.working(f"asking {token}"):
            return self.plugins.invoke(token, arguments, self._providers.get(provider, {}), self.dry_run)

    def _register(self, goal: Goal) -> tuple[str, dict[str, Any]]:
        decision = self._decide(goal)
        if decision.change is Change.REPLACE and decision.old:
            check_protected(decision.old, "replaced", decision.why, also=goal.protect)
        if self.dry_run:
            return self._planned(decision)
        began = time.monotonic()
        id_, outputs = self._take(decision)
        took = None if decision.change is Change.SAME else time.monotonic() - began
        self._report(decision.change.value, goal, took, decision.why)
        return id_, outputs

    def _decide(self, goal: Goal) -> Decision:
        kind, old = self.kind_of(goal), self.state.get(goal.urn)
        goal = dataclasses.replace(goal, inputs=_ignoring(goal, old))
        checked = kind.check(self._step(goal, plain(goal.inputs)), old)
        if has_unavailable(checked) or (has_unknown(checked) and not self.dry_run):
            raise StackError(
                f"{goal.name} depends on a value that the trial runner cannot give (for example a bcrypt hash).",
                "use another output of that resource, or run with the engine: `pulumi up`",
            )
        step = self._step(goal, checked)
        change, why = self._compare(kind, step, goal, old)
        return Decision(kind, step, goal, mark_outputs(checked, goal.inputs, []), change, why, old)

    def _compare(self, kind: Kind, step: Step, goal: Goal, old: Entry | None) -> tuple[Change, str]:
        if old is None:
            return Change.CREATE, ""
        if goal.urn in self._displaced:
            return Change.REPLACE, "uses what is replaced"
        forced = sorted(urn.split("::")[-1] for urn in self._replaced & set(goal.replace_with))
        if has_unknown(step.provider):
            return (Change.REPLACE if forced else Change.CREATE), "its provider is not known yet"
        # What went away by itself is made anew without asking the machine that is gone as well.
        change, why = (Change.SAME, "") if self._goes_with_replaced(old) and forced else kind.diff(step, old)
        if change in (Change.SAME, Change.UPDATE) and forced:
            return Change.REPLACE, f"together with {', '.join(forced)}"
        if change is Change.UPDATE:
            changed = changed_keys(plain(old.inputs), step.inputs)
            if changed and ("*" in goal.replace_on_changes or set(changed) & set(goal.replace_on_changes)):
                return Change.REPLACE, ", ".join(changed)
        return change, why

    def _planned(self, decision: Decision) -> tuple[str, dict[str, Any]]:
        goal, old, change = decision.goal, decision.old, decision.change
        if old and change is Change.REPLACE:
            first = goal.delete_first or decision.kind.delete_first(decision.step, old)
            users = self._users(old) if first else []
            for user in users:
                check_protected(user, "deleted", f"it uses {goal.name}, which is to be replaced")
            with self._lock:
                self._replaced.add(goal.urn)
                self._displaced |= {user.urn for user in users}
        self._report(change.value, goal, None, decision.why)
        if isinstance(decision.kind, Plugin) and change is not Change.SAME:
            planned = mark_outputs(
                decision.kind.planned(decision.step, old, change), decision.inputs, goal.secret_outputs
            )
            return (old.id if old and change is Change.UPDATE else ""), planned
        only_started = change is Change.UPDATE and goal.type == CONTAINER
        if old and (change is Change.SAME or only_started):
            return old.id, old.outputs
        return (old.id if old and change is Change.UPDATE else ""), decision.inputs

    def _take(self, decision: Decision) -> tuple[str, dict[str, Any]]:
        kind, goal, inputs, old = decision.kind, decision.goal, decision.inputs, decision.old

        def record(id_: str, outputs: dict[str, Any]) -> None:
            self.state.put(self._entry(goal, inputs, id_, mark_outputs(outputs, inputs, goal.secret_outputs)))

        step = dataclasses.replace(decision.step, record=record)
        if old and decision.change is Change.SAME:
            # Only the provider's code may differ; a later deletion is to run the new one.
            code = {PROVIDER_KEY: inputs[PROVIDER_KEY]} if PROVIDER_KEY in inputs else {}
            id_, outputs = old.id, {**old.outputs, **code}
        elif old and decision.change is Change.UPDATE:
            id_, outputs = old.id, kind.update(step, old)
        elif old and decision.change is Change.REPLACE:
            id_, outputs = self._replace(kind, step, goal, old)
        else:
            id_, outputs = kind.create(step, old)
        marked = mark_outputs(outputs, inputs, goal.secret_outputs)
        self._console.redact.learn(secret_strings(marked))
        self.state.put(dataclasses.replace(self._entry(goal, inputs, id_, marked), digest=step.digest))
        return id_, marked

    def _replace(self, kind: Kind, step: Step, goal: Goal, old: Entry) -> tuple[str, dict[str, Any]]:
        with self._lock:
            self._replaced.add(goal.urn)
        if not (goal.delete_first or kind.delete_first(step, old)):
            id_, outputs = kind.create(step, old)
            superseded = goal.type == REMOTE_IMAGE and plain(old.inputs).get("name") == step.inputs.get("name")
            if not old.retain and not superseded:
                self.state.doom(old)
            return id_, outputs
        users = self._users(old)
        going = {old.urn, *(user.urn for user in users)}
        for user in users:
            check_protected(user, "deleted", f"it uses {goal.name}, which is being replaced")
            self._delete(user, f"uses {goal.name}", skip=user.deleted_with in going)
        if not old.retain and not self._goes_with_replaced(old):
            kind.delete(self._step_of(old), old)
        self.state.drop(old.urn)
        return kind.create(step, old)

    def _users(self, old: Entry) -> list[Entry]:
        """What must go before this one can, dependents first: the containers of a network or volume, and whatever a
        change of this container or resource of a plugin replaces."""
        entries = list(self.state.entries.values())
        if old.type in (NETWORK, VOLUME):
            urns = dependents(old.urn, entries)
            return [entry for entry in deletion_order(entries) if entry.urn in urns and entry.type == CONTAINER]
        asked = old.type == CONTAINER or isinstance(self.kind_of(old), Plugin)
        return self._replaced_by(old, entries) if asked else []

    def _replaced_by(self, root: Entry, entries: list[Entry]) -> list[Entry]:
        """As the engine finds them (step_generator.go, calculateDependentReplacements): those that their own provider
        would replace if the inputs that came from a replaced resource were not known, and those to replace with it."""
        replaced = {root.urn}
        found: list[Entry] = []
        for entry in reversed(deletion_order(entries)):
            used = {key for key, needs in entry.property_dependencies.items() if replaced & set(needs)}
            touched = used & set(entry.inputs)
            if replaced & set(entry.replace_with) or (touched and self._would_replace(entry, touched)):
                replaced.add(entry.urn)
                found.insert(0, entry)
        return found

    def _would_replace(self, entry: Entry, touched: set[str]) -> bool:
        if entry.type.startswith("pulumi:providers:"):
            return False
        if package_of(entry.type) == "docker":
            # Every change of a Docker object replaces it here; its engine may be the one that is about to go.
            return True
        inputs = {key: UNKNOWN if key in touched else value for key, value in plain(entry.inputs).items()}
        change, _ = self.kind_of(entry).diff(self._step(entry, inputs), entry)
        return change is Change.REPLACE

    def remove_undeclared(self) -> None:
        """Takes away what the program no longer declares, and what replacements left over.

        Raises StackError before the first deletion when one that is no longer declared is protected.
        """
        gone = [entry for entry in self.state.entries.values() if entry.urn not in self.declared]
        self.remove(gone, self.state.doomed)


def _ignoring(goal: Goal, old: Entry | None) -> dict[str, Any]:
    """The inputs with the last run's value wherever the program ignores changes."""
    if old is None or not goal.ignore_changes:
        return goal.inputs
    nested = [path for path in goal.ignore_changes if not path.isidentifier() and path != "*"]
    if nested:
        raise StackError(
            f"{goal.name} ignores changes of {', '.join(nested)}; the trial runner ignores whole properties only.",
            "name the property alone in ignore_changes, or run with the engine: `pulumi up`",
        )
    if "*" in goal.ignore_changes:
        return old.inputs
    kept = {key: old.inputs[key] for key in goal.ignore_changes if key in old.inputs}
    return {**{key: value for key, value in goal.inputs.items() if key not in goal.ignore_changes}, **kept}
