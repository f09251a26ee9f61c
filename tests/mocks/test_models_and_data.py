"""Models as resources, images that are pulled or built, volumes that outlive everything, and the server's settings."""

from __future__ import annotations

from typing import Any

import pytest

from components.hosts.engine import Endpoint
from tests.mocks.recording import CONTAINER, DIMENSION, IMAGE, MODEL, MODELS, PROOF, VOLUME, run

PINNED = {
    "name": "all-minilm:22m",
    "purpose": "embedding",
    "digest": "sha256:" + "a" * 64,
    "preload": False,
    "keep_alive": "90s",
    "context": 256,
    "pull_timeout": "10m",
}


def test_a_model_resource_says_all_that_the_stack_file_says() -> None:
    declared = run(models=[PINNED]).named("models-all-minilm:22m")
    assert declared.inputs == {
        "endpoint": "http://127.0.0.1:11434",
        "name": "all-minilm:22m",
        "source": "all-minilm:22m",
        "insecure": False,
        "purpose": "embedding",
        "digest": "sha256:" + "a" * 64,
        "preload": False,
        "keep_alive": "1m30s",
        "context": 256,
        "pull": True,
        "pull_timeout_s": 600,
        "server": "id-of-ollama-container",
        "config_path": "ragstack:models[0]",
    }


def test_models_go_with_their_server_when_the_whole_stack_goes() -> None:
    models = run().of_type(MODEL)
    assert len(models) == len(MODELS)
    assert {model.deleted_with for model in models.values()} == {"ollama"}
    assert not any(model.protect or model.retain_on_delete for model in models.values())


def test_adding_a_model_changes_no_other_resource_but_the_proof() -> None:
    before = {one.name: one for one in run().resources if one.type != PROOF}
    more = run(models=[*MODELS, {"name": "nomic-embed-text:v1.5", "purpose": "embedding"}])
    after = {one.name: one for one in more.resources}
    assert after.keys() - before.keys() == {"models-nomic-embed-text:v1.5", "proof-inference"}
    assert {name: after[name] for name in before} == before
    assert more.exports["embedding_model"] == "all-minilm:22m"


def test_the_proof_follows_models_and_containers_and_its_connection_is_secret() -> None:
    recording = run()
    proof = recording.named("proof-inference")
    assert proof.depends_on >= {"ollama-container", "models-all-minilm:22m", "models-qwen2.5:0.5b", "database-rag"}
    assert "database_url" in proof.secret_inputs
    assert proof.secret_outputs == ("database_url",)
    assert proof.inputs["kind"] == "cpu"
    assert [server["container"] for server in proof.inputs["servers"]] == ["id-of-ollama-container"]
    assert [(model["name"], model["servers"]) for model in proof.inputs["models"]] == [
        ("all-minilm:22m", ["ollama-1"]),
        ("qwen2.5:0.5b", ["ollama-1"]),
    ]
    assert proof.inputs["dimension"] == DIMENSION
    assert recording.exports["doctor_command"] == "make doctor STACK=dev"


def test_models_are_pulled_from_the_mirror_under_their_own_name() -> None:
    registry = {"models": "host.docker.internal:5055", "models_insecure": True}
    recording = run(registry=registry, models=[*MODELS, {"name": "hf.co/me/mine:q4", "purpose": "chat"}])
    sources = {one.inputs["name"]: one.inputs["source"] for one in recording.of_type(MODEL).values()}
    assert sources == {
        "all-minilm:22m": "host.docker.internal:5055/library/all-minilm:22m",
        "qwen2.5:0.5b": "host.docker.internal:5055/library/qwen2.5:0.5b",
        "hf.co/me/mine:q4": "hf.co/me/mine:q4",
    }
    assert all(one.inputs["insecure"] is True for one in recording.of_type(MODEL).values())
    gateway = [{"host": "host.docker.internal", "ip": "host-gateway"}]
    assert recording.named("ollama-container").inputs["hosts"] == gateway


def test_a_mirror_elsewhere_needs_no_way_to_the_machine() -> None:
    recording = run(registry={"models": "mirror.example.com"})
    assert not recording.named("ollama-container").inputs.get("hosts")


def test_images_are_pulled_from_the_mirror_and_kept_when_the_stack_goes() -> None:
    images = run(registry={"images": "127.0.0.1:5055"}).of_type(IMAGE)
    assert {name: image.inputs for name, image in images.items()} == {
        "ollama-image": {"name": "127.0.0.1:5055/ollama/ollama:0.32.15", "keepLocally": True},
        "postgres-image": {"name": "127.0.0.1:5055/pgvector/pgvector:0.8.6-pg17", "keepLocally": True},
    }


def test_containers_refer_to_images_by_their_id() -> None:
    for name, container in run().of_type(CONTAINER).items():
        assert container.inputs["image"] == f"sha256:{name.removesuffix('-container')}-image"


def test_baked_models_are_built_into_an_image_and_never_pulled_or_kept_on_a_volume() -> None:
    registry = {"images": "127.0.0.1:5055", "models": "host.docker.internal:5055", "models_insecure": True}
    recording = run(registry=registry, ollama={"models_from": "image"})
    image = recording.named("ollama-image").inputs
    assert image["name"].startswith("ragstack-dev-ollama-baked:")
    assert image["keepLocally"] is True
    assert image["build"] == {
        "context": "images/ollama_baked",
        "buildArgs": {
            "BASE": "127.0.0.1:5055/ollama/ollama:0.32.15",
            "MODELS": "host.docker.internal:5055/library/all-minilm:22m=all-minilm:22m "
            "host.docker.internal:5055/library/qwen2.5:0.5b=qwen2.5:0.5b",
            "PULL_FLAGS": "--insecure",
        },
        "useLegacyBuilder": True,
        "extraHosts": ["host.docker.internal:host-gateway"],
        "remove": True,
    }
    assert set(recording.of_type(VOLUME)) == {"postgres-data"}
    assert "volumes" not in recording.named("ollama-container").inputs
    assert {one.inputs["pull"] for one in recording.of_type(MODEL).values()} == {False}


def test_a_non_root_server_is_a_derived_image_with_its_volume_in_that_users_home() -> None:
    recording = run(ollama={"non_root": True})
    image = recording.named("ollama-image").inputs
    assert image["name"].startswith("ragstack-dev-ollama-non-root:")
    assert image["build"]["context"] == "images/ollama_non_root"
    assert image["build"]["buildArgs"] == {"BASE": "ollama/ollama:0.32.15"}
    assert recording.named("ollama-models").inputs["name"] == "ragstack-dev-ollama-non-root"
    assert recording.named("ollama-container").inputs["volumes"] == [
        {"volumeName": "ragstack-dev-ollama-non-root", "containerPath": "/home/ollama/.ollama"}
    ]


def test_a_derived_image_has_another_tag_when_and_only_when_what_goes_into_it_differs() -> None:
    def tag(**sections: Any) -> str:
        name: str = run(**sections).named("ollama-image").inputs["name"]
        return name

    baked = {"models_from": "image"}
    assert tag(ollama=baked) == tag(ollama=baked | {"port": 11500})
    assert tag(ollama=baked) != tag(ollama=baked, models=MODELS[:1])
    assert tag(ollama=baked) != tag(ollama=baked, images={"ollama": "ollama/ollama:0.32.16"})


@pytest.mark.parametrize(("stack", "protect"), [("dev", False), ("prod", True)])
def test_volumes_are_retained_always_and_protected_in_prod_alone(stack: str, protect: bool) -> None:
    recording = run(stack=stack, host={"type": "local"})
    volumes = recording.of_type(VOLUME)
    assert set(volumes) == {"ollama-models", "postgres-data"}
    assert all(volume.retain_on_delete for volume in volumes.values())
    assert {volume.protect for volume in volumes.values()} == {protect}
    others = [one for one in recording.resources if one.type != VOLUME]
    assert not any(one.protect or one.retain_on_delete for one in others)


@pytest.mark.parametrize(
    ("version", "mount"),
    [(16, "/var/lib/postgresql/data"), (17, "/var/lib/postgresql/data"), (18, "/var/lib/postgresql")],
)
def test_the_data_volume_is_mounted_where_the_major_version_wants_it(version: int, mount: str) -> None:
    recording = run(postgres={"version": version})
    assert recording.named("postgres-image").inputs["name"] == f"pgvector/pgvector:0.8.6-pg{version}"
    assert recording.named("postgres-container").inputs["volumes"] == [
        {"volumeName": "ragstack-dev-postgres", "containerPath": mount}
    ]


def test_postgres_runs_as_its_own_user_by_the_start_script_with_its_tuning() -> None:
    inputs = (
        run(postgres={"tuning": {"maintenance_work_mem": "700m", "hnsw_ef_search": 80}})
        .named("postgres-container")
        .inputs
    )
    assert inputs["user"] == "999:999"
    assert inputs["shmSize"] == 700
    assert inputs["command"][0] == "postgres"
    assert inputs["command"][1::2] == ["-c"] * (len(inputs["command"]) // 2)
    assert {"maintenance_work_mem=700MB", "hnsw.ef_search=80"} <= set(inputs["command"][2::2])
    assert inputs["destroyGraceSeconds"] == 60
    script = inputs["entrypoints"][-1]
    uploaded = {upload["file"]: upload for upload in inputs["uploads"]}
    assert uploaded[script]["permissions"] == "0555"
    assert uploaded[script]["content"].startswith("#!/bin/bash")


def test_the_servers_environment_is_the_preset_then_the_stack_file_then_what_is_fixed() -> None:
    ollama = {
        "preset": "chat",
        "environment": {"num_parallel": 1, "flash_attention": False},
        "extra_environment": {"GODEBUG": "netdns=go", "NO_PROXY": "localhost,127.0.0.1,::1,mirror"},
    }
    envs = run(ollama=ollama).named("ollama-container").inputs["envs"]
    assert envs == [
        "GODEBUG=netdns=go",
        "NO_PROXY=localhost,127.0.0.1,::1,mirror",
        "OLLAMA_CONTEXT_LENGTH=16384",
        "OLLAMA_DEBUG=1",
        "OLLAMA_FLASH_ATTENTION=0",
        "OLLAMA_HOST=0.0.0.0:11434",
        "OLLAMA_KEEP_ALIVE=30m0s",
        "OLLAMA_MAX_LOADED_MODELS=1",
        "OLLAMA_NOPRUNE=1",
        "OLLAMA_NUM_PARALLEL=1",
        "no_proxy=localhost,127.0.0.1,::1",
    ]


def test_the_database_resource_says_all_that_the_stack_file_says() -> None:
    users = [{"name": "app"}, {"name": "eve", "role": "readonly"}]
    recording = run(postgres={"database": "facts", "users": users, "port": 5500, "extension_min_version": "0.8.2"})
    inputs = recording.named("database-facts").inputs
    assert [(user["name"], user["role"]) for user in inputs["users"]] == [("app", "app"), ("eve", "readonly")]
    assert (inputs["host"], inputs["port"], inputs["admin_user"]) == ("127.0.0.1", 5500, "postgres")
    assert (inputs["database"], inputs["extension_min_version"]) == ("facts", "0.8.2")
    assert inputs["server"] == "id-of-postgres-container"
    assert recording.exports["database_url"].startswith("postgresql://app:")
    assert recording.exports["database_url"].endswith("/facts")


def test_chosen_names_of_networks_and_volumes_are_used() -> None:
    recording = run(
        network={"private": "inner", "edge": "outer"}, ollama={"volume": "weights"}, postgres={"volume": "rows"}
    )
    assert recording.named("network-private").inputs["name"] == "inner"
    assert recording.named("network-edge").inputs["name"] == "outer"
    assert recording.named("ollama-models").inputs["name"] == "weights"
    assert recording.named("postgres-data").inputs["name"] == "rows"
    assert recording.exports["private_network"] == "inner"


def test_an_engine_found_by_a_context_with_certificates_is_named_by_that_context() -> None:
    endpoint = Endpoint(address="tcp://10.0.0.7:2376", context="lab")
    assert run(endpoint=endpoint).named("host-docker").inputs == {"context": "lab"}
