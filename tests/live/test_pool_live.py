"""A pool of two real servers under load: one is killed, both are replaced, keys and routing change, queues fill."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.fixtures_containers import docker_client
from tests.live.gateway_load import CHAT, Client, Load, access_log, chat_body, eventually, gateway_config, logged
from tests.live.live_stack import LiveStack


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., LiveStack]) -> LiveStack:
    stack = make_stack(**gateway_config(keys=[{"name": "app"}]))
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


@pytest.fixture
def app(stack: LiveStack) -> Client:
    outputs = stack.outputs()
    return Client(outputs["gateway_url"], outputs["api_keys"]["app"])


def servers_of(stack: LiveStack, path: str) -> Counter[str]:
    return Counter(line["server"] for line in access_log(stack) if line["path"] == path and line["status"] == 200)


def test_a_conversation_stays_on_its_server_and_different_ones_spread(app: Client, stack: LiveStack) -> None:
    used: list[str] = []
    for number in range(40):
        opening = {"role": "user", "content": f"conversation {number}"}
        later = [opening, {"role": "assistant", "content": "yes"}, {"role": "user", "content": f"turn {number}"}]
        with logged(stack, 2) as lines:
            for messages in ([opening], later):
                body = {**chat_body("", tokens=1), "messages": [{"role": "system", "content": "Be brief."}, *messages]}
                assert app.send("POST", "/api/chat", json=body).status_code == 200
        first, second = (line["server"] for line in lines)
        assert first == second, number
        used.append(first)
    assert min(Counter(used).values()) >= 8, Counter(used)
    assert len(set(used)) == 2


def test_the_openai_and_the_native_form_of_one_conversation_have_one_home(app: Client, stack: LiveStack) -> None:
    message = [{"role": "user", "content": "the same opening"}]
    with logged(stack, 2) as lines:
        for path in ("/api/chat", "/v1/chat/completions"):
            answer = app.send("POST", path, json={"messages": message, "model": CHAT, "stream": False, "max_tokens": 1})
            assert answer.status_code == 200
    assert len({line["server"] for line in lines}) == 1


def test_independent_requests_are_spread_evenly(app: Client, stack: LiveStack) -> None:
    before = servers_of(stack, "/api/embed")
    with Load(app, clients=4) as load:
        assert load.more(150)
    after = servers_of(stack, "/api/embed")
    done = [after[server] - before[server] for server in ("ollama-1", "ollama-2")]
    assert not load.failed
    assert max(done) <= 1.3 * sum(done) / len(done), done
    assert sum(done) >= 60


def test_killing_one_of_two_servers_fails_no_request_that_was_not_yet_answered(app: Client, stack: LiveStack) -> None:
    victim = docker_client().containers.get(f"{stack.prefix}-ollama-2")
    with Load(app, clients=6) as load:
        assert load.more(20)
        victim.kill()
        assert load.more(60)
        # An up is what a user does next; it finds the container stopped and brings it back.
        stack.up()
        assert load.more(20)
    assert not load.failed, load.failed[:5]
    assert len(load.answers) > 100


def test_replacing_both_servers_one_after_the_other_fails_no_request(
    app: Client, stack: LiveStack, settings: dict[str, Any]
) -> None:
    before = {name: id_ for name, (id_, _) in stack.lives().items()}
    settings["ollama"]["environment"]["max_queue"] = 511
    with Load(app, clients=4) as load:
        stack.up()
        assert load.more(20)
    assert not load.failed, load.failed[:5]
    after = {name: id_ for name, (id_, _) in stack.lives().items()}
    replaced = {name.removeprefix(f"{stack.prefix}-") for name in before if before[name] != after[name]}
    assert replaced == {"ollama", "ollama-2"}


def test_a_pool_that_shrinks_and_grows_again_fails_no_request(
    app: Client, stack: LiveStack, settings: dict[str, Any]
) -> None:
    with Load(app, clients=4) as load:
        settings["pool"]["servers"] = 1
        stack.up()
        assert load.more(10)
        assert f"{stack.prefix}-ollama-2" not in stack.lives()
        settings["pool"]["servers"] = 2
        stack.up()
        assert load.more(10)
    assert not load.failed, load.failed[:5]
    assert f"{stack.prefix}-ollama-2" in stack.lives()


def test_a_key_is_rotated_without_a_failed_request_or_a_new_container(
    app: Client, stack: LiveStack, settings: dict[str, Any]
) -> None:
    before = stack.lives()
    with Load(app, clients=4) as load:
        settings["gateway"]["keys"] = [{"name": "app", "generations": [1, 2]}]
        stack.up()
        rotated = Client(app.url, stack.outputs()["api_keys"]["app"])
        assert rotated.key != app.key
        assert (app.chat().status_code, rotated.chat().status_code) == (200, 200)
    assert not load.failed, load.failed[:5]
    settings["gateway"]["keys"] = [{"name": "app", "generations": [2]}]
    stack.up()
    assert (app.chat().status_code, rotated.chat().status_code) == (401, 200)
    assert stack.lives() == before
    assert stack.up().changed_nothing


def test_a_full_queue_is_503_with_a_time_to_come_back(app: Client, stack: LiveStack, settings: dict[str, Any]) -> None:
    before = stack.lives()
    settings["pool"] = {"servers": 2, "slots": 1, "queue": {"length": 1, "wait": "2s"}}
    stack.up()
    assert stack.lives() == before
    with Load(app, clients=8) as load:
        assert load.more(40)
    refused = {status: text for _, status, text in load.failed}
    assert refused == {503: '{"error":"every model server is busy and the queue is full"}'} or set(refused) == {503}
    assert app.chat().status_code == 200


def test_models_have_a_home_each_under_the_routing_model(
    app: Client, stack: LiveStack, settings: dict[str, Any]
) -> None:
    settings["pool"] = {"servers": 2, "routing": "model"}
    stack.up()
    with logged(stack, 12) as lines:
        for _ in range(6):
            assert app.chat().status_code == 200
            assert app.embed().status_code == 200
    homes = {line["model"]: line["server"] for line in lines}
    assert len(set(homes.values())) == 2
    assert all(homes[line["model"]] == line["server"] for line in lines)
    # An untagged name is the same model.
    with logged(stack) as last:
        untagged = app.send("POST", "/api/embed", json={"model": "library/all-minilm:22m", "input": "x"})
    assert untagged.status_code == 200
    assert last[-1]["server"] == homes["all-minilm:22m"]


def test_no_server_at_all_is_503_in_json_and_the_next_up_mends_it(app: Client, stack: LiveStack) -> None:
    for service in ("ollama", "ollama-2"):
        docker_client().containers.get(f"{stack.prefix}-{service}").kill()
    assert eventually(lambda: app.send("GET", "/api/tags").status_code == 503)
    assert app.chat().json() == {"error": "no model server is free"}
    openai = app.send("POST", "/v1/chat/completions", json={"model": CHAT, "messages": []})
    assert (openai.status_code, openai.json()["error"]["message"]) == (503, "no model server is free")
    stack.up()
    assert app.chat().status_code == 200


def test_a_certificate_ends_clear_text_and_takes_no_protocol_below_1_2(
    app: Client, stack: LiveStack, settings: dict[str, Any], tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path)
    settings["gateway"]["tls"] = {"certificate": str(certificate), "private_key": str(key)}
    stack.up()
    url = str(stack.outputs()["gateway_url"])
    assert url.startswith("https://127.0.0.1:")
    assert Client(url, app.key, verify=str(certificate)).chat().status_code == 200
    port = int(url.rpartition(":")[2])
    offered = {version: speaks(port, version) for version in ("TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3")}
    assert offered == {"TLSv1": False, "TLSv1_1": False, "TLSv1_2": True, "TLSv1_3": True}
    private = "".join(key.read_text().split("\n")[1:3])
    inspected = json.dumps(stack.container("gateway"))
    assert private not in inspected


def test_a_certificate_without_its_own_key_is_refused_and_the_gateway_goes_on(
    app: Client, stack: LiveStack, settings: dict[str, Any], tmp_path: Path
) -> None:
    certificate, _ = self_signed(tmp_path, "one")
    _, other = self_signed(tmp_path, "two")
    settings["gateway"]["tls"] = {"certificate": str(certificate), "private_key": str(other)}
    ran = stack.run("up")
    assert ran.code != 0
    assert "the gateway does not take its configuration" in ran.text
    assert "Traceback" not in ran.text
    assert app.chat().status_code == 200


def self_signed(folder: Path, name: str = "tls") -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key, made by openssl."""
    import subprocess

    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(key), "-out", str(certificate),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate, key


def speaks(port: int, version: str) -> bool:
    """Whether the gateway shakes hands in one version of TLS, whatever this machine's own policy thinks of it."""
    import socket
    import ssl
    import warnings

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # Old versions are barred by the default security level of OpenSSL; the refusal has to be the server's.
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain, context.wrap_socket(plain):
            return True
    except (ssl.SSLError, ConnectionResetError):
        return False
