"""Pulumi.yaml and a stack file read without the engine, for commands that have to know settings before it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from components.errors import StackError
from components.settings import Settings, parse
from trial.config import EngineLoader

PROJECT_NAME = "ragstack"


def read_stack_file(path: Path) -> dict[str, Any]:
    """The YAML of a stack file. Raises `StackError` when it is missing or no mapping."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=EngineLoader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise StackError(
            f"There is no stack file {path.name}.", "name a stack by STACK=dev, or create the file"
        ) from None
    except yaml.YAMLError as error:
        raise StackError(f"{path.name} is not valid YAML: {error}", f"edit {path.name}") from None
    if not isinstance(content, dict):
        raise StackError(f"{path.name} holds no settings.", f"edit {path.name}")
    return content


def settings_of(project: Path, path: Path, stack: str) -> Settings:
    """The validated settings of a stack file over the defaults of Pulumi.yaml. Raises `SettingsError`.

    Encrypted values are left out: only the engine can read them, and no command here needs one.
    """
    declared = read_stack_file(project / "Pulumi.yaml").get("config") or {}
    config = namespaced({name: entry["default"] for name, entry in declared.items() if "default" in entry})
    config |= _without_secrets(read_stack_file(path).get("config") or {})
    return parse({key: _as_text(value) for key, value in config.items()}, project=PROJECT_NAME, stack=stack)


def namespaced(sections: dict[str, Any]) -> dict[str, Any]:
    return {f"{PROJECT_NAME}:{name}": value for name, value in sections.items()}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(inner) for key, inner in value.items() if not _is_secret(inner)}
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value


def _is_secret(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"secure"}
