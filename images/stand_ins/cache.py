"""Where slow results are kept between runs, and the keys that say whether one still fits its inputs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEY_LENGTH = 16
"""Hexadecimal characters of a key: 64 bits, far beyond the number of results one cache ever holds."""


def folder(*parts: str) -> Path:
    """The cache folder, or the one below it that `parts` name; made when missing.

    `RAGSTACK_CACHE` names it; without that it is `~/.cache/ragstack`.
    """
    root = Path(os.environ.get("RAGSTACK_CACHE") or Path.home() / ".cache" / "ragstack")
    path = root.expanduser().resolve().joinpath("stand_ins", *parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


def key_of(*parts: str) -> str:
    """A key of `KEY_LENGTH` hexadecimal characters over `parts`, in order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:KEY_LENGTH]


def key_of_folder(path: Path) -> str:
    """A key over the names and contents of all files below `path`."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return key_of(*(f"{file.relative_to(path)} {sha256_of(file)}" for file in files))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal characters."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def exclusive() -> Iterator[None]:
    """Holds the cache for one run at a time, so that two runs never build or push the same thing side by side."""
    with (folder() / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another run to finish ...", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
