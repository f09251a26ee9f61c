"""The package-built images and models, pulled and run as a stack would; skipped where no Docker engine answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
import yaml
from docker.errors import NotFound
from docker.models.containers import Container

from components.errors import StackError
from images.stand_ins import cache, catalogue, pipeline, registry
from images.stand_ins.importable import tiny_chat
from tests.live.fixtures_containers import docker_client

START_TIMEOUT_S = 60
LABEL = "ragstack.test"
PG_READY = ("pg_isready", "-h", "127.0.0.1")


@pytest.fixture(scope="module")
def engine() -> docker.DockerClient:
    return docker_client()


@pytest.fixture(scope="module")
def running(engine: docker.DockerClient) -> registry.Registry:
    if os.geteuid() != 0:
        pytest.skip("stand-ins are built as root")
    pipeline.up()
    return registry.ensure(engine)


@pytest.fixture
def run(engine: docker.DockerClient) -> Iterator[Callable[..., Container]]:
    """Starts containers that are gone, with their volumes, after the test."""
    started: list[Container] = []

    def start(image: str, **options: Any) -> Container:
        name = f"ragstack-test-{uuid.uuid4().hex[:8]}"
        reference = f"{registry.IMAGES_AT}/{image}"
        engine.images.pull(reference)
        started.append(engine.containers.run(reference, name=name, detach=True, labels={LABEL: "1"}, **options))
        return started[-1]

    yield start
    for container in started:
        with suppress(NotFound):
            container.remove(force=True, v=True)


@pytest.fixture
def ollama(engine: docker.DockerClient, running: registry.Registry, run: Callable[..., Container]) -> Iterator[str]:
    """The URL of an Ollama without models, on a network of its own that reaches the registry through the host."""
    network = engine.networks.create(f"ragstack-test-{uuid.uuid4().hex[:8]}", labels={LABEL: "1"})
    try:
        container = run(
            _image("ollama"),
            network=network.name,
            extra_hosts=registry.HOST_ALIAS,
            ports={"11434/tcp": ("127.0.0.1", 0)},
        )
        container.reload()
        bindings = container.ports["11434/tcp"]
        assert bindings
        url = f"http://127.0.0.1:{bindings[0]['HostPort']}"
        _wait(lambda: _answers(f"{url}/api/version"), "Ollama answers")
        yield url
        container.remove(force=True, v=True)
    finally:
        network.remove()


def test_second_up_builds_pushes_and_restarts_nothing(
    running: registry.Registry, engine: docker.DockerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _state(engine, running)
    pipeline.up()
    printed = capsys.readouterr()
    assert _state(engine, running) == before
    assert printed.out.count("is up to date") == len(catalogue.IMAGES) + len(catalogue.MODELS)
    assert "==>" not in printed.err


def test_a_name_whose_inputs_changed_or_that_was_never_pushed_is_not_held(running: registry.Registry) -> None:
    image = catalogue.IMAGES[0]
    assert running.holds(image.repository, image.tag, image.key)
    assert not running.holds(image.repository, image.tag, "another-key")
    assert not running.holds(image.repository, "never-pushed", image.key)


def test_the_registry_listens_on_loopback_and_the_bridge_only(
    running: registry.Registry, engine: docker.DockerClient
) -> None:
    bindings = engine.containers.get(registry.NAME).attrs["HostConfig"]["PortBindings"]
    addresses = {binding["HostIp"] for port in bindings.values() for binding in port}
    assert addresses == {"127.0.0.1", running.gateway}


def test_ollama_pulls_the_embedding_model_and_tells_paraphrases_from_unrelated_lines(ollama: str) -> None:
    model = _pull(ollama, "all-minilm:22m")
    lines = ["The cat sits on the mat.", "A feline rests on a rug.", "Interest rates rose again."]
    answer = requests.post(f"{ollama}/api/embed", json={"model": model, "input": lines}, timeout=60).json()
    cat, feline, rates = answer["embeddings"]
    assert len(cat) == 384
    assert _dot(cat, feline) > _dot(cat, rates) + 0.3


def test_ollama_pulls_the_tiny_chat_model_which_answers_printable_noise_of_the_length_asked_for(ollama: str) -> None:
    model = _pull(ollama, "tiny-chat:random")
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "stream": False}
    answer = requests.post(f"{ollama}/api/chat", json={**body, "options": {"num_predict": 40}}, timeout=60).json()
    assert answer["eval_count"] == 40
    assert answer["message"]["content"].isprintable()
    long = {"options": {"num_predict": 1, "num_ctx": 8192}, "messages": [{"role": "user", "content": "x" * 6000}]}
    answer = requests.post(f"{ollama}/api/chat", json={**body, **long}, timeout=120).json()
    assert 6000 < answer["prompt_eval_count"] < 8192


def test_pulled_ollama_is_like_the_original_where_health_checks_care(
    running: registry.Registry, run: Callable[..., Container]
) -> None:
    container = run(_image("ollama"))
    _wait(lambda: _exec(container, "ollama", "list")[0] == 0, "`ollama list` answers")
    for tool in ("curl", "wget"):
        assert _exec(container, "bash", "-c", f"command -v {tool}")[0] == 1
    assert catalogue.OLLAMA_VERSION in _exec(container, "/bin/ollama", "--version")[1]


def test_postgres_starts_without_root_or_capabilities_and_makes_the_vector_extension(
    running: registry.Registry, run: Callable[..., Container], tmp_path: Path
) -> None:
    secret, script = tmp_path / "password", tmp_path / "10-table.sql"
    secret.write_text("correct horse\n")
    script.write_text("CREATE EXTENSION vector; CREATE TABLE notes (embedding vector(3));")
    for path in (tmp_path, secret, script):
        path.chmod(0o755)
    container = run(
        _image("pgvector"),
        user="999:999",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        environment={"POSTGRES_PASSWORD_FILE": "/run/secret", "POSTGRES_USER": "owner", "POSTGRES_DB": "rag"},
        volumes=[f"{secret}:/run/secret:ro", f"{script}:/docker-entrypoint-initdb.d/10-table.sql:ro"],
    )
    _wait(lambda: _exec(container, *PG_READY)[0] == 0, "PostgreSQL answers")
    sql = "INSERT INTO notes VALUES ('[1,2,3]'); SELECT embedding <-> '[1,2,4]' FROM notes"
    assert _psql(container, sql, password="correct horse") == (0, "INSERT 0 1\n1\n")
    code, output = _psql(container, "SELECT 1", password="wrong")
    assert code != 0
    assert "password authentication failed" in output


def test_postgres_started_as_root_keeps_its_rows_and_drops_to_its_own_user(
    running: registry.Registry, run: Callable[..., Container]
) -> None:
    container = run(_image("pgvector"), environment={"POSTGRES_PASSWORD": "secret"}, command=["-c", "work_mem=7MB"])
    _wait(lambda: _exec(container, *PG_READY)[0] == 0, "PostgreSQL answers")
    assert _exec(container, "stat", "--format=%u", "/proc/1") == (0, "999\n")
    _psql(container, "CREATE DATABASE kept", password="secret", user="postgres", database="postgres")
    container.restart()
    _wait(lambda: _exec(container, *PG_READY)[0] == 0, "PostgreSQL answers again")
    sql = "SHOW work_mem"
    assert _psql(container, sql, password="secret", user="postgres", database="kept") == (0, "7MB\n")


def test_postgres_refuses_to_start_without_a_password(
    running: registry.Registry, run: Callable[..., Container]
) -> None:
    container = run(_image("pgvector"))
    assert container.wait(timeout=START_TIMEOUT_S)["StatusCode"] == 1
    assert b"set POSTGRES_PASSWORD_FILE" in container.logs()


def test_the_overlay_points_at_what_the_catalogue_pushes() -> None:
    printed = _command("overlay")
    assert printed.returncode == 0
    overlay = yaml.safe_load(printed.stdout)
    assert overlay["registry"] == {
        "images": registry.IMAGES_AT,
        "models": registry.MODELS_AT,
        "models_insecure": True,
    }
    assert set(overlay["images"].values()) == {image.name for image in catalogue.IMAGES}
    assert {model["purpose"] for model in overlay["models"]} == {"chat", "embedding"}


def test_a_missing_engine_is_one_message_and_exit_code_1() -> None:
    ended = _command("up", DOCKER_HOST="unix:///nonexistent.sock") if os.geteuid() == 0 else _command("up")
    assert ended.returncode == 1
    assert "mend:" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_up_without_root_is_refused_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(StackError, match="as root"):
        pipeline.up()


def test_the_same_seed_gives_the_same_chat_model_and_another_seed_another(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the Python package gguf is not installed")
    digests = []
    for number, seed in enumerate((1, 1, 2)):
        tiny_chat.write(tmp_path / str(number), seed)
        digests.append(cache.sha256_of(tmp_path / str(number)))
    assert digests[0] == digests[1] != digests[2]


def _image(setting: str) -> str:
    return next(image.name for image in catalogue.IMAGES if image.setting == setting)


def _state(engine: docker.DockerClient, running: registry.Registry) -> list[object]:
    container = engine.containers.get(registry.NAME)
    digests = [running.digest(image.repository, image.tag) for image in catalogue.IMAGES]
    return [container.id, container.attrs["State"]["StartedAt"], registry.snapshot().stat().st_mtime_ns, *digests]


def _pull(url: str, model: str) -> str:
    name = f"{registry.MODELS_AT}/library/{model}"
    answer = requests.post(f"{url}/api/pull", json={"model": name, "insecure": True}, timeout=120)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[-1] == {"status": "success"}
    assert any(line.get("completed") for line in lines), "a pull shows progress"
    return name


def _psql(
    container: Container, sql: str, *, password: str, user: str = "owner", database: str = "rag"
) -> tuple[int, str]:
    url = f"postgresql://{user}@127.0.0.1/{database}"
    return _exec(container, "psql", "-At", "-c", sql, url, PGPASSWORD=password)


def _exec(container: Container, *command: str, **environment: str) -> tuple[int, str]:
    code, output = container.exec_run(list(command), environment=environment)
    assert isinstance(code, int)
    assert isinstance(output, bytes)
    return code, output.decode()


def _command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "images.stand_ins", *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def _wait(until: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not until():
        assert time.monotonic() < deadline, f"not within {START_TIMEOUT_S} s: {what}"
        time.sleep(0.2)


def _dot(left: list[float], right: list[float]) -> float:
    return sum(x * y for x, y in zip(left, right, strict=True))


def test_the_haproxy_image_is_what_a_gateway_needs(running: registry.Registry, run: Callable[..., Container]) -> None:
    image = next(one for one in catalogue.IMAGES if one.setting == "haproxy")
    container = run(image.name, command=["sleep", "60"])
    said = container.exec_run(["haproxy", "-vv"]).output.decode()
    assert catalogue.HAPROXY_VERSION in said
    for built_in in ("+LUA", "+PROMEX", "+OPENSSL"):
        assert built_in in said
    assert container.exec_run(["sh", "-c", "id -u; id -g"]).output.split() == [b"99", b"99"]
    assert container.exec_run(["bash", "-c", "true"]).exit_code == 0


def test_the_caddy_image_has_the_official_ones_version_folders_and_capability(
    running: registry.Registry, run: Callable[..., Container]
) -> None:
    image = next(one for one in catalogue.IMAGES if one.setting == "caddy")
    container = run(image.name, command=["sleep", "60"])
    assert container.exec_run(["caddy", "version"]).output.decode().startswith(f"v{catalogue.CADDY_VERSION}")
    assert container.exec_run(["sh", "-c", "echo $XDG_DATA_HOME"]).output.strip() == b"/data"
    assert b"cap_net_bind_service=ep" in container.exec_run(["getcap", "/usr/bin/caddy"]).output
