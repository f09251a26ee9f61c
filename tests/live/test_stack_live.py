"""The dev stack on a real engine, real Ollama and real PostgreSQL. The tests share one stack and leave it up."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from components.models.api import OllamaClient
from scripts.env_file import variables
from scripts.smoke import RIGHT, answer
from tests.live.fixtures_containers import docker_client
from tests.live.live_stack import LiveStack, secrets_of

EMBEDDER = {"name": "all-minilm:22m", "purpose": "embedding"}
CHAT = {"name": "tiny-chat:random", "purpose": "chat"}
OTHER = {"name": "tiny-chat:other", "purpose": "chat", "preload": False}


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., LiveStack]) -> LiveStack:
    stack = make_stack(models=[EMBEDDER, CHAT])
    stack.up()
    return stack


@pytest.fixture
def settings(stack: LiveStack) -> Iterator[dict[str, Any]]:
    """The stack's sections; what a test changes is taken back and applied, so that the next finds the same stack."""
    before = copy.deepcopy(stack.config)
    yield stack.config
    if stack.config != before:
        stack.config = before
        stack.up()


def test_the_outputs_name_everything_a_client_needs(stack: LiveStack) -> None:
    outputs = stack.outputs()
    assert outputs["embedding_model"] == "all-minilm:22m"
    assert outputs["embedding_dimension"] == 384
    assert outputs["chat_models"] == ["tiny-chat:random"]
    assert outputs["accelerator"] == "cpu"
    assert outputs["hourly_cost_usd"] == 0
    assert outputs["ollama_url"].startswith("http://127.0.0.1:")
    assert variables(outputs)["EMBEDDING_DIMENSION"] == "384"
    with OllamaClient(outputs["ollama_url"]) as ollama:
        assert sorted(model["name"] for model in ollama.tags()) == ["all-minilm:22m", "tiny-chat:random"]


def test_a_question_finds_its_passage_through_real_ollama_and_real_pgvector(stack: LiveStack) -> None:
    hits = answer(stack.outputs())
    assert hits[0].text == RIGHT
    assert hits[0].distance < min(hit.distance for hit in hits[1:]) - 0.1


def test_a_second_up_changes_nothing_and_restarts_nothing(stack: LiveStack) -> None:
    before = stack.lives()
    assert stack.up().changed_nothing
    assert stack.run("preview").changed_nothing
    assert stack.lives() == before
    assert len(before) == 2


def test_a_refresh_sees_no_drift_where_there_is_none(stack: LiveStack) -> None:
    refreshed = stack.run("refresh")
    assert refreshed.code == 0, refreshed.text
    assert stack.run("preview").changed_nothing


def test_adding_and_removing_a_model_touches_no_container(stack: LiveStack, settings: dict[str, Any]) -> None:
    before = stack.lives()
    settings["models"] = [EMBEDDER, CHAT, OTHER]
    stack.up()
    with OllamaClient(stack.outputs()["ollama_url"]) as ollama:
        assert ollama.find("tiny-chat:other") is not None
        settings["models"] = [EMBEDDER, CHAT]
        stack.up()
        assert ollama.find("tiny-chat:other") is None
        assert ollama.find("tiny-chat:random") is not None
    assert stack.lives() == before


def test_a_container_setting_replaces_that_container_only_and_keeps_models_and_rows(
    stack: LiveStack, settings: dict[str, Any]
) -> None:
    with psycopg.connect(stack.outputs()["database_url"], autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (embedding vector(3))")
        connection.execute("TRUNCATE kept")
        connection.execute("INSERT INTO kept VALUES ('[1,2,3]')")
    before = stack.lives()
    settings["ollama"] = {**settings["ollama"], "environment": {"max_queue": 64}}
    stack.up()
    after = stack.lives()
    ollama, postgres = f"{stack.prefix}-ollama", f"{stack.prefix}-postgres"
    assert after[postgres] == before[postgres]
    assert after[ollama][0] != before[ollama][0]
    assert "OLLAMA_MAX_QUEUE=64" in stack.container("ollama")["Config"]["Env"]
    answer(stack.outputs())
    settings["postgres"] = {**settings["postgres"], "tuning": {"max_connections": 50}}
    stack.up()
    assert stack.lives()[postgres][0] != before[postgres][0]
    assert stack.lives()[ollama] == after[ollama]
    with psycopg.connect(stack.outputs()["database_url"]) as connection:
        assert connection.execute("SELECT embedding FROM kept").fetchall() == [("[1,2,3]",)]
        assert connection.execute("SHOW max_connections").fetchone() == ("50",)


def test_a_health_check_setting_reaches_the_container(stack: LiveStack, settings: dict[str, Any]) -> None:
    settings["ollama"] = {**settings["ollama"], "container": {"memory": "2g", "health": {"interval": "7s"}}}
    stack.up()
    assert stack.container("ollama")["Config"]["Healthcheck"]["Interval"] == 7_000_000_000


def test_a_container_that_was_killed_or_removed_comes_back(stack: LiveStack) -> None:
    client = docker_client()
    client.containers.get(f"{stack.prefix}-ollama").remove(force=True)
    client.containers.get(f"{stack.prefix}-postgres").kill()
    stack.up()
    answer(stack.outputs())


def test_a_model_removed_by_hand_is_drift_that_the_next_up_mends(stack: LiveStack) -> None:
    with OllamaClient(stack.outputs()["ollama_url"]) as ollama:
        ollama.delete("tiny-chat:random")
        assert stack.run("refresh").code == 0
        stack.up()
        assert ollama.find("tiny-chat:random") is not None


@pytest.mark.parametrize("service", ["ollama", "postgres"])
def test_inspect_shows_no_privilege_no_secret_and_what_was_declared(stack: LiveStack, service: str) -> None:
    found = stack.container(service)
    host = found["HostConfig"]
    assert not host["Privileged"]
    assert host["CapAdd"] is None
    assert [name.removeprefix("CAP_") for name in host["CapDrop"]] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] == host["MemorySwap"] == {"ollama": 2, "postgres": 1}[service] * 1024**3
    assert host["NanoCpus"] > 0
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert host["RestartPolicy"]["Name"] in ("no", "")
    assert found["State"]["Health"]["Status"] == "healthy"
    bindings = [binding for bound in host["PortBindings"].values() for binding in bound]
    assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]
    for secret in secrets_of(stack.outputs()):
        assert len(secret) >= 32
        assert secret not in json.dumps(found)


def test_no_secret_stands_in_the_containers_logs(stack: LiveStack) -> None:
    client = docker_client()
    for service in ("ollama", "postgres"):
        log = client.containers.get(f"{stack.prefix}-{service}").logs().decode(errors="replace")
        assert log
        assert not any(secret in log for secret in secrets_of(stack.outputs()))


def test_the_private_network_has_no_way_out_and_joins_the_services(stack: LiveStack) -> None:
    client = docker_client()
    private = client.networks.get(f"{stack.prefix}-private")
    assert private.attrs["Internal"]
    image = stack.container("postgres")["Image"]
    reach = "exec 3<>/dev/tcp/ollama/11434 && exec 4<>/dev/tcp/postgres/5432 && echo both"
    said = client.containers.run(
        image, ["-c", reach], entrypoint="/bin/bash", network=private.name, user="999:999", remove=True
    )
    assert said.decode().strip() == "both"


def test_the_application_user_can_do_no_more_than_it_needs(stack: LiveStack) -> None:
    with psycopg.connect(stack.outputs()["database_url"], autocommit=True) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row == (False, False, False)
        for refused in ("CREATE EXTENSION pg_trgm", "CREATE TABLE public.t (i int)", "SELECT * FROM pg_authid"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused)


def test_down_leaves_only_volumes_and_up_finds_rows_and_models_again(stack: LiveStack) -> None:
    with psycopg.connect(stack.outputs()["database_url"], autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS outlives (what text)")
        connection.execute("INSERT INTO outlives VALUES ('the stack')")
    destroyed = stack.run("destroy")
    assert destroyed.code == 0, destroyed.text
    client = docker_client()
    assert stack.lives() == {}
    assert [network.name for network in client.networks.list() if network.name.startswith(stack.prefix)] == []
    volumes = {volume.name for volume in client.volumes.list() if volume.name.startswith(stack.prefix)}
    assert volumes == {f"{stack.prefix}-ollama", f"{stack.prefix}-postgres"}
    again = stack.up()
    assert "pulling" not in again.text
    with psycopg.connect(stack.outputs()["database_url"]) as connection:
        assert connection.execute("SELECT DISTINCT what FROM outlives").fetchall() == [("the stack",)]
