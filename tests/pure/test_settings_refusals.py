"""What a stack file may not say: one readable problem each, all of them at once, and never the value."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

from components.settings import parse
from components.settings.problems import Problem, SettingsError
from tests.pure.given import CHAT, EMBEDDING, settings
from tests.pure.refusals import REFUSALS


def refused(sections: dict[str, Any]) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        settings(**sections)
    return caught.value


def only_problem(sections: dict[str, Any]) -> Problem:
    problems = refused(sections).problems
    assert len(problems) == 1, [problem.key for problem in problems]
    return problems[0]


@pytest.mark.parametrize("case", REFUSALS)
def test_a_bad_value_gives_one_problem_with_key_allowed_values_and_mend(case: str) -> None:
    sections, key, allowed, mend = REFUSALS[case]
    problem = only_problem(sections)
    assert problem.key == f"ragstack:{key}"
    assert "allowed" in problem.wrong
    assert allowed in problem.wrong
    assert mend in problem.mend
    assert "edit " in problem.mend or "pulumi config " in problem.mend
    assert "--stack dev" in problem.mend or "Pulumi.dev.yaml" in problem.mend


@pytest.mark.parametrize("case", REFUSALS)
def test_a_problem_speaks_the_stack_files_language_alone(case: str) -> None:
    message = str(refused(REFUSALS[case][0]))
    assert not re.search(r"pydantic|Traceback|tuple|NoneType|literal\[|constrained|String should|unable to", message)
    assert "nothing was created" in message


def test_all_bad_values_are_reported_at_once_in_the_order_of_their_keys() -> None:
    error = refused(
        {"ollama": {"port": 0, "preset": "fast"}, "images": {"ollama": "x"}, "olama": 1, "models": [CHAT, CHAT]}
    )
    keys = [problem.key for problem in error.problems]
    assert keys == [
        "ragstack:images.ollama",
        "ragstack:models[1].name",
        "ragstack:olama",
        "ragstack:ollama.port",
        "ragstack:ollama.preset",
    ]
    assert str(error).startswith("Pulumi.dev.yaml: 5 settings cannot work")
    assert all(str(error).count(f"- {key} ") == 1 for key in keys)


@pytest.mark.parametrize(
    "case", ["port used twice", "memory below reservation", "quantized cache", "image for another version"]
)
def test_the_mending_command_mends(case: str) -> None:
    sections = REFUSALS[case][0]
    command = shlex.split(only_problem(sections).mend)
    assert command[:6] == ["pulumi", "config", "set", "--stack", "dev", "--path"]
    section, *path = command[6].removeprefix("ragstack:").split(".")
    mended: dict[str, Any] = json.loads(json.dumps(sections))
    at = mended.setdefault(section, {})
    for part in path[:-1]:
        at = at.setdefault(part, {})
    at[path[-1]] = command[7]
    assert settings(**mended)


def test_a_misspelt_namespace_is_reported_and_those_of_providers_are_left_alone() -> None:
    config = {"ragstack:models": json.dumps([EMBEDDING]), "ragstack:profile": "dev", "ragstak:ollama": "{}"}
    with pytest.raises(SettingsError) as caught:
        parse(config, project="ragstack", stack="dev")
    assert [problem.key for problem in caught.value.problems] == ["ragstak:ollama"]
    del config["ragstak:ollama"]
    assert parse(config | {"docker:host": "x", "aws:region": "y"}, project="ragstack", stack="dev")


def test_missing_sections_without_a_default_are_named() -> None:
    with pytest.raises(SettingsError) as caught:
        parse({}, project="ragstack", stack="dev")
    assert [problem.key for problem in caught.value.problems] == ["ragstack:models", "ragstack:profile"]
