"""A pull's stream of events as one status line every two seconds. Pure but for the clock it is given."""

from __future__ import annotations

import time
from collections.abc import Callable

from components.models.pull import PullEvent


class PullProgress:
    """Takes every event and says, whenever asked, where the pull stands. MB are 10^6 bytes.

    The rate is that since the last line; what a resumed pull finds already there does not count as speed.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._files: dict[str, tuple[int, int]] = {}
        self._status = "starting"
        self._last: tuple[float, int] | None = None
        self._found = 0

    def event(self, event: PullEvent) -> None:
        """Take one line of the stream."""
        self._status = event.status
        if event.digest and event.total:
            completed = event.completed or 0
            if event.digest not in self._files:
                self._found += completed
            self._files[event.digest] = (completed, event.total)

    def line(self, passed: float) -> str:
        """Where the pull stands `passed` seconds after its start, as `pulling x: 42 % of 45.9 MB, 8.1 MB/s`."""
        total = sum(total for _, total in list(self._files.values()))
        if not total or not self._status.startswith("pulling") or self._status == "pulling manifest":
            return f"pulling {self._name}: {self._status} ({passed:.0f} s)"
        now, completed = self._clock(), sum(completed for completed, _ in list(self._files.values()))
        since, before = self._last or (now - passed, self._found)
        rate = max(0.0, completed - before) / max(now - since, 0.001)
        self._last = (now, completed)
        return f"pulling {self._name}: {100 * completed // total} % of {total / 1e6:.1f} MB, {rate / 1e6:.1f} MB/s"
