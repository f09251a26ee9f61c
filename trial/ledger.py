"""What every pass over a stack shares: the state, the kinds of resources, deletion, comparison, the report."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from components.errors import StackError
from trial.console import Console
from trial.docker_simple import HASH_LABEL, NAME_LABEL, STACK_LABEL
from trial.dynamic import PREFIX as DYNAMIC
from trial.kinds import Goal, Interrupted, Kind, Step
from trial.order import deletion_order
from trial.plugins import Plugin, Plugins, package_of
from trial.state import Entry, State
from trial.values import changed_keys, digest, mark_outputs, plain, secret_strings

# The packages that this runner brings about by itself, with or without a plugin.
PACKAGES = ("docker", "random", "pulumi-python")
_SIGNS = {"create": "+", "update": "~", "replace": "+-", "delete": "-", "same": "", "retain": "", "forget": "-"}
_DONE = {
    "create": "created", "update": "updated", "replace": "replaced", "delete": "deleted",
    "same": "unchanged", "retain": "kept, no longer managed", "forget": "gone",
}  # fmt: skip


class Ledger:
    """One pass over a stack's entries. With `dry_run` it only says what it would do, and touches nothing."""

    def __init__(
        self,
        state: State,
        kinds: Mapping[str, Kind],
        plugins: Plugins,
        console: Console,
        *,
        stack: str,
        dry_run: bool,
        stopping: threading.Event,
    ) -> None:
        self.state = state
        self.dry_run = dry_run
        self.changes: list[dict[str, str]] = []
        self.declared: set[str] = set()
        self.errors: list[BaseException] = []
        self.plugins = plugins
        self._kinds = kinds
        self._console = console
        self._stack = stack
        self._stopping = stopping
        self._providers: dict[str, dict[str, Any]] = {}
        self._replaced: set[str] = set()
        self._displaced: set[str] = set()
        self._lock = threading.RLock()
        for entry in [*state.entries.values(), *state.doomed]:
            console.redact.learn(secret_strings([entry.inputs, entry.outputs]))

    def kind(self, type_: str) -> Kind | None:
        """What implements the type, or None when nothing does."""
        own = self._kinds.get(DYNAMIC if type_.startswith(DYNAMIC) else type_)
        package = package_of(type_)
        if own or package in PACKAGES or not self.plugins.serves(package):
            return own
        return Plugin(self.plugins)

    def kind_of(self, of: Goal | Entry) -> Kind:
        kind = self.kind(of.type)
        if kind is None:
            raise StackError(
                f"{of.name} is a {of.type}, which this runner does not implement, and there is no plugin "
                f"pulumi-resource-{package_of(of.type)} on PATH.",
                "use the version of the project that made it, with the same PATH: `python -m trial destroy`",
            )
        return kind

    def counts(self) -> dict[str, int]:
        return dict(Counter(change["op"] for change in self.changes))

    def remove(self, entries: Iterable[Entry], left_over: Iterable[Entry] = ()) -> None:
        """Deletes the entries and what replacements left over in one safe order, keeping the retained; refuses all
        when one of the entries is protected."""
        # One order for both: an old machine must go before the security group that it alone still uses.
        doomed = {id(entry): entry for entry in left_over}
        chosen = deletion_order([*doomed.values(), *entries])
        held = [entry for entry in chosen if entry.protect and id(entry) not in doomed]
        if held:
            check_protected(held[0], "deleted", ", ".join(entry.name for entry in held) if held[1:] else "")
        leaving = {entry.urn for entry in chosen if id(entry) not in doomed}
        for entry in chosen:
            if self._stopping.is_set():
                raise Interrupted
            # A component is no entry: it goes when the program declares it no longer, and always on destroy.
            gone_with = entry.deleted_with and (
                entry.deleted_with in leaving or entry.deleted_with not in self.declared
            )
            if id(entry) in doomed:
                self._delete_left_over(entry, skip=self._goes_with_replaced(entry) or bool(gone_with))
            else:
                self._delete(entry, skip=bool(gone_with))

    def _goes_with_replaced(self, entry: Entry) -> bool:
        """Whether what the entry is `deleted_with` is itself replaced in this run, and takes the entry along."""
        return entry.deleted_with in self._replaced

    def _delete_left_over(self, entry: Entry, skip: bool) -> None:
        if self.dry_run:
            return
        if not skip:
            with self._console.working(f"deleting the old {entry.name}", entry.name):
                self.kind_of(entry).delete(self._step_of(entry), entry)
        self.state.undoom(entry)

    def _delete(self, entry: Entry, why: str = "", skip: bool = False) -> None:
        counted = not entry.type.startswith("pulumi:providers:")
        op = "retain" if entry.retain and counted else "delete"
        began = time.monotonic()
        if not self.dry_run:
            if counted and op == "delete" and not skip:
                try:
                    with self._console.working(f"deleting {entry.name}", entry.name):
                        self.kind_of(entry).delete(self._step_of(entry), entry)
                except Exception as error:
                    self._fail(entry, error)
                    raise
            self.state.drop(entry.urn)
        if counted:
            note = why or (f"with {entry.deleted_with.split('::')[-1]}" if skip else "")
            self._report(op, entry, None if self.dry_run else time.monotonic() - began, note)

    def refresh(self) -> None:
        """Compares every entry with what is really there, says what drifted, and remembers it."""
        for entry in list(self.state.entries.values()):
            if entry.type.startswith("pulumi:providers:"):
                continue
            if self._stopping.is_set():
                raise Interrupted
            with self._console.working(f"reading {entry.name}", entry.name):
                found = self.kind_of(entry).read(self._step_of(entry), entry)
            if found is None:
                self.state.drop(entry.urn)
                self._report("forget", entry, None, "the next up makes it anew")
                continue
            inputs, outputs = found
            status = outputs.pop("status", "running")
            changed = sorted({*changed_keys(plain(entry.inputs), inputs), *changed_keys(plain(entry.outputs), outputs)})
            entry.outputs = mark_outputs(outputs, entry.outputs, entry.secret_outputs)
            entry.inputs = mark_outputs(inputs, entry.inputs, [])
            self.state.save()
            why = f"is {status}" if status != "running" else ", ".join(changed)
            self._report("update" if why else "same", entry, None, why)

    def _entry(self, goal: Goal, inputs: dict[str, Any], id_: str, outputs: dict[str, Any]) -> Entry:
        return Entry(
            urn=goal.urn, type=goal.type, name=goal.name, id=id_, inputs=inputs, outputs=outputs,
            provider=goal.provider, dependencies=goal.dependencies, property_dependencies=goal.property_dependencies,
            protect=goal.protect, retain=goal.retain,
            deleted_with=goal.deleted_with, replace_with=goal.replace_with, secret_outputs=goal.secret_outputs,
        )  # fmt: skip

    def _step_of(self, entry: Entry) -> Step:
        return self._step(entry, plain(entry.inputs))

    def _step(self, of: Goal | Entry, inputs: dict[str, Any]) -> Step:
        hash_ = digest(self.state.key, of.type, inputs)
        known = self.state.get(of.provider)
        provider = self._providers.get(of.provider, plain(known.inputs) if known else {})
        return Step(
            urn=of.urn,
            type=of.type,
            name=of.name,
            inputs=inputs,
            provider=provider,
            digest=hash_,
            labels={STACK_LABEL: self._stack, NAME_LABEL: of.urn, HASH_LABEL: hash_},
            say=self._console.note,
            record=lambda _id, _outputs: None,
            stopping=self._stopping,
        )

    def _report(self, op: str, of: Goal | Entry, took: float | None, why: str) -> None:
        with self._lock:
            self.changes.append({"op": op, "type": of.type, "name": of.name, "urn": of.urn, "why": why})
        verb = _DONE[op] if not self.dry_run or op == "same" else op
        self._console.step(_SIGNS[op], of.type, of.name, verb, seconds=took, why=why)

    def _fail(self, of: Goal | Entry, error: BaseException) -> None:
        with self._lock:
            self.errors.append(error)
        if not self.dry_run:
            self._console.step("x", of.type, of.name, "failed")


def check_protected(old: Entry, verb: str, why: str = "", also: bool = False) -> None:
    """Raises StackError when the entry is protected, by the last run or (`also`) by this one."""
    if old.protect or also:
        raise StackError(
            f"{old.name} ({old.type}) is protected and would be {verb}{f': {why}' if why else ''}.",
            "take the change back, or set protect=False for it, run `up` once, and then repeat this",
        )
