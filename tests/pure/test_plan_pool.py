"""How servers, GPUs, memory and models are dealt out."""

from __future__ import annotations

from typing import Any

import pytest

from components.errors import StackError
from components.plan import HostFacts, Plan, make_plan
from components.plan.pool import homes
from tests.pure.given import CHAT, EMBEDDING, settings

GIB = 1024


def plan(memory_gib: int = 64, **sections: Any) -> Plan:
    facts = HostFacts(
        cpus=8,
        memory_mib=memory_gib * GIB,
        architecture="x86_64",
        engine_version=(28, 3),
        cdi=True,
        runtimes=("nvidia",),
        device_group_ids=(44,),
    )
    given = settings(gateway={"enabled": True}, **sections)
    return make_plan(given, facts, project="ragstack", stack="dev")


def devices(made: Plan) -> list[tuple[str, ...]]:
    return [server.devices.requests[0].device_ids for server in made.pool.servers]


def test_a_single_server_keeps_name_port_and_devices_of_a_stack_without_a_pool() -> None:
    (server,) = plan(accelerator={"kind": "nvidia"}).pool.servers
    assert (server.container, server.port, server.name) == ("ragstack-dev-ollama", 11434, "ollama-1")
    assert server.devices.requests[0].device_ids == ("nvidia.com/gpu=all",)


def test_a_pool_grows_around_its_first_server() -> None:
    servers = plan(pool={"servers": 3}).pool.servers
    assert [server.container for server in servers] == [
        "ragstack-dev-ollama",
        "ragstack-dev-ollama-2",
        "ragstack-dev-ollama-3",
    ]
    assert [server.port for server in servers] == [11434, 11435, 11436]


@pytest.mark.parametrize(
    ("gpus", "servers", "expected"),
    [
        (4, 4, [["0"], ["1"], ["2"], ["3"]]),
        (4, 2, [["0", "1"], ["2", "3"]]),
        (5, 2, [["0", "1", "2"], ["3", "4"]]),
        (["2", "5"], 2, [["2"], ["5"]]),
    ],
)
def test_gpus_are_dealt_out_once_each(gpus: Any, servers: int, expected: list[list[str]]) -> None:
    made = plan(accelerator={"kind": "nvidia", "gpus": gpus}, pool={"servers": servers})
    assert devices(made) == [tuple(f"nvidia.com/gpu={one}" for one in group) for group in expected]
    # One pin alone: the variable on top of the request would leave no GPU.
    assert not [server.devices.environment for server in made.pool.servers if server.devices.environment]


def test_groups_of_the_stack_file_are_taken_as_they_are() -> None:
    made = plan(accelerator={"kind": "nvidia"}, pool={"servers": 2, "gpus": [["3"], ["0", "1"]]})
    assert devices(made) == [("nvidia.com/gpu=3",), ("nvidia.com/gpu=0", "nvidia.com/gpu=1")]


def test_rocm_devices_are_dealt_out_by_their_variable() -> None:
    made = plan(accelerator={"kind": "rocm", "visible_devices": [0, 1, 2]}, pool={"servers": 2})
    assert [server.devices.environment["ROCR_VISIBLE_DEVICES"] for server in made.pool.servers] == ["0,1", "2"]


def test_gpus_that_nobody_has_counted_cannot_be_dealt_out() -> None:
    with pytest.raises(StackError, match=r"shows only on the machine"):
        plan(accelerator={"kind": "nvidia"}, pool={"servers": 2})
    with pytest.raises(StackError, match=r"visible_devices does not say"):
        plan(accelerator={"kind": "rocm"}, pool={"servers": 2})


def test_a_rented_machines_gpus_are_known() -> None:
    given = settings(
        profile="prod",
        host={"type": "aws", "aws": {"instance_type": "g5.12xlarge", "key": "~/.ssh/id"}},
        accelerator={"kind": "nvidia"},
        pool={"servers": 4},
    )
    facts = HostFacts(cpus=48, memory_mib=180 * GIB, architecture="x86_64", engine_version=(28, 3), cdi=True)
    made = make_plan(given, facts, project="ragstack", stack="prod")
    assert devices(made) == [(f"nvidia.com/gpu={index}",) for index in range(4)]


def test_servers_share_the_memory_that_one_would_have() -> None:
    one, two = plan().pool.servers[0].limits, plan(pool={"servers": 2}).pool.servers[0].limits
    assert one.memory_mib == 38 * GIB
    assert two.memory_mib == 19 * GIB
    with pytest.raises(StackError, match=r"2 servers of 40960 MiB each are more than the machine's 65536 MiB"):
        plan(pool={"servers": 2}, ollama={"container": {"memory": "40g"}})


def test_slots_are_what_ollama_works_on_at_once() -> None:
    assert plan(ollama={"preset": "rag"}).pool.slots == 4 * 2
    assert plan(ollama={"preset": "default"}).pool.slots == 1 * 3
    assert plan(pool={"slots": 7}).pool.slots == 7


def test_models_are_spread_by_size_and_one_of_unknown_size_counts_as_large() -> None:
    models = [
        EMBEDDING,
        CHAT,
        {"name": "llama3.1:8b", "purpose": "chat"},
        {"name": "own:1", "purpose": "chat"},
    ]
    placed = homes(settings(models=models), ["ollama-1", "ollama-2"])
    assert placed["llama3.1:8b"] != placed["own:1"]
    assert set(placed) == {"all-minilm:22m", "qwen2.5:0.5b", "llama3.1:8b", "own:1"}
    assert homes(settings(models=models), ["only"]) == dict.fromkeys(placed, "only")
