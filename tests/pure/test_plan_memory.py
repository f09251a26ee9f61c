"""What a loaded model takes, beside what a real Ollama reported."""

from __future__ import annotations

import pytest

from components.plan.memory import need_in, need_of
from components.plan.model_shapes import SHAPES, Shape
from components.plan.model_sizes import SIZES_GB
from components.settings.model_reference import read
from tests.pure.given import EMBEDDING, settings

# The generated chat model of images/stand_ins: llama architecture, random weights.
TINY = Shape(layers=4, heads=4, kv_heads=4, head_size=64, hidden=256, vocabulary=259, context=32768)
LLAMA = SHAPES["llama3.1:8b"]


# /api/ps of Ollama 0.17.4 on a CPU with OLLAMA_NUM_PARALLEL=4, November 2026.
@pytest.mark.parametrize(
    ("context", "reported"),
    [(512, 15_346_176), (2048, 40_512_000), (4096, 74_066_432), (8192, 141_175_296), (16384, 275_393_024)],
)
def test_a_decoder_is_within_ten_percent_of_what_ollama_reported_and_never_below(context: int, reported: int) -> None:
    estimate = need_of(TINY, 7_099_636, context=context, parallel=4).reported
    assert reported <= estimate <= reported * 1.1


@pytest.mark.parametrize(("context", "reported"), [(256, 73_746_432), (512, 85_149_696)])
def test_an_encoder_is_within_ten_percent_of_what_ollama_reported_and_never_below(context: int, reported: int) -> None:
    estimate = need_of(SHAPES["all-minilm:22m"], 45_949_702, context=context, parallel=4).reported
    assert reported <= estimate <= reported * 1.1


def test_the_cache_grows_with_context_and_with_parallel_requests_alike() -> None:
    once = need_of(LLAMA, 0, context=8192).cache
    assert once == 2**30
    assert need_of(LLAMA, 0, context=8192, parallel=4).cache == need_of(LLAMA, 0, context=32768).cache == 4 * once


def test_a_quantized_cache_takes_the_share_of_its_blocks() -> None:
    full = need_of(LLAMA, 0, context=8192).cache
    assert need_of(LLAMA, 0, context=8192, cache_type="q8_0").cache == full * 17 / 32
    assert need_of(LLAMA, 0, context=8192, cache_type="q4_0").cache == full * 9 / 32


def test_a_context_beyond_the_models_own_costs_no_more() -> None:
    shape = SHAPES["phi4:14b"]
    assert need_of(shape, 0, context=65536) == need_of(shape, 0, context=shape.context)


def test_an_encoder_keeps_no_cache_and_runs_one_request_at_a_time() -> None:
    shape = SHAPES["all-minilm:22m"]
    assert need_of(shape, 0, context=512).cache == 0
    assert need_of(shape, 0, context=512, parallel=4) == need_of(shape, 0, context=512)


def test_a_stacks_need_follows_its_variables_and_the_models_own_context() -> None:
    chat = {"name": "llama3.1:8b", "purpose": "chat", "context": 16384}
    variables = {"num_parallel": 2, "flash_attention": True, "kv_cache_type": "q8_0"}
    stack = settings(models=[chat, EMBEDDING], ollama={"environment": variables})
    need = need_in(stack, stack.models[0], LLAMA, 1000)
    assert need == need_of(LLAMA, 1000, context=16384, parallel=2, cache_type="q8_0")
    assert need != need_of(LLAMA, 1000, context=16384, parallel=2)


def test_every_shape_belongs_to_a_model_of_known_size() -> None:
    assert SHAPES.keys() <= SIZES_GB.keys()
    assert all(read(name).key == name for name in SHAPES)
