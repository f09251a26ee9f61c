"""The catalogue of machines, what they cost, and what their volumes have to hold."""

from __future__ import annotations

from typing import Any

import pytest

from components.errors import StackError
from components.plan import Machine, cost_of, facts_of_machine, machine_of, make_plan
from components.plan.drivers import refuse_old_driver
from components.plan.machines import MACHINES
from components.settings import Settings
from components.settings.accelerator import Accelerator

MODELS = [{"name": "all-minilm:22m", "purpose": "embedding"}]


def settings(aws: dict[str, Any] | None = None, **sections: Any) -> Settings:
    given = {"profile": "prod", "models": MODELS, "accelerator": {"kind": "nvidia"}, **sections}
    return Settings.model_validate({**given, "host": {"type": "aws", "aws": aws or {}}})


def found(aws: dict[str, Any] | None = None, **sections: Any) -> Machine:
    return machine_of(settings(aws, **sections), project="ragstack", stack="prod")


def test_every_machine_is_described_whole() -> None:
    for name, machine in MACHINES.items():
        assert machine.type == name
        assert machine.hourly_usd > 0
        assert machine.memory_mib >= 2048 * machine.vcpus
        assert bool(machine.gpus) == bool(machine.gpu) == bool(machine.vram_mib) == bool(machine.compute_capability)
        assert machine.architecture in ("x86_64", "arm64")


def test_within_a_family_more_costs_more() -> None:
    for family in {name.partition(".")[0] for name in MACHINES}:
        members = [machine for name, machine in MACHINES.items() if name.startswith(f"{family}.")]
        ordered = sorted(members, key=lambda machine: (machine.gpus, machine.vcpus))
        for gpus in {machine.gpus for machine in ordered}:
            prices = [machine.hourly_usd for machine in ordered if machine.gpus == gpus]
            assert prices == sorted(prices), family


@pytest.mark.parametrize(
    ("wanted", "nearest"), [("g5.large", "g5."), ("g6e.2xlarg", "g6e.2xlarge"), ("m7i.huge", "m7i.")]
)
def test_an_unknown_type_is_answered_with_the_nearest(wanted: str, nearest: str) -> None:
    with pytest.raises(StackError) as raised:
        found({"instance_type": wanted})
    assert f"the nearest is {nearest}" in raised.value.cause
    assert "--stack prod --path 'ragstack:host.aws.instance_type'" in raised.value.mend


def test_gpus_are_asked_for_only_where_they_are() -> None:
    assert found({"instance_type": "g5.12xlarge"}, accelerator={"kind": "nvidia", "gpus": 4}).gpus == 4
    with pytest.raises(StackError, match=r"asks for 4 GPUs, but g5\.xlarge has 1"):
        found(accelerator={"kind": "nvidia", "gpus": ["0", "3"]})
    with pytest.raises(StackError, match=r"c7i\.xlarge has no GPU"):
        found({"instance_type": "c7i.xlarge"})
    with pytest.raises(StackError, match="rocm, and no machine"):
        found(accelerator={"kind": "rocm"})


def test_a_gpu_that_is_paid_for_and_not_used_is_named() -> None:
    cpu = settings(accelerator={"kind": "cpu"})
    facts = facts_of_machine(MACHINES["g5.xlarge"], cpu.accelerator)
    plan = make_plan(cpu, facts, project="ragstack", stack="prod")
    assert any("paid for and not used" in line for line in plan.lines())


def test_the_cost_adds_up() -> None:
    cost = cost_of(settings({"data_volume": {"size": "200g", "iops": 4000, "throughput": 525}}), MACHINES["g5.xlarge"])
    # Root: 80 GB and 125 MiB/s over the free; data: 200 GB, 1,000 IOPS and 400 MiB/s over the free.
    assert cost.kept_monthly == pytest.approx(80 * 0.08 + 125 * 0.04 + 200 * 0.08 + 1000 * 0.005 + 400 * 0.04)
    assert cost.hourly == pytest.approx(1.006 + 0.005 + cost.kept_monthly / 730, abs=1e-4)
    assert cost.monthly == pytest.approx(1.011 * 730 + cost.kept_monthly, abs=0.01)


@pytest.mark.parametrize(
    ("aws", "kind", "code", "vcpus"),
    [
        ({}, "nvidia", "L-DB2E81BA", 4),
        ({"purchase": "spot"}, "nvidia", "L-3819A6DF", 4),
        ({"instance_type": "m7i.2xlarge"}, "cpu", "L-1216C47A", 8),
        ({"instance_type": "m7i.2xlarge", "purchase": "spot"}, "cpu", "L-34B43A08", 8),
    ],
)
def test_the_quota_is_that_of_family_and_purchase(aws: dict[str, Any], kind: str, code: str, vcpus: int) -> None:
    given = settings(aws, accelerator={"kind": kind})
    cost = cost_of(given, machine_of(given, project="ragstack", stack="prod"))
    assert (cost.quota_code, cost.quota_vcpus) == (code, vcpus)


def test_docker_sees_less_memory_than_aws_states() -> None:
    facts = facts_of_machine(MACHINES["g5.xlarge"], Accelerator(kind="nvidia"))
    assert 15_000 < facts.memory_mib < 16_384
    assert "nvidia" in facts.runtimes
    assert "nvidia" not in facts_of_machine(MACHINES["m7i.xlarge"], Accelerator(kind="cpu")).runtimes


def planned(aws: dict[str, Any], models: list[dict[str, Any]]) -> list[str]:
    given = settings(aws, models=models)
    facts = facts_of_machine(MACHINES[aws.get("instance_type", "g5.xlarge")], given.accelerator)
    return make_plan(given, facts, project="ragstack", stack="prod").lines()


def test_a_volume_that_cannot_hold_the_models_is_refused_with_the_smallest_that_can() -> None:
    large = [*MODELS, {"name": "llama3.3:70b", "purpose": "chat"}]
    with pytest.raises(StackError, match="51g"):
        planned({"instance_type": "g5.12xlarge", "data_volume": {"size": "50g"}}, large)
    planned({"instance_type": "g5.12xlarge", "data_volume": {"size": "51g"}}, large)


def test_a_model_that_nobody_knows_is_named_and_counts_by_its_declared_size() -> None:
    mine = {"name": "mine:1", "purpose": "chat"}
    assert any("mine:1 of unknown size" in line for line in planned({}, [*MODELS, mine]))
    with pytest.raises(StackError, match="data_volume"):
        planned({"data_volume": {"size": "20g"}}, [*MODELS, {**mine, "size": "30g"}])


def test_the_driver_floor_is_a_floor() -> None:
    refuse_old_driver("box", "550.54.15")
    refuse_old_driver("box", "580.95.05")
    for version in ("549.99", "535.230.02", "unknown"):
        with pytest.raises(StackError):
            refuse_old_driver("box", version)
