"""What the runner needs of each kind of resource, and what it gives to it."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from trial.state import Entry


class Change(enum.Enum):
    SAME = "same"
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"


@dataclass(frozen=True)
class Goal:
    """A resource as the program declares it now. `inputs` keep their secrets marked; `UNKNOWN` only while planning."""

    urn: str
    type: str
    name: str
    inputs: dict[str, Any]
    provider: str = ""
    dependencies: list[str] = field(default_factory=list)
    property_dependencies: dict[str, list[str]] = field(default_factory=dict)
    protect: bool = False
    retain: bool = False
    deleted_with: str = ""
    delete_first: bool = False
    ignore_changes: list[str] = field(default_factory=list)
    replace_on_changes: list[str] = field(default_factory=list)
    replace_with: list[str] = field(default_factory=list)
    secret_outputs: list[str] = field(default_factory=list)


class Interrupted(Exception):  # noqa: N818 - not an error: the user asked for it
    """Raised inside a step when the run is being stopped."""


@dataclass(frozen=True)
class Step:
    """One piece of work on one resource.

    `inputs` are plain; `provider` are the plain inputs of its explicit provider, or {} for the default one. `labels` go
    on every object made. `record(id, outputs)` notes an object that exists but is not finished, so that a crash
    cannot lose it. `say` shows progress.
    """

    urn: str
    type: str
    name: str
    inputs: dict[str, Any]
    provider: Mapping[str, Any]
    digest: str
    labels: dict[str, str]
    say: Callable[[str], None]
    record: Callable[[str, dict[str, Any]], None]
    stopping: threading.Event

    def stop_if_asked(self) -> None:
        """Raises Interrupted when the user pressed Ctrl-C."""
        if self.stopping.is_set():
            raise Interrupted


class Kind(Protocol):
    """A kind of resource. Every method raises StackError with what the user can mend."""

    def check(self, step: Step, old: Entry | None) -> dict[str, Any]:
        """The inputs to use; may be called while planning, with unknown values, and must create nothing."""
        ...

    def diff(self, step: Step, old: Entry) -> tuple[Change, str]:
        """What is to be done with the existing one, and why in a few words. SAME only when it really is there."""
        ...

    def create(self, step: Step, old: Entry | None) -> tuple[str, dict[str, Any]]:
        """Makes it; gives its id and plain outputs. `old` is what was deleted just before in a replacement."""
        ...

    def update(self, step: Step, old: Entry) -> dict[str, Any]:
        """Changes it in place; gives its plain outputs."""
        ...

    def delete(self, step: Step, old: Entry) -> None:
        """Takes it away; one that is gone already is success."""
        ...

    def read(self, step: Step, old: Entry) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Its plain inputs and outputs as they really are, or None when it is gone."""
        ...

    def delete_first(self, step: Step, old: Entry) -> bool:
        """Whether a replacement must delete the old one before it makes the new one."""
        ...
