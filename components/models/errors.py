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


class ServerUnreachable(OllamaError):
    """Nothing answers at the endpoint, or not in time."""


class BadAnswer(OllamaError):
    """Something answers at the endpoint, but not as Ollama does."""


class RequestRefused(OllamaError):
    """The server answered with an error status. `status` is the HTTP status, `reason` the server's own words."""

    def __init__(self, cause: str, mend: str, status: int = 0, reason: str = "") -> None:
        super().__init__(cause, mend)
        self.status = status
        self.reason = reason


class ModelMissing(OllamaError):
    """The server does not have the model."""


class ModelUnknown(OllamaError):
    """The registry does not have the model."""


class RegistryUnreachable(OllamaError):
    """The server cannot reach the registry, or not by the protocol it speaks."""


class DiskFull(OllamaError):
    """No space left where the server keeps its models."""


class DigestMismatch(OllamaError):
    """A download is damaged, or a model is not the pinned one."""


class PullInterrupted(OllamaError):
    """A pull broke off and did not recover; the server keeps what it has and resumes."""


class PullFailed(OllamaError):
    """A pull failed for a reason that no other class stands for."""


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
    if "no space left on device" in reason:
        return DiskFull(
            said,
            "give the models volume more room, or remove models that nobody needs (`ollama list`, `ollama rm`); "
            "the next `pulumi up` resumes the pull",
        )
    if "digest mismatch" in reason:
        return DigestMismatch(said, "run `pulumi up` again: the server dropped the damaged file and downloads it anew")
    if reason.startswith("pull model manifest: file does not exist"):
        return ModelUnknown(
            f"the registry has no model {source} (the server at {base_url} says: {reason})",
            "check the name and the tag under `ragstack:models`",
        )
    if "requires a newer version of Ollama" in reason:
        return PullFailed(said, "raise the version of the Ollama image in the stack file")
    if "server gave HTTP response to HTTPS client" in reason or "insecure protocol http" in reason:
        return RegistryUnreachable(said, "the registry speaks plain HTTP: declare it insecure, or give it TLS")
    if "no Location header in response" in reason:
        return RegistryUnreachable(said, "Ollama needs a registry that redirects blob downloads to another host name")
    if "unauthorized" in reason:
        return PullFailed(said, "check the name, and whether the registry wants credentials for it")
    # The manifest comes first: without it there was no connection, after it a download broke off.
    if reason.startswith("pull model manifest") and any(sign in reason for sign in _UNREACHABLE + _INTERRUPTED):
        return RegistryUnreachable(
            said, "check that the server's container can reach the registry: DNS, proxy, firewall, mirror setting"
        )
    if any(sign in reason for sign in _INTERRUPTED + _UNREACHABLE):
        return PullInterrupted(said, "run `pulumi up` again: the pull resumes where it stopped")
    return PullFailed(said, "see the server's log for more: `docker logs <the Ollama container>`")


def refusal(status: int, reason: str, doing: str, base_url: str) -> RequestRefused:
    """The error for an answer with an error status outside a pull."""
    if "memory" in reason:
        mend = "choose a smaller model or context, or give the server more memory"
    elif status == 503:
        mend = "the server's queue is full: wait, or raise OLLAMA_MAX_QUEUE"
    elif "does not support" in reason:
        mend = "set the model's purpose to what it can do: chat or embedding"
    else:
        mend = "see the server's log for more: `docker logs <the Ollama container>`"
    return RequestRefused(
        f"{doing} failed on the Ollama server at {base_url}: {reason} (HTTP {status})", mend, status, reason
    )


def unreachable(base_url: str, why: str) -> ServerUnreachable:
    """The error for an endpoint that nothing answers at."""
    return ServerUnreachable(
        f"no Ollama server answers at {base_url}: {why}",
        "check that its container runs and is healthy (`docker ps`), then run `pulumi up` again",
    )


def not_ollama(base_url: str, path: str, what: str) -> BadAnswer:
    """The error for an answer that no Ollama server gives."""
    return BadAnswer(
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


def interrupted(base_url: str, source: str, what: str) -> PullInterrupted:
    """The error for a pull whose stream did not come to its end."""
    return PullInterrupted(
        f"pulling {source} on the Ollama server at {base_url} was interrupted: {what}",
        "run `pulumi up` again: the pull resumes where it stopped",
    )
