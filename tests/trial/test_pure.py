"""The parts of the runner that need neither Docker nor a program."""

from __future__ import annotations

import io
import json
import stat
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, DockerException
from hypothesis import given
from hypothesis import strategies as st

from components.errors import StackError
from trial import config, container_spec, docker_errors, fields, order, randoms, state, values
from trial.console import Console
from trial.kinds import Step
from trial.values import Secret

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


def step(type_: str, **inputs: Any) -> Step:
    return Step("urn", type_, "thing", inputs, {}, "d", {}, print, lambda _i, _o: None, threading.Event())


def entry(urn: str, type_: str = "x", *needs: str) -> state.Entry:
    return state.Entry(urn=urn, type=type_, name=urn, id=urn, inputs={}, outputs={}, dependencies=list(needs))


@given(st.dictionaries(st.text(min_size=1, max_size=8), PLAIN, max_size=4))
def test_values_survive_the_wire_and_the_state_file(properties: dict[str, Any]) -> None:
    properties = {key: Secret(value) if index % 2 else value for index, (key, value) in enumerate(properties.items())}
    wired = values.decode(values.to_struct(properties))
    assert wired == {key: value for key, value in properties.items() if value is not None}
    assert values.decode(json.loads(json.dumps(values.encode(properties)))) == properties


def test_secrets_are_found_exactly_where_they_are_marked() -> None:
    tree = {"uploads": [{"file": "/run/secrets/x", "content": Secret("hunter22")}], "__provider": Secret("pickled")}
    assert list(values.secret_strings(tree)) == ["hunter22"]
    assert values.masked(tree)["uploads"] == [{"file": "/run/secrets/x", "content": "[secret]"}]
    assert values.plain(tree)["uploads"][0]["content"] == "hunter22"
    assert "hunter22" not in repr(tree)


def test_outputs_that_echo_a_secret_input_stay_secret() -> None:
    inputs = {"envs": ["A=1", Secret("PW=x")], "length": 3}
    marked = values.mark_outputs({"envs": ["A=1", "PW=x"], "length": 3, "result": "r"}, inputs, ["result"])
    assert marked == {"envs": ["A=1", Secret("PW=x")], "length": 3, "result": Secret("r")}


def test_a_digest_depends_on_key_type_and_inputs_but_not_on_order_or_nulls() -> None:
    first = values.digest(b"k", "t", {"a": 1, "b": Secret("x")})
    assert first == values.digest(b"k", "t", {"b": "x", "a": 1, "c": None})
    assert len({first, values.digest(b"l", "t", {"a": 1, "b": "x"}), values.digest(b"k", "u", {"a": 1, "b": "x"})}) == 3
    assert first != values.digest(b"k", "t", {"a": 1, "b": "y"})


def write_project(folder: Path, project: str, stack: str = "config: {}") -> Path:
    (folder / "Pulumi.yaml").write_text("name: demo\nruntime: python\n" + project)
    (folder / "Pulumi.dev.yaml").write_text(stack)
    return folder


def test_configuration_reaches_the_program_as_the_engine_gives_it(tmp_path: Path) -> None:
    folder = write_project(
        tmp_path,
        "config:\n  port: {type: integer, default: 80}\n  on: {type: boolean, default: true}\n  plain: text\n"
        "  list: {type: array, items: {type: string}, default: [b, a]}\n  docker:host: {value: 'unix:///x'}\n",
        "config:\n  demo:port: 8080\n  object: {b: 1, a: yes}\n  switch: on\n  clock: 12:30\n  day: 2024-01-02\n",
    )
    assert config.load(folder, "dev").config == {
        "demo:port": "8080",
        "demo:on": "true",
        "demo:plain": "text",
        "demo:list": '["b","a"]',
        "docker:host": "unix:///x",
        "demo:object": '{"a":"yes","b":1}',
        "demo:switch": "on",
        "demo:clock": "12:30",
        "demo:day": "2024-01-02",
    }
    assert config.load(folder, "dev", extra={"port": "9"}).config["demo:port"] == "9"


@pytest.mark.parametrize(
    ("project", "stack", "named"),
    [
        ("", "config: {demo:key: {secure: v1abc}}", "demo:key"),
        ("", "config: {demo:key: {deep: [{secure: v1abc}]}}", "encrypted"),
        ("config: {must: {type: string}}", "config: {}", "demo:must"),
        ("config: {port: {type: integer}}", "config: {port: many}", "must be of type integer"),
        ("", "config: [a", "cannot be read"),
        ("", "- a", "not a mapping"),
    ],
)
def test_configuration_that_cannot_be_used_is_one_message(tmp_path: Path, project: str, stack: str, named: str) -> None:
    folder = write_project(tmp_path, project, stack)
    with pytest.raises(StackError, match=named) as caught:
        config.load(folder, "dev")
    assert "v1abc" not in str(caught.value)
    assert caught.value.mend


def test_a_missing_stack_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="dev"):
        config.load(write_project(tmp_path, ""), "staging")


def test_state_is_private_and_comes_back_with_its_secrets_marked(tmp_path: Path) -> None:
    path = tmp_path / "trial" / "dev.json"
    first = state.State(path)
    made = state.Entry("u", "t", "n", "i", {"pw": Secret("s3cret!")}, {"list": [1, Secret("x")]}, digest="d")
    first.put(made)
    first.doom(made)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = state.State(path)
    assert again.entries == {"u": made}
    assert again.doomed == [made]
    assert again.key == first.key


def test_a_damaged_state_file_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text("{")
    with pytest.raises(StackError, match=r"dev\.json"):
        state.State(tmp_path / "dev.json")


def test_deletion_goes_from_dependents_to_what_they_use() -> None:
    container, network, volume = (
        f"docker:index/{name}" for name in ("container:Container", "network:Network", "volume:Volume")
    )
    entries = [
        entry("volume", volume), entry("network", network), entry("gate"),
        entry("box", container, "network", "volume", "gate"), entry("model", "pulumi-python:dynamic:Resource", "box"),
    ]  # fmt: skip
    assert [item.urn for item in order.deletion_order(entries)] == ["model", "box", "gate", "network", "volume"]
    assert order.dependents("network", entries) == {"box", "model"}


def test_a_cycle_in_a_damaged_state_does_not_hang() -> None:
    assert len(order.deletion_order([entry("a", "x", "b"), entry("b", "x", "a")])) == 2


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("30s", 30 * 10**9),
        ("1m30s", 90 * 10**9),
        ("1h", 3600 * 10**9),
        ("1.5s", 15 * 10**8),
        ("250ms", 25 * 10**7),
        ("", 0),
    ],
)
def test_durations_are_those_of_go(text: str, nanoseconds: int) -> None:
    assert container_spec.duration("box", "interval", text) == nanoseconds


@pytest.mark.parametrize("text", ["30", "s", "1m 30s", "-1s", "30seconds"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(StackError, match="interval"):
        container_spec.duration("box", "interval", text)


def body(**given: Any) -> dict[str, Any]:
    return container_spec.config("box", {"image": "sha256:1", **given}, {"l": "v"}, (1, 41))


def test_absent_inputs_leave_the_engine_its_defaults() -> None:
    assert body() == {"Image": "sha256:1", "Labels": {"l": "v"}, "HostConfig": {"RestartPolicy": {"Name": "no"}}}


def test_gpus_become_device_requests() -> None:
    assert body(gpus="all")["HostConfig"]["DeviceRequests"] == [{"Count": -1, "Capabilities": [["gpu"]]}]
    chosen = body(deviceRequests=[{"driver": "cdi", "deviceIds": ["nvidia.com/gpu=0"]}])
    assert chosen["HostConfig"]["DeviceRequests"] == [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=0"]}]
    with pytest.raises(StackError, match="device_requests"):
        body(gpus="device=0,2")


def test_limits_mounts_and_the_rest_reach_the_host_config() -> None:
    host = body(
        memory=512, memorySwap=-1, memoryReservation=256, shmSize=64, cpus="1.5", init=True, readOnly=True,
        tmpfs={"/tmp": "size=1m"}, hosts=[{"host": "h", "ip": "host-gateway"}], devices=[{"hostPath": "/dev/kfd"}],
        ulimits=[{"name": "nofile", "soft": 1, "hard": 2}],
        volumes=[{"volumeName": "v", "containerPath": "/v", "readOnly": True}],
        mounts=[{"type": "bind", "source": "/a", "target": "/b", "readOnly": True}], restart="always", privileged=False,
    )["HostConfig"]  # fmt: skip
    assert host["Memory"] == 512 * 2**20
    assert host["MemorySwap"] == -1
    assert host["NanoCpus"] == 1_500_000_000
    assert host["Binds"] == ["v:/v:ro"]
    assert host["Mounts"] == [{"Target": "/b", "Type": "bind", "Source": "/a", "ReadOnly": True}]
    assert host["ExtraHosts"] == ["h:host-gateway"]
    assert host["Devices"] == [{"PathOnHost": "/dev/kfd", "PathInContainer": "/dev/kfd", "CgroupPermissions": "rwm"}]
    assert host["Privileged"] is False


def test_uploads_carry_content_mode_and_owner() -> None:
    archive = container_spec.upload_archive(
        "box",
        [
            {"file": "/etc/a", "content": "å"},
            {"file": "/b", "contentBase64": "AAE=", "permissions": "0400", "owner": "70", "group": "71"},
            {"file": "/c", "content": "", "executable": True},
        ],
    )
    assert archive
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = {item.name: (item.mode, item.uid, item.gid) for item in tar}
        assert found == {"etc/a": (0o644, 0, 0), "b": (0o400, 70, 71), "c": (0o744, 0, 0)}
        member = tar.extractfile("b")
        assert member
        assert member.read() == b"\x00\x01"


@pytest.mark.parametrize(
    "bad", [{"contentBase64": "?"}, {"source": "/nonexistent"}, {"permissions": "rw"}, {"owner": "postgres"}]
)
def test_bad_uploads_name_the_container(bad: dict[str, str]) -> None:
    with pytest.raises(StackError, match="box"):
        container_spec.upload_archive("box", [{"file": "/a", **bad}])


def test_every_unknown_field_is_named_also_inside_objects() -> None:
    unknown = step(
        "docker:index/container:Container", image="i", attach=True, mounts=[{"target": "/", "type": "x", "odd": 1}]
    )
    with pytest.raises(StackError, match=r"attach, mounts\.odd"):
        fields.check_fields(unknown)
    fields.check_fields(step("docker:index/container:Container", image="i", attach=False, rm=False))


def test_passwords_obey_their_inputs() -> None:
    made = randoms.password("p", {"length": 40, "special": False, "minNumeric": 5, "upper": False})
    assert len(made) == 40
    assert made.isalnum()
    assert made == made.lower()
    assert sum(letter.isdigit() for letter in made) >= 5
    assert made != randoms.password("p", {"length": 40, "special": False, "minNumeric": 5, "upper": False})
    with pytest.raises(StackError, match="p asks"):
        randoms.password("p", {"length": 2, "minLower": 3})


def test_printed_secrets_are_redacted_even_when_written_in_pieces() -> None:
    stream = io.StringIO()
    console = Console(stream)
    console.redact.learn(iter(["hunter/22", "abc"]))
    with console.capturing():
        print("the password is hun", end="")
        print("ter/22 or hunter%2F22, not abc")
    assert stream.getvalue().strip() == "the password is [secret] or [secret], not abc"


def test_slow_work_shows_that_it_is_alive() -> None:
    stream = io.StringIO()
    console = Console(stream)
    with console.capturing(), console.working("creating box"):
        time.sleep(2.6)
    assert "... creating box (2s)" in stream.getvalue()


def test_held_lines_come_out_only_when_the_pass_fails() -> None:
    stream = io.StringIO()
    console = Console(stream)
    with console.held():
        console.line("planned")
    assert stream.getvalue() == ""

    def fail_after_a_line() -> None:
        with console.held():
            console.line("planned")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_a_line()
    assert stream.getvalue() == "planned\n"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("manifest for x:1 not found: manifest unknown", "There is no image"),
        ("pull access denied for x", "There is no image"),
        ("Get https://r/v2/: dial tcp: connection refused", "cannot be reached"),
        ("no basic auth credentials", "wants a login"),
        ("write /var/lib/docker: no space left on device", "is full"),
    ],
)
def test_pull_failures_say_which_of_the_causes_it_was(text: str, cause: str) -> None:
    assert cause in docker_errors.explain_pull("r.example:5000/x:1", text).cause


def test_a_name_that_docker_does_not_take_is_blamed_on_the_name_and_not_on_the_connection() -> None:
    errors = (DockerException("invalid tag 'x-Dev:1': invalid reference format"), APIError("invalid reference format"))
    found = [docker_errors.explain("image x-Dev:1", error) for error in errors]
    found.append(docker_errors.explain_pull("x-Dev:1", "invalid reference format"))
    for error in found:
        assert error.cause.startswith("image x-Dev:1 has a name that Docker does not take")
        assert "lower case" in error.mend
