"""Ollama's HTTP API over requests: every call has a timeout, and every failure is a StackError with the server's words.

Not here: Pulumi, and what to do with a model once it is there (lifecycle.py). A pull is in pull.py.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import requests

from components.models import errors
from components.models.names import same_model
from components.models.pull import Pull, PullEvent, PullLimits

Purpose = Literal["chat", "embedding"]

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
# A server gives up on a load that makes no progress for OLLAMA_LOAD_TIMEOUT (5 minutes by default), and a model of
# 40 GB at the 125 MiB/s of an unraised gp3 volume takes longer than that while making progress.
LOAD_TIMEOUT_S = 900.0


class OllamaClient:
    """A client of one Ollama server at `base_url`, for example `http://127.0.0.1:11434`. Timeouts are in seconds.

    Every method raises ServerUnreachableError when nothing answers in time, BadAnswerError when what answers is not
    Ollama, ModelMissingError when the server does not have the named model, and RequestRefusedError for any other error
    of the server. A loopback address is never reached through a proxy, whatever HTTP_PROXY says.
    """

    def __init__(
        self,
        base_url: str,
        connect_timeout: float = CONNECT_TIMEOUT_S,
        read_timeout: float = READ_TIMEOUT_S,
        load_timeout: float = LOAD_TIMEOUT_S,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._load_timeout = load_timeout
        self._session = requests.Session()
        self._session.trust_env = not _is_loopback(self.base_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def version(self) -> str:
        """The server's version, for example `0.17.4`."""
        return str(self._field(self._call("GET", "/api/version"), "version", str))

    def tags(self) -> list[dict[str, Any]]:
        """The models the server has: `name`, `size` in bytes, `digest` (64 hex), `details`."""
        return self._models("/api/tags")

    def ps(self) -> list[dict[str, Any]]:
        """The models in memory: as `tags`, with `size_vram` in bytes, `context_length` in tokens, `expires_at`."""
        return self._models("/api/ps")

    def find(self, model: str) -> dict[str, Any] | None:
        """The entry of `tags` for a model, or None."""
        return next((entry for entry in self.tags() if same_model(entry["name"], model)), None)

    def is_loaded(self, model: str) -> bool:
        """Whether the model is in memory now."""
        return any(same_model(entry["name"], model) for entry in self.ps())

    def show(self, model: str) -> dict[str, Any]:
        """What the server knows about a model: `details`, `model_info`, `capabilities` and more."""
        return self._call("POST", "/api/show", {"model": model}, doing=f"describing {model}", model=model)

    def pull(
        self,
        model: str,
        insecure: bool = False,
        on_progress: Callable[[PullEvent], None] | None = None,
        limits: PullLimits | None = None,
    ) -> None:
        """Pull a model and return when the server has verified it; an interrupted stream is taken up again.

        Raises ModelUnknownError, RegistryUnreachableError, DiskFullError, DigestMismatchError, PullInterruptedError or
        PullFailedError, each with the server's own reason.
        """
        Pull(self._session, self.base_url, self._connect_timeout, limits or PullLimits()).run(
            model, insecure, on_progress or _say_nothing
        )

    def delete(self, model: str) -> bool:
        """Remove a model; False when there was none."""
        try:
            self._call("DELETE", "/api/delete", {"model": model}, doing=f"deleting {model}", model=model)
        except errors.ModelMissingError:
            return False
        return True

    def copy(self, source: str, destination: str) -> None:
        """Give a model a second name; both share their files."""
        body = {"source": source, "destination": destination}
        self._call("POST", "/api/copy", body, doing=f"copying {source} to {destination}", model=source)

    def embed(
        self, model: str, inputs: list[str], keep_alive: str | None = None, context: int | None = None
    ) -> list[list[float]]:
        """One unit vector for each of the inputs, all of the same length."""
        body = _body(model, keep_alive, context) | {"input": inputs}
        answer = self._call(
            "POST", "/api/embed", body, timeout=self._load_timeout, doing=f"embedding with {model}", model=model
        )
        vectors: list[list[float]] = self._field(answer, "embeddings", list)
        if len(vectors) != len(inputs):
            raise self._bad_answer("/api/embed", f"gave {len(vectors)} vectors for {len(inputs)} inputs")
        return vectors

    def generate(
        self, model: str, prompt: str, options: dict[str, Any] | None = None, keep_alive: str | None = None
    ) -> str:
        """The model's completion of a prompt."""
        body = _body(model, keep_alive, None) | {"prompt": prompt, "options": options or {}}
        answer = self._call(
            "POST", "/api/generate", body, timeout=self._load_timeout, doing=f"generating with {model}", model=model
        )
        return str(self._field(answer, "response", str))

    def chat(self, model: str, messages: list[dict[str, str]], options: dict[str, Any] | None = None) -> str:
        """The model's answer to messages of `role` and `content`."""
        body = {"model": model, "messages": messages, "stream": False, "options": options or {}}
        answer = self._call(
            "POST", "/api/chat", body, timeout=self._load_timeout, doing=f"chatting with {model}", model=model
        )
        return str(self._field(self._field(answer, "message", dict), "content", str))

    def load(self, model: str, purpose: Purpose, keep_alive: str | None = None, context: int | None = None) -> None:
        """Bring a model into memory by an empty request to the endpoint of its purpose.

        `keep_alive` is a Go duration (`5m`) or plain seconds (`-1`: for good); `context` is in tokens. None leaves
        either to the server.
        """
        path = "/api/embed" if purpose == "embedding" else "/api/generate"
        body = _body(model, keep_alive, context)
        self._call("POST", path, body, timeout=self._load_timeout, doing=f"loading {model}", model=model)

    def unload(self, model: str) -> None:
        """Take a model out of memory, whatever its purpose."""
        # An empty /api/embed with keep_alive 0 would load the model first; /api/generate does not (server/routes.go).
        body = {"model": model, "keep_alive": 0, "stream": False}
        self._call("POST", "/api/generate", body, doing=f"unloading {model}", model=model)

    def wait_ready(self, timeout_s: float) -> str:
        """The server's version once it answers. Raises ServerUnreachableError after `timeout_s` seconds without."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self.version()
            except (errors.ServerUnreachableError, errors.RequestRefusedError):
                if time.monotonic() >= deadline:
                    raise
                time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))

    def _models(self, path: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self._field(self._call("GET", path), "models", list)
        if not all(isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in entries):
            raise self._bad_answer(path, "lists models without a name")
        return entries

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
        doing: str | None = None,
        model: str | None = None,
    ) -> dict[str, Any]:
        try:
            answer = self._session.request(
                method,
                self.base_url + path,
                json=body,
                timeout=(self._connect_timeout, timeout or self._read_timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise errors.unreachable(self.base_url, errors.why(error)) from error
        if answer.status_code == 404 and model is not None and errors.reason_of(answer):
            raise errors.ModelMissingError(
                f"the Ollama server at {self.base_url} does not have {model}", "run `pulumi refresh`, then `pulumi up`"
            )
        if answer.status_code >= 400:
            reason = errors.reason_of(answer) or answer.text.strip()[:200] or answer.reason
            raise errors.refusal(answer.status_code, reason, doing or f"{method} {path}", self.base_url)
        if not answer.content and method != "GET":
            return {}
        try:
            parsed = answer.json()
        except requests.JSONDecodeError as error:
            raise errors.not_ollama(self.base_url, path, f"gave {errors.excerpt(answer)}") from error
        if not isinstance(parsed, dict):
            raise self._bad_answer(path, f"gave a JSON {type(parsed).__name__}, not an object")
        return parsed

    def _field(self, answer: dict[str, Any], key: str, kind: type) -> Any:
        value = answer.get(key)
        if not isinstance(value, kind):
            raise self._bad_answer(key, f"has no {kind.__name__} named {key!r} in its answer")
        return value

    def _bad_answer(self, path: str, what: str) -> errors.BadAnswerError:
        return errors.not_ollama(self.base_url, path, what)


def _say_nothing(_event: PullEvent) -> None:
    pass


def _body(model: str, keep_alive: str | None, context: int | None) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "stream": False}
    if keep_alive is not None:
        body["keep_alive"] = _duration(keep_alive)
    if context is not None:
        body["options"] = {"num_ctx": int(context)}
    return body


def _duration(keep_alive: str) -> str | int:
    """Ollama reads a string as a Go duration, which needs a unit; plain seconds must be a number (api/types.go)."""
    try:
        return int(keep_alive)
    except ValueError:
        return keep_alive


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
