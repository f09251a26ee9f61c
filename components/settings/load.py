"""From the stack file to `Settings`: the only reader of `pulumi.Config`, and all refusals in one error."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env
from pydantic import ValidationError

from components.settings.problems import Problem, SettingsError, problems_of, set_command, unknown_key
from components.settings.profiles import BASELINES, overlay
from components.settings.rules import RULES, Context
from components.settings.stack import Settings

# What a refused section is replaced by while the rules look at the others; never returned.
_PLACEHOLDERS: dict[str, Any] = {"profile": "dev", "models": [{"name": "placeholder:0", "purpose": "embedding"}]}


def load() -> Settings:
    """The settings of the current stack. Raises `SettingsError` with every refused key."""
    project, stack = pulumi.get_project(), pulumi.get_stack()
    config = {**get_config_env(), **CONFIG.get()}
    return parse(config, project=project, stack=stack)


def parse(config: Mapping[str, str], *, project: str, stack: str) -> Settings:
    """`config`: `<namespace>:<key>` to text, objects as JSON, as the engine hands it over. Raises `SettingsError`."""
    problems = _misspelt_namespaces(config, project, stack)
    raw: dict[str, Any] = {}
    for key, text in config.items():
        namespace, _, name = key.partition(":")
        if namespace != project:
            continue
        if name not in Settings.model_fields:
            problems.append(unknown_key(key, name, list(Settings.model_fields), stack))
            continue
        raw[name] = _decoded(name, text)
    raw = overlay(BASELINES.get(str(raw.get("profile")), {}), raw)

    sections: dict[str, Any] = {}
    for name in Settings.model_fields:
        try:
            sections[name] = _validated(name, raw)
        except ValidationError as error:
            problems += problems_of(error, Settings, project, stack)
    refused = Settings.model_fields.keys() - sections.keys()
    stand_ins = {name: _PLACEHOLDERS[name] for name in refused & _PLACEHOLDERS.keys()}
    context = Context(settings=Settings.model_validate({**sections, **stand_ins}), project=project, stack=stack)
    problems += [problem for reads, rule in RULES if not reads & refused for problem in rule(context)]
    if problems:
        raise SettingsError(stack, problems)
    return Settings.model_validate(sections)


def _decoded(name: str, text: str) -> Any:
    """Objects and lists arrive as JSON. What is neither is left to the section's own type to refuse."""
    if name == "profile":
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _validated(name: str, raw: Mapping[str, Any]) -> Any:
    """One section on its own, so that a refusal there leaves the others to be looked at."""
    others = {key: value for key, value in _PLACEHOLDERS.items() if key != name}
    given = {name: raw[name]} if name in raw else {}
    return getattr(Settings.model_validate(others | given), name)


def _misspelt_namespaces(config: Mapping[str, str], project: str, stack: str) -> list[Problem]:
    """`ragstak:ollama` would be nobody's key; `docker:host` and `aws:region` are the providers' own."""
    problems = []
    for key in config:
        namespace, _, name = key.partition(":")
        if namespace != project and difflib.get_close_matches(namespace, [project], cutoff=0.75):
            mend = f"pulumi config rm --stack {stack} '{key}' && {set_command(stack, f'{project}:{name}', '<value>')}"
            problems.append(
                Problem(key=key, wrong=f"is in no namespace that is read; allowed: {project}:{name}", mend=mend)
            )
    return problems
