"""What the runner remembers between runs: one private file per stack, written after every step.

The file holds generated secrets in the clear, which is why its mode is 0600 and its folder's 0700.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import StackError
from trial import values

_VERSION = 1


@dataclass
class Entry:
    """One resource as it was last made. `digest` is empty while its creation is under way.

    `property_dependencies`: for each input, the URNs of the resources that its value came from.
    """

    urn: str
    type: str
    name: str
    id: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    digest: str = ""
    provider: str = ""
    dependencies: list[str] = field(default_factory=list)
    property_dependencies: dict[str, list[str]] = field(default_factory=dict)
    protect: bool = False
    retain: bool = False
    deleted_with: str = ""
    replace_with: list[str] = field(default_factory=list)
    secret_outputs: list[str] = field(default_factory=list)


class State:
    """The stack's entries in the order in which they were last declared, its outputs, and its key for digests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key = secrets.token_bytes(32)
        self.entries: dict[str, Entry] = {}
        self.doomed: list[Entry] = []
        self.outputs: dict[str, Any] = {}
        self._lock = threading.RLock()
        if path.exists():
            self._load()

    def _load(self) -> None:
        try:
            raw = json.loads(self.path.read_text())
            version = raw["version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StackError(
                f"The trial runner cannot read its state in {self.path}: {type(error).__name__}.",
                "restore the file, or move it away: containers and networks are then replaced, volumes are kept",
            ) from error
        if version != _VERSION:
            raise StackError(
                f"The state in {self.path} has version {version}, and this runner reads version {_VERSION}.",
                "run the version of this project that wrote it: `python -m trial destroy`",
            )
        self.key = bytes.fromhex(raw["key"])
        self.outputs = values.decode(raw["outputs"])
        self.doomed = [_entry(item) for item in raw["doomed"]]
        for item in raw["resources"]:
            entry = _entry(item)
            self.entries[entry.urn] = entry

    def get(self, urn: str) -> Entry | None:
        with self._lock:
            return self.entries.get(urn)

    def put(self, entry: Entry) -> None:
        """Stores the entry as the one declared last, and saves."""
        with self._lock:
            self.entries.pop(entry.urn, None)
            self.entries[entry.urn] = entry
            self.save()

    def drop(self, urn: str) -> None:
        with self._lock:
            self.entries.pop(urn, None)
            self.save()

    def doom(self, entry: Entry) -> None:
        """Remembers a replaced resource that is still to be deleted."""
        with self._lock:
            self.doomed.append(entry)
            self.save()

    def undoom(self, entry: Entry) -> None:
        with self._lock:
            self.doomed.remove(entry)
            self.save()

    def save(self) -> None:
        """Writes the file anew and swaps it in, so that a crash leaves the old or the new one, never half of one."""
        with self._lock:
            make_private_folder(self.path.parent)
            raw = {
                "version": _VERSION,
                "key": self.key.hex(),
                "outputs": values.encode(self.outputs),
                "doomed": [values.encode(asdict_shallow(entry)) for entry in self.doomed],
                "resources": [values.encode(asdict_shallow(entry)) for entry in self.entries.values()],
            }
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            try:
                with os.fdopen(handle, "w") as file:
                    json.dump(raw, file, indent=1)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise


def asdict_shallow(entry: Entry) -> dict[str, Any]:
    # dataclasses.asdict copies deeply and would take the secrets apart.
    return {name: getattr(entry, name) for name in Entry.__dataclass_fields__}


def _entry(raw: dict[str, Any]) -> Entry:
    return Entry(**values.decode(raw))


def make_private_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the stack for one run at a time. Raises StackError, naming the other process, when it is taken."""
    make_private_folder(path.parent)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise StackError(
                f"Another trial run (process {owner}) is working on this stack.",
                "wait for it to end, or end it with Ctrl-C, then run the command again",
            ) from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
