"""Serves the double until the process that started it is gone. Prints its port, as every plugin does."""

from __future__ import annotations

import os
import sys
import time
from concurrent import futures

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from tests.doubles.aws_provider.service import AwsDouble

# As many as the engine's own parallel steps on a small machine; each blocks while it waits.
_THREADS = 16


def main() -> None:
    parent = os.getppid()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=_THREADS))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(AwsDouble(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while os.getppid() == parent:
        time.sleep(1)


main()
