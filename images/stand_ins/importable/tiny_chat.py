"""A tiny chat model with random weights. What it says is noise; that it loads, streams and stops is real.

Llama architecture, 4 layers of width 256, every byte a token, about 7 MB. The same seed gives
the same file, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import StackError
from images.stand_ins import cache
from images.stand_ins.importable import ImportRequest
from images.stand_ins.progress import Note

LAYERS = 4
WIDTH = 256
HEADS = 4
FEED_FORWARD = 768
CONTEXT_TOKENS = 32768
SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")
VOCABULARY = len(SPECIAL_TOKENS) + 256
PRINTABLE_BYTES = range(0x20, 0x7F)

TEMPLATE = """{{- range .Messages }}{{ .Role }}: {{ .Content }}
{{ end }}assistant: """
MAX_ANSWER_TOKENS = 64
"""It never ends an answer by itself, so its default parameters do; a request may ask for another number."""

UNWANTED_WEIGHT = -40.0
"""Weight that keeps a token from being drawn: times the pilot channel, far below any other logit."""
PILOT = 4.0


@dataclass(frozen=True, kw_only=True)
class TinyChat:
    """The model that `seed` gives."""

    seed: int

    @property
    def key(self) -> str:
        """Changes with the seed and with anything in this file."""
        return cache.key_of(str(self.seed), Path(__file__).read_text())

    def fetch(self, note: Note) -> ImportRequest:
        """Writes the GGUF file unless the cache has it.

        Raises:
            StackError: the Python packages `gguf` and `numpy` are not installed.
        """
        path = cache.folder("models", self.key) / "tiny-chat.gguf"
        if not path.exists():
            note(f"generating random weights from seed {self.seed}")
            unfinished = path.with_suffix(".unfinished")
            write(unfinished, self.seed)
            unfinished.rename(path)
        return ImportRequest(
            files={path.name: path},
            fields={"template": TEMPLATE, "parameters": {"num_predict": MAX_ANSWER_TOKENS}},
        )


def write(path: Path, seed: int) -> None:
    """Writes the model of `seed` to `path` as GGUF.

    Raises:
        StackError: the Python packages `gguf` and `numpy` are not installed.
    """
    try:
        import gguf
    except ImportError as error:
        raise StackError(
            "the Python package `gguf` is needed to generate the tiny chat model",
            "install the development requirements (`pip install -r requirements-dev.txt`)",
        ) from error
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"tiny-chat-seed-{seed}")
    writer.add_description("random weights, output is noise")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)

    kind = gguf.TokenType
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256))])
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types([kind.UNKNOWN, kind.CONTROL, kind.CONTROL, *[kind.BYTE] * 256])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)

    for name, values in _tensors(seed):
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(seed: int) -> Iterator[tuple[str, Any]]:
    """Name and array of every tensor; matrices are f16 of shape (outputs, inputs), norms f32 of shape (width,).

    Channel 0 is a pilot: every token's embedding sets it and no layer writes to it, so that one column of the output
    matrix can forbid all tokens but printable characters. Noise that is no text would stall a stream on broken UTF-8.
    """
    import numpy as np

    # The legacy generator, because its stream is frozen across numpy versions; uniform, because that needs no libm.
    source = np.random.RandomState(seed)

    def uniform(outputs: int, inputs: int, scale: float) -> Any:
        return ((source.random_sample((outputs, inputs)) * 2 - 1) * scale).astype(np.float16)

    def silent_on_pilot(matrix: Any) -> Any:
        matrix[0, :] = 0
        return matrix

    ones = np.ones(WIDTH, dtype=np.float32)
    embedding = uniform(VOCABULARY, WIDTH, 1.0)
    embedding[:, 0] = PILOT
    yield "token_embd.weight", embedding
    for layer in range(LAYERS):
        yield f"blk.{layer}.attn_norm.weight", ones
        for part in ("attn_q", "attn_k", "attn_v"):
            yield f"blk.{layer}.{part}.weight", uniform(WIDTH, WIDTH, 0.1)
        yield f"blk.{layer}.attn_output.weight", silent_on_pilot(uniform(WIDTH, WIDTH, 0.1))
        yield f"blk.{layer}.ffn_norm.weight", ones
        yield f"blk.{layer}.ffn_gate.weight", uniform(FEED_FORWARD, WIDTH, 0.1)
        yield f"blk.{layer}.ffn_up.weight", uniform(FEED_FORWARD, WIDTH, 0.1)
        yield f"blk.{layer}.ffn_down.weight", silent_on_pilot(uniform(WIDTH, FEED_FORWARD, 0.1))
    yield "output_norm.weight", ones
    output = uniform(VOCABULARY, WIDTH, 0.2)
    output[:, 0] = UNWANTED_WEIGHT
    for byte in PRINTABLE_BYTES:
        output[len(SPECIAL_TOKENS) + byte, 0] = 0
    yield "output.weight", output
