"""The dev stack as the program declares it: these resources, hardened like this, and nothing else."""

from __future__ import annotations

import ast
import re

import pytest

from components.settings.types import canonical_duration
from tests.mocks.recording import (
    CONTAINER,
    DATABASE,
    DIMENSION,
    GENERATED,
    IMAGE,
    MODEL,
    NETWORK,
    PASSWORD,
    PROGRAM,
    PROOF,
    PROVIDER,
    VOLUME,
    Declared,
    dev,
    prod_here,
    run,
)

# The design's contract. What answers to `doctor_command` is not there yet.
CONTRACT = {
    "ollama_url",
    "gateway_url",
    "api_keys",
    "database_url",
    "chat_models",
    "embedding_model",
    "embedding_dimension",
    "accelerator",
    "host_address",
    "hourly_cost_usd",
}


STACKS = {"dev": dev, "prod": prod_here}
both_stacks = pytest.mark.parametrize("stack", STACKS)
both_containers = pytest.mark.parametrize("name", ["ollama-container", "postgres-container"])


def container(stack: str, name: str) -> Declared:
    return STACKS[stack]().of_type(CONTAINER)[name]


def test_the_dev_stack_declares_exactly_these_resources() -> None:
    assert {(resource.type, resource.name) for resource in dev().resources if resource.custom} == {
        (PROVIDER, "host-docker"),
        (NETWORK, "network-private"),
        (NETWORK, "network-edge"),
        (IMAGE, "ollama-image"),
        (VOLUME, "ollama-models"),
        (CONTAINER, "ollama-container"),
        (PASSWORD, "postgres-admin-password"),
        (IMAGE, "postgres-image"),
        (VOLUME, "postgres-data"),
        (CONTAINER, "postgres-container"),
        (MODEL, "models-all-minilm:22m"),
        (MODEL, "models-qwen2.5:0.5b"),
        (PASSWORD, "database-rag-password"),
        (DATABASE, "database-rag"),
        (PROOF, "proof-inference"),
    }


def test_components_have_stable_tokens() -> None:
    assert {(resource.type, resource.name) for resource in dev().resources if not resource.custom} == {
        ("ragstack:hosts:LocalHost", "host"),
        ("ragstack:services:Networks", "network"),
        ("ragstack:services:Gateway", "gateway"),
        ("ragstack:services:OllamaServer", "ollama"),
        ("ragstack:services:Pgvector", "postgres"),
        ("ragstack:models:Models", "models"),
        ("ragstack:database:RagDatabase", "database"),
        ("ragstack:proof:Proof", "proof"),
    }


@both_stacks
def test_nothing_on_the_engine_at_hand_belongs_to_aws(stack: str) -> None:
    assert not [resource.type for resource in STACKS[stack]().resources if "aws" in resource.type]


@both_stacks
def test_every_resource_has_the_component_it_is_named_after_for_a_parent(stack: str) -> None:
    for resource in STACKS[stack]().resources:
        parent = resource.name.split("-", 1)[0] if resource.custom else f"ragstack-{stack}"
        assert resource.parent == parent, resource.name


@both_stacks
def test_every_docker_resource_uses_the_hosts_provider_and_none_the_default_one(stack: str) -> None:
    docker = [resource for resource in STACKS[stack]().resources if resource.type.startswith("docker:")]
    # The prod profile has the gateway's image and container.
    assert len(docker) == {"dev": 8, "prod": 10}[stack]
    assert {resource.provider for resource in docker} == {"host-docker"}


def test_the_provider_talks_to_the_engine_that_was_surveyed() -> None:
    assert dev().named("host-docker").inputs == {"host": "unix:///the/engine.sock"}
    assert dev().surveys == 1


@both_stacks
@both_containers
def test_every_container_is_stripped_of_privilege(stack: str, name: str) -> None:
    inputs = container(stack, name).inputs
    assert inputs["privileged"] is False
    assert inputs["capabilities"] == {"drops": ["ALL"]}
    assert inputs["securityOpts"] == ["no-new-privileges:true"]
    for field in (
        "networkMode",
        "pidMode",
        "ipcMode",
        "usernsMode",
        "cgroupnsMode",
        "mounts",
        "devices",
        "runtime",
        "gpus",
    ):
        assert field not in inputs


@both_stacks
@both_containers
def test_every_container_has_limits_that_docker_reports_back_as_they_are(stack: str, name: str) -> None:
    inputs = container(stack, name).inputs
    assert inputs["memory"] == inputs["memorySwap"] >= 1024
    assert re.fullmatch(r"\d+\.\d+", inputs["cpus"])
    assert float(inputs["cpus"]) >= 1


@both_containers
def test_declared_limits_reach_the_container(name: str) -> None:
    limits = {"memory": "3g", "memory_reservation": "1g", "cpus": 1.5}
    recording = run(ollama={"container": limits}, postgres={"container": limits})
    inputs = recording.named(name).inputs
    assert (inputs["memory"], inputs["memorySwap"], inputs["memoryReservation"]) == (3072, 3072, 1024)
    assert inputs["cpus"] == "1.5"


@pytest.mark.parametrize(
    ("stack", "restart", "size", "files"), [("dev", "no", "10m", "3"), ("prod", "always", "100m", "5")]
)
@both_containers
def test_restart_policy_and_log_rotation_follow_the_profile(
    name: str, stack: str, restart: str, size: str, files: str
) -> None:
    inputs = container(stack, name).inputs
    assert inputs["restart"] == restart
    assert inputs["logDriver"] == "json-file"
    assert inputs["logOpts"] == {"max-size": size, "max-file": files}


@both_stacks
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("ollama-container", ["CMD", "ollama", "list"]),
        ("postgres-container", ["CMD", "pg_isready", "--quiet", "--host=127.0.0.1", "--username=postgres"]),
    ],
)
def test_every_container_has_a_health_check_in_canonical_durations_and_is_waited_for(
    stack: str, name: str, command: list[str]
) -> None:
    inputs = container(stack, name).inputs
    health = inputs["healthcheck"]
    assert health["tests"] == command
    for field in ("interval", "timeout", "startPeriod"):
        assert health[field] == canonical_duration(health[field])
    assert health["retries"] >= 1
    assert inputs["wait"] is True
    assert inputs["waitTimeout"] > 60


def test_health_check_timings_of_the_stack_file_are_made_canonical() -> None:
    health = {"interval": "90s", "timeout": "1500ms", "start_period": "120s", "retries": 3}
    declared = run(ollama={"container": {"health": health}}).named("ollama-container").inputs
    expected = {"interval": "1m30s", "timeout": "1.5s", "startPeriod": "2m0s", "retries": 3}
    assert declared["healthcheck"].items() >= expected.items()
    assert declared["waitTimeout"] >= 120 + 3 * 91


@both_stacks
def test_ports_are_published_on_loopback_only(stack: str) -> None:
    ports = {name: one.inputs["ports"] for name, one in STACKS[stack]().of_type(CONTAINER).items()}
    gateway = {
        "gateway-container": [
            {"internal": 11433, "external": 11433, "ip": "127.0.0.1"},
            {"internal": 8405, "external": 8405, "ip": "127.0.0.1"},
        ]
    }
    assert ports == (gateway if stack == "prod" else {}) | {
        "ollama-container": [{"internal": 11434, "external": 11434, "ip": "127.0.0.1"}],
        "postgres-container": [{"internal": 5432, "external": 5432, "ip": "127.0.0.1"}],
    }


def test_chosen_ports_and_addresses_are_published_and_exported() -> None:
    recording = run(ollama={"bind": "::1", "port": 11500}, postgres={"port": 5500, "bind": "127.0.0.2"})
    assert recording.named("ollama-container").inputs["ports"] == [{"internal": 11434, "external": 11500, "ip": "::1"}]
    assert recording.named("postgres-container").inputs["ports"] == [
        {"internal": 5432, "external": 5500, "ip": "127.0.0.2"}
    ]
    assert recording.exports["ollama_url"] == "http://[::1]:11500"
    assert "@127.0.0.2:5500/" in recording.exports["database_url"]
    assert recording.exports["ollama_internal_url"] == "http://ragstack-dev-ollama:11434"


@both_stacks
def test_every_object_that_docker_can_label_carries_the_stacks_label(stack: str) -> None:
    labelled = [one for one in STACKS[stack]().resources if one.type in (CONTAINER, NETWORK, VOLUME)]
    assert len(labelled) == {"dev": 6, "prod": 7}[stack]
    for resource in labelled:
        assert resource.inputs["labels"] == [{"label": "io.ragstack.stack", "value": f"ragstack-{stack}"}]
        assert resource.inputs["name"].startswith(f"ragstack-{stack}-")


@both_containers
def test_changes_that_docker_would_ignore_or_that_cost_the_gpu_replace_the_container(name: str) -> None:
    declared = container("dev", name)
    assert set(declared.replace_on_changes) >= {"healthcheck", "tmpfs", "memory", "memorySwap", "cpus", "restart"}
    assert declared.delete_before_replace


def test_the_private_network_has_no_way_out_and_both_containers_join_both() -> None:
    networks = dev().of_type(NETWORK)
    assert networks["network-private"].inputs["internal"] is True
    assert not networks["network-edge"].inputs.get("internal")
    for name, alias in (("ollama-container", "ollama"), ("postgres-container", "postgres")):
        joined = {one["name"]: one["aliases"] for one in container("dev", name).inputs["networksAdvanced"]}
        assert joined == {"ragstack-dev-private": [alias], "ragstack-dev-edge": [alias]}


def test_the_program_exports_every_key_of_the_contract() -> None:
    calls = [node for node in ast.walk(ast.parse(PROGRAM.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    exported = {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "export"
        and isinstance(call.args[0], ast.Constant)
    }
    assert exported >= CONTRACT
    # The runtime leaves out what is None, as the gateway's address is for now.
    assert dev().exports.keys() >= CONTRACT - {"gateway_url"}


def test_exports_tell_a_client_what_it_needs_and_mark_what_is_secret() -> None:
    recording = dev()
    assert recording.secret_exports == {"database_url", "api_keys"}
    assert recording.exports["ollama_url"] == "http://127.0.0.1:11434"
    assert recording.exports["embedding_model"] == "all-minilm:22m"
    assert recording.exports["embedding_dimension"] == DIMENSION
    assert recording.exports["chat_models"] == ["qwen2.5:0.5b"]
    assert recording.exports["database_url"].startswith(f"postgresql://rag:{GENERATED}-of-database-rag-password@")
    assert (recording.exports["accelerator"], recording.exports["hourly_cost_usd"]) == ("cpu", 0)


def test_a_stack_without_an_embedding_model_says_so_by_leaving_it_out() -> None:
    recording = run(ollama={"preset": "chat"}, models=[{"name": "qwen2.5:0.5b", "purpose": "chat"}])
    assert recording.error is None
    assert not {"embedding_model", "embedding_dimension"} & recording.exports.keys()


def test_settings_that_cannot_work_declare_nothing_and_ask_no_engine() -> None:
    recording = run(ollama={"port": 0})
    assert "ragstack:ollama.port" in str(recording.error)
    assert recording.resources == []
    assert recording.surveys == 0
    assert recording.exports == {}
