"""When `make up` may install and start an engine, who is let in, and that `make preview` does neither."""

from __future__ import annotations

import grp
import pwd
import stat
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from components.errors import StackError
from components.hosts.engine import Endpoint, EngineNotPermittedError, open_client
from components.settings.host import Host
from scripts import command, docker_engine, docker_group
from scripts.docker_engine import ensure_engine, require_engine
from scripts.pulumi_cli import PULUMI_VERSION
from scripts.runner import TrialRunner
from tests.pure.given import settings

DEFAULT = "unix:///var/run/docker.sock"
PODMAN = "unix:///run/user/1000/podman/podman.sock"
NOT_RUNNING = StackError("No Docker engine is running.", "start it")
NOT_PERMITTED = EngineNotPermittedError("The Docker engine does not let this user in.", "usermod")


class Replaced(BaseException):
    """Stands for the end of a process that has become another."""


class Client:
    def close(self) -> None:
        pass


class Machine:
    """What was asked and done on a machine whose engine gives these answers, one after another."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: StackError | None) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []
        self.ran: list[str] = []
        self.members: list[str] = []
        self.fails: tuple[str, ...] = ()
        monkeypatch.setattr(docker_engine, "open_client", self._open)
        monkeypatch.setattr("subprocess.run", self._run)
        monkeypatch.setattr("platform.system", lambda: "Linux")
        monkeypatch.setattr("os.geteuid", lambda: 0)
        monkeypatch.setattr("time.sleep", lambda _: None)

    def has(self, monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
        def which(name: str, path: str | None = None) -> str | None:
            folder = "/usr/sbin" if name == "dockerd" else "/usr/bin"
            return f"{folder}/{name}" if name in programs and (path is None or folder in path.split(":")) else None

        monkeypatch.setattr("shutil.which", which)

    def is_used_by(self, monkeypatch: pytest.MonkeyPatch, user: str, *members: str) -> None:
        """An ordinary user with passwordless sudo, in a login that began before the group had its members."""
        self.members = list(members)
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        monkeypatch.setattr("os.getgroups", lambda: [1000])
        monkeypatch.setattr("pwd.getpwuid", lambda _: pwd.struct_passwd((user, "x", 1000, 1000, "", "/", "/bin/sh")))
        monkeypatch.setattr("grp.getgrnam", lambda name: grp.struct_group((name, "x", 998, self.members)))
        monkeypatch.setenv("RAGSTACK_ENTERED_GROUP", "")
        monkeypatch.setattr("os.execv", self._exec)

    def _exec(self, program: str, arguments: list[str]) -> NoReturn:
        self.ran.append(" ".join([program, *arguments[1:]]))
        raise Replaced

    def _open(self, endpoint: Endpoint) -> Client:
        self.asked.append(endpoint.address)
        error = self._answers.pop(0)
        if error:
            raise error
        return Client()

    def _run(self, arguments: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if arguments[1:] != ["-n", "true"]:
            self.ran.append(" ".join(arguments))
        if "usermod" in arguments:
            self.members.append(arguments[-1])
        failed = any(word in " ".join(arguments) for word in self.fails)
        return subprocess.CompletedProcess(arguments, int(failed))


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
    host: dict[str, str], asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, None)
    monkeypatch.setattr(command, "PROJECT", tmp_path)
    monkeypatch.setattr(command, "settings_of", lambda *_: settings(host=host))
    monkeypatch.setattr(command, "config_file", lambda *_: Path("Pulumi.dev.yaml"))
    monkeypatch.setattr(command, "choose_runner", lambda *_, **__: None)
    command.prepare("dev")
    assert machine.asked == asked
    assert stat.S_IMODE((tmp_path / ".ragstack").stat().st_mode) == 0o700


def test_an_engine_beyond_an_ordinary_users_path_is_started_and_not_installed_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    (tmp_path / "dockerd").touch(mode=0o755)
    monkeypatch.setattr(docker_engine, "_DAEMON_FOLDERS", (str(tmp_path),))
    assert docker_engine.find_dockerd() == str(tmp_path / "dockerd")


def test_an_install_that_fails_is_a_readable_error(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, NOT_RUNNING)
    machine.has(monkeypatch, "apt-get")
    machine.fails = ("apt-get update",)
    with pytest.raises(StackError, match=r"docker\.io cannot be installed: apt-get update failed"):
        ensure_engine()
    assert len(machine.ran) == 1


def test_who_has_the_engine_installed_by_sudo_joins_its_group_and_goes_on_inside_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(monkeypatch, NOT_RUNNING, NOT_PERMITTED)
    machine.has(monkeypatch, "apt-get", "sudo", "sg")
    machine.is_used_by(monkeypatch, "ada")
    monkeypatch.setattr("sys.orig_argv", ["python", "-m", "scripts.up", "--stack", "it's"])
    with pytest.raises(Replaced):
        ensure_engine()
    assert machine.asked == [DEFAULT] * 2
    assert machine.ran[-2] == "/usr/bin/sudo usermod -aG docker ada"
    assert machine.ran[-1].startswith("/usr/bin/sg docker -c ")
    assert machine.ran[-1].endswith("""-m scripts.up --stack 'it'"'"'s'""")
    said = capsys.readouterr().out
    assert "sudo usermod -aG docker ada" in said
    assert "newgrp docker" in said


def test_without_sg_a_new_login_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, NOT_RUNNING, NOT_PERMITTED)
    machine.has(monkeypatch, "apt-get", "sudo")
    machine.is_used_by(monkeypatch, "ada")
    with pytest.raises(StackError, match="this login is older") as caught:
        ensure_engine()
    assert "log in again (or newgrp docker), then run the command again" in caught.value.mend


def test_nobody_joins_the_group_of_an_engine_that_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, NOT_RUNNING, NOT_PERMITTED)
    machine.has(monkeypatch, "dockerd", "apt-get", "sudo", "sg")
    machine.is_used_by(monkeypatch, "ada")
    with pytest.raises(EngineNotPermittedError):
        ensure_engine()
    assert machine.asked == [DEFAULT] * 2
    assert not [one for one in machine.ran if "usermod" in one or "sg docker" in one]


def test_a_member_whose_login_is_older_enters_the_group_once(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, NOT_PERMITTED, NOT_PERMITTED)
    machine.has(monkeypatch, "dockerd", "sg")
    machine.is_used_by(monkeypatch, "ada", "ada")
    with pytest.raises(Replaced):
        ensure_engine()
    with pytest.raises(EngineNotPermittedError):
        ensure_engine()
    assert len(machine.ran) == 1


def test_a_group_that_cannot_be_joined_is_a_readable_error(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.is_used_by(monkeypatch, "ada")
    machine.fails = ("usermod",)
    with pytest.raises(StackError, match="ada cannot be added to the group docker"):
        docker_group.join(["sudo"])


@pytest.mark.parametrize(("programs", "would"), [((), "install the package docker.io"), (("dockerd",), "start it")])
def test_a_preview_starts_and_installs_no_engine_and_says_what_make_up_would(
    programs: tuple[str, ...], would: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, NOT_RUNNING)
    machine.has(monkeypatch, "apt-get", *programs)
    with pytest.raises(StackError, match="No Docker engine is running") as caught:
        require_engine(Host())
    assert f"make up (it would {would}" in caught.value.mend
    assert machine.ran == []


@pytest.mark.parametrize("is_generated", [True, False])
def test_a_preview_builds_nothing_and_leaves_every_file_as_it_is(
    is_generated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("builds or installs")

    Machine(monkeypatch, None)
    project, scratch = tmp_path / "project", tmp_path / "scratch"
    models = "[{name: 'all-minilm:22m', purpose: embedding}]"
    settled = f"config: {{'ragstack:profile': dev, 'ragstack:ollama': {{port: PORT}}, 'ragstack:models': {models}}}\n"
    files = {"Pulumi.yaml": "name: ragstack\n", "Pulumi.dev.yaml": settled.replace("PORT", "11999")}
    if is_generated:
        files[".ragstack/Pulumi.dev.yaml"] = settled.replace("PORT", "11500") + "encryptionsalt: x\n"
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    scratch.mkdir()
    monkeypatch.setattr(command, "PROJECT", project)
    monkeypatch.setattr(command, "config_file", refuse)
    monkeypatch.setattr("scripts.runner.install_pulumi", refuse)
    monkeypatch.setattr("scripts.runner.find_pulumi", lambda: None)
    monkeypatch.setattr(command, "use_scratch_backend", lambda *_: None)
    looked = command.look("dev", scratch)
    assert isinstance(looked.runner, TrialRunner)
    assert looked.runner.target.config_file == scratch / "Pulumi.dev.yaml"
    assert (looked.settings.ollama.port, looked.settings.registry.images != "") == (11999, is_generated)
    assert ("encryptionsalt" in (scratch / "Pulumi.dev.yaml").read_text()) is is_generated
    assert f"make up would install {PULUMI_VERSION}" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_a_closed_socket_is_told_apart_from_a_missing_one_by_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(**_: Any) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("docker.DockerClient", closed)
    with pytest.raises(EngineNotPermittedError, match="does not let this user in"):
        open_client(Endpoint(address=DEFAULT))
