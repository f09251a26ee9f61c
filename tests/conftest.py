"""What tests of every tier share: nothing of the caller's environment reaches a pure or a mock test, nor does a socket
of theirs leave the machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
HERMETIC = (ROOT / "tests" / "pure", ROOT / "tests" / "mocks")
# Everything that Pulumi, Docker, Ollama, PostgreSQL or the commands of this project would read.
FOREIGN = ("PULUMI_", "DOCKER_", "OLLAMA_", "RAGSTACK_", "AWS_", "PG", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

# A slow machine is not a failing test; the same examples on every run make a failure repeatable.
settings.register_profile("ragstack", deadline=None, derandomize=True, database=None)
settings.load_profile("ragstack")


@pytest.fixture(autouse=True)
def hermetic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment without a trace of the caller's, for the tiers that must not depend on it."""
    if not any(folder in request.path.parents for folder in HERMETIC):
        return
    for name in os.environ:
        if name.upper().startswith(FOREIGN) or name in ("RUNNER", "STACK"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "no-docker-config"))
    monkeypatch.setattr(socket.socket, "connect", _loopback_only)


_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else None
    if host is not None and host not in ("127.0.0.1", "::1", "localhost"):
        raise AssertionError(f"a test without a network connects to {host}")
    _connect(self, address)
