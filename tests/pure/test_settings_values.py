"""What a stack file may say, and what becomes of it: baselines, presets, explicit values, repository files."""

from __future__ import annotations

import json
from pathlib import Path

import pulumi
import pytest

from components import settings as package
from components.settings import Settings
from components.settings.ollama import PRESETS
from scripts.stack_file import PROJECT_NAME, settings_of
from tests.pure.given import CHAT, EMBEDDING, settings

ROOT = Path(__file__).resolve().parents[2]
STACK_FILES = sorted(ROOT.glob("Pulumi.*.yaml"))


@pytest.mark.parametrize("file", STACK_FILES, ids=lambda file: file.name)
def test_every_stack_file_of_the_repository_is_valid(file: Path) -> None:
    found = settings_of(ROOT, file, file.suffixes[0].removeprefix("."))
    assert found.embedding_model is not None


def test_the_repository_has_a_dev_and_a_prod_stack_that_differ_as_designed() -> None:
    assert {file.name for file in STACK_FILES} >= {"Pulumi.dev.yaml", "Pulumi.prod.yaml"}
    dev = settings_of(ROOT, ROOT / "Pulumi.dev.yaml", "dev")
    prod = settings_of(ROOT, ROOT / "Pulumi.prod.yaml", "prod")
    assert (dev.profile, dev.host.type, dev.accelerator.kind) == ("dev", "local", "cpu")
    assert (prod.profile, prod.host.type, prod.accelerator.kind) == ("prod", "aws", "nvidia")


def test_the_defaults_of_the_project_file_alone_are_a_stack(tmp_path: Path) -> None:
    stack = tmp_path / "Pulumi.empty.yaml"
    stack.write_text("config: {}\n", encoding="utf-8")
    assert settings_of(ROOT, stack, "empty").profile == "dev"


def test_every_section_is_declared_with_a_type_and_a_description_in_the_project_file() -> None:
    from scripts.stack_file import read_stack_file

    declared = read_stack_file(ROOT / "Pulumi.yaml")["config"]
    assert declared.keys() == Settings.model_fields.keys()
    assert all({"type", "description", "default"} <= entry.keys() for entry in declared.values())


def test_the_dev_profile_restarts_nothing_and_logs_debug() -> None:
    found = settings()
    for container in (found.ollama.container, found.postgres.container):
        assert (container.restart, container.log.max_size, container.log.max_file) == ("no", "10m", 3)
    assert found.ollama.variables()["OLLAMA_DEBUG"] == "1"


def test_the_prod_profile_always_restarts_and_keeps_larger_logs_without_debug() -> None:
    found = settings(profile="prod")
    for container in (found.ollama.container, found.postgres.container):
        assert (container.restart, container.log.max_size, container.log.max_file) == ("always", "100m", 5)
    assert "OLLAMA_DEBUG" not in found.ollama.variables()


def test_the_stack_file_wins_over_the_profile_key_by_key() -> None:
    found = settings(
        profile="prod", ollama={"container": {"log": {"max_file": 9}}}, postgres={"container": {"restart": "no"}}
    )
    assert (found.ollama.container.log.max_size, found.ollama.container.log.max_file) == ("100m", 9)
    assert found.ollama.container.restart == "always"
    assert found.postgres.container.restart == "no"


@pytest.mark.parametrize(
    ("preset", "parallel", "loaded", "keep_alive", "context"),
    [("default", None, None, None, "4096"), ("rag", "4", "2", "-1", "8192"), ("chat", "2", "1", "30m0s", "16384")],
)
def test_a_preset_says_exactly_its_own_variables(
    preset: str, parallel: str | None, loaded: str | None, keep_alive: str | None, context: str
) -> None:
    expected = {
        "OLLAMA_NUM_PARALLEL": parallel,
        "OLLAMA_MAX_LOADED_MODELS": loaded,
        "OLLAMA_KEEP_ALIVE": keep_alive,
        "OLLAMA_CONTEXT_LENGTH": context,
    }
    variables = settings(profile="prod", ollama={"preset": preset}).ollama.variables()
    assert variables == {name: value for name, value in expected.items() if value is not None}


def test_every_preset_is_tested_above() -> None:
    assert PRESETS.keys() == {"default", "rag", "chat"}


def test_an_explicit_value_wins_over_the_preset_and_leaves_the_rest_of_it() -> None:
    variables = settings(ollama={"preset": "rag", "environment": {"num_parallel": 1}}).ollama.variables()
    assert (variables["OLLAMA_NUM_PARALLEL"], variables["OLLAMA_MAX_LOADED_MODELS"]) == ("1", "2")


@pytest.mark.parametrize("name", ["flash_attention", "sched_spread", "noprune", "no_cloud"])
@pytest.mark.parametrize(("given", "text"), [(False, "0"), ("false", "0"), (True, "1"), ("true", "1")])
def test_an_explicit_false_reaches_the_server_as_one(name: str, given: object, text: str) -> None:
    variables = settings(ollama={"environment": {name: given}}).ollama.variables()
    assert variables[f"OLLAMA_{name.upper()}"] == text
    assert f"OLLAMA_{name.upper()}" not in settings().ollama.variables()


def test_every_variable_is_written_as_ollama_reads_it() -> None:
    environment = {
        "gpu_overhead": "512m",
        "load_timeout": "90s",
        "origins": ["https://a.example", "https://b.example"],
        "debug": 2,
        "kv_cache_type": "q8_0",
        "flash_attention": True,
        "keep_alive": 0,
        "max_queue": "64",
    }
    variables = settings(ollama={"preset": "default", "environment": environment}).ollama.variables()
    assert variables == {
        "OLLAMA_CONTEXT_LENGTH": "4096",
        "OLLAMA_DEBUG": "2",
        "OLLAMA_FLASH_ATTENTION": "1",
        "OLLAMA_GPU_OVERHEAD": str(512 * 1024 * 1024),
        "OLLAMA_KEEP_ALIVE": "0",
        "OLLAMA_KV_CACHE_TYPE": "q8_0",
        "OLLAMA_LOAD_TIMEOUT": "1m30s",
        "OLLAMA_MAX_QUEUE": "64",
        "OLLAMA_ORIGINS": "https://a.example,https://b.example",
    }


def test_extra_variables_are_text_whatever_the_stack_file_makes_of_them() -> None:
    extra = {"GODEBUG": "netdns=go", "OLLAMA_NEW_SWITCH": True, "OLLAMA_NEW_COUNT": 3}
    variables = settings(ollama={"extra_environment": extra}).ollama.variables()
    assert (variables["GODEBUG"], variables["OLLAMA_NEW_SWITCH"], variables["OLLAMA_NEW_COUNT"]) == (
        "netdns=go",
        "true",
        "3",
    )


def test_values_as_the_command_line_writes_them_are_read_for_what_they_are() -> None:
    found = settings(
        ollama={"port": "11500", "non_root": "true", "container": {"cpus": "1.5", "memory": "2g"}},
        postgres={"port": "5433", "version": "16", "tuning": {"max_connections": "20"}},
        accelerator={"kind": "nvidia", "gpus": "2"},
        models=[{"name": "a:1", "purpose": "embedding", "keep_alive": -1, "context": "512", "preload": "false"}],
    )
    assert (found.ollama.port, found.postgres.port, found.postgres.version) == (11500, 5433, 16)
    assert (found.ollama.container.cpus, found.ollama.container.memory) == (1.5, 2048)
    assert found.accelerator.gpus == 2
    assert found.ollama.non_root is True
    model = found.models[0]
    assert (model.keep_alive, model.context, model.preload) == ("-1", 512, False)


def test_gpu_ids_may_be_indices_and_uuids() -> None:
    uuid = "GPU-3a23c669-1f69-c64e-cf85-44e9b07e7a2a"
    assert settings(accelerator={"kind": "nvidia", "gpus": [0, uuid]}).accelerator.gpus == ("0", uuid)


def test_the_mirror_is_put_before_references_without_a_registry_of_their_own() -> None:
    found = settings(
        registry={"images": "mirror:5000/hub", "models": "mirror:5001"},
        images={"pgvector": "registry.example.com/pgvector:0.8.6-pg17"},
    )
    assert found.ollama_image == "mirror:5000/hub/ollama/ollama:0.32.15"
    assert found.pgvector_image == "registry.example.com/pgvector:0.8.6-pg17"
    assert found.model_source("all-minilm:22m") == "mirror:5001/library/all-minilm:22m"
    assert found.model_source("me/mine:1") == "mirror:5001/me/mine:1"
    assert found.model_source("hf.co/me/mine:q4") == "hf.co/me/mine:q4"
    assert settings().model_source("all-minilm:22m") == "all-minilm:22m"


def test_the_default_images_are_pinned_and_follow_accelerator_and_version() -> None:
    assert settings().ollama_image == "ollama/ollama:0.32.15"
    assert settings(accelerator={"kind": "rocm"}).ollama_image == "ollama/ollama:0.32.15-rocm"
    for version in (16, 17, 18):
        assert settings(postgres={"version": version}).pgvector_image == f"pgvector/pgvector:0.8.6-pg{version}"


def test_settings_cannot_be_changed_after_they_were_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings().ollama.port = 1  # type: ignore[misc]


def test_a_password_is_kept_and_not_shown() -> None:
    found = settings(postgres={"users": [{"name": "rag", "password": "correct horse battery"}]})
    password = found.postgres.users[0].password
    assert password is not None
    assert password.get_secret_value() == "correct horse battery"
    assert "horse" not in f"{found!r}{found}{found.model_dump_json()}"


def test_load_reads_the_configuration_that_the_engine_hands_over(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"ragstack:profile": "prod", "ragstack:models": json.dumps([EMBEDDING, CHAT])}
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(config))
    monkeypatch.setattr(pulumi, "get_project", lambda: PROJECT_NAME)
    monkeypatch.setattr(pulumi, "get_stack", lambda: "any")
    assert package.load().profile == "prod"
