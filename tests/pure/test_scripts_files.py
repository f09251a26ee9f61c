"""Files that the commands read and write, and programs they find: stack files, `.env`, the Pulumi CLI."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import dynamic
from components.errors import StackError
from components.settings.problems import SettingsError
from scripts import pulumi_cli
from scripts.env_file import key_name, variables, write_env
from scripts.stack_file import namespaced, read_stack_file, settings_of
from tests.pure.given import settings

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
        "config:\n  docker:registryAuth: {secure: 'v1:abc'}\n"
        "  ragstack:postgres: {users: [{name: rag, password: {secure: 'v1:def'}}]}\n"
    )
    settings = settings_of(project, stack(project, text), "dev")
    assert settings.postgres.users[0].password is None


def test_a_section_that_is_encrypted_as_a_whole_is_refused_rather_than_taken_for_its_defaults(project: Path) -> None:
    path = stack(project, "config:\n  ragstack:host: {secure: 'v1:abc'}\n")
    with pytest.raises(StackError) as caught:
        settings_of(project, path, "dev")
    assert "Pulumi.dev.yaml: ragstack:host is encrypted as a whole" in caught.value.cause
    assert "pulumi config rm --stack dev ragstack:host" in caught.value.mend
    assert "--secret --path 'ragstack:host." in caught.value.mend
    assert "v1:abc" not in str(caught.value)


def test_a_bad_stack_file_is_refused_as_the_program_would(project: Path) -> None:
    with pytest.raises(SettingsError, match=r"ragstack:ollama\.port is not valid") as caught:
        settings_of(project, stack(project, "config: {'ragstack:ollama': {port: 0}}"), "dev")
    assert str(caught.value).endswith("\nEach can also be mended by editing Pulumi.dev.yaml.")


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


def test_outputs_of_a_broken_off_update_make_no_env_file(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="it has no database_url") as caught:
        write_env(tmp_path / ".env", {"ollama_url": "http://127.0.0.1:1", "database_schema": "rag"})
    assert caught.value.mend == "make up"
    assert not list(tmp_path.iterdir())


def test_clients_go_through_the_gateway_where_there_is_one() -> None:
    assert variables(OUTPUTS | {"gateway_url": "https://gw"})["OLLAMA_HOST"] == "https://gw"
    assert variables(OUTPUTS | {"gateway_url": None})["OLLAMA_HOST"] == OUTPUTS["ollama_url"]


def test_the_api_key_is_the_first_that_may_not_administer_in_whatever_order_outputs_come() -> None:
    keys = [{"name": "ops", "scope": "admin"}, {"name": "zed"}, {"name": "app"}]
    with_gateway = settings(gateway={"enabled": True, "keys": keys})
    assert key_name(with_gateway) == "zed"
    outputs = OUTPUTS | {"api_keys": {"app": "1", "ops": "2", "zed": "3"}}
    assert variables(outputs, "zed")["OLLAMA_API_KEY"] == "3"
    assert key_name(settings(gateway={"enabled": True, "keys": keys[:1]})) == "ops"
    assert key_name(settings()) is None


def test_what_a_stack_does_not_have_is_not_in_the_env_file() -> None:
    without = {key: value for key, value in OUTPUTS.items() if not key.startswith("embedding")} | {"chat_models": []}
    assert variables(without).keys() == {"OLLAMA_HOST", "DATABASE_URL", "DATABASE_SCHEMA"}


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


def test_a_download_of_the_cli_shows_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pulumi.automation import PulumiCommand

    monkeypatch.setattr(pulumi_cli, "still_going", lambda what, tell: dynamic.still_going(what, tell, 0.01))
    monkeypatch.setattr(PulumiCommand, "install", lambda **_: time.sleep(0.1))
    assert pulumi_cli.install_pulumi() == pulumi_cli.HOME / "bin" / "pulumi"
    assert "downloading the Pulumi CLI: 0 s" in capsys.readouterr().out
