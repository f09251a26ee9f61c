"""The shape of a model from the head of its GGUF file, read as far as needed.

The library `gguf` reads whole local files only, through numpy; here the file is on a registry, and its first quarter of
a MiB mostly suffices. Format: ggml, docs/gguf.md (versions 2 and 3, little endian). The file is a stranger's: every
length is checked against what may still be read before anything is done by it, and nothing larger than a key is kept.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

from components.plan.model_shapes import Shape

LARGEST_HEADER = 16 * 1024**2
# docs/gguf.md: keys are at most 2**16 - 1 bytes long.
_LONGEST_KEY = 2**16 - 1
_LONGEST_TEXT = 1024
# Well-known files have 20 to 60 pairs.
_MOST_PAIRS = 4096
_MOST_LAYERS = 4096
_LARGEST_COUNT = 10_000_000
_BOOL, _STRING, _ARRAY = 7, 8, 9
_NUMBERS = {
    code: struct.Struct(f"<{letter}") for code, letter in zip((*range(8), 10, 11, 12), "BbHhIifBQqd", strict=True)
}
_TOKENS = "tokenizer.ggml.tokens"
_NEEDED = ("block_count", "attention.head_count", "embedding_length", "context_length")


class _BadHeaderError(Exception):
    """Cut off, or not GGUF as its documentation has it."""


def shape_of(chunks: Iterator[bytes]) -> Shape | None:
    """The shape that a file's metadata tells; `chunks` are its bytes from the first, asked for one by one as needed.

    None when the header is cut off, damaged or larger than 16 MiB, and for the models that the memory estimate does
    not cover: those with a sliding window, a compressed cache or a state-space part. What `chunks` raises passes on.
    """
    try:
        return _shape(_metadata(_Reader(chunks)))
    except _BadHeaderError:
        return None


class _Reader:
    """Bytes in order; no more than `LARGEST_HEADER` are ever taken from the source."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0
        self._left = LARGEST_HEADER

    def take(self, count: int) -> bytes:
        return b"".join(self._parts(count))

    def skip(self, count: int) -> None:
        for _ in self._parts(count):
            pass

    def number(self, code: int) -> Any:
        layout = _NUMBERS[code]
        return layout.unpack(self.take(layout.size))[0]

    def _parts(self, count: int) -> Iterator[bytes]:
        if count > self._left:
            raise _BadHeaderError
        self._left -= count
        while count:
            if self._at == len(self._chunk):
                self._chunk, self._at = next(self._chunks, b""), 0
                if not self._chunk:
                    raise _BadHeaderError
            part = self._chunk[self._at : self._at + count]
            self._at += len(part)
            count -= len(part)
            yield part


def _metadata(reader: _Reader) -> dict[str, Any]:
    """Numbers, short texts and short arrays of numbers by key; of the tokens, how many there are."""
    if reader.take(4) != b"GGUF" or reader.number(4) not in (2, 3):
        raise _BadHeaderError
    reader.skip(8)
    pairs = reader.number(10)
    if pairs > _MOST_PAIRS:
        raise _BadHeaderError
    found: dict[str, Any] = {}
    for _ in range(pairs):
        key = _text(reader, _LONGEST_KEY)
        code = reader.number(4)
        if key is None:
            raise _BadHeaderError
        if code == _ARRAY:
            of, length = reader.number(4), reader.number(10)
            if key == _TOKENS:
                found[key] = length
                # Megabytes of tokens follow. Writers put a model's own keys together, so none comes behind these.
                if _is_complete(found):
                    return found
            found.setdefault(key, _array(reader, of, length))
        else:
            found[key] = _value(reader, code)
    return found


def _is_complete(found: dict[str, Any]) -> bool:
    return all(f"{found.get('general.architecture')}.{key}" in found for key in _NEEDED)


def _value(reader: _Reader, code: int) -> Any:
    if code == _STRING:
        return _text(reader, _LONGEST_TEXT)
    if code not in _NUMBERS:
        raise _BadHeaderError
    number = reader.number(code)
    return bool(number) if code == _BOOL else number


def _text(reader: _Reader, longest: int) -> str | None:
    """A text, None in place of one longer than `longest` bytes."""
    length = reader.number(10)
    if length > longest:
        reader.skip(length)
        return None
    return reader.take(length).decode(errors="replace")


def _array(reader: _Reader, code: int, length: int) -> list[Any] | None:
    """An array of numbers, None in place of a long one and of texts. Arrays of arrays are in no known file."""
    if code == _STRING:
        # Each takes eight bytes at least, so the reader's limit bounds the loop whatever `length` says.
        for _ in range(length):
            reader.skip(reader.number(10))
        return None
    if code not in _NUMBERS:
        raise _BadHeaderError
    if length > _MOST_LAYERS:
        reader.skip(length * _NUMBERS[code].size)
        return None
    return [_value(reader, code) for _ in range(length)]


def _shape(found: dict[str, Any]) -> Shape | None:
    own = _own(found)
    window = _count(own.get("attention.sliding_window"))
    hybrid = any(key.startswith("ssm.") for key in own) or "attention.kv_lora_rank" in own
    layers, hidden, context = (_count(own.get(key)) for key in ("block_count", "embedding_length", "context_length"))
    heads = _count(_largest(own.get("attention.head_count")))
    vocabulary = _count(own.get("vocab_size") or found.get(_TOKENS))
    if hybrid or not (layers and hidden and context and heads and vocabulary):
        return None
    if window and window < context:
        return None
    kv_heads = 0 if own.get("attention.causal") is False else _mean(own.get("attention.head_count_kv", heads), layers)
    default = hidden // heads
    # Keys and values are cached side by side, so of two sizes the mean is what the cache takes.
    sizes = _count(own.get("attention.key_length", default)), _count(own.get("attention.value_length", default))
    if kv_heads is None or not (sizes[0] and sizes[1]):
        return None
    return Shape(
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_size=math.ceil((sizes[0] + sizes[1]) / 2),
        hidden=hidden,
        vocabulary=vocabulary,
        context=context,
    )


def _own(found: dict[str, Any]) -> dict[str, Any]:
    """The keys of the model's own architecture, without its name."""
    prefix = f"{found.get('general.architecture')}."
    return {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}


def _count(value: Any) -> int | None:
    """A plausible positive whole number, None in place of anything else."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 1 <= value <= _LARGEST_COUNT else None


def _largest(value: Any) -> Any:
    """Of one number per layer the largest: the working buffers are made for it."""
    counts = [count for count in map(_count, value) if count] if isinstance(value, list) else []
    return max(counts, default=value)


def _mean(value: Any, layers: int) -> int | None:
    """Heads in the cache per layer, rounded up; layers with none of their own are of a kind that is not estimated."""
    per_layer = value if isinstance(value, list) else [value] * min(layers, _MOST_LAYERS)
    counts = [count for count in map(_count, per_layer) if count]
    return math.ceil(sum(counts) / len(counts)) if counts and len(counts) == len(per_layer) else None
