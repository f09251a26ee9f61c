"""One running provider plugin: started, configured, spoken to by gRPC, ended. `trial/plugins.py` knows what to ask."""

from __future__ import annotations

import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import IO, Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2, provider_pb2_grpc

from components.errors import StackError
from trial.values import decode, plain, to_struct

# A plugin prints its port within a second; Python's start on a busy machine takes a few.
_START_SECONDS = 60.0
# Time to end by itself, so that it can let go of what it holds.
_END_SECONDS = 5.0
# One user data of 16 KiB is far below this; a state of many resources is not sent at once.
_MESSAGE_BYTES = 64 * 1024 * 1024
_OPTIONS = [("grpc.max_receive_message_length", _MESSAGE_BYTES), ("grpc.max_send_message_length", _MESSAGE_BYTES)]
Log = Callable[[Any], empty_pb2.Empty]


class PluginError(Exception):
    """What a plugin answered instead of a result, in its own words."""


class _EngineService(engine_pb2_grpc.EngineServicer):
    """The part of the engine that every plugin connects to: where its log lines go."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def Log(self, request: Any, _context: Any) -> empty_pb2.Empty:  # noqa: N802 - the service's name
        return self._log(request)


class LogServer:
    """Serves `Engine.Log` on a free port of the loopback while plugins run."""

    def __init__(self, log: Log) -> None:
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
        engine_pb2_grpc.add_EngineServicer_to_server(_EngineService(log), self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(grace=None)


class PluginProcess:
    """A plugin with one configuration. Raises StackError from the constructor when it does not start or is refused."""

    def __init__(self, package: str, executable: str, engine: str, config: Mapping[str, Any]) -> None:
        self._package = package
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the plugin
        # Ctrl-C goes to a whole process group; the plugin is to finish what this runner waits for.
        self._process = subprocess.Popen(
            [executable, engine],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        try:
            self._channel = grpc.insecure_channel(f"127.0.0.1:{self._port()}", options=_OPTIONS)
            self._stub = provider_pb2_grpc.ResourceProviderStub(self._channel)
            self._configure(config)
        except BaseException:
            self.stop()
            raise

    def call(self, method: str, request: Any) -> Any:
        """The plugin's answer. Raises PluginError with its words, or saying that it has ended."""
        try:
            return getattr(self._stub, method)(request)
        except grpc.RpcError as error:
            if self._process.poll() is not None:
                raise PluginError(f"the plugin ended with code {self._process.returncode}: {self._said()}") from error
            raise PluginError(str(error.details())) from error

    def stop(self) -> None:
        if hasattr(self, "_channel"):
            self._channel.close()
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._errors.close()

    def _configure(self, config: Mapping[str, Any]) -> None:
        self.call("GetPluginInfo", empty_pb2.Empty())
        try:
            checked = self.call("CheckConfig", provider_pb2.CheckRequest(news=to_struct(config)))
            if checked.failures:
                raise PluginError("; ".join(failure.reason for failure in checked.failures))
            args = plain(decode(checked.inputs))
            variables = {f"{self._package}:config:{key}": str(value) for key, value in args.items()}
            self.call(
                "Configure",
                provider_pb2.ConfigureRequest(
                    variables=variables, args=to_struct(args), acceptSecrets=True, acceptResources=False
                ),
            )
        except PluginError as error:
            raise StackError(
                f"The provider {self._package} cannot be configured: {error}", "correct what it names, then run again"
            ) from error

    def _port(self) -> int:
        line = self._first_line()
        if not line.strip().isdigit():
            raise StackError(
                f"The plugin pulumi-resource-{self._package} did not start: {self._said() or 'it printed no port'}",
                f"see what `pulumi-resource-{self._package}` says when run by hand",
            )
        return int(line)

    def _first_line(self) -> str:
        lines: queue.Queue[bytes] = queue.Queue()

        def read(stream: IO[bytes]) -> None:
            lines.put(stream.readline())
            # Nothing more is expected; a plugin that prints must not block on a full pipe.
            for _ in stream:
                pass

        threading.Thread(target=read, args=[self._process.stdout], daemon=True).start()
        try:
            return lines.get(timeout=_START_SECONDS).decode(errors="replace")
        except queue.Empty:
            return ""

    def _said(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][-500:] if lines else ""
