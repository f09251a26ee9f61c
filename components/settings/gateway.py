"""`ragstack:gateway`: the one port clients use - keys, limits, TLS - and the proxy that serves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from components.settings.base import RuleError, Section
from components.settings.container import Container
from components.settings.types import (
    Address,
    Duration,
    FilePath,
    Port,
    PositiveDuration,
    Size,
    duration_seconds,
    is_loopback,
    matching,
)

KEY_NAME = r"[a-z0-9][a-z0-9_-]{0,62}"
KEY_NAME_ALLOWED = "1 to 63 lower-case letters, digits, dashes and underscores, starting with a letter or digit"
Sha256 = Annotated[str, matching(r"[0-9a-f]{64}", "the SHA-256 of a key, 64 hexadecimal digits in lower case")]
KeyName = Annotated[str, matching(KEY_NAME, KEY_NAME_ALLOWED)]
Generation = Annotated[int, Field(ge=1, le=1_000_000)]


def _whole_seconds(text: str) -> str:
    # Retry-After counts seconds (RFC 9110, 10.2.3), and a proxy's table has to hold a key for that long.
    if duration_seconds(text) < 1 or duration_seconds(text) > 86_400 or duration_seconds(text) % 1:
        raise ValueError("is no whole number of seconds up to a day; allowed: from 1s to 24h")
    return text


class Rate(Section):
    """At most `requests` per key within `per`; what is refused does not count."""

    requests: Annotated[int, Field(ge=1, le=10_000_000)] = 600
    per: Annotated[Duration, AfterValidator(_whole_seconds)] = "1m0s"


class Key(Section):
    """One client. `inference` may use the models, `admin` may also pull, create and delete them.

    A key is generated for each of `generations`, all of which are valid at once: to rotate, add the next number, hand
    the new key out, then remove the old number. `sha256` takes the place of generated ones for a key that only its
    owner knows. `requests` is a limit of its own, in the gateway's `rate.per`.
    """

    name: KeyName = Field(examples=["my-app"])
    scope: Literal["inference", "admin"] = "inference"
    generations: Annotated[tuple[Generation, ...], Field(min_length=1, max_length=4)] = (1,)
    sha256: Annotated[tuple[Sha256, ...], Field(max_length=4)] = ()
    requests: Annotated[int, Field(ge=1, le=10_000_000)] | None = None

    @field_validator("generations")
    @classmethod
    def _each_once(cls, generations: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(generations)) != len(generations):
            raise ValueError("names a generation twice; allowed: each number once")
        return generations


class Tls(Section):
    """Paths on the deploying machine: a PEM certificate with its chain, and its private key."""

    certificate: FilePath = Field(examples=["~/tls/fullchain.pem"])
    private_key: FilePath = Field(examples=["~/tls/privkey.pem"])


class Gateway(Section):
    """`bind` beyond loopback needs `tls`. `body_limit` bounds an inference request; `inspect_kib` is how
    much of it is looked at for the model and the start of the conversation (more costs throughput: docs/benchmarks.md);
    `timeout` is how long a model may
    take between two bytes of an answer, loading included; `metrics_port` is Prometheus', on loopback alone."""

    enabled: bool = False
    bind: Address = "127.0.0.1"
    port: Port = 11433
    metrics_port: Port = 8405
    tls: Tls | None = None
    keys: Annotated[tuple[Key, ...], Field(min_length=1, max_length=1000, description="a list of at least one key")] = (
        Key(name="default"),
    )
    rate: Rate = Rate()
    body_limit: Size = Field(default="32m", examples=["32m"], validate_default=True)
    inspect_kib: Annotated[int, Field(ge=16, le=1024)] = 16
    timeout: PositiveDuration = "10m0s"
    connections: Annotated[int, Field(ge=16, le=100_000)] = 2000
    container: Container = Container()

    @field_validator("keys")
    @classmethod
    def _names_differ(cls, keys: Sequence[Key]) -> Sequence[Key]:
        names = [key.name for key in keys]
        if len(set(names)) != len(names):
            raise ValueError("names a key twice; allowed: a name of its own for every key")
        hashes = [digest for key in keys for digest in key.sha256]
        if len(set(hashes)) != len(hashes):
            raise ValueError("gives two clients one key; allowed: every sha256 once")
        return keys

    @model_validator(mode="after")
    def _public_means_tls(self) -> Gateway:
        if self.tls is None and not is_loopback(self.bind):
            raise RuleError(
                "would send keys in clear text beyond this machine, as tls is not set; allowed: a loopback address, "
                "or tls with it (or edge, which brings a certificate)",
                field="bind",
                mend=("bind", "127.0.0.1"),
            )
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Gateway:
        if self.port == self.metrics_port:
            raise RuleError(
                "is the gateway's port too; allowed: another port", field="metrics_port", mend=("metrics_port", "8405")
            )
        return self
