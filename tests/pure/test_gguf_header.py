"""What the head of a GGUF file tells, and that nothing in it can do harm."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.models.gguf_header import shape_of
from components.plan.model_shapes import Shape

SHAPE = Shape(layers=4, heads=8, kv_heads=2, head_size=32, hidden=256, vocabulary=3, context=1024)


def header(folder: Path, kv_heads: Any = 2, **more: Any) -> bytes:
    writer = gguf.GGUFWriter(folder / "x.gguf", "llama")
    writer.add_block_count(4)
    writer.add_head_count(8)
    writer.add_head_count_kv(kv_heads)
    writer.add_embedding_length(256)
    writer.add_context_length(1024)
    for key, value in more.items():
        (writer.add_bool if isinstance(value, bool) else writer.add_uint32)(f"llama.{key.replace('__', '.')}", value)
    writer.add_token_list(["a", "b", "c"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return (folder / "x.gguf").read_bytes()


def bytewise(content: bytes) -> Iterator[bytes]:
    return (content[at : at + 1] for at in range(len(content)))


def test_a_shape_is_read_from_chunks_of_any_size(tmp_path: Path) -> None:
    content = header(tmp_path)
    assert shape_of(iter([content])) == SHAPE == shape_of(bytewise(content))


def test_heads_given_by_layer_are_averaged_upwards(tmp_path: Path) -> None:
    shape = shape_of(iter([header(tmp_path, [2, 2, 2, 8])]))
    assert shape is not None
    assert shape.kv_heads == 4


def test_a_model_that_sees_both_ways_keeps_no_cache(tmp_path: Path) -> None:
    shape = shape_of(iter([header(tmp_path, attention__causal=False)]))
    assert shape is not None
    assert shape.kv_heads == 0


@pytest.mark.parametrize("key", ["attention__sliding_window", "attention__kv_lora_rank", "ssm__state_size"])
def test_a_model_that_the_estimate_does_not_cover_has_no_shape(tmp_path: Path, key: str) -> None:
    assert shape_of(iter([header(tmp_path, **{key: 512})])) is None


def test_a_header_cut_anywhere_before_its_tokens_gives_none(tmp_path: Path) -> None:
    content = header(tmp_path)
    end = content.index(b"tokenizer.ggml.tokens")
    assert not [cut for cut in range(end) if shape_of(iter([content[:cut]]))]


def test_lengths_beyond_the_file_are_refused() -> None:
    for pairs, length in ((1, 2**63), (2**63, 1)):
        assert shape_of(iter([b"GGUF" + struct.pack("<IQQQ", 3, 0, pairs, length) + b"a" * 64])) is None


@given(st.binary(max_size=300))
def test_no_bytes_raise(tail: bytes) -> None:
    shape_of(iter([b"GGUF\3\0\0\0" + tail]))
    assert shape_of(iter([tail.replace(b"GGUF", b"")])) is None
