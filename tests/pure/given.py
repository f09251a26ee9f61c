"""Settings for tests: a dev stack with two models, except for what a test says."""

from __future__ import annotations

import json
from typing import Any

from components.settings import Settings, parse

EMBEDDING = {"name": "all-minilm:22m", "purpose": "embedding"}
CHAT = {"name": "qwen2.5:0.5b", "purpose": "chat"}


def settings(**sections: Any) -> Settings:
    """Parsed from the texts that the engine would hand over. Raises `SettingsError`."""
    given = {"profile": "dev", "models": [EMBEDDING, CHAT], **sections}
    config = {f"ragstack:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}
    return parse(config, project="ragstack", stack="dev")
