"""In which order resources may be taken away."""

from __future__ import annotations

from collections.abc import Iterable

from trial.state import Entry

# Only between resources without a dependency: a container may name its networks and volumes by plain text.
_RANK = {
    "docker:index/container:Container": 1,
    "docker:index/network:Network": 2,
    "docker:index/remoteImage:RemoteImage": 3,
    "docker:index/volume:Volume": 4,
}
_PROVIDER = 9


def rank(entry: Entry) -> int:
    return _PROVIDER if entry.type.startswith("pulumi:providers:") else _RANK.get(entry.type, 0)


def deletion_order(entries: Iterable[Entry]) -> list[Entry]:
    """Every entry before those it depends on; else containers, networks, images, volumes; else the newest first.

    `entries` come in the order in which they were declared; two may have one URN, a replaced resource and its
    replacement. A cycle, which only a damaged state file can hold, is cut.
    """
    waiting = dict(enumerate(entries))
    order: list[Entry] = []
    while waiting:
        needed = {urn for entry in waiting.values() for urn in _needs(entry)}
        free = [index for index, entry in waiting.items() if entry.urn not in needed] or list(waiting)
        chosen = min(free, key=lambda index: (rank(waiting[index]), -index))
        order.append(waiting.pop(chosen))
    return order


def _needs(entry: Entry) -> set[str]:
    return {*entry.dependencies, entry.provider} - {entry.urn}


def dependents(urn: str, entries: Iterable[Entry]) -> set[str]:
    """Every entry that depends on `urn`, directly or through others."""
    known = list(entries)
    found: set[str] = set()
    grown = True
    while grown:
        grown = False
        for entry in known:
            if entry.urn not in found and ({urn} | found) & set(entry.dependencies):
                found.add(entry.urn)
                grown = True
    return found


def protected_with_needs(entries: Iterable[Entry]) -> set[str]:
    """Every protected entry, and those it depends on, directly or through others."""
    known = {entry.urn: entry for entry in entries}
    waiting = [urn for urn, entry in known.items() if entry.protect]
    found: set[str] = set()
    while waiting:
        urn = waiting.pop()
        if urn in known and urn not in found:
            found.add(urn)
            waiting += _needs(known[urn])
    return found
