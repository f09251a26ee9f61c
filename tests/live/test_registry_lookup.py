"""What a real registry says of models before they are pulled, and what is left when it does not answer."""

from __future__ import annotations

import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from components.models.registry import look_up
from components.plan.model_shapes import SHAPES
from components.settings import Settings, parse
from images.stand_ins.registry import MODELS_AT

MODELS = '[{"name":"all-minilm:22m","purpose":"embedding"},{"name":"tiny-chat:random","purpose":"chat"}]'
pytestmark = pytest.mark.usefixtures("stand_ins")


def settings(registry: str = MODELS_AT, models: str = MODELS) -> Settings:
    mirror = f'{{"models":"{registry}","models_insecure":true}}'
    given: dict[str, Any] = {"profile": "dev", "models": models, "registry": mirror}
    return parse({f"ragstack:{key}": value for key, value in given.items()}, project="ragstack", stack="dev")


def test_sizes_and_shapes_come_from_the_registry(tmp_path: Path) -> None:
    lookup = look_up(settings(), tmp_path / "cache")
    assert lookup.reason == ""
    minilm, tiny = lookup.found["all-minilm:22m"], lookup.found["tiny-chat:random"]
    # With the 262 bytes of its configuration these are the 45949702 that /api/tags shows.
    assert (minilm.size, minilm.shape) == (45_949_440, SHAPES["all-minilm:22m"])
    assert tiny.shape is not None
    assert (tiny.shape.layers, tiny.shape.kv_heads, tiny.shape.vocabulary) == (4, 4, 259)
    files = list((tmp_path / "cache").iterdir())
    assert len(files) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    for path in files:
        path.write_text("broken")
    assert look_up(settings(), tmp_path / "cache").found == lookup.found


def test_a_model_that_the_registry_lacks_is_named_and_the_others_are_found(tmp_path: Path) -> None:
    models = MODELS.replace("tiny-chat:random", "no-such:1b")
    lookup = look_up(settings(models=models), tmp_path)
    assert "404 for library/no-such:1b" in lookup.reason
    assert list(lookup.found) == ["all-minilm:22m"]


def test_a_registry_that_never_answers_costs_seconds_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        before = time.monotonic()
        lookup = look_up(settings(f"127.0.0.1:{silent.getsockname()[1]}"), tmp_path)
        assert time.monotonic() - before < 8
    assert (dict(lookup.found), "no answer in time" in lookup.reason) == ({}, True)


def test_what_was_said_before_is_used_when_the_registry_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = look_up(settings(), tmp_path).found
    monkeypatch.setattr("components.models.registry_cache._DAY_S", 0)

    def refused(*_arguments: object, **_named: object) -> None:
        raise requests.ConnectionError("Connection refused")

    monkeypatch.setattr(requests.Session, "get", refused)
    lookup = look_up(settings(), tmp_path)
    assert lookup.found == known
    assert "does not answer: connection refused" in lookup.reason


def test_a_dead_port_is_a_reason_and_no_error(tmp_path: Path) -> None:
    lookup = look_up(settings("127.0.0.1:1"), tmp_path)
    assert "127.0.0.1:1 does not answer: connection refused" in lookup.reason
    assert not lookup.found
