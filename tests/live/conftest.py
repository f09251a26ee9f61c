"""Fixtures of the live tier: the local registry, and a stack that is removed whatever happens."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.command import PROJECT
from tests.live.fixtures_containers import docker_client
from tests.live.live_stack import LiveStack


@pytest.fixture(scope="session")
def stand_ins() -> None:
    """Images and models in the local registry; built on a machine's first run, which takes minutes."""
    docker_client()
    done = subprocess.run([sys.executable, "-m", "images.stand_ins", "up"], cwd=PROJECT, check=False)
    assert done.returncode == 0, "the stand-in images could not be built; see the output above"


@pytest.fixture(scope="module")
def make_stack(stand_ins: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LiveStack]]:
    """Makes stacks of this module, from sections that go over the stand-ins' settings; removes them at its end."""
    made: list[LiveStack] = []

    def make(**config: Any) -> LiveStack:
        folder: Path = tmp_path_factory.mktemp("stack")
        made.append(LiveStack(folder, config))
        return made[-1]

    yield make
    for stack in made:
        stack.remove()
