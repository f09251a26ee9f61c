"""Files that the commands read and write: stack files, `.env`, the passphrase."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.errors import StackError
from components.settings.problems import SettingsError
from scripts import pulumi_cli
from scripts.env_file import variables, write_env
from scripts.pulumi_cli import backend_environment
from scripts.stack_file import namespaced, read_stack_file, settings_of

OUTPUTS: dict[str, Any] = {
    "ollama_url": "http://127.0.0.1:11434",
    "embedding_model": "all-minilm:22m",
    "embedding_dimension": 384.0,
    "chat_models": ["qwen2.5:0.5b", "other:1"],
    "database_url": "postgresql://rag:a%27b$c`d%22@127.0.0.1:5432/rag",
    "database_schema": "rag",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    models = [{"name": "all-minilm:22m", "purpose": "embedding"}]
    declared = {"profile": {"default": "dev"}, "models": {"default": models}, "ollama": {"type": "object"}}
    (tmp_path / "Pulumi.yaml").write_text(yaml.safe_dump({"name": "ragstack", "config": declared}))
    return tmp_path


def stack(project: Path, text: str) -> Path:
    path = project / "Pulumi.dev.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_stack_file_lies_over_the_project_files_defaults(project: Path) -> None:
    path = stack(project, "config:\n  ragstack:profile: prod\n  ragstack:ollama: {port: 11500}\n  docker:host: x\n")
    settings = settings_of(project, path, "dev")
    assert (settings.profile, settings.ollama.port) == ("prod", 11500)
    assert settings.models[0].name == "all-minilm:22m"


@pytest.mark.parametrize("text", ["config:\n", "encryptionsalt: v1:x\n"])
def test_a_stack_file_without_settings_takes_the_defaults(project: Path, text: str) -> None:
    assert settings_of(project, stack(project, text), "dev").profile == "dev"


@pytest.mark.parametrize("text", ["12:30", "2026-01-31", "0755", "1_000"])
def test_what_old_yaml_reads_as_a_number_or_a_date_stays_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "Pulumi.dev.yaml"
    path.write_text(f"value: {text}\nport: 5432\n")
    assert read_stack_file(path) == {"value": text, "port": 5432}


def test_words_that_old_yaml_reads_as_booleans_stay_words(project: Path) -> None:
    text = (
        "config:\n  ragstack:ollama: {container: {restart: no}, non_root: true}\n"
        "  ragstack:postgres: {tuning: {hnsw_iterative_scan: off}}\n"
    )
    settings = settings_of(project, stack(project, text), "dev")
    assert settings.ollama.container.restart == "no"
    assert settings.ollama.non_root is True
    assert settings.postgres.tuning != "auto"
    assert settings.postgres.tuning.hnsw_iterative_scan == "off"


def test_encrypted_values_are_left_out_because_only_the_engine_reads_them(project: Path) -> None:
    text = (
        "config:\n  ragstack:registry: {secure: 'v1:abc'}\n"
        "  ragstack:postgres: {users: [{name: rag, password: {secure: 'v1:def'}}]}\n"
    )
    settings = settings_of(project, stack(project, text), "dev")
    assert settings.registry.images == ""
    assert settings.postgres.users[0].password is None


def test_a_bad_stack_file_is_refused_as_the_program_would(project: Path) -> None:
    with pytest.raises(SettingsError, match=r"ragstack:ollama\.port is not valid"):
        settings_of(project, stack(project, "config: {'ragstack:ollama': {port: 0}}"), "dev")


@pytest.mark.parametrize(
    ("text", "says"),
    [("a: [1", "is not valid YAML"), ("", "holds no settings"), ("- a\n", "holds no settings"), ("word", "holds no")],
)
def test_what_is_no_stack_file_is_refused_by_name(project: Path, text: str, says: str) -> None:
    with pytest.raises(StackError, match=rf"Pulumi\.dev\.yaml {says}"):
        read_stack_file(stack(project, text))


def test_a_missing_stack_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError) as caught:
        read_stack_file(tmp_path / "Pulumi.none.yaml")
    assert caught.value.cause == "There is no stack file Pulumi.none.yaml."


def test_sections_get_the_projects_namespace() -> None:
    assert namespaced({"ollama": {}}) == {"ragstack:ollama": {}}


def test_the_env_file_is_read_by_a_shell_exactly_as_it_was_meant(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    write_env(path, OUTPUTS)
    script = 'set -a; . "$1"; set +a; python3 -c "import json,os; print(json.dumps(dict(os.environ)))"'
    result = subprocess.run(["sh", "-c", script, "sh", str(path)], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout).items() >= variables(OUTPUTS).items()
    assert variables(OUTPUTS) == {
        "OLLAMA_HOST": "http://127.0.0.1:11434",
        "EMBEDDING_MODEL": "all-minilm:22m",
        "EMBEDDING_DIMENSION": "384",
        "CHAT_MODEL": "qwen2.5:0.5b",
        "DATABASE_URL": OUTPUTS["database_url"],
        "DATABASE_SCHEMA": "rag",
    }


def test_the_env_file_belongs_to_its_owner_alone_even_where_a_wider_one_was(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("OLD=1\n")
    path.chmod(0o644)
    (tmp_path / ".env.part").write_text("left by an interrupted run")
    before = os.umask(0)
    try:
        write_env(path, OUTPUTS)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "OLD" not in path.read_text()
    assert list(tmp_path.glob(".env*")) == [path]


def test_clients_go_through_the_gateway_where_there_is_one() -> None:
    assert variables(OUTPUTS | {"gateway_url": "https://gw"})["OLLAMA_HOST"] == "https://gw"
    assert variables(OUTPUTS | {"gateway_url": None})["OLLAMA_HOST"] == OUTPUTS["ollama_url"]


def test_what_a_stack_does_not_have_is_not_in_the_env_file() -> None:
    without = {key: value for key, value in OUTPUTS.items() if not key.startswith("embedding")} | {"chat_models": []}
    assert variables(without).keys() == {"OLLAMA_HOST", "DATABASE_URL", "DATABASE_SCHEMA"}


def test_the_first_use_makes_a_backend_and_a_passphrase_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = backend_environment(tmp_path)
    passphrase = Path(environment["PULUMI_CONFIG_PASSPHRASE_FILE"])
    assert environment["PULUMI_BACKEND_URL"] == (tmp_path / ".ragstack" / "state").as_uri()
    assert passphrase == tmp_path / ".ragstack" / "passphrase"
    assert stat.S_IMODE(passphrase.stat().st_mode) == 0o600
    said = capsys.readouterr().out
    assert str(passphrase) in said
    assert passphrase.read_text().strip() not in said
    assert len(passphrase.read_text().strip()) >= 32


def test_the_second_use_keeps_the_passphrase_and_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Path(backend_environment(tmp_path)["PULUMI_CONFIG_PASSPHRASE_FILE"]).read_text()
    capsys.readouterr()
    assert Path(backend_environment(tmp_path)["PULUMI_CONFIG_PASSPHRASE_FILE"]).read_text() == first
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN"])
def test_a_backend_of_the_users_own_is_left_as_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "theirs")
    environment = backend_environment(tmp_path)
    assert environment[name] == "theirs"
    assert {"PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE_FILE"} & environment.keys() == {name}
    assert not (tmp_path / ".ragstack").exists()


def test_a_passphrase_of_the_users_own_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    environment = backend_environment(tmp_path)
    assert environment["PULUMI_CONFIG_PASSPHRASE"] == ""
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in environment
    assert not (tmp_path / ".ragstack" / "passphrase").exists()


@pytest.mark.parametrize(
    ("content", "mode", "says", "mend"),
    [
        ("secret\n", 0o644, "can be read by other users", "chmod 600"),
        ("secret\n", 0o660, "can be read by other users", "chmod 600"),
        (" \n", 0o600, "is empty", "restore it from your copy"),
        (None, 0, "cannot be read", "chmod 600"),
    ],
)
def test_a_passphrase_file_that_cannot_serve_is_refused_with_its_path(
    content: str | None, mode: int, says: str, mend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", str(path))
    with pytest.raises(StackError) as caught:
        backend_environment(tmp_path)
    assert f"The passphrase file {path} {says}" in caught.value.cause
    assert mend in caught.value.mend
    assert "secret" not in str(caught.value)


def test_the_cli_on_path_wins_over_one_in_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi_cli, "HOME", tmp_path / "home")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert pulumi_cli.find_pulumi() is None
    for folder in (tmp_path / "home" / "bin", tmp_path / "path"):
        folder.mkdir(parents=True)
        (folder / "pulumi").touch(mode=0o755)
        assert pulumi_cli.find_pulumi() == folder / "pulumi"


def test_nothing_is_installed_where_that_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    from pulumi.automation import PulumiCommand

    def refuse(**_: object) -> None:
        raise AssertionError("installs")

    monkeypatch.setattr(PulumiCommand, "install", refuse)
    monkeypatch.setenv("RAGSTACK_INSTALL", "no")
    assert pulumi_cli.install_pulumi() is None


def test_an_installer_out_of_reach_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pulumi.automation import PulumiCommand

    def unreachable(**_: object) -> None:
        raise OSError("\nno route to host\nand much more")

    monkeypatch.setattr(PulumiCommand, "install", unreachable)
    assert pulumi_cli.install_pulumi() is None
    said = capsys.readouterr().out
    assert "cannot be installed here (no route to host)" in said
    assert "much more" not in said
