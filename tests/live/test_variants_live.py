"""The other ways to run Ollama: as an ordinary user, with models in the image, and natively outside the stack."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from components.models.api import OllamaClient
from scripts.env_file import write_env
from scripts.smoke import answer
from tests.doubles.metal_ollama import metal_in_front_of
from tests.live.fixtures_containers import OLLAMA_IMAGE, docker_client, free_port, running
from tests.live.live_stack import LiveStack

EMBEDDER = {"name": "all-minilm:22m", "purpose": "embedding"}


def test_the_non_root_image_serves_models_as_an_ordinary_user(make_stack: Callable[..., LiveStack]) -> None:
    stack = make_stack(ollama={"port": free_port(), "non_root": True, "container": {"memory": "2g"}}, models=[EMBEDDER])
    stack.up()
    found = stack.container("ollama")
    assert found["Config"]["User"] == "10001:10001"
    running_as = docker_client().containers.get(found["Id"]).exec_run(["id", "-u"])
    assert running_as.output.decode().strip() == "10001"
    answer(stack.outputs())
    assert stack.up().changed_nothing


def test_an_image_that_carries_its_models_pulls_nothing_and_needs_no_volume(
    make_stack: Callable[..., LiveStack],
) -> None:
    stack = make_stack(
        ollama={"port": free_port(), "models_from": "image", "container": {"memory": "2g"}}, models=[EMBEDDER]
    )
    up = stack.up()
    assert "pulling all-minilm" not in up.text
    found = stack.container("ollama")
    assert found["Mounts"] == []
    answer(stack.outputs())
    before = stack.lives()
    assert stack.up().changed_nothing
    assert stack.lives() == before


def test_the_apple_profile_uses_the_server_outside_docker_and_starts_none(make_stack: Callable[..., LiveStack]) -> None:
    # The native server is played by a container that the stack knows nothing about; there is no Mac here.
    port = free_port()
    with running(OLLAMA_IMAGE, 11434) as (_, behind), metal_in_front_of(f"http://127.0.0.1:{behind}", port) as url:
        OllamaClient(url).wait_ready(60)
        stack = make_stack(accelerator={"kind": "apple"}, ollama={"port": port}, models=[EMBEDDER])
        stack.up()
        outputs = stack.outputs()
        assert outputs["accelerator"] == "apple"
        assert outputs["ollama_url"] == f"http://127.0.0.1:{port}"
        assert outputs["ollama_internal_url"] == f"http://host.docker.internal:{port}"
        assert list(stack.lives()) == [f"{stack.prefix}-postgres"]
        answer(outputs)
        assert stack.up().changed_nothing
        assert stack.run("destroy").code == 0
        with OllamaClient(outputs["ollama_url"]) as ollama:
            assert ollama.find("all-minilm:22m") is not None


def test_the_apple_profile_without_its_server_is_refused_with_the_command(
    make_stack: Callable[..., LiveStack],
) -> None:
    stack = make_stack(accelerator={"kind": "apple"}, ollama={"port": free_port()}, models=[EMBEDDER])
    refused = stack.run("up")
    assert refused.code != 0
    assert "no native Ollama answers" in refused.text
    assert "brew services start ollama" in refused.text
    assert stack.lives() == {}


def test_a_given_password_of_any_printable_characters_works_from_stack_file_to_client(
    make_stack: Callable[..., LiveStack], tmp_path: Path
) -> None:
    password = r"""a'b"c%d\e f$g@h:/i?#"""
    stack = make_stack(models=[EMBEDDER])
    stack.config["postgres"] |= {"users": [{"name": "rag", "password": password}]}
    first = stack.up()
    outputs = stack.outputs()
    assert unquote(urlsplit(outputs["database_url"]).password or "") == password
    assert answer(outputs)
    write_env(tmp_path / ".env", outputs)
    # As a client's shell reads the file, not as it was written.
    read = subprocess.run(
        ["sh", "-c", '. "$1" && printf %s "$DATABASE_URL"', "sh", str(tmp_path / ".env")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert read.stdout == outputs["database_url"]
    second = stack.up()
    assert second.changed_nothing
    assert password not in first.text + second.text
    log = docker_client().containers.get(stack.container("postgres")["Id"]).logs().decode(errors="replace")
    assert password not in log
    # A first update has nothing to warn of, such as a membership revoked from one who has none.
    assert not re.findall(r"^.* WARNING: .*$", log, re.MULTILINE)
