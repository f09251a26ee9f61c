"""Limits, PostgreSQL's parameters and names: arithmetic that has to be right on every machine."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from components.errors import StackError
from components.plan import HostFacts, Limits, make_plan
from components.plan.limits import OLLAMA_SHARE, POSTGRES_SHARE, Share, limits_of
from components.plan.names import names_of
from components.plan.postgres import PostgresTuning, tuning_of
from components.settings.container import Container
from components.settings.postgres import Postgres
from tests.pure.given import settings

GIB = 1024
# What /proc/meminfo shows of machines sold with 4 to 128 GiB: firmware and kernel keep one to four percent.
MACHINES_MIB = [int(gib * GIB * seen) for gib in (4, 8, 16, 32, 64, 128) for seen in (0.962, 0.972)]


def machine(memory_mib: int = 16_000, cpus: int = 4) -> HostFacts:
    return HostFacts(cpus=cpus, memory_mib=memory_mib, architecture="x86_64", engine_version=(28, 3))


def limits(share: Share = OLLAMA_SHARE, facts: HostFacts | None = None, **container: Any) -> Limits:
    return limits_of("ragstack:ollama.container", Container.model_validate(container), share, facts or machine())


def test_auto_is_a_share_of_the_machine_in_whole_gib() -> None:
    assert limits() == Limits(memory_mib=9 * GIB, memory_reservation_mib=None, cpus=4.0)
    assert limits(POSTGRES_SHARE) == Limits(memory_mib=2 * GIB, memory_reservation_mib=None, cpus=2.0)
    assert limits(POSTGRES_SHARE, machine(cpus=1)).cpus == 1.0


@pytest.mark.parametrize("memory_mib", MACHINES_MIB)
@pytest.mark.parametrize("share", [OLLAMA_SHARE, POSTGRES_SHARE], ids=["ollama", "postgres"])
def test_a_few_mib_more_or_less_after_a_reboot_move_no_limit(share: Share, memory_mib: int) -> None:
    assert len({limits(share, machine(memory_mib + moved)) for moved in range(-8, 9)}) == 1


@given(st.integers(1500, 2**22), st.integers(1, 512))
def test_auto_always_fits_the_machine_and_leaves_memory_to_it(memory_mib: int, cpus: int) -> None:
    facts = machine(memory_mib, cpus)
    ollama, postgres = limits(OLLAMA_SHARE, facts), limits(POSTGRES_SHARE, facts)
    assert ollama.memory_mib <= memory_mib
    assert ollama.memory_mib % GIB == postgres.memory_mib % GIB == 0
    if memory_mib >= 4 * GIB:
        assert ollama.memory_mib + postgres.memory_mib <= 0.9 * memory_mib
    assert 1 <= postgres.cpus <= ollama.cpus <= cpus


def test_declared_limits_are_taken_as_they_are() -> None:
    found = limits(memory="3g", memory_reservation="512m", cpus=1.5)
    assert found == Limits(memory_mib=3 * GIB, memory_reservation_mib=512, cpus=1.5)


def test_auto_never_falls_below_the_reservation() -> None:
    assert limits(POSTGRES_SHARE, memory_reservation="5g").memory_mib == 5 * GIB


@pytest.mark.parametrize(
    ("container", "says", "mend"),
    [
        ({"memory": "17g"}, "memory is 17408 MiB, but the machine has 16000 MiB", "memory' auto"),
        ({"memory_reservation": "17g"}, "17408 MiB", "memory_reservation' 8000m"),
        ({"cpus": 5}, "cpus is 5, but the machine has 4", "cpus' auto"),
    ],
)
def test_more_than_the_machine_has_is_refused_with_a_mend_that_mends(
    container: dict[str, Any], says: str, mend: str
) -> None:
    with pytest.raises(StackError) as caught:
        limits(**container)
    assert says in caught.value.cause
    assert caught.value.mend == f"pulumi config set --path 'ragstack:ollama.container.{mend}"
    field, value = mend.split("' ")
    assert limits(**container | {field: value})


def test_a_machine_of_less_than_a_gib_is_told_a_limit_that_fits() -> None:
    with pytest.raises(StackError) as caught:
        limits(facts=machine(900))
    assert caught.value.mend.endswith("memory' 450m")


def test_the_whole_machine_may_be_declared() -> None:
    assert limits(memory="16000m", cpus=4).memory_mib == 16_000


def test_postgres_is_tuned_from_its_memory_limit() -> None:
    tuned = tuning_of(Postgres(), Limits(memory_mib=4096, memory_reservation_mib=None, cpus=4.0))
    assert tuned.shm_mib == 512
    assert tuned.parameters == {
        "shared_buffers": "1024MB",
        "effective_cache_size": "3072MB",
        "work_mem": "10MB",
        "maintenance_work_mem": "512MB",
        "max_connections": "100",
        "max_parallel_maintenance_workers": "4",
        "hnsw.iterative_scan": "strict_order",
        "password_encryption": "scram-sha-256",
    }


sizes = st.integers(64, 65_536)
tunings = st.one_of(
    st.just("auto"),
    st.fixed_dictionaries(
        {},
        optional={
            "shared_buffers": sizes.map("{}m".format),
            "maintenance_work_mem": sizes.map("{}m".format),
            "work_mem": sizes.map("{}m".format),
            "max_connections": st.integers(5, 10_000),
            "max_parallel_maintenance_workers": st.integers(0, 256),
            "hnsw_ef_search": st.integers(1, 1000),
        },
    ),
)


def tuning_or_reject(tuning: Any, memory_mib: int, cpus: float = 2.0) -> PostgresTuning:
    """The tuning; an example that does not fit the memory limit is refused by a test of its own."""
    limits = Limits(memory_mib=memory_mib, memory_reservation_mib=None, cpus=cpus)
    try:
        return tuning_of(Postgres.model_validate({"tuning": tuning}), limits)
    except StackError:
        reject()


@given(tunings, st.integers(128, 2**20))
def test_a_tuning_is_refused_exactly_when_it_exceeds_the_containers_memory(tuning: Any, memory_mib: int) -> None:
    said = {} if tuning == "auto" else tuning
    shared = int(said.get("shared_buffers", "0").removesuffix("m")) or memory_mib // 4
    maintenance = int(said.get("maintenance_work_mem", "0").removesuffix("m")) or min(2048, max(64, memory_mib // 8))
    limits = Limits(memory_mib=memory_mib, memory_reservation_mib=None, cpus=2.0)
    postgres = Postgres.model_validate({"tuning": tuning})
    if shared + maintenance <= memory_mib:
        assert tuning_of(postgres, limits).parameters["shared_buffers"] == f"{shared}MB"
    else:
        with pytest.raises(StackError, match=rf"the container's memory limit is {memory_mib} MiB"):
            tuning_of(postgres, limits)


@given(tunings, st.integers(128, 2**20), st.floats(0.1, 512))
def test_shared_memory_always_covers_an_index_build(tuning: Any, memory_mib: int, cpus: float) -> None:
    found = tuning_or_reject(tuning, memory_mib, cpus)
    maintenance = re.fullmatch(r"(\d+)MB", found.parameters["maintenance_work_mem"])
    assert maintenance is not None
    assert found.shm_mib >= max(64, int(maintenance[1]))


@given(tunings, st.integers(128, 2**20))
def test_every_declared_parameter_is_taken_and_every_value_is_one_that_postgres_reads(
    tuning: Any, memory_mib: int
) -> None:
    found = tuning_or_reject(tuning, memory_mib).parameters
    assert all(re.fullmatch(r"[1-9]\d*MB|\d+|strict_order|scram-sha-256", value) for value in found.values()), found
    for name, value in ({} if tuning == "auto" else tuning).items():
        written = found[name.replace("hnsw_", "hnsw.")]
        assert written.removesuffix("MB") == str(value).removesuffix("m")


def test_zero_workers_and_a_scan_that_is_off_are_kept() -> None:
    postgres = Postgres.model_validate(
        {"tuning": {"max_parallel_maintenance_workers": 0, "hnsw_iterative_scan": "off"}}
    )
    found = tuning_of(postgres, Limits(memory_mib=1024, memory_reservation_mib=None, cpus=2.0)).parameters
    assert (found["max_parallel_maintenance_workers"], found["hnsw.iterative_scan"]) == ("0", "off")


def test_names_carry_project_and_stack_and_differ_from_each_other() -> None:
    names = names_of(settings(), "ragstack", "dev")
    assert names.prefix == "ragstack-dev"
    assert names.private_network == "ragstack-dev-private"
    assert names.edge_network == "ragstack-dev-edge"
    assert (names.ollama_container, names.postgres_container) == ("ragstack-dev-ollama", "ragstack-dev-postgres")
    assert (names.ollama_volume, names.postgres_volume) == ("ragstack-dev-ollama", "ragstack-dev-postgres")


def test_names_of_the_settings_win_and_a_non_root_server_has_a_volume_of_its_own() -> None:
    named = settings(network={"private": "pp", "edge": "ee"}, ollama={"volume": "vv"}, postgres={"volume": "ww"})
    names = names_of(named, "ragstack", "dev")
    assert (names.private_network, names.edge_network) == ("pp", "ee")
    assert (names.ollama_volume, names.postgres_volume) == ("vv", "ww")
    assert (
        names_of(settings(ollama={"non_root": True}), "ragstack", "dev").ollama_volume == "ragstack-dev-ollama-non-root"
    )


def test_a_plan_costs_nothing_on_a_machine_that_is_there_and_names_the_section_it_refuses() -> None:
    assert make_plan(settings(), machine(), project="ragstack", stack="dev").hourly_cost_usd == 0.0
    too_large = settings(postgres={"container": {"memory": "99g"}})
    with pytest.raises(StackError, match=r"ragstack:postgres\.container\.memory is 101376 MiB"):
        make_plan(too_large, machine(), project="ragstack", stack="dev")
