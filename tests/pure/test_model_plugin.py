"""The model resource as Pulumi meets it: pickled into the state, in the plugin's own process, and declared."""

from __future__ import annotations

import base64
import contextvars
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dill
import grpc
import pulumi
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime import rpc
from pulumi.runtime.proto import provider_pb2
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderStub

from components.database.resource import DatabaseProvider
from components.errors import StackError
from components.models.model import Model, ModelArgs, ModelProvider
from tests.doubles.fake_ollama import FakeModel, FakeOllama

NAME = "all-minilm:22m"
MINILM = FakeModel(content="minilm")


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with FakeOllama(registry={NAME: MINILM}) as fake:
        yield fake


def inputs(url: str, **changes: Any) -> dict[str, Any]:
    plain = {"endpoint": url, "name": NAME, "source": NAME, "purpose": "embedding", "server": "one", "pull": True}
    return plain | changes


@pytest.mark.parametrize("kind", [ModelProvider, DatabaseProvider])
def test_the_provider_is_pickled_by_reference_and_the_same_every_time(kind: type[Any]) -> None:
    pickled = base64.b64decode(serialize_provider(kind()))
    assert len(pickled) < 200, "code was pickled into the state"
    assert serialize_provider(kind()) == serialize_provider(kind())
    assert isinstance(dill.loads(pickled), kind)


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[tuple[ResourceProviderStub, Path]]:
    """Pulumi's own plugin process for dynamic providers, as the engine starts it, and what it writes to stderr."""
    told = tmp_path / "stderr"
    command = [sys.executable, "-u", "-m", "pulumi.dynamic"]
    with (
        told.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        assert process.stdout is not None
        with grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}") as channel:
            stub = ResourceProviderStub(channel)
            stub.Configure(provider_pb2.ConfigureRequest(args=Struct()))
            yield stub, told
        process.kill()


def struct(props: dict[str, Any], kind: type[Any] = ModelProvider) -> Struct:
    return ParseDict(props | {"__provider": serialize_provider(kind())}, Struct())


def test_the_real_plugin_process_goes_through_a_models_life(
    ollama: FakeOllama, plugin: tuple[ResourceProviderStub, Path]
) -> None:
    stub, told = plugin
    news = struct(inputs(ollama.url, digest=MINILM.digest))
    made = stub.Create(provider_pb2.CreateRequest(urn="urn:x", properties=news))
    assert (made.id, MessageToDict(made.properties)["embedding_dimension"]) == (NAME, 4)
    assert f"info: pulled {NAME}" in told.read_text()

    def diff(new: Struct) -> Any:
        return stub.Diff(provider_pb2.DiffRequest(id=NAME, olds=made.properties, news=new))

    assert diff(news).changes == provider_pb2.DiffResponse.DIFF_NONE
    unknown = diff(struct(inputs(ollama.url, digest=MINILM.digest, server=rpc.UNKNOWN, endpoint=rpc.UNKNOWN)))
    assert (unknown.changes, list(unknown.replaces)) == (provider_pb2.DiffResponse.DIFF_SOME, [])

    read = provider_pb2.ReadRequest(id=NAME, properties=made.properties)
    assert stub.Read(read).properties == made.properties
    stub.Delete(provider_pb2.DeleteRequest(id=NAME, properties=made.properties))
    assert ollama.models == {}
    assert stub.Read(read).id == ""


def test_an_error_leaves_the_plugin_process_without_a_traceback(
    ollama: FakeOllama, plugin: tuple[ResourceProviderStub, Path]
) -> None:
    stub, _ = plugin
    with pytest.raises(grpc.RpcError) as ours:
        stub.Create(provider_pb2.CreateRequest(urn="urn:x", properties=struct(inputs(ollama.url, digest="0" * 64))))
    assert ours.value.details().startswith(f"DigestMismatchError: {NAME} is pinned to digest 000")
    assert "\n  mend: to accept it" in ours.value.details()
    with pytest.raises(grpc.RpcError) as bug:
        stub.Create(provider_pb2.CreateRequest(urn="urn:x", properties=struct({})))
    assert "Traceback" in bug.value.details(), "an error of our own making keeps its traceback"


def test_tracebacks_outside_the_plugin_process_are_left_alone() -> None:
    with pytest.raises(StackError):
        ModelProvider().check({}, {"name": "a b", "source": "a b"})
    assert not hasattr(sys, "tracebacklimit")
    try:
        raise ValueError("still with a traceback")
    except ValueError:
        assert "Traceback" in traceback.format_exc()


class Recorder(pulumi.runtime.Mocks):
    """Records what is declared."""

    def __init__(self) -> None:
        self.declared: list[pulumi.runtime.MockResourceArgs] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.declared.append(args)
        return f"{args.name}-id", args.inputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"unexpected call {args.token}")


def test_a_declared_model_registers_normalised_names_and_its_type() -> None:
    recorder = Recorder()

    @pulumi.runtime.test
    def declare() -> pulumi.Output[Any]:
        args = ModelArgs(endpoint="http://127.0.0.1:11434", name="library/all-minilm:22m", purpose="embedding")
        return Model("embedder", args).name.apply(lambda name: name)

    def with_mocks() -> None:
        pulumi.runtime.set_mocks(recorder)
        declare()

    # Pulumi keeps its runtime in context variables: in a context of their own the mocks end with this test.
    contextvars.copy_context().run(with_mocks)
    assert recorder.declared[0].typ == "pulumi-python:dynamic/ragstack:Model"
    assert recorder.declared[0].inputs["name"] == recorder.declared[0].inputs["source"] == NAME
