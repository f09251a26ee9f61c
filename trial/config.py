"""Reads Pulumi.yaml and the stack file and gives the program the same configuration strings as the engine would."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from components.errors import StackError

_SCHEMA_WORDS = {"type", "items", "default", "value", "description", "secret"}


class EngineLoader(yaml.SafeLoader):
    """YAML as the engine reads it: `yes`, `on`, `12:30` and dates are text, not booleans, numbers or dates."""


EngineLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":int", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$")
EngineLoader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("tTfF"))
EngineLoader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))


@dataclass(frozen=True)
class Project:
    """The program's name and folder, and the configuration of one stack.

    `config` maps `<project>:<key>` to the text that `pulumi.Config` reads: strings as they are, `true` or `false`,
    numbers in decimal, lists and objects as JSON. `secret_keys` are those that Pulumi.yaml declares secret.
    """

    name: str
    stack: str
    folder: Path
    config: dict[str, str]
    secret_keys: list[str] = field(default_factory=list)


def load(folder: Path, stack: str, config_file: Path | None = None, extra: Mapping[str, str] | None = None) -> Project:
    """The project in `folder` with the configuration of `stack`; `extra` (`key` -> text) wins over both files.

    Raises StackError when a file is missing or is not YAML, a value is encrypted, required or of another type.
    """
    project_file = folder / "Pulumi.yaml"
    if not project_file.exists():
        raise StackError(f"There is no Pulumi.yaml in {folder}.", "name the program's folder: `--program DIR`")
    raw = _read(project_file)
    name = raw.get("name")
    if not isinstance(name, str):
        raise StackError(f"{project_file} has no `name`.", "add the project's name as its first line: `name: ragstack`")
    file = config_file or folder / f"Pulumi.{stack}.yaml"
    if not file.exists():
        known = sorted(path.name.split(".")[1] for path in folder.glob("Pulumi.*.yaml"))
        raise StackError(
            f"The stack {stack!r} has no file {file}.",
            f"choose one of the stacks here ({', '.join(known) or 'none'}) with `--stack`, or write that file",
        )
    given = {**_section(_read(file), file), **(extra or {})}
    if isinstance(raw.get("config"), str):
        raise StackError(f"{project_file} keeps its configuration elsewhere.", "give it with `--config-file FILE`")
    return _overlay((name, stack, folder), _section(raw, project_file), given, file)


def _overlay(project: tuple[str, str, Path], schema: dict[str, Any], given: dict[str, Any], file: Path) -> Project:
    name, stack, folder = project
    texts: dict[str, str] = {}
    secret_keys: list[str] = []
    declared: dict[str, dict[str, Any]] = {}
    for key, entry in schema.items():
        full = key if ":" in key else f"{name}:{key}"
        described = isinstance(entry, dict) and set(entry) <= _SCHEMA_WORDS
        declared[full] = entry if described else {"default": entry}
        default = declared[full].get("default", declared[full].get("value"))
        if default is not None:
            texts[full] = _text(full, default, folder / "Pulumi.yaml")
        if declared[full].get("secret"):
            secret_keys.append(full)
    for key, value in given.items():
        full = key if ":" in key else f"{name}:{key}"
        if value is None:
            continue
        texts[full] = _text(full, value, file)
        _check_type(full, value, declared.get(full, {}).get("type"), file)
    required = [key for key, entry in declared.items() if entry.get("type") and "default" not in entry]
    missing = [key for key in required if key not in texts]
    if missing:
        raise StackError(
            f"The stack {stack!r} lacks the required value{'s' * (len(missing) > 1)} {', '.join(missing)}.",
            f"add it under `config:` in {file}",
        )
    return Project(name=name, stack=stack, folder=folder, config=texts, secret_keys=secret_keys)


def _read(file: Path) -> dict[str, Any]:
    try:
        raw = yaml.load(file.read_text(), Loader=EngineLoader)  # noqa: S506 - a SafeLoader with fewer implicit types
    except (OSError, yaml.YAMLError) as error:
        place = getattr(error, "problem_mark", None)
        where = f"line {place.line + 1}: " if place else ""
        what = getattr(error, "problem", None) or getattr(error, "strerror", None) or type(error).__name__
        raise StackError(f"{file} cannot be read: {where}{what}.", "mend the file") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise StackError(f"{file} is not a mapping of keys to values.", "write `config:` followed by indented keys")
    return raw


def _section(raw: dict[str, Any], file: Path) -> dict[str, Any]:
    section = raw.get("config") or {}
    if not isinstance(section, dict):
        raise StackError(f"`config` in {file} is not a mapping.", "indent the keys under `config:`")
    return {str(key): value for key, value in section.items()}


def _text(key: str, value: Any, file: Path) -> str:
    if _encrypted(value):
        raise StackError(
            f"{key} in {file} is encrypted, and only the Pulumi engine holds the means to decrypt it.",
            "run this stack with the engine (`pulumi up`), or leave the value out of the stack that you try here",
        )
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return str(value)


def _encrypted(value: Any) -> bool:
    if isinstance(value, dict):
        return set(value) == {"secure"} or any(_encrypted(item) for item in value.values())
    return isinstance(value, list) and any(_encrypted(item) for item in value)


def _check_type(key: str, value: Any, expected: Any, file: Path) -> None:
    text = str(value)
    fits = {
        "boolean": isinstance(value, bool) or text in ("true", "false"),
        "integer": not isinstance(value, bool) and re.fullmatch(r"[-+]?\d+", text) is not None,
        "array": isinstance(value, list) or (isinstance(value, str) and text.startswith("[")),
        "object": isinstance(value, dict) or (isinstance(value, str) and text.startswith("{")),
    }
    if expected in fits and not fits[expected]:
        raise StackError(f"{key} in {file} must be of type {expected}.", f"write {_EXAMPLES[expected]}")


_EXAMPLES = {"boolean": "`true` or `false`", "integer": "a whole number", "array": "a list", "object": "a mapping"}
