"""Reusable annotated types of the stack file: ports, addresses, durations, sizes, image and model references.

Every validator is pure and says what is allowed, never what was given: a rejected value may be a secret.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from components.settings.model_reference import HOST, names_a_tag, read

_DURATION_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(?:[0-9]{1,15}(?:\.[0-9]+)?(?:h|ms|m|s))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)")
# A Go duration counts nanoseconds in 63 bits: about 292 years (pkg.go.dev/time#Duration).
_LONGEST_S = (2**63 - 1) // 10**9
# Docker reads k, m, g as powers of 1024 and so do we: docs.docker.com/engine/containers/resource_constraints.
_MEMORY = re.compile(r"([0-9]{1,15}(?:\.[0-9]+)?)\s*([kmgt])(?:i?b)?", re.IGNORECASE)
_MEMORY_UNITS_IN_MIB = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024 * 1024}
# The smallest limit Docker accepts: docs.docker.com/engine/containers/resource_constraints.
SMALLEST_MEMORY_MIB = 6
MEMORY_ALLOWED = "a number with a unit, such as 512m or 16g (powers of 1024)"
_IMAGE = re.compile(
    r"(?:[a-zA-Z0-9][a-zA-Z0-9.-]*(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::(?P<tag>[\w][\w.-]{0,127}))?(?P<digest>@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_DIGEST = re.compile(r"(?:sha256:)?[0-9a-f]{12,64}")
_DOCKER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,62}")
_GPU_ID = re.compile(r"[0-9]+|GPU-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|MIG-[0-9a-fA-F-]{36}")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def in_url(address: str) -> str:
    """An IP address as a URL's host: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def duration_seconds(text: str) -> float:
    """Seconds of a Go duration such as `1m30s`; `ValueError` for anything else."""
    if not _DURATION.fullmatch(text):
        raise ValueError("is not a duration; allowed: Go durations such as 500ms, 30s, 5m or 1h30m")
    seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    if seconds > _LONGEST_S:
        raise ValueError("is too long; allowed: Go durations up to 2562047h")
    return seconds


def canonical_duration(text: str) -> str:
    """The form in which Go prints a duration (`90s` -> `1m30s`), because the Docker provider compares it as text."""
    milliseconds = round(duration_seconds(text) * 1000)
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / 1000:.3f}".rstrip("0").rstrip(".")
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _positive(text: str) -> str:
    if not duration_seconds(text):
        raise ValueError("is zero; allowed: a Go duration from 1ms up, such as 500ms, 30s, 5m or 1h30m")
    return text


def _keep_alive(text: str) -> str:
    if text in ("-1", "0"):
        return text
    try:
        return canonical_duration(text)
    except ValueError as error:
        raise ValueError(f"{error}, or -1 (keep loaded for ever), or 0 (unload at once)") from None


def memory_mib(value: object) -> int:
    """MiB of a size with a unit, such as `16g`; `ValueError` for anything else."""
    # A number alone is refused as well: bytes to Docker, kilobytes or pages to PostgreSQL, nobody knows which here.
    match = _MEMORY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"is not a size; allowed: {MEMORY_ALLOWED}")
    return round(float(match[1]) * _MEMORY_UNITS_IN_MIB[match[2].lower()])


def key_path(text: str) -> str:
    """The path of a private key; `ValueError` for anything else, above all for the key itself."""
    if "PRIVATE KEY" in text or "\n" in text:
        raise ValueError("holds a key itself; allowed: the path of its file, such as ~/.ssh/id_ed25519")
    if text.endswith(".pub"):
        raise ValueError("names the public half; allowed: the private key's path, without .pub")
    if not re.fullmatch(r"(/|~/)[^\s'\"]+", text):
        raise ValueError("is no whole path; allowed: one that begins with / or ~/, without spaces and quotes")
    return text


def _at_least_smallest(mib: int) -> int:
    if mib < SMALLEST_MEMORY_MIB:
        raise ValueError(
            "is too small; allowed: 6m (Docker's minimum) and more, written with a unit such as 512m or 16g"
        )
    return mib


def _at_least_one(mib: int) -> int:
    if mib < 1:
        raise ValueError("is too small; allowed: 1m and more, written with a unit such as 32m")
    return mib


def _bind(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("is not an IP address; allowed: an IPv4 or IPv6 address such as 127.0.0.1") from None


def _loopback(text: str) -> str:
    if not ipaddress.ip_address(text).is_loopback:
        raise ValueError(
            "would publish an unauthenticated port beyond this machine; allowed: a loopback address such as 127.0.0.1 "
            "(reach it from elsewhere through an SSH forward or the gateway)"
        )
    return text


def _image(text: str) -> str:
    match = _IMAGE.fullmatch(text)
    if match is None:
        raise ValueError("is not an image reference; allowed: [registry/]repository:tag[@sha256:digest]")
    if match["digest"] is None and match["tag"] is None:
        raise ValueError("has no tag; allowed: a pinned tag or digest, such as ollama/ollama:0.32.15")
    if match["digest"] is None and match["tag"] == "latest":
        raise ValueError("uses the moving tag latest; allowed: a pinned tag or digest, such as ollama/ollama:0.32.15")
    return text


def _model(text: str) -> str:
    if not names_a_tag(text):
        raise ValueError("has no tag; allowed: a model with its tag, such as all-minilm:22m")
    read(text)
    return text


def is_loopback(address: str) -> bool:
    """Whether an IP address is reached from its own machine alone."""
    return ipaddress.ip_address(address).is_loopback


def is_address(text: str) -> bool:
    """Whether it is an IP address rather than a name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def matching(pattern: str, allowed: str) -> AfterValidator:
    """A type's check against a whole pattern; its refusal says what is allowed, never what was given."""
    return _matching(re.compile(pattern, re.ASCII), allowed)


def file_path(text: str) -> str:
    """The whole path of a file; `ValueError` for anything else, above all for what the file holds."""
    if "-----BEGIN" in text or "\n" in text:
        raise ValueError("holds the file itself; allowed: its path, such as ~/tls/fullchain.pem")
    if not re.fullmatch(r"(/|~/)[^\s'\"]+", text):
        raise ValueError("is no whole path; allowed: one that begins with / or ~/, without spaces and quotes")
    return text


def _matching(pattern: re.Pattern[str], allowed: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"is not valid; allowed: {allowed}")
        return text

    return AfterValidator(check)


Port = Annotated[int, Field(ge=1, le=65535, description="a port from 1 to 65535")]
Address = Annotated[str, AfterValidator(_bind)]
FilePath = Annotated[str, AfterValidator(file_path)]
LoopbackAddress = Annotated[str, AfterValidator(_bind), AfterValidator(_loopback)]
Duration = Annotated[
    str, AfterValidator(canonical_duration), Field(description="a Go duration such as 500ms, 30s, 5m or 1h30m")
]
# Docker takes a zero for "not set" and falls back to its own default.
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
KeepAlive = Annotated[str, BeforeValidator(str), AfterValidator(_keep_alive)]
# Always MiB once validated; the stack file writes it with a unit, and so does a dump.
Memory = Annotated[
    int, BeforeValidator(memory_mib), AfterValidator(_at_least_smallest), PlainSerializer("{}m".format, return_type=str)
]
Size = Annotated[
    int, BeforeValidator(memory_mib), AfterValidator(_at_least_one), PlainSerializer("{}m".format, return_type=str)
]
ImageReference = Annotated[str, AfterValidator(_image)]
ModelName = Annotated[str, AfterValidator(_model)]
Digest = Annotated[str, _matching(_DIGEST, "a sha256 digest of 12 to 64 hexadecimal digits, as `ollama list` shows it")]
DockerName = Annotated[str, _matching(_DOCKER_NAME, "2 to 63 letters, digits, dots, dashes and underscores")]
GpuId = Annotated[
    str,
    BeforeValidator(str),
    _matching(_GPU_ID, "an index such as 0, or a UUID as `nvidia-smi -L` shows it"),
]
EnvironmentName = Annotated[
    str, _matching(_ENVIRONMENT_NAME, "letters, digits and underscores, not starting with a digit")
]
RegistryPrefix = Annotated[
    str,
    _matching(
        re.compile(r"|[a-zA-Z0-9][\w.-]*(?::\d+)?(?:/[a-z0-9._-]+)*", re.ASCII), "host[:port][/path] without a scheme"
    ),
]
# To Ollama a registry is a host and nothing more: a path would be taken for namespace and model.
ModelRegistry = Annotated[str, _matching(re.compile(f"(?:{HOST.pattern})?"), "host[:port] without scheme and path")]
