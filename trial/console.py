"""What the user reads: one line per step, a heartbeat while something is slow, and never a secret."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO
from urllib.parse import quote

# A "secret" shorter than this would blot out ordinary words and letters of every message.
_SHORTEST_SECRET = 4
_FIRST_BEAT = 2.0
_BEAT = 5.0


class Redactor:
    """Replaces every secret it was told about, also in its URL-quoted form. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: list[str] = []

    def learn(self, secrets: Iterator[str]) -> None:
        found = {form for text in secrets for form in (text, text.strip(), quote(text, safe=""))}
        with self._lock:
            merged = {*self._secrets, *(text for text in found if len(text) >= _SHORTEST_SECRET)}
            # Longest first: a short secret inside a longer one must not leave the rest of it standing.
            self._secrets = sorted(merged, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text


class Console:
    """Writes whole, redacted lines to one stream from any thread."""

    def __init__(self, stream: TextIO) -> None:
        self.redact = Redactor()
        self._stream = stream
        self._lock = threading.RLock()
        self._held: list[str] | None = None
        self._busy: dict[int, tuple[str, float]] = {}
        self._last = time.monotonic()
        self._here = threading.local()

    def line(self, text: str = "") -> None:
        with self._lock:
            self._last = time.monotonic()
            if self._held is not None:
                self._held.append(text)
                return
            self._stream.write(self.redact(text) + "\n")
            self._stream.flush()

    def note(self, text: str) -> None:
        """A line of a program or provider, under the resource whose step this thread is running."""
        name = getattr(self._here, "name", None)
        for part in text.splitlines() or [""]:
            self.line(f"      {name}: {part}" if name else f"      {part}")

    def step(self, sign: str, type_: str, name: str, verb: str, *, seconds: float | None = None, why: str = "") -> None:
        took = "" if seconds is None else f" ({seconds:.1f}s)"
        self.line(f" {sign:<2} {type_:<42} {name}  {verb}{took}{f'  [{why}]' if why else ''}")

    @contextmanager
    def working(self, what: str, name: str | None = None) -> Iterator[None]:
        """Names what this thread is doing, for the heartbeat and for lines that a provider prints."""
        me, before = threading.get_ident(), getattr(self._here, "name", None)
        outer = self._busy.get(me)
        self._here.name = name or before
        self._busy[me] = (what, time.monotonic())
        try:
            yield
        finally:
            self._here.name = before
            if outer is None:
                self._busy.pop(me, None)
            else:
                self._busy[me] = outer

    def busy(self) -> bool:
        """Whether any thread is inside a `working` block other than the main one's."""
        return any(thread != threading.main_thread().ident for thread in list(self._busy))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps lines back: what the planning pass says is said again by the update. Let out when the pass fails."""
        with self._lock:
            self._held = []
        try:
            yield
        except BaseException:
            kept, self._held = self._held or [], None
            for text in kept:
                self.line(text)
            raise
        finally:
            self._held = None

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """Sends what the program and its providers print through this console, so that it is redacted as well."""
        out, err = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _Lines(self), _Lines(self)
        stop = threading.Event()
        beat = threading.Thread(target=self._heartbeat, args=(stop,), name="trial-heartbeat", daemon=True)
        beat.start()
        try:
            yield
        finally:
            stop.set()
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = out, err

    def _heartbeat(self, stop: threading.Event) -> None:
        beats = 0
        while not stop.wait(0.25):
            now = time.monotonic()
            busy = [f"{what} ({now - since:.0f}s)" for what, since in list(self._busy.values())]
            if not busy:
                beats = 0
            elif now - self._last >= (_FIRST_BEAT if beats == 0 else _BEAT):
                beats += 1
                with self._lock:
                    self._last = now
                    self._stream.write(self.redact(f"      ... {', '.join(busy)}") + "\n")
                    self._stream.flush()


class _Lines(io.TextIOBase):
    """A text stream that passes on whole lines, because a secret may arrive in two writes."""

    encoding = "utf-8"
    errors = "strict"

    def __init__(self, console: Console) -> None:
        self._console = console
        self._parts: dict[int, str] = {}

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        me = threading.get_ident()
        *lines, rest = (self._parts.get(me, "") + text.replace("\r", "\n")).split("\n")
        self._parts[me] = rest
        for line in lines:
            if line.strip():
                self._console.note(line)
        return len(text)

    def flush(self) -> None:
        rest = self._parts.pop(threading.get_ident(), "")
        if rest.strip():
            self._console.note(rest)
