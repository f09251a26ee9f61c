"""Which models fit where, what the plan refuses, and that every remedy it names is enough."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.errors import StackError
from components.plan import HostFacts, Plan, make_plan
from components.plan.fit import SHOWN
from components.plan.known_models import Described, Lookup, known_models
from components.plan.machines import MACHINES, facts_of_machine
from components.plan.memory_check import index_advice
from components.plan.model_shapes import SHAPES
from components.plan.remedies import quantization
from tests.pure.given import EMBEDDING, settings

GIB = 1024**3
LLAMA = {"name": "llama3.1:8b", "purpose": "chat"}
LOCAL = HostFacts(
    cpus=8, memory_mib=65536, architecture="x86_64", engine_version=(28, 3), cdi=True, runtimes=("nvidia",)
)


def rented(type_: str = "g5.xlarge", lookup: Lookup | None = None, **sections: Any) -> Plan:
    kind = "nvidia" if MACHINES[type_].gpus else "cpu"
    given = {
        "models": [EMBEDDING, LLAMA],
        "accelerator": {"kind": kind},
        "host": {"type": "aws", "aws": {"instance_type": type_, "data_volume": {"size": "500g"}}},
        **sections,
    }
    stack = settings(**given)
    return make_plan(
        stack, facts_of_machine(MACHINES[type_], stack.accelerator), lookup, project="ragstack", stack="dev"
    )


def local(**sections: Any) -> Plan:
    return make_plan(settings(**{"models": [EMBEDDING, LLAMA], **sections}), LOCAL, project="ragstack", stack="dev")


def environment(**variables: Any) -> dict[str, Any]:
    return {"ollama": {"environment": variables}}


def refusal(**sections: Any) -> StackError:
    with pytest.raises(StackError) as caught:
        rented(**sections)
    return caught.value


def test_an_eight_billion_model_fits_an_a10g_with_the_presets_context_and_not_with_four_times_of_it() -> None:
    assert any("ollama-1: 9.86 GiB of 22.3 GiB of GPU memory" in line for line in rented().lines())
    error = refusal(**environment(context_length=40960))
    assert "ollama-1 has 22.3 GiB of GPU memory and needs 26 GiB" in error.cause
    assert "llama3.1:8b" in error.cause
    assert "20 GiB of it KV cache for 40960 tokens x 4" in error.cause
    assert "on the CPU without saying so" in error.cause


def test_three_remedies_are_named_cheapest_first_with_the_next_machines_price() -> None:
    ways = refusal(**environment(context_length=40960)).mend.splitlines()
    assert ways[0] == "one of these is enough:"
    assert "'ragstack:ollama.environment.kv_cache_type' q8_0 (with flash_attention true" in ways[1]
    assert "'ragstack:ollama.environment.context_length' " in ways[2]
    assert "'ragstack:host.aws.instance_type' g6e.xlarge (1.86 instead of 1.01 USD per hour)" in ways[3]
    assert len(ways) == 4


# (what does not fit, what of it a remedy changes)
SHORT: list[dict[str, Any]] = [
    environment(context_length=40960),
    environment(context_length=131072),
    environment(num_parallel=64),
    {"models": [EMBEDDING, {**LLAMA, "context": 40960}]},
    {"models": [EMBEDDING, {"name": "qwen2.5:32b", "purpose": "chat"}]},
    {"models": [EMBEDDING, {"name": "llama3.1:8b", "purpose": "chat", "size": "20g"}]},
]


@pytest.mark.parametrize("sections", SHORT)
def test_every_remedy_that_is_a_command_is_enough_by_itself(sections: dict[str, Any]) -> None:
    error = refusal(**sections)
    commands = re.findall(r"--path 'ragstack:([\w.\[\]]+)' (\S+)", error.mend)
    assert commands, error.mend
    for path, value in commands:
        type_ = "g5.xlarge"
        given: dict[str, Any] = {"models": [EMBEDDING, LLAMA], **sections}
        given["models"] = [dict(model) for model in given["models"]]
        variables = dict(given.get("ollama", {}).get("environment", {}))
        if path.endswith("instance_type"):
            type_ = value
        elif found := re.match(r"models\[(\d)]\.(\w+)", path):
            given["models"][int(found[1])][found[2]] = False if value == "false" else int(value)
        else:
            variables[path.rpartition(".")[2]] = int(value) if value.isdigit() else value
            if "kv_cache_type" in path:
                variables["flash_attention"] = True
        rented(type_, **{**given, "ollama": {"environment": variables}})


def test_one_step_beyond_the_context_that_a_remedy_names_does_not_fit() -> None:
    error = refusal(**environment(context_length=40960))
    found = re.search(r"context_length' (\d+)", error.mend)
    assert found
    rented(**environment(context_length=int(found[1])))
    assert "do not fit" in refusal(**environment(context_length=int(found[1]) + 1024)).cause


def test_what_no_single_change_mends_is_said_to_be_so() -> None:
    size = {**LLAMA, "size": "400g", "context": 131072}
    error = refusal(type_="g5.48xlarge", models=[EMBEDDING, size], **environment(num_parallel=256, max_loaded_models=2))
    assert error.mend == "take smaller models, and a smaller context besides: no single change is enough"


def test_models_that_are_loaded_only_when_asked_must_fit_one_at_a_time() -> None:
    both = [{**LLAMA, "preload": False}, {"name": "qwen2.5:14b", "purpose": "chat", "preload": False}, EMBEDDING]
    one = environment(num_parallel=1, max_loaded_models=3)
    rented(models=both, **one)
    assert "qwen2.5:14b" in refusal(type_="g4dn.xlarge", models=both, **environment(num_parallel=4)).cause


def test_models_that_would_evict_each_other_are_named_and_only_as_many_counted_as_may_be_loaded() -> None:
    three = [EMBEDDING, LLAMA, {"name": "llama3.2:1b", "purpose": "chat"}]
    evicting = "ollama-1 is to keep 3 models loaded and may hold 2"
    assert any(evicting in line for line in rented(models=three).lines())
    enough = rented(models=three, **environment(max_loaded_models=3)).lines()
    assert not [line for line in enough if evicting in line]
    assert "of 22.3 GiB" in "".join(enough)


def test_a_context_that_the_model_does_not_have_is_refused() -> None:
    error = refusal(models=[EMBEDDING, {"name": "phi4:14b", "purpose": "chat", "context": 32768}])
    assert "models[1].context is 32768, but phi4:14b was made for 16384 tokens" in error.cause
    assert error.mend.endswith("'ragstack:models[1].context' 16384")


def test_each_server_of_a_pool_is_checked_by_its_own_gpus_and_homes() -> None:
    big = {"name": "qwen2.5:32b", "purpose": "chat"}
    four: dict[str, Any] = {"type_": "g5.12xlarge", "models": [EMBEDDING, big], "gateway": {"enabled": True}}
    # One server has all four GPUs, four have one each.
    rented(**four, pool={"servers": 1})
    assert "ollama-1 has 22.3 GiB" in refusal(**four, pool={"servers": 4}).cause
    homes = rented(**four, pool={"servers": 2, "routing": "model"})
    lines = [line for line in homes.lines() if "of GPU memory" in line]
    assert len(lines) == 2
    assert lines[0] != lines[1].replace("ollama-2", "ollama-1")


def test_memory_kept_free_of_the_gpu_is_not_given_to_models() -> None:
    rented(**environment(context_length=30720))
    assert "do not fit" in refusal(**environment(context_length=30720, gpu_overhead="4g")).cause


def test_on_a_cpu_the_containers_memory_counts() -> None:
    with pytest.raises(StackError) as caught:
        local(ollama={"container": {"memory": "4g"}})
    assert "ollama-1 has 3.94 GiB of its container's memory" in caught.value.cause
    assert "The kernel would end a server" in caught.value.cause
    found = re.search(r"container.memory' (\d+g)", caught.value.mend)
    assert found
    local(ollama={"container": {"memory": found[1]}})


@pytest.mark.parametrize(("vram", "fits"), [("24g", True), ("8g", False)])
def test_a_card_at_hand_is_checked_by_the_declared_memory(vram: str, fits: bool) -> None:
    card = {"kind": "nvidia", "gpus": 1, "vram": vram}
    if fits:
        assert any("of 23.8 GiB of GPU memory" in line for line in local(accelerator=card).lines())
    else:
        with pytest.raises(StackError, match=r"a GPU with .* or more that is free"):
            local(accelerator=card)


def test_what_nobody_knows_is_said_and_not_refused() -> None:
    lines = local(accelerator={"kind": "nvidia"}, models=[EMBEDDING, {"name": "mine:1b", "purpose": "chat"}]).lines()
    assert any("of unknown (accelerator.vram" in line for line in lines)
    assert any("mine:1b" in line and "unknown: declare its size and shape" in line for line in lines)


def test_a_declared_size_and_shape_make_an_unknown_model_known() -> None:
    shape = SHAPES["llama3.1:8b"]
    named = {field: getattr(shape, field) for field in shape.__dataclass_fields__}
    mine = {"name": "mine:8b", "purpose": "chat", "size": "4.6g", "shape": named}
    (line,) = [line for line in rented(models=[EMBEDDING, mine]).lines() if line.strip().startswith("mine:8b")]
    assert re.split(r"\s{2,}", line.strip())[1:4] == ["8192 x 4 default", "4.60", "4.00"]


def test_a_registry_is_believed_before_the_table_and_a_declaration_before_both() -> None:
    stack = settings(models=[EMBEDDING, {**LLAMA, "size": "5g"}])
    lookup = Lookup(found={name: Described(size=7) for name in ("all-minilm:22m", "llama3.1:8b")})
    assert [(one.source, one.size) for one in known_models(stack, lookup)] == [("registry", 7), ("declared", 5 * GIB)]
    assert [one.source for one in known_models(stack)] == ["table", "declared"]
    assert known_models(stack, lookup)[0].shape == SHAPES["all-minilm:22m"]


def test_a_registry_that_did_not_answer_is_named() -> None:
    lines = rented(lookup=Lookup(reason="registry.example did not answer")).lines()
    assert any("registry.example did not answer; sizes and shapes are those" in line for line in lines)


@pytest.mark.parametrize(
    ("dimensions", "words"),
    [(2000, "indexed as vector"), (2001, "halfvec(2001)"), (4000, "halfvec(4000)"), (4001, "reads all rows")],
)
def test_the_index_that_a_dimension_allows_is_named(dimensions: int, words: str) -> None:
    assert words in index_advice(dimensions)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("llama3.1:8b", "q4_K_M"),
        ("x:7b-instruct-fp16", "f16"),
        ("x:7b-q8_0", "q8_0"),
        ("x:7b-instruct-q5_K_M", "q5_K_M"),
    ],
)
def test_a_tag_tells_the_quantization(name: str, found: str) -> None:
    assert quantization(name) == found


# memory.total of nvidia-smi, MiB, from public listings of each instance type.
@pytest.mark.parametrize(("type_", "shown"), [("g4dn", 15360), ("g5", 23028), ("g6", 23034), ("g6e", 46068)])
def test_the_share_of_a_gpus_memory_that_is_shown_is_never_overstated(type_: str, shown: int) -> None:
    assert 0.99 * shown <= MACHINES[f"{type_}.xlarge"].vram_mib * SHOWN <= shown
