"""A test double of the random provider's plugin, for machines where the real one cannot be downloaded.

Speaks the engine's ResourceProvider protocol and knows RandomPassword alone, by the inputs this project uses: `length`
and `special`. Started by the engine as `pulumi-resource-random`; prints its port, as every plugin does.
"""

from __future__ import annotations

import secrets
import string
import sys
from concurrent import futures
from threading import Event
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

TOKEN = "random:index/randomPassword:RandomPassword"
VERSION = "4.21.4"
# How the engine marks a value as secret on the wire: pulumi's sdk, resource.SecretSig.
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
ALPHABET = string.ascii_letters + string.digits


class RandomDouble(provider_pb2_grpc.ResourceProviderServicer):
    """Echoes inputs, generates `result` once, and asks for a replacement when an input changes."""

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=VERSION)

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True, acceptResources=False)

    def Check(self, request: Any, context: Any) -> Any:
        if f"::{TOKEN}::" not in request.urn and f"${TOKEN}::" not in request.urn:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the double knows {TOKEN} only, not {request.urn}")
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: Any) -> Any:
        changed = [key for key, value in request.news.items() if request.olds[key] != value]
        changes = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=changes, replaces=changed, diffs=changed)

    def Create(self, request: Any, context: Any) -> Any:
        outputs = struct_pb2.Struct()
        outputs.CopyFrom(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=outputs)
        length = int(request.properties["length"])
        result = "".join(secrets.choice(ALPHABET) for _ in range(length))
        outputs["result"] = {**SECRET, "value": result}
        return provider_pb2.CreateResponse(id="none", properties=outputs)

    def Read(self, request: Any, context: Any) -> Any:
        return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    def Delete(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()


def main() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(RandomDouble(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    Event().wait()


if __name__ == "__main__":
    main()
