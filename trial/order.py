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

    `entries` come in the order in which they were declared. A cycle, which only a damaged state file can hold, is cut.
    """
    waiting = {entry.urn: (index, entry) for index, entry in enumerate(entries)}
    order: list[Entry] = []
    while waiting:
        needed = {urn for _, entry in waiting.values() for urn in _needs(entry)}
        free = [pair for urn, pair in waiting.items() if urn not in needed] or list(waiting.values())
        _, chosen = min(free, key=lambda pair: (rank(pair[1]), -pair[0]))
        order.append(waiting.pop(chosen.urn)[1])
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
