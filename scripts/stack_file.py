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
    """The validated settings of a stack file over the defaults of Pulumi.yaml.

    Encrypted values inside a section are left out: only the engine can read them, and no command here needs one.
    Raises `SettingsError`, and `StackError` for a section that is encrypted as a whole.
    """
    declared = read_stack_file(project / "Pulumi.yaml").get("config") or {}
    config = namespaced({name: entry["default"] for name, entry in declared.items() if "default" in entry})
    own = read_stack_file(path).get("config") or {}
    _refuse_encrypted_sections(own, path, stack)
    config |= _without_secrets(own)
    return parse({key: _as_text(value) for key, value in config.items()}, project=PROJECT_NAME, stack=stack)


def namespaced(sections: dict[str, Any]) -> dict[str, Any]:
    return {f"{PROJECT_NAME}:{name}": value for name, value in sections.items()}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _refuse_encrypted_sections(config: dict[str, Any], path: Path, stack: str) -> None:
    """Without its section a command would go by the defaults, as to another engine than the stack's."""
    for key, value in config.items():
        if key.startswith(f"{PROJECT_NAME}:") and _is_secret(value):
            raise StackError(
                f"{path.name}: {key} is encrypted as a whole, and the commands need to read it.",
                f"pulumi config rm --stack {stack} {key}, set its keys in clear, and encrypt the password alone:"
                f" pulumi config set --stack {stack} --secret --path '{key}.<path to the password>'",
            )


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(inner) for key, inner in value.items() if not _is_secret(inner)}
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value


def _is_secret(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"secure"}
