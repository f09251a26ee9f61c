"""The shapes of well-known models, from which their memory follows (`components/plan/memory.py`).

Sources, by the comment above a row: [litgpt] Lightning-AI/litgpt, litgpt/config.py, which restates the makers'
`config.json` (its padded vocabulary is the table's); [log] a public log that prints a file's metadata; [file] the GGUF
file itself, of the conversion in images/stand_ins; [memory] of the maker's page, not checked. Decoders without a
comment are [litgpt]. Names are those of the library.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Of a transformer. `kv_heads` is 0 for an encoder, which keeps no cache; `head_size`, `hidden` in components;
    `context` is the longest the model was made for, in tokens; `vocabulary` in tokens."""

    layers: int
    heads: int
    kv_heads: int
    head_size: int
    hidden: int
    vocabulary: int
    context: int


def _decoder(layers: int, heads: str, hidden: int, vocabulary: int, context: int) -> Shape:
    """`heads`: those of the queries, those of keys and values, and the size of each, as `32/8x128`."""
    of_queries, _, cached = heads.partition("/")
    of_cache, _, size = cached.partition("x")
    return Shape(
        layers=layers,
        heads=int(of_queries),
        kv_heads=int(of_cache),
        head_size=int(size),
        hidden=hidden,
        vocabulary=vocabulary,
        context=context,
    )


def _encoder(layers: int, heads: int, hidden: int, vocabulary: int, context: int) -> Shape:
    return Shape(
        layers=layers,
        heads=heads,
        kv_heads=0,
        head_size=hidden // heads,
        hidden=hidden,
        vocabulary=vocabulary,
        context=context,
    )


# [litgpt]; the context of Qwen 2.5 is that without YaRN, as a file of the 7B shape prints it ([log] ollama issue 8588).
_LLAMA_70B = _decoder(80, "64/8x128", 8192, 128256, 131072)
_QWEN_7B = _decoder(28, "28/4x128", 3584, 152064, 32768)
_QWEN_14B = _decoder(48, "40/8x128", 5120, 152064, 32768)
_QWEN_32B = _decoder(64, "40/8x128", 5120, 152064, 32768)
# The distilled ones have the layers of what they were made of, Qwen 2.5, and a longer context: both [memory].
_R1 = 131072
SHAPES = {
    # [file]
    "all-minilm:22m": _encoder(6, 12, 384, 30522, 512),
    # [memory]
    "all-minilm:33m": _encoder(12, 12, 384, 30522, 512),
    "bge-m3:567m": _encoder(24, 16, 1024, 250002, 8192),
    "mxbai-embed-large:335m": _encoder(24, 16, 1024, 30522, 512),
    # [log] ollama issues 6448 and 10811: 30522 tokens, though config.json pads them to 30528.
    "nomic-embed-text:v1.5": _encoder(12, 12, 768, 30522, 2048),
    "deepseek-r1:7b": replace(_QWEN_7B, context=_R1),
    "deepseek-r1:14b": replace(_QWEN_14B, context=_R1),
    "deepseek-r1:32b": replace(_QWEN_32B, context=_R1),
    "deepseek-r1:70b": _LLAMA_70B,
    "llama3.1:8b": _decoder(32, "32/8x128", 4096, 128256, 131072),
    "llama3.1:70b": _LLAMA_70B,
    "llama3.2:1b": _decoder(16, "32/8x64", 2048, 128256, 131072),
    "llama3.2:3b": _decoder(28, "24/8x128", 3072, 128256, 131072),
    "llama3.3:70b": _LLAMA_70B,
    "mistral:7b": _decoder(32, "32/8x128", 4096, 32768, 32768),
    "phi4:14b": _decoder(40, "40/10x128", 5120, 100352, 16384),
    "qwen2.5:0.5b": _decoder(24, "14/2x64", 896, 151936, 32768),
    "qwen2.5:7b": _QWEN_7B,
    "qwen2.5:14b": _QWEN_14B,
    "qwen2.5:32b": _QWEN_32B,
    "qwen2.5:72b": _decoder(80, "64/8x128", 8192, 152064, 32768),
    "qwen3:8b": _decoder(36, "32/8x128", 4096, 151936, 40960),
}
