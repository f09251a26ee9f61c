"""One pull of a model: the NDJSON stream of /api/pull, its end, its stalls, and taking it up again.

What the stream looks like is read from Ollama 0.17.4 (server/images.go, server/download.go): a line about every 60 ms
while files download, no line at all while digests are verified, errors as a line under HTTP 200, `success` at the end.

What a pull keeps: a server that lives on saves every byte when a client goes; one that is stopped or killed keeps only
complete parts (100 MB to 1 GB each, numDownloadParts and min/maxDownloadPartSize), and those only with OLLAMA_NOPRUNE.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import requests

from components.models import errors

Tell = Callable[["PullEvent"], None]


@dataclass(frozen=True, kw_only=True)
class PullEvent:
    """One line of the stream. `total` and `completed` are bytes of the file `digest`; None on lines about no file."""

    status: str
    digest: str | None = None
    total: int | None = None
    completed: int | None = None


@dataclass(frozen=True, kw_only=True)
class PullLimits:
    """How long a pull may take, in seconds.

    `silence_s` bounds the time between two lines: verifying is silent, and reads 40 GB at 125 MiB/s in 330 s.
    `stall_s` bounds the time in which a download gains no byte: the server itself retries a part after 30 s.
    `retry_waits_s` are the pauses between attempts that gain nothing; an attempt that gained bytes starts them afresh.
    """

    total_s: float = 3600.0
    silence_s: float = 900.0
    stall_s: float = 120.0
    retry_waits_s: tuple[float, ...] = (1.0, 3.0, 10.0)


class Pull:
    """A pull on one server. `run` may be called once."""

    def __init__(self, session: requests.Session, base_url: str, connect_timeout: float, limits: PullLimits) -> None:
        self._session = session
        self._base_url = base_url
        self._connect_timeout = connect_timeout
        self._limits = limits
        self._deadline = time.monotonic() + limits.total_s
        self._files: dict[str, tuple[int, int]] = {}
        self._started = False

    def run(self, model: str, insecure: bool, tell: Tell) -> None:
        """Pull `model`, telling every line. Raises an OllamaError; see OllamaClient.pull."""
        failures, best = 0, 0
        while True:
            try:
                return self._attempt(model, insecure, tell)
            except (errors.PullInterruptedError, errors.DigestMismatchError, errors.ServerUnreachableError) as error:
                if not self._started:
                    raise
                gained = self._completed() > best
                best = max(best, self._completed())
                failures = 1 if gained else failures + 1
                left = self._deadline - time.monotonic()
                if failures > len(self._limits.retry_waits_s) or left <= 0:
                    raise self._given_up(model, error) from error
                wait = min(self._limits.retry_waits_s[failures - 1], left)
                reason = error.cause.rpartition(": ")[2]
                tell(PullEvent(status=f"interrupted ({reason}), trying again in {wait:.0f} s"))
                time.sleep(wait)

    def _attempt(self, model: str, insecure: bool, tell: Tell) -> None:
        last = PullEvent(status="")
        for event in self._events(model, insecure):
            tell(event)
            last = event
        if last.status != "success":
            raise errors.interrupted(
                self._base_url, model, f"the stream ended early, after {last.status or 'nothing'!r}"
            )

    def _events(self, model: str, insecure: bool) -> Iterator[PullEvent]:
        silence = max(1.0, min(self._limits.silence_s, self._deadline - time.monotonic()))
        try:
            with self._session.post(
                self._base_url + "/api/pull",
                json={"model": model, "insecure": insecure, "stream": True},
                timeout=(self._connect_timeout, silence),
                stream=True,
                allow_redirects=False,
            ) as answer:
                if answer.status_code != 200:
                    self._refuse(answer, model)
                yield from self._watched(answer, model)
        except requests.exceptions.ChunkedEncodingError as error:
            raise errors.interrupted(self._base_url, model, "the connection broke off") from error
        except requests.RequestException as error:
            if self._started and "timed out" in str(error):
                raise errors.interrupted(
                    self._base_url, model, f"the server said nothing for {silence:.0f} s"
                ) from error
            raise errors.unreachable(self._base_url, errors.why(error)) from error

    def _refuse(self, answer: requests.Response, model: str) -> None:
        reason = errors.reason_of(answer)
        if reason is None:
            raise errors.not_ollama(self._base_url, "/api/pull", f"gave {errors.excerpt(answer)}")
        raise errors.pull_error(reason, model, self._base_url)

    def _watched(self, answer: requests.Response, model: str) -> Iterator[PullEvent]:
        gained_at, gained = time.monotonic(), -1
        for line in answer.iter_lines():
            if not line:
                continue
            event = self._read(line, model, answer.headers.get("Content-Type", "no content type"))
            self._started = True
            if event.digest and event.total is not None:
                self._files[event.digest] = (event.completed or 0, event.total)
            now = time.monotonic()
            if event.digest is None or self._completed() != gained:
                gained_at, gained = now, self._completed()
            if now - gained_at > self._limits.stall_s:
                raise errors.interrupted(self._base_url, model, f"no byte came in {self._limits.stall_s:.0f} s")
            if now > self._deadline:
                raise errors.interrupted(
                    self._base_url, model, f"not done within {self._limits.total_s:.0f} s, {self._amount()}"
                )
            yield event

    def _read(self, line: bytes, model: str, kind: str) -> PullEvent:
        try:
            fields: Any = json.loads(line)
        except ValueError as error:
            what = f"gave {kind} with the line {line[:60].decode(errors='replace')!r}"
            raise errors.not_ollama(self._base_url, "/api/pull", what) from error
        if isinstance(fields, dict) and fields.get("error"):
            self._started = True
            raise errors.pull_error(str(fields["error"]), model, self._base_url)
        if not isinstance(fields, dict) or not isinstance(fields.get("status"), str):
            raise errors.not_ollama(self._base_url, "/api/pull", f"gave a line without status: {str(fields)[:60]}")
        return PullEvent(
            status=fields["status"],
            digest=fields.get("digest"),
            total=fields.get("total"),
            completed=fields.get("completed"),
        )

    def _completed(self) -> int:
        return sum(completed for completed, _ in self._files.values())

    def _amount(self) -> str:
        total = sum(total for _, total in self._files.values())
        return f"{self._completed() / 1e6:.1f} of {total / 1e6:.1f} MB"

    def _given_up(self, model: str, error: errors.OllamaError) -> errors.OllamaError:
        if isinstance(error, errors.DigestMismatchError):
            return error
        if isinstance(error, errors.ServerUnreachableError):
            return errors.PullInterruptedError(
                f"the Ollama server at {self._base_url} went away during the pull of {model}, {self._amount()} done",
                "start it again (`docker ps -a`, `docker logs`), then run `pulumi up`: complete parts are kept",
            )
        return errors.PullInterruptedError(f"{error.cause} ({self._amount()})", error.mend)
