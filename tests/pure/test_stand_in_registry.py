"""When the shared registry is started afresh: when it is declared otherwise, and not when its source is edited."""

from __future__ import annotations

from pathlib import Path

import pytest

from images.stand_ins import registry

GATEWAY = "172.17.0.1"


def test_an_edit_of_the_source_that_declares_nothing_else_keeps_the_registry_running(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = registry.container_key("image", GATEWAY)
    edited = tmp_path / "registry.py"
    edited.write_text(f"# another comment\n{Path(registry.__file__).read_text()}")
    monkeypatch.setattr(registry, "__file__", str(edited))
    assert registry.container_key("image", GATEWAY) == before


def test_another_image_or_gateway_is_another_registry() -> None:
    keys = {registry.container_key(image, gateway) for image in "ab" for gateway in (GATEWAY, "172.18.0.1")}
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("constant", "value"), [("PORT", 5065), ("BLOB_PORT", 5066), ("VOLUME", "other"), ("DATA", "/other")]
)
def test_every_declared_value_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch, constant: str, value: object) -> None:
    before = registry.container_key("image", GATEWAY)
    monkeypatch.setattr(registry, constant, value)
    assert registry.container_key("image", GATEWAY) != before
