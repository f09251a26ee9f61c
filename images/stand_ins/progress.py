"""What the user sees while something slow runs: its title, elapsed seconds with the latest output, its end."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from components.errors import StackError

Note = Callable[[str], None]
"""Takes the latest line of output of the step under way."""

TERMINAL_PERIOD_S = 1.0
LOG_PERIOD_S = 5.0
"""Seconds between two signs of life; in a log every one is a line of its own, so they are rarer there."""


@contextmanager
def step(title: str) -> Iterator[Note]:
    """Prints `title`, then signs of life while the body runs, then how long it took."""
    start = time.monotonic()
    latest = ""
    ended = threading.Event()
    terminal = sys.stderr.isatty()

    def note(line: str) -> None:
        nonlocal latest
        latest = (line.strip().splitlines() or [latest])[-1]

    def show_life() -> None:
        while not ended.wait(TERMINAL_PERIOD_S if terminal else LOG_PERIOD_S):
            width = shutil.get_terminal_size().columns if terminal else 120
            line = f"    {time.monotonic() - start:4.0f} s  {latest}"[: width - 1]
            print(f"\r\033[K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)

    print(f"==> {title}", file=sys.stderr, flush=True)
    life = threading.Thread(target=show_life, daemon=True)
    life.start()
    try:
        yield note
    finally:
        ended.set()
        life.join()
        print("\r\033[K" if terminal else "", end="", file=sys.stderr)
    print(f"    done in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def run(command: Sequence[str], note: Note, *, mend: str, env: Mapping[str, str] | None = None) -> None:
    """Runs `command`, passing its output to `note` line by line.

    Raises:
        StackError: it cannot be started, or ends with a code other than 0; quotes its last lines.
    """
    last_lines: deque[str] = deque(maxlen=5)
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=env
        )
    except OSError as error:
        raise StackError(f"`{command[0]}` cannot be started: {error.strerror}", mend) from error
    assert process.stdout is not None
    try:
        for line in process.stdout:
            last_lines.append(line.rstrip())
            note(line)
        code = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if code != 0:
        raise StackError(f"`{' '.join(command[:3])} ...` ended with code {code}: " + " | ".join(last_lines), mend)
