"""What can go wrong with an Ollama server, as messages that say what happened and how to mend it.

The reasons matched here are the literal ones of Ollama 0.17.4 (server/images.go, server/download.go) and of Go's
net and net/http packages. The server's own words are always part of the message.
"""

from __future__ import annotations

import requests

from components.errors import StackError


class OllamaError(StackError):
    """An Ollama server did not do what was asked of it."""

    def __init_subclass__(cls) -> None:
        # As with StackError: users read the name of the error alone, without the module in front.
        cls.__module__ = "builtins"


class ServerUnreachableError(OllamaError):
    """Nothing answers at the endpoint, or not in time."""


class BadAnswerError(OllamaError):
    """Something answers at the endpoint, but not as Ollama does."""


class RequestRefusedError(OllamaError):
    """The server answered with an error status. `status` is the HTTP status, `reason` the server's own words."""

    def __init__(self, cause: str, mend: str, status: int = 0, reason: str = "") -> None:
        super().__init__(cause, mend)
        self.status = status
        self.reason = reason


class ModelMissingError(OllamaError):
    """The server does not have the model."""


class ModelUnknownError(OllamaError):
    """The registry does not have the model."""


class RegistryUnreachableError(OllamaError):
    """The server cannot reach the registry, or not by the protocol it speaks."""


class DiskFullError(OllamaError):
    """No space left where the server keeps its models."""


class DigestMismatchError(OllamaError):
    """A download is damaged, or a model is not the pinned one."""


class PullInterruptedError(OllamaError):
    """A pull broke off and did not recover; the server keeps what it has and resumes."""


class PullFailedError(OllamaError):
    """A pull failed for a reason that no other class stands for."""


# In this order: the first whose words occur in the server's reason names the error and its mend.
_PULL_REASONS: tuple[tuple[tuple[str, ...], type[OllamaError], str], ...] = (
    (
        ("no space left on device",),
        DiskFullError,
        "give the models volume more room, or remove models that nobody needs (`ollama list`, `ollama rm`), "
        "then run `pulumi up` again",
    ),
    (
        ("digest mismatch",),
        DigestMismatchError,
        "run `pulumi up` again: the server dropped the damaged file and downloads it anew",
    ),
    (
        ("pull model manifest: file does not exist",),
        ModelUnknownError,
        "the registry has no such model: check the name and the tag under `ragstack:models`",
    ),
    (
        ("requires a newer version of Ollama",),
        PullFailedError,
        "raise the version of the Ollama image in the stack file",
    ),
    (
        ("server gave HTTP response to HTTPS client", "insecure protocol http"),
        RegistryUnreachableError,
        "the registry speaks plain HTTP: declare it insecure, or give it TLS",
    ),
    (
        ("no Location header in response",),
        RegistryUnreachableError,
        "Ollama needs a registry that redirects blob downloads to another host name",
    ),
    (("unauthorized",), PullFailedError, "check the name, and whether the registry wants credentials for it"),
)
_UNREACHABLE = (
    "no such host",
    "connection refused",
    "i/o timeout",
    "no route to host",
    "network is unreachable",
    "TLS handshake",
    "server misbehaving",
    "context deadline exceeded",
)
_INTERRUPTED = ("max retries exceeded", "unexpected EOF", "connection reset by peer", "context canceled", ": EOF")


def pull_error(reason: str, source: str, base_url: str) -> OllamaError:
    """The error that a failed pull of `source` ends with; `reason` is the server's `error` line."""
    said = f"pulling {source} failed on the Ollama server at {base_url}: {reason}"
    for words, kind, mend in _PULL_REASONS:
        if any(word in reason for word in words):
            return kind(said, mend)
    if not any(word in reason for word in _UNREACHABLE + _INTERRUPTED):
        return PullFailedError(said, "see the server's log for more: `docker logs <the Ollama container>`")
    # The manifest comes first: without it there was no connection, after it a download broke off.
    if reason.startswith("pull model manifest"):
        return RegistryUnreachableError(
            said, "check that the server's container can reach the registry: DNS, proxy, firewall, mirror setting"
        )
    return PullInterruptedError(said, "run `pulumi up` again: the pull resumes where it stopped")


def refusal(status: int, reason: str, doing: str, base_url: str) -> RequestRefusedError:
    """The error for an answer with an error status outside a pull."""
    if "memory" in reason:
        mend = "choose a smaller model or context, or give the server more memory"
    elif status == 503:
        mend = "the server's queue is full: wait, or raise OLLAMA_MAX_QUEUE"
    elif "does not support" in reason:
        mend = "set the model's purpose to what it can do: chat or embedding"
    else:
        mend = "see the server's log for more: `docker logs <the Ollama container>`"
    return RequestRefusedError(
        f"{doing} failed on the Ollama server at {base_url}: {reason} (HTTP {status})", mend, status, reason
    )


def unreachable(base_url: str, why: str) -> ServerUnreachableError:
    """The error for an endpoint that nothing answers at."""
    return ServerUnreachableError(
        f"no Ollama server answers at {base_url}: {why}",
        "check that its container runs and is healthy (`docker ps`), then run `pulumi up` again",
    )


def not_ollama(base_url: str, path: str, what: str) -> BadAnswerError:
    """The error for an answer that no Ollama server gives."""
    return BadAnswerError(
        f"what listens at {base_url} does not answer as Ollama does: {path} {what}",
        "check the endpoint: a proxy or another program may hold that port",
    )


def reason_of(answer: requests.Response) -> str | None:
    """The `error` in an answer's JSON, or None when there is none."""
    try:
        body = answer.json()
    except requests.JSONDecodeError:
        return None
    reason = body.get("error") if isinstance(body, dict) else None
    return str(reason) if reason else None


def excerpt(answer: requests.Response) -> str:
    """An answer's content type and first 60 characters, for a message."""
    kind = answer.headers.get("Content-Type", "no content type")
    return f"{answer.status_code} {kind} starting with {answer.text.strip()[:60]!r}"


def why(error: requests.RequestException) -> str:
    """The reason in a failure of requests, without the layers of class names around it."""
    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.Timeout) or "Read timed out" in str(error):
        return "no answer in time"
    text = str(error)
    for plain in ("Connection refused", "Name or service not known", "No route to host", "Connection reset by peer"):
        if plain in text:
            return plain.lower()
    return text.rsplit(": ", 1)[-1].strip("')\" ") or type(error).__name__


def interrupted(base_url: str, source: str, what: str) -> PullInterruptedError:
    """The error for a pull whose stream did not come to its end."""
    return PullInterruptedError(
        f"pulling {source} on the Ollama server at {base_url} was interrupted: {what}",
        "run `pulumi up` again: the pull resumes where it stopped",
    )
