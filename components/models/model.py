"""An Ollama model as a Pulumi resource.

The provider is pickled by reference into the state and runs in a plugin process of its own, so it holds nothing,
imports inside its methods, and leaves the work to lifecycle.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import pulumi
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ReadResult, Resource, ResourceProvider
from pulumi.dynamic import UpdateResult as Updated

from components.dynamic import UNPROVEN, plain_errors

if TYPE_CHECKING:
    from components.models.api import OllamaClient
    from components.models.lifecycle import Wanted

# A change of any of these is proven again on the server. What is missing (config_path) only words messages.
PROVEN = (
    "endpoint",
    "source",
    "insecure",
    "purpose",
    "preload",
    "keep_alive",
    "context",
    "pull",
    "server",
    "reach",
    "resident",
)
# A refresh meets a running server or none; an update may meet one that has just been started (lifecycle.ensure).
READ_WAIT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class ModelArgs:
    """A model on an Ollama server.

    endpoint        URL of the server as its machine reaches it
    reach           how the deploying machine reaches that one (`SshTarget.as_input`); None: it is that one
    name            what clients call the model, tag included; another name is another model (replacement)
    source          what to pull it by where that differs, as with a mirror; default: `name`
    insecure        the registry of `source` speaks plain HTTP or has a certificate of its own making
    purpose         what it must prove: `chat` loads, `embedding` answers with a vector
    digest          pin: the digest of /api/tags, 64 hex or the first 12 or more, `sha256:` in front or not
    preload         leave it in memory
    keep_alive      how long it stays in memory when idle: Go duration (`5m`) or seconds (`-1`: for good)
    context         tokens to load it with; a request that asks for another size loads it anew
                    (both: None leaves it to the server)
    pull            False for an image that carries its models: then it must be there already, and is never deleted
    pull_timeout_s  seconds that a whole pull may take
    server          anything that changes when the model has to be proven again, as the container's id
    resident        URLs of the servers of a pool that answer for it and keep it loaded; None: the one of `endpoint`
    config_path     where it is declared, for messages: `ragstack:models[0]`
    """

    endpoint: pulumi.Input[str]
    name: str
    purpose: Literal["chat", "embedding"]
    source: str | None = None
    insecure: bool = False
    digest: str | None = None
    preload: bool = False
    keep_alive: str | None = None
    context: int | None = None
    pull: bool = True
    pull_timeout_s: float = 3600.0
    server: pulumi.Input[str] = ""
    config_path: str | None = None
    reach: pulumi.Input[Mapping[str, Any]] | None = None
    resident: list[pulumi.Input[str]] | None = None


class ModelProvider(ResourceProvider):
    """Pulls, verifies, proves, watches and removes one model."""

    serialize_as_secret_always = False

    @plain_errors
    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse at preview what can be known to be wrong without the server: the name and the digest."""
        from components.dynamic import is_unknown
        from components.models.names import is_digest, parse

        failures = []
        digest = news.get("digest")
        if digest and not is_unknown(digest) and not is_digest(digest):
            failures.append(CheckFailure("digest", f"{digest!r} is no SHA-256 digest: 12 to 64 hex digits"))
        for key in ("name", "source"):
            if not is_unknown(news.get(key)):
                parse(news[key])
        return CheckResult(news, failures)

    @plain_errors
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another name replaces; a pin that the found digest does not match, and whatever wants proving, updates."""
        from components.dynamic import changed, is_unknown
        from components.models.names import digest_matches, same_model

        renamed = not is_unknown(_news["name"]) and not same_model(_olds["name"], _news["name"])
        pin = _news.get("digest")
        repinned = is_unknown(pin) or not digest_matches(_olds.get("digest_found", ""), pin)
        different = changed(_olds, _news, (*PROVEN, "name", "digest"))
        return DiffResult(changes=bool(different) or repinned, replaces=["name"] if renamed else [])

    @plain_errors
    def create(self, props: dict[str, Any]) -> CreateResult:
        """Bring the model to the declared state. The id is the model's name."""
        return CreateResult(props["name"], _ensure(props))

    @plain_errors
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> Updated:
        """The same as create: what is already so costs next to nothing."""
        return Updated(_ensure(_news))

    @plain_errors
    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """What the server has now; an empty id when it no longer has the model.

        A server that does not answer is no reason to fail a refresh, which is what brings it back: the model counts as
        not proven, so that the same update proves it again.
        """
        from components.dynamic import warn
        from components.models.errors import ServerUnreachableError
        from components.models.lifecycle import inspect
        from components.reach import UnreachableError

        try:
            with _client(props) as client:
                client.wait_ready(READ_WAIT_S)
                facts = inspect(client, props["name"])
        except (ServerUnreachableError, UnreachableError) as error:
            warn(f"{props['name']} was not looked at: {error.cause}")
            return ReadResult(id_, {**props, "server": UNPROVEN})
        if facts is None:
            return ReadResult("", {})
        found = asdict(facts)
        if facts.digest_found == props.get("digest_found"):
            # The dimension was measured on this very model; metadata is the weaker witness.
            found["embedding_dimension"] = props.get("embedding_dimension")
        return ReadResult(id_, _inputs(props) | found)

    @plain_errors
    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Remove the model. A server that is gone took it along; a model of the image stays in the image."""
        from components.dynamic import warn
        from components.models.errors import ServerUnreachableError
        from components.models.lifecycle import remove
        from components.reach import UnreachableError

        if not _props.get("pull", True):
            return
        try:
            with _client(_props) as client:
                remove(client, _props["name"])
        except (ServerUnreachableError, UnreachableError) as error:
            warn(f"{_props['name']} was not removed, its server is gone: {error.cause}")


class Model(Resource, module="ragstack", name="Model"):
    """A model that is there, is the one pinned, and answers. Sizes in bytes, lengths in tokens.

    `embedding_dimension` is measured on a real answer for embedding models and metadata otherwise.
    """

    endpoint: pulumi.Output[str]
    name: pulumi.Output[str]
    purpose: pulumi.Output[str]
    digest_found: pulumi.Output[str]
    size_bytes: pulumi.Output[int]
    family: pulumi.Output[str]
    parameter_size: pulumi.Output[str]
    quantization: pulumi.Output[str]
    embedding_dimension: pulumi.Output[int | None]
    context_length: pulumi.Output[int | None]
    capabilities: pulumi.Output[list[str]]

    def __init__(self, resource_name: str, args: ModelArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        from components.models.names import normalise

        props: dict[str, Any] = {field: getattr(args, field) for field in ModelArgs.__dataclass_fields__}
        props["name"] = normalise(args.name)
        props["source"] = normalise(args.source or args.name)
        found = ("digest_found", "size_bytes", "family", "parameter_size", "quantization")
        more = ("embedding_dimension", "context_length", "capabilities")
        super().__init__(ModelProvider(), resource_name, props | dict.fromkeys(found + more), opts)


def _inputs(props: Mapping[str, Any]) -> dict[str, Any]:
    return {field: props.get(field) for field in ModelArgs.__dataclass_fields__}


@contextmanager
def _client(props: Mapping[str, Any], endpoint: str | None = None) -> Iterator[OllamaClient]:
    from components.models.api import OllamaClient
    from components.reach import forwarded_url

    with forwarded_url(props.get("reach"), endpoint or props["endpoint"]) as url, OllamaClient(url) as client:
        yield client


def _ensure(props: Mapping[str, Any]) -> dict[str, Any]:
    from contextlib import ExitStack

    from components.dynamic import report
    from components.models.lifecycle import ensure

    with ExitStack() as opened:
        client = opened.enter_context(_client(props))
        residents = [opened.enter_context(_client(props, url)) for url in props.get("resident") or ()]
        facts = ensure(client, _wanted(props), report, residents)
    return _inputs(props) | asdict(facts)


def _wanted(props: Mapping[str, Any]) -> Wanted:
    from components.models.lifecycle import Wanted

    return Wanted(
        name=props["name"],
        source=props.get("source") or props["name"],
        purpose=props["purpose"],
        insecure=bool(props.get("insecure")),
        digest=props.get("digest"),
        preload=bool(props.get("preload")),
        keep_alive=props.get("keep_alive"),
        context=int(props["context"]) if props.get("context") else None,
        pull=props.get("pull", True),
        pull_timeout_s=float(props.get("pull_timeout_s") or 3600.0),
        config_path=props.get("config_path"),
    )
