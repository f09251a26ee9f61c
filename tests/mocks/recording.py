"""Runs the real program under Pulumi's mocks and records everything it declares, with the options of each resource.

One monitor for all tests of this tier. Resources get outputs with recognisable values, so that a test can look for them
where they must not be.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import runpy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from unittest import mock

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from pulumi import Resource
from pulumi.runtime import rpc, set_all_config
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks, set_mocks
from pulumi.runtime.proto import provider_pb2, resource_pb2
from pulumi.runtime.settings import set_root_resource
from pulumi.runtime.stack import run_in_stack

from components.hosts import local, ssh
from components.hosts.aws import prerequisites
from components.hosts.engine import Endpoint
from components.models import registry
from components.plan import HostFacts
from components.plan.known_models import Lookup
from components.settings import Settings

PROJECT = "ragstack"
PROGRAM = Path(__file__).resolve().parents[2] / "__main__.py"
PROVIDER = "pulumi:providers:docker"
CONTAINER = "docker:index/container:Container"
IMAGE = "docker:index/remoteImage:RemoteImage"
NETWORK = "docker:index/network:Network"
VOLUME = "docker:index/volume:Volume"
PASSWORD = "random:index/randomPassword:RandomPassword"
INSTANCE = "aws:ec2/instance:Instance"
VOLUME_OF_AWS = "aws:ebs/volume:Volume"
PINNED = "pulumi-python:dynamic/ragstack:Pinned"
READINESS = "pulumi-python:dynamic/ragstack:Readiness"
MODEL = "pulumi-python:dynamic/ragstack:Model"
PROOF = "pulumi-python:dynamic/ragstack:InferenceProof"
DATABASE = "pulumi-python:dynamic/ragstack:Database"
# Marks every generated password, so that one search finds any of them.
GENERATED = "generated-secret"
DIMENSION = 384
FACTS = HostFacts(cpus=8, memory_mib=31_900, architecture="x86_64", engine_version=(28, 3), runtimes=("runc",))
MODELS = [{"name": "all-minilm:22m", "purpose": "embedding"}, {"name": "qwen2.5:0.5b", "purpose": "chat"}]


@dataclass(frozen=True, kw_only=True)
class Declared:
    """One registered resource. `inputs` are plain, secrets unwrapped; `secret_inputs` are the paths of those that were
    secret (`uploads[0].content`); `provider`, `parent` and `deleted_with` are names of resources, empty without one."""

    type: str
    name: str
    custom: bool
    inputs: dict[str, Any]
    secret_inputs: frozenset[str]
    parent: str
    provider: str
    deleted_with: str
    protect: bool
    retain_on_delete: bool
    delete_before_replace: bool
    replace_on_changes: tuple[str, ...]
    replace_with: tuple[str, ...]
    ignore_changes: tuple[str, ...]
    depends_on: frozenset[str]
    secret_outputs: tuple[str, ...]


@dataclass
class Recording:
    """What a run declared and exported. `secret_exports` names the exports that were marked secret."""

    resources: list[Declared] = field(default_factory=list)
    exports: dict[str, Any] = field(default_factory=dict)
    secret_exports: frozenset[str] = frozenset()
    surveys: int = 0
    answers: str = "{}"
    asked: list[str] = field(default_factory=list)
    error: Exception | None = None

    def of_type(self, type_: str) -> dict[str, Declared]:
        return {resource.name: resource for resource in self.resources if resource.type == type_}

    def named(self, name: str) -> Declared:
        found = [resource for resource in self.resources if resource.name == name]
        assert len(found) == 1, f"{name}: {[resource.name for resource in self.resources]}"
        return found[0]

    def has(self, name: str) -> bool:
        return any(resource.name == name for resource in self.resources)


def is_secret(value: Any) -> bool:
    return isinstance(value, dict) and value.get(rpc._special_sig_key) == rpc._special_secret_sig


def plain(value: Any) -> Any:
    """A value from the wire with secrets unwrapped and whole floats as the integers they were."""
    if is_secret(value):
        return plain(value["value"])
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def secret_paths(value: Any, path: str = "") -> Iterator[str]:
    if is_secret(value):
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from secret_paths(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from secret_paths(inner, f"{path}[{index}]")


def texts(value: Any) -> Iterator[str]:
    """Every text anywhere inside a value, keys included."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)
    else:
        yield str(value)


def secret(value: Any) -> dict[str, Any]:
    """A secret as the wire carries it."""
    return {rpc._special_sig_key: rpc._special_secret_sig, "value": value}


def _found(type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a provider would add to the inputs, as far as the program reads it."""
    if type_ == PASSWORD:
        return {"result": secret(f"{GENERATED}-of-{name}")}
    if type_ == IMAGE:
        return {"imageId": f"sha256:{name}"}
    if type_ == PINNED:
        return {"value": inputs["offered"]}
    if type_ == VOLUME_OF_AWS:
        return {"id": "vol-0123456789abcdef0"}
    if type_ == INSTANCE:
        return {"publicIp": "198.51.100.7", "privateIp": "10.86.0.7", "arn": "arn:aws:ec2:us-east-1:1:instance/i-0abc"}
    if type_ == MODEL:
        return {"digest_found": "0" * 64, "embedding_dimension": DIMENSION}
    return {}


# What AWS answers, by the last part of a function's token. Tests lay others over them, None for a refusal.
AWS_ANSWERS: dict[str, Any] = {
    "getInstanceTypeOfferings": {"locations": ["us-east-1b", "us-east-1a"]},
    "getParameter": {"insecureValue": "ami-0123456789abcdef0", "value": "ami-0123456789abcdef0"},
    "getServiceQuota": {"value": 64.0, "quotaName": "Running On-Demand G and VT instances"},
    "getSubnet": {"vpcId": "vpc-0123456789abcdef0", "availabilityZone": "us-east-1a"},
}
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2v0eQ6pYqkP0bqZbcA0q4mYyU1cJ4b8Y2lqFv3kY0c"


class _DeclaresOnly(Mocks):
    """The program declares; it reads no existing resource."""

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        raise AssertionError(f"the program reads {args.typ}")

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], None]:
        raise AssertionError(f"the program calls {args.token}")


class _Monitor(MockMonitor):
    """Echoes inputs as outputs. Unlike its base it keeps secrets secret, and leaves no event loop open per thread."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(_DeclaresOnly())
        self._recording = recording

    def RegisterResource(self, request: Any) -> resource_pb2.RegisterResourceResponse:
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == "pulumi:pulumi:Stack":
            return resource_pb2.RegisterResourceResponse(urn=urn)
        self._recording.resources.append(_declared(request))
        outputs = MessageToDict(request.object) | _found(request.type, request.name, MessageToDict(request.object))
        return resource_pb2.RegisterResourceResponse(
            urn=urn, id=_id(request) if request.custom else "", object=ParseDict(outputs, Struct())
        )

    def Invoke(self, request: Any) -> Any:
        function = request.tok.rpartition(":")[2]
        answers = {**AWS_ANSWERS, **json.loads(self._recording.answers)}
        if not request.tok.startswith("aws:") or function not in answers:
            raise AssertionError(f"the program calls {request.tok}")
        self._recording.asked.append(function)
        if answers[function] is None:
            refusal = provider_pb2.CheckFailure(reason="operation error: api error ParameterNotFound: not there")
            return resource_pb2.ResourceInvokeResponse(failures=[refusal])
        given = {**MessageToDict(request.args), **answers[function]}
        return resource_pb2.ResourceInvokeResponse(**{"return": ParseDict(given, Struct())})

    def RegisterResourceOutputs(self, request: Any) -> Any:
        if request.urn.split("::")[2] == "pulumi:pulumi:Stack":
            exports = MessageToDict(request.outputs)
            self._recording.exports = plain(exports)
            self._recording.secret_exports = frozenset(key for key, value in exports.items() if is_secret(value))
        return super().RegisterResourceOutputs(request)


def _id(request: Any) -> str:
    """AWS's ids where their form matters to the program, else one that tells whose it is."""
    return {INSTANCE: "i-0abc", VOLUME_OF_AWS: "vol-0123456789abcdef0"}.get(request.type, f"id-of-{request.name}")


def _declared(request: Any) -> Declared:
    inputs = MessageToDict(request.object)
    # The pickled class of a dynamic provider is long and says nothing about the program.
    inputs.pop("__provider", None)
    return Declared(
        type=request.type,
        name=request.name,
        custom=request.custom,
        inputs=plain(inputs),
        secret_inputs=frozenset(secret_paths(inputs)),
        parent=_name(request.parent),
        provider=_name(request.provider.rpartition("::")[0]),
        deleted_with=_name(request.deletedWith),
        protect=request.protect,
        retain_on_delete=request.retainOnDelete,
        delete_before_replace=request.deleteBeforeReplace,
        replace_on_changes=tuple(request.replaceOnChanges),
        replace_with=tuple(map(_name, request.replace_with)),
        ignore_changes=tuple(request.ignoreChanges),
        depends_on=frozenset(map(_name, request.dependencies)),
        secret_outputs=tuple(request.additionalSecretOutputs),
    )


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def run(
    *,
    stack: str = "dev",
    facts: HostFacts = FACTS,
    endpoint: Endpoint | None = None,
    aws: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Recording:
    """What the program declares for these settings on a machine with these facts. Equal runs are made once.

    `sections` are laid over a profile of the stack's name and two models, `aws` over what AWS answers. A `StackError`
    ends up in `error`.
    """
    given = {"profile": stack, "models": MODELS, **sections}
    config = {
        f"{PROJECT}:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in given.items()
    }
    return _run(
        stack,
        json.dumps(config, sort_keys=True),
        facts,
        endpoint or Endpoint(address="unix:///the/engine.sock"),
        json.dumps(aws or {}, sort_keys=True),
    )


@functools.cache
def _run(stack: str, config: str, facts: HostFacts, endpoint: Endpoint, answers: str) -> Recording:
    recording = Recording(answers=answers)

    def survey(_: Settings) -> local.Survey:
        recording.surveys += 1
        return local.Survey(endpoint=endpoint, facts=facts)

    def execute() -> None:
        runpy.run_path(str(PROGRAM), run_name="__main__")

    async def program() -> None:
        set_mocks(_DeclaresOnly(), project=PROJECT, stack=stack, preview=False, monitor=_Monitor(recording))
        # set_mocks makes a root stack that never registers its exports; the run makes one that does.
        set_root_resource(cast(Resource, None))
        set_all_config(json.loads(config))
        await run_in_stack(execute)

    with (
        mock.patch.object(local, "survey", survey),
        mock.patch.object(ssh, "survey", return_value=ssh.Survey(address="gpu-box", facts=facts)),
        mock.patch.object(prerequisites, "require", return_value=PUBLIC_KEY),
        mock.patch.object(registry, "look_up", return_value=Lookup()),
    ):
        try:
            # Pulumi keeps its state in context variables: a fresh context keeps runs apart.
            contextvars.Context().run(asyncio.run, program())
        except Exception as error:
            recording.error = error
    return recording


def dev() -> Recording:
    recording = run()
    assert recording.error is None
    return recording


def prod_on_aws(aws: Mapping[str, Any] | None = None, **sections: Any) -> Recording:
    """The prod stack on a rented GPU machine; `aws` are settings of `host.aws`."""
    host = {"type": "aws", **({"aws": dict(aws)} if aws else {})}
    recording = run(stack="prod", host=host, **{"accelerator": {"kind": "nvidia"}, **sections})
    assert recording.error is None, recording.error
    return recording


def prod_here() -> Recording:
    """The prod profile on the engine at hand: what the prod host will run, as far as it can be run now."""
    return run(stack="prod", host={"type": "local"})
