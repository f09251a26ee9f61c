"""What the runner refuses, and what it leaves behind when it is stopped: on a real Docker engine."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import docker
import pytest

Program = Any  # the dataclass of conftest, which importlib mode keeps out of reach
PATIENCE_S = 60
# Put into a program: says that it runs, then waits until it may go on, but not for ever.
HOLD = """
import time
from pathlib import Path
Path({begun!r}).touch()
deadline = time.monotonic() + 60
while not Path({may_end!r}).exists() and time.monotonic() < deadline:
    time.sleep(0.05)
"""


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, f"nothing happened within {PATIENCE_S} s"
        time.sleep(0.05)


def test_a_protected_volume_stops_a_destroy_before_it_begins(program: Program, engine: docker.DockerClient) -> None:
    program.up(switches="protect")
    result = program.run("destroy", "--yes")
    assert result.code == 1
    assert "data" in result.text
    assert "protected" in result.text
    assert engine.containers.get(program.web).status == "running"
    assert engine.volumes.get(f"{program.prefix}-data")


def test_a_protected_volume_stops_a_replacement_before_it_begins(program: Program) -> None:
    program.up(switches="protect")
    (program.folder / "__main__.py").write_text(
        (program.folder / "__main__.py").read_text().replace('f"{prefix}-data"', 'f"{prefix}-data2"')
    )
    result = program.run("up", switches="protect", greeting="changed")
    assert result.code == 1
    assert "protected" in result.text
    assert program.calls() == [["create", "note"]]


@pytest.mark.parametrize(
    ("switches", "named"),
    [("unknown-field", "attach"), ("unsupported", "aws:ec2/instance:Instance"), ("user-error", "asked to fail")],
)
def test_what_cannot_be_done_is_refused_before_anything_is_created(
    program: Program, engine: docker.DockerClient, switches: str, named: str
) -> None:
    result = program.run("up", switches=switches, extra="true")
    assert result.code == 1
    assert named in result.text
    assert "Traceback" not in result.text
    assert not engine.volumes.list(filters={"name": program.prefix})
    assert not engine.containers.list(all=True, filters={"name": program.prefix})


def test_a_taken_port_names_the_port_and_the_next_run_converges(program: Program, engine: docker.DockerClient) -> None:
    holder = engine.containers.run(
        program.config["image"],
        ["/bin/busybox", "sleep", "600"],
        name=f"{program.prefix}-holder",
        ports={"80/tcp": ("127.0.0.1", int(program.config["port"]))},
        detach=True,
    )
    result = program.run("up")
    assert result.code == 1
    assert program.config["port"] in result.text
    assert "Traceback" not in result.text
    holder.remove(force=True)
    assert program.up().ops()["web-container"] in ("replace", "create")


def test_a_container_that_exits_shows_its_last_words(program: Program) -> None:
    main = program.folder / "__main__.py"
    main.write_text(
        main.read_text().replace('["/bin/busybox", "httpd"', '["/bin/busybox", "echo", "no such luck"] or ["httpd"')
    )
    result = program.run("up")
    assert result.code == 1
    assert "no such luck" in result.text
    assert "Traceback" not in result.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_converges(program: Program, engine: docker.DockerClient, number: signal.Signals) -> None:
    main = program.folder / "__main__.py"
    never = main.read_text().replace('"-f", "/www/index.html"]', '"-f", "/never"]')
    good = main.read_text()
    main.write_text(never)
    process = program.start("up")
    wait_for(lambda: bool(engine.containers.list(filters={"name": program.web})))
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "run again to converge" in out
    main.write_text(good)
    program.up()
    assert engine.api.inspect_container(program.web)["State"]["Health"]["Status"] == "healthy"
    assert set(program.up().ops().values()) == {"same"}


def test_two_runs_at_once_are_refused(program: Program) -> None:
    program.up()
    main = program.folder / "__main__.py"
    begun, may_end = program.folder / "begun", program.folder / "may-end"
    hold = HOLD.format(begun=str(begun), may_end=str(may_end))
    main.write_text(main.read_text().replace("import pulumi\n", f"import pulumi\n{hold}", 1))
    process = program.start("up")
    try:
        wait_for(begun.exists)
        result = program.run("up")
        assert result.code == 1
        assert "Another trial run" in result.text
    finally:
        may_end.touch()
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err


def test_an_image_that_cannot_be_had_is_one_message(program: Program) -> None:
    result = program.run("up", image="127.0.0.1:9/nothing:1")
    assert result.code == 1
    assert "127.0.0.1:9" in result.text
    assert "Traceback" not in result.text


def test_an_engine_that_does_not_run_is_one_message(program: Program) -> None:
    program.config["dockerHost"] = "unix:///nonexistent/docker.sock"
    result = program.run("up")
    assert result.code == 1
    assert "/nonexistent/docker.sock" in result.text
    assert "does not answer" in result.text
    assert "Traceback" not in result.text


def test_an_object_of_somebody_else_is_left_alone(program: Program, engine: docker.DockerClient) -> None:
    engine.containers.create(program.config["image"], ["/bin/busybox", "true"], name=program.web)
    result = program.run("up")
    assert result.code == 1
    assert "does not belong to this stack" in result.text
    assert engine.api.inspect_container(program.web)["State"]["Status"] == "created"


def test_a_provider_that_fails_is_one_message_without_its_secret(program: Program) -> None:
    main = program.folder / "__main__.py"
    main.write_text(main.read_text().replace('config.get("note") or config.require("greeting")', "password.result"))
    folder = program.notes
    program.notes = folder / "missing"
    result = program.run("up")
    assert result.code == 1
    assert "note" in result.text
    assert "FileNotFoundError" in result.text
    assert "Traceback" not in result.text
    assert program.password() not in result.text
    program.notes = folder
    assert program.up().ops()["note"] == "create"
    assert program.password() in (folder / "note").read_text()


def test_a_bcrypt_hash_is_refused_where_it_is_used(program: Program) -> None:
    main = program.folder / "__main__.py"
    main.write_text(main.read_text().replace("content=password.result", "content=password.bcrypt_hash"))
    result = program.run("up")
    assert result.code == 1
    assert "bcrypt" in result.text


def test_ctrl_c_does_not_wait_for_a_provider_that_cannot_stop(program: Program) -> None:
    notes = program.folder / "notes.py"
    begun = program.folder / "begun"
    stuck = f'Path({str(begun)!r}).touch(); import time; time.sleep({PATIENCE_S}); pulumi.log.info(f"'
    notes.write_text(notes.read_text().replace('pulumi.log.info(f"writing', stuck))
    process = program.start("up")
    wait_for(begun.exists)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert process.returncode == 130
    assert "abandoned" in out
    assert err == ""
