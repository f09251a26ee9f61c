"""The runner against a real Docker engine: each test is one promise, on a program of its own."""

from __future__ import annotations

import json
import stat
import subprocess
import urllib.request
from typing import Any

import docker
import pytest
from docker.errors import NotFound

Program = Any  # the dataclass of conftest, which importlib mode keeps out of reach


def inspect(engine: docker.DockerClient, name: str) -> dict[str, Any]:
    attrs: dict[str, Any] = engine.api.inspect_container(name)
    return attrs


def test_preview_touches_nothing(program: Program, engine: docker.DockerClient) -> None:
    result = program.run("preview")
    assert result.code == 0, result.text
    assert set(result.ops().values()) == {"create"}
    assert not (program.folder / ".ragstack").exists()
    assert program.calls() == []
    assert not engine.volumes.list(filters={"name": program.prefix})
    assert not engine.containers.list(all=True, filters={"name": program.prefix})


def test_up_serves_and_the_second_run_changes_nothing(program: Program, engine: docker.DockerClient) -> None:
    first = program.up()
    assert "not the Pulumi engine" in first.text.splitlines()[0]
    with urllib.request.urlopen(first.document["outputs"]["url"], timeout=5) as answer:
        assert answer.read() == b"hello"
    assert first.document["outputs"]["stack"] == "trialfixture/dev"
    before, calls = inspect(engine, program.web), program.calls()

    second = program.up()

    after = inspect(engine, program.web)
    assert set(second.ops().values()) == {"same"}
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    assert program.calls() == calls == [["create", "note"]]


def test_containers_get_what_was_declared(program: Program, engine: docker.DockerClient) -> None:
    program.up()
    found = inspect(engine, program.web)
    host = found["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 64 * 1024 * 1024
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["LogConfig"]["Config"] == {"max-size": "1m"}
    assert host["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": program.config["port"]}]}
    assert found["Config"]["Labels"]["fixture.role"] == "web"
    assert found["Config"]["Healthcheck"]["Interval"] == 1_000_000_000
    assert len(found["NetworkSettings"]["Networks"]) == 2
    mode = engine.containers.get(program.web).exec_run(["/bin/busybox", "stat", "-c", "%a", "/run/secrets/password"])
    assert mode.output == b"400\n"


def test_a_change_replaces_only_what_it_concerns(program: Program, engine: docker.DockerClient) -> None:
    program.up()
    before = inspect(engine, program.web)["Id"]
    result = program.up(greeting="good day")
    changed = {name: op for name, op in result.ops().items() if op != "same"}
    assert changed == {"web-container": "replace", "note": "update"}
    assert inspect(engine, program.web)["Id"] != before
    assert program.calls()[-1] == ["update", "note"]


def test_a_changed_note_leaves_the_container_alone(program: Program, engine: docker.DockerClient) -> None:
    program.up()
    before = inspect(engine, program.web)["Id"]
    result = program.up(note="farewell")
    assert {name for name, op in result.ops().items() if op != "same"} == {"note"}
    assert inspect(engine, program.web)["Id"] == before


def test_undeclared_resources_are_removed(program: Program, engine: docker.DockerClient) -> None:
    program.up(extra="true")
    assert engine.containers.get(f"{program.prefix}-sleeper").status == "running"
    result = program.up(extra="false", switches="no-note")
    assert result.ops()["sleeper"] == result.ops()["note"] == "delete"
    with pytest.raises(NotFound):
        engine.containers.get(f"{program.prefix}-sleeper")
    assert program.calls()[-1] == ["delete", "note"]


def test_what_vanished_is_made_again_and_what_stopped_is_started(program: Program, engine: docker.DockerClient) -> None:
    program.up()
    container = engine.containers.get(program.web)
    container.kill()
    assert program.up().ops()["web-container"] == "update"
    assert inspect(engine, program.web)["Id"] == container.id
    engine.containers.get(program.web).remove(force=True)
    assert program.up().ops()["web-container"] == "create"


def test_no_secret_leaves_the_private_state_file(program: Program, engine: docker.DockerClient) -> None:
    result = program.up()
    secret = program.password()
    assert len(secret) == 24
    shown = program.run("outputs")
    assert shown.document["password"] == shown.document["database_url"] == "[secret]"
    assert program.run("outputs", "--show-secrets").document["password"] == secret
    everything = [result.text, json.dumps(result.document), shown.text, json.dumps(inspect(engine, program.web))]
    assert not [text for text in everything if secret in text]
    assert stat.S_IMODE(program.state_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(program.state_file.parent.stat().st_mode) == 0o700
    assert set(program.folder.rglob("*.json")) == {program.state_file}


def test_destroy_leaves_nothing_and_asks_for_a_yes(program: Program, engine: docker.DockerClient) -> None:
    program.up()
    assert "--yes" in program.run("destroy").text
    assert engine.containers.get(program.web)
    result = program.run("destroy", "--yes")
    assert result.code == 0, result.text
    order = [change["name"] for change in result.document["changes"]]
    assert order.index("note") < order.index("web-container") < order.index("private")
    assert order.index("web-container") < order.index("data")
    assert not engine.containers.list(all=True, filters={"name": program.prefix})
    assert not engine.volumes.list(filters={"name": program.prefix})
    assert not engine.networks.list(names=[f"{program.prefix}-private"])
    assert program.state()["resources"] == []


def test_a_retained_volume_survives_and_is_adopted_with_its_data(program: Program, engine: docker.DockerClient) -> None:
    program.up(switches="retain")
    engine.containers.get(program.web).exec_run(["/bin/busybox", "touch", "/data/kept"])
    assert program.run("destroy", "--yes").ops()["data"] == "retain"
    assert engine.volumes.get(f"{program.prefix}-data")
    program.up(switches="retain")
    found = engine.containers.get(program.web).exec_run(["/bin/busybox", "ls", "/data"])
    assert found.output == b"kept\n"


def test_deleted_with_spares_the_provider_the_call(program: Program) -> None:
    program.up(switches="deleted-with")
    result = program.run("destroy", "--yes")
    assert result.ops()["note"] == "delete"
    assert [call for call, _ in program.calls()] == ["create"]


def test_refresh_sees_drift_and_up_mends_it(program: Program, engine: docker.DockerClient) -> None:
    program.up()
    assert set(program.run("refresh").ops().values()) == {"same"}
    (program.notes / "note").write_text("scribbled")
    engine.containers.get(program.web).remove(force=True)
    drifted = program.run("refresh")
    assert drifted.ops()["note"] == "update"
    assert drifted.ops()["web-container"] == "forget"
    mended = program.up().ops()
    assert mended["note"] == "update"
    assert mended["web-container"] == "create"
    assert (program.notes / "note").read_text().startswith("hello")


def test_a_replaced_network_takes_its_containers_along(program: Program, engine: docker.DockerClient) -> None:
    program.up()
    main = program.folder / "__main__.py"
    main.write_text(main.read_text().replace("internal=True", "internal=False"))
    planned = program.run("preview").ops()
    assert planned["private"] == "replace"
    program.up()
    assert not engine.networks.get(f"{program.prefix}-private").attrs["Internal"]
    assert inspect(engine, program.web)["State"]["Running"]
    assert set(program.up().ops().values()) == {"same"}


def test_first_line_says_what_it_is(program: Program) -> None:
    process = program.start("outputs")
    out, _ = process.communicate(timeout=60)
    assert isinstance(process, subprocess.Popen)
    assert out.splitlines()[0] == "trial: a runner for development and live tests, not the Pulumi engine"


def test_a_provider_that_prints_its_secret_prints_a_mark(program: Program) -> None:
    notes = program.folder / "notes.py"
    notes.write_text(notes.read_text().replace('pulumi.log.info(f"writing', 'print(props); pulumi.log.info(f"writing'))
    main = program.folder / "__main__.py"
    main.write_text(main.read_text().replace('config.get("note") or config.require("greeting")', "password.result"))
    result = program.up()
    assert "'text': '[secret]" in result.text
    assert program.password() not in result.text


def test_what_depends_on_a_containers_id_goes_before_the_container_and_comes_back_after_it(
    program: Program, engine: docker.DockerClient
) -> None:
    program.up(switches="follower")
    before = inspect(engine, program.web)["Id"]
    calls = len(program.calls())
    preview = program.run("preview", switches="follower", greeting="good day")
    assert preview.ops()["follower"] == "replace"
    assert len(program.calls()) == calls

    result = program.up(switches="follower", greeting="good day")

    after = inspect(engine, program.web)["Id"]
    assert after != before
    followed = [call for call, title in program.calls()[calls:] if title == "follower"]
    assert followed == ["delete while running", "create"]
    # One that merely comes after it is left alone.
    assert [title for _, title in program.calls()[calls:] if title == "bystander"] == []
    assert result.ops()["bystander"] == "same"
    assert set(program.up(switches="follower", greeting="good day").ops().values()) == {"same"}
