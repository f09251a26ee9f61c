"""The gateway and the pool as the program declares them, and that nothing of them is there where they are off."""

from __future__ import annotations

from typing import Any

from components.proxies.haproxy import FILE
from tests.mocks.recording import CONTAINER, GENERATED, PASSWORD, VOLUME, Recording, dev, prod_here, run

CONFIGURATION = "pulumi-python:dynamic/ragstack:ProxyConfiguration"
MEMBER = "pulumi-python:dynamic/ragstack:PoolMember"
ON: dict[str, Any] = {"enabled": True}


def pool(**more: Any) -> Recording:
    return run(gateway=ON, pool={"servers": 3}, **more)


def test_nothing_of_it_is_declared_where_it_is_off() -> None:
    recording = dev()
    assert not [one.name for one in recording.resources if one.custom and one.name.startswith("gateway")]
    assert not recording.of_type(MEMBER)
    assert recording.exports.get("gateway_url") is None
    assert not recording.exports.get("api_keys")


def test_prod_has_a_gateway_on_loopback_with_one_key_and_one_member() -> None:
    recording = prod_here()
    assert recording.exports["gateway_url"] == "http://127.0.0.1:11433"
    assert set(recording.exports["api_keys"]) == {"default"}
    assert recording.exports["api_keys"]["default"].startswith("rsk_")
    assert set(recording.of_type(MEMBER)) == {"ollama-member"}
    assert "gateway-edge-container" not in recording.of_type(CONTAINER)


def test_keys_are_secret_wherever_they_go_and_only_their_hashes_are_delivered() -> None:
    recording = run(
        gateway=ON | {"keys": [{"name": "app", "generations": [1, 2]}, {"name": "own", "sha256": ["a" * 64]}]}
    )
    assert {name for name in recording.of_type(PASSWORD) if name.startswith("gateway")} == {
        "gateway-key-app-1",
        "gateway-key-app-2",
    }
    configuration = recording.named("gateway-configuration")
    assert "files" in configuration.secret_inputs
    assert "files" in configuration.secret_outputs
    delivered = configuration.inputs["files"]["keys.map"]
    assert sorted(line.split()[1] for line in delivered.splitlines()) == ["app", "app", "own"]
    assert GENERATED not in str(configuration.inputs)
    assert "api_keys" in recording.secret_exports
    # Only a key that was generated can be handed out.
    assert set(recording.exports["api_keys"]) == {"app"}


def test_the_gateways_container_holds_no_configuration_and_no_key() -> None:
    inputs = prod_here().named("gateway-container").inputs
    assert not inputs.get("uploads")
    assert GENERATED not in str(inputs)
    assert inputs["capabilities"]["drops"] == ["ALL"]
    assert not inputs["privileged"]


def test_servers_come_one_after_the_other_each_once_the_one_before_is_given_work() -> None:
    recording = pool()
    assert recording.named("ollama-2-container").depends_on >= {"ollama-member"}
    assert recording.named("ollama-3-container").depends_on >= {"ollama-2-member"}
    assert "ollama-2-member" not in recording.named("ollama-container").depends_on
    members = recording.of_type(MEMBER)
    assert [members[name].inputs["server"] for name in sorted(members)] == ["ollama-2", "ollama-3", "ollama-1"]


def test_servers_share_one_volume_of_models_and_none_prunes_it() -> None:
    recording = pool()
    servers = [one for name, one in recording.of_type(CONTAINER).items() if name.startswith("ollama")]
    assert len(servers) == 3
    assert {one.inputs["volumes"][0]["volumeName"] for one in servers} == {"ragstack-dev-ollama"}
    assert all("OLLAMA_NOPRUNE=1" in one.inputs["envs"] for one in servers)
    assert len([one for one in recording.of_type(VOLUME).values() if "ollama" in one.inputs["name"]]) == 1
    ports = [one.inputs["ports"][0] for one in servers]
    assert sorted(port["external"] for port in ports) == [11434, 11435, 11436]
    assert {port["ip"] for port in ports} == {"127.0.0.1"}


def test_models_are_kept_on_every_server_or_on_their_own_where_models_are_routed() -> None:
    everywhere = pool().named("models-all-minilm:22m").inputs["resident"]
    assert everywhere == [f"http://127.0.0.1:{port}" for port in (11434, 11435, 11436)]
    routed = run(gateway=ON, pool={"servers": 2, "routing": "model"})
    homes = [routed.named(f"models-{name}").inputs["resident"] for name in ("all-minilm:22m", "qwen2.5:0.5b")]
    assert sorted(homes) == [["http://127.0.0.1:11434"], ["http://127.0.0.1:11435"]]
    assert dev().named("models-all-minilm:22m").inputs.get("resident") is None


def test_a_change_of_keys_or_routing_changes_no_container() -> None:
    one = run(gateway=ON)
    other = run(gateway=ON | {"keys": [{"name": "new"}], "rate": {"requests": 5}}, pool={"routing": "model"})
    for name, container in one.of_type(CONTAINER).items():
        assert container.inputs == other.named(name).inputs
    assert (
        one.named("gateway-configuration").inputs["files"][FILE]
        != (other.named("gateway-configuration").inputs["files"][FILE])
    )


def test_an_edge_is_published_in_front_of_a_gateway_that_stays_on_loopback() -> None:
    recording = run(gateway=ON, edge={"enabled": True, "bind": "0.0.0.0", "names": ["rag.internal"]})
    edge = recording.named("gateway-edge-container")
    assert edge.inputs["ports"] == [{"internal": 8443, "external": 8443, "ip": "0.0.0.0"}]
    assert {port["ip"] for port in recording.named("gateway-container").inputs["ports"]} == {"127.0.0.1"}
    assert recording.exports["gateway_url"] == "https://rag.internal:8443"
    assert {path for path in edge.secret_inputs if path.startswith("uploads")} >= {
        "uploads[0].content",
        "uploads[1].content",
    }
