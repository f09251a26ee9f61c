"""When `make up` may install and start an engine, and what the commands print of a stack's outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.errors import StackError
from components.hosts.engine import Endpoint
from components.settings.host import Host
from scripts import command, docker_engine
from scripts.docker_engine import ensure_engine
from scripts.smoke import answer
from scripts.up import print_endpoints, without_password
from tests.pure.given import settings

DEFAULT = "unix:///var/run/docker.sock"
PODMAN = "unix:///run/user/1000/podman/podman.sock"
NOT_RUNNING = StackError("No Docker engine is running.", "start it")
NOT_PERMITTED = StackError("The Docker engine does not let this user in.", "usermod")


class Client:
    def close(self) -> None:
        pass


class Machine:
    """What was asked and done on a machine whose engine gives these answers, one after another."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: StackError | None) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []
        self.ran: list[str] = []
        monkeypatch.setattr(docker_engine, "open_client", self._open)
        monkeypatch.setattr("subprocess.run", self._run)
        monkeypatch.setattr("platform.system", lambda: "Linux")
        monkeypatch.setattr("os.geteuid", lambda: 0)
        monkeypatch.setattr("time.sleep", lambda _: None)

    def has(self, monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
        monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}" if name in programs else None)

    def _open(self, endpoint: Endpoint) -> Client:
        self.asked.append(endpoint.address)
        error = self._answers.pop(0)
        if error:
            raise error
        return Client()

    def _run(self, arguments: list[str], **_: Any) -> None:
        self.ran.append(" ".join(arguments))


def test_an_engine_that_answers_is_taken_and_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, None)
    assert ensure_engine() == Endpoint(address=DEFAULT)
    assert machine.ran == []


def test_an_engine_that_is_missing_is_installed_started_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(monkeypatch, NOT_RUNNING, NOT_RUNNING, None)
    machine.has(monkeypatch, "apt-get")
    assert ensure_engine() == Endpoint(address=DEFAULT)
    assert any("apt-get install" in one and "docker.io" in one for one in machine.ran)
    assert any("dockerd" in one or "systemctl start docker" in one for one in machine.ran[2:])
    assert machine.asked == [DEFAULT] * 3
    assert "RAGSTACK_INSTALL=no forbids it" in capsys.readouterr().out


def test_an_engine_that_is_there_is_started_without_installing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, NOT_RUNNING, None)
    machine.has(monkeypatch, "dockerd", "apt-get")
    ensure_engine()
    assert machine.ran
    assert not [one for one in machine.ran if "apt-get" in one]


def test_nothing_is_installed_where_that_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, NOT_RUNNING)
    machine.has(monkeypatch, "apt-get")
    monkeypatch.setenv("RAGSTACK_INSTALL", "no")
    with pytest.raises(StackError, match="may not install it here"):
        ensure_engine()
    assert machine.ran == []


def test_nothing_is_installed_for_a_user_whom_the_engine_does_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, NOT_PERMITTED)
    machine.has(monkeypatch, "apt-get")
    with pytest.raises(StackError, match="does not let this user in"):
        ensure_engine()
    assert machine.ran == []


def test_nothing_is_installed_on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, NOT_RUNNING)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(StackError) as caught:
        ensure_engine()
    assert "Docker Desktop" in caught.value.mend
    assert machine.ran == []


def test_the_engine_that_the_stack_file_names_is_asked_and_never_replaced_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, NOT_RUNNING)
    machine.has(monkeypatch, "apt-get")
    with pytest.raises(StackError, match="No Docker engine is running"):
        ensure_engine(Host(docker_host=PODMAN))
    assert machine.asked == [PODMAN]
    assert machine.ran == []


@pytest.mark.parametrize(("host", "asked"), [({"docker_host": PODMAN}, [PODMAN]), ({"type": "aws"}, [])])
def test_make_up_ensures_the_engine_of_the_stack_file_and_none_for_a_remote_host(
    host: dict[str, str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, None)
    monkeypatch.setattr(command, "settings_of", lambda *_: settings(host=host))
    monkeypatch.setattr(command, "config_file", lambda *_: Path("Pulumi.dev.yaml"))
    monkeypatch.setattr(command, "choose_runner", lambda *_, **__: None)
    command.prepare("dev")
    assert machine.asked == asked


OUTPUTS: dict[str, Any] = {
    "ollama_url": "http://127.0.0.1:11434",
    "chat_models": ["qwen2.5:0.5b"],
    "database_url": "postgresql://rag:hunter2secret@127.0.0.1:5432/rag",
    "database_schema": "rag",
}


@pytest.mark.parametrize("more", [{"embedding_model": "all-minilm:22m"}, {}])
def test_endpoints_are_printed_without_the_password(more: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    print_endpoints("dev", OUTPUTS | more)
    printed = capsys.readouterr().out
    assert "hunter2secret" not in printed
    for word in ("http://127.0.0.1:11434", "qwen2.5:0.5b", "rag:***@127.0.0.1:5432/rag", *more.values()):
        assert word in printed


def test_a_password_with_quoted_characters_is_hidden_whole() -> None:
    assert (
        without_password("postgresql://rag:a%40b%2Fc@127.0.0.1:5432/rag") == "postgresql://rag:***@127.0.0.1:5432/rag"
    )


def test_a_round_trip_without_an_embedding_model_is_a_readable_error() -> None:
    with pytest.raises(StackError) as caught:
        answer(OUTPUTS)
    assert "no embedding model" in caught.value.cause
    assert "ragstack:models" in caught.value.mend
