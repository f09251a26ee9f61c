"""Whatever a refused value is and wherever it stands, no message repeats it: it may be a secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.settings.problems import SettingsError
from tests.pure.given import settings

CANARY = "hunter2-do-not-print-me"


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, (*path, key))] or [path]
    if isinstance(value, list):
        return [leaf for index, inner in enumerate(value) for leaf in _leaves(inner, (*path, index))] or [path]
    return [path]


def _everything() -> dict[str, Any]:
    users = [{"name": "rag", "password": "a-long-password", "role": "app"}]
    whole = settings(postgres={"users": users, "tuning": {"work_mem": "8m"}}, host={"type": "aws", "aws": {}})
    dumped: dict[str, Any] = whole.model_dump(mode="json")
    return dumped


@pytest.mark.parametrize("value", [CANARY, [CANARY], {"a": CANARY}, f"{CANARY} with space"])
def test_no_value_is_ever_repeated_in_a_message(value: Any) -> None:
    base = _everything()
    messages = {}
    for path in _leaves(base):
        config = json.loads(json.dumps(base))
        at = config
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value
        try:
            settings(**config)
        except SettingsError as error:
            messages[path] = f"{error} {error!r} {error.cause} {error.mend}"
    assert not [path for path, message in messages.items() if CANARY in message]
    assert len(messages) > 40


def test_a_refused_password_is_not_in_the_traceback_either() -> None:
    with pytest.raises(SettingsError) as caught:
        settings(postgres={"users": [{"name": "rag", "password": "tiny-" + "pw"}]})
    assert caught.value.__cause__ is None
    assert "tiny-pw" not in f"{caught.value!r}{caught.value.__context__}"
