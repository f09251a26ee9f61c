"""Turns what the Docker engine answers into one message with its mend."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import docker
import requests
from docker.errors import APIError, DockerException

from components.errors import StackError

_NO_IMAGE = ("manifest unknown", "not found", "access denied", "does not exist", "name unknown")
# (words of the engine's answer, cause, mend)
_KNOWN = (
    (
        ("no space left on device", "disk quota exceeded"),
        "The disk of the Docker engine is full, so {what} could not be made",
        "free space with `docker system df` and `docker image prune`, then run the command again",
    ),
    (
        ("no such image",),
        "The image of {what} is not on this Docker engine",
        "declare it as a RemoteImage and use its image_id, or pull or build it first",
    ),
    (
        ("invalid reference format", "invalid tag"),
        "{what} has a name that Docker does not take",
        "write the image as repository:tag, the repository in lower case and without doubled separators; "
        "when the stack's name is part of it, choose another stack name",
    ),
    (
        ("could not select device driver", "unresolvable cdi"),
        "The Docker engine cannot give {what} its GPU",
        "install the NVIDIA container toolkit and restart Docker, or set the accelerator to cpu",
    ),
)
_PORT = re.compile(r"(?:Bind for|listen (?:tcp|udp)[46]?|exposing port \w+) (\S+?):(\d+)")


@contextmanager
def explained(what: str, client: docker.DockerClient | None = None) -> Iterator[None]:
    """Runs a piece of work on the Docker engine; `what` is the subject of the message, such as `container ollama`."""
    try:
        yield
    except (DockerException, requests.RequestException, ConnectionError) as error:
        raise explain(what, error, client) from error


def explain(what: str, error: Exception, client: docker.DockerClient | None = None) -> StackError:
    """The message for an error of the Docker library while working on `what`."""
    text = (str(error.explanation) if isinstance(error, APIError) and error.explanation else str(error)).strip()
    low = text.lower()
    if "port is already allocated" in low or "address already in use" in low:
        return _port_taken(what, text, client)
    for signs, cause, mend in _KNOWN:
        if any(sign in low for sign in signs):
            return StackError(f"{cause.format(what=what)}: {text}", mend)
    if isinstance(error, APIError):
        return StackError(f"The Docker engine refused {what}: {text}", "change what the message names, then run again")
    return StackError(
        f"The connection to the Docker engine broke during work on {what}: {text}",
        "see that the engine runs (`docker info`), then run the command again, which carries on",
    )


def _port_taken(what: str, text: str, client: docker.DockerClient | None) -> StackError:
    match = _PORT.search(text)
    port = match.group(2) if match else ""
    where = f"{match.group(1)}:{port}" if match else "a port"
    holder = _holder(client, port) if client and port else ""
    taker = f"the container {holder}" if holder else "another program"
    stop = f"stop {holder}: `docker stop {holder}`" if holder else f"stop it (`ss -ltnp | grep :{port}` shows it)"
    return StackError(
        f"The port {where} that {what} publishes is taken by {taker}.",
        f"choose another port in the stack file, or {stop}",
    )


def _holder(client: docker.DockerClient, port: str) -> str:
    try:
        for container in client.containers.list():
            for bindings in (container.ports or {}).values():
                if any(binding.get("HostPort") == port for binding in bindings or []):
                    return str(container.name)
    except (DockerException, requests.RequestException):
        return ""
    return ""


def explain_connection(endpoint: str, error: Exception) -> StackError:
    """The message for an engine that does not answer at `endpoint`."""
    text = str(error)
    if "Permission denied" in text or "PermissionError" in text:
        return StackError(
            f"This user may not use the Docker engine at {endpoint}.",
            "add the user to the group: `sudo usermod -aG docker $USER`, then log in again",
        )
    return StackError(
        f"The Docker engine at {endpoint} does not answer: {_reason(text)}",
        "start it (`sudo systemctl start docker`, or Docker Desktop), or correct `docker:host` in the stack file",
    )


def _reason(text: str) -> str:
    """The operating system's own words, out of the library's nest of exceptions."""
    known = ("Connection refused", "No such file or directory", "Name or service not known", "timed out")
    return next((words for words in known if words.lower() in text.lower()), _short(text))


def explain_pull(image: str, text: str) -> StackError:
    """The message for a pull that ended in `text`."""
    low = text.lower()
    first, slash, _ = image.partition("/")
    registry = first if slash and ("." in first or ":" in first) else ""
    where = registry or "the default registry"
    if "no space left" in low:
        return StackError(
            f"The disk of the Docker engine is full, so {image} could not be pulled.",
            "free space with `docker system df` and `docker image prune`; the next run resumes the pull",
        )
    if "invalid reference format" in low:
        return explain(f"image {image}", DockerException(text))
    if "unauthorized" in low or "authentication required" in low or "no basic auth" in low:
        return StackError(f"{where} wants a login for {image}.", f"run `docker login {registry}`, then run this again")
    if any(word in low for word in _NO_IMAGE):
        return StackError(
            f"There is no image {image} in {where}, or it is private: {_short(text)}",
            "correct the image's name or tag in the stack file, or log in with `docker login`",
        )
    return StackError(
        f"{where} cannot be reached for {image}: {_short(text)}",
        "check the network and proxy of the Docker engine, or name a mirror as `registry` in the stack file",
    )


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}..."
