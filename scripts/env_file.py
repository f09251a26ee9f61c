"""`make env`: writes `.env` for an MCP server or another RAG client, readable by its owner alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from components.settings import Settings
from scripts.command import PROJECT, arguments, existing
from scripts.outputs import complete
from scripts.say import run, say


def main() -> None:
    parser = arguments(str(__doc__))
    parser.add_argument("--file", type=Path, default=PROJECT / ".env")
    options = parser.parse_args()
    command = existing(options.stack)
    write_env(options.file, command.runner.outputs(), key_name(command.settings))
    say(f"wrote {options.file} (mode 0600)")


def key_name(settings: Settings) -> str | None:
    """The first declared key that may not administer, else the first; None without a gateway."""
    keys = settings.gateway.keys if settings.gateway.enabled else []
    return next((key.name for key in sorted(keys, key=lambda key: key.scope == "admin")), None)


def variables(outputs: dict[str, Any], key: str | None = None) -> dict[str, str]:
    """What a RAG client needs, from a stack's outputs: OLLAMA_HOST is the variable of Ollama's own libraries, and the
    API key the one named `key`. Outputs do not keep the order in which keys were declared.

    Raises `StackError` when the outputs are not complete.
    """
    complete(outputs, "ollama_url", "database_url", "database_schema")
    # Pulumi leaves out an output that is None, as the embedding model of a stack without one.
    chat = outputs.get("chat_models")
    keys = outputs.get("api_keys") or {}
    values = {
        "OLLAMA_HOST": outputs.get("gateway_url") or outputs["ollama_url"],
        # Ollama's and OpenAI's libraries send it as a bearer token.
        "OLLAMA_API_KEY": keys.get(key),
        "EMBEDDING_MODEL": outputs.get("embedding_model"),
        "EMBEDDING_DIMENSION": outputs.get("embedding_dimension"),
        "CHAT_MODEL": chat[0] if chat else None,
        "DATABASE_URL": outputs["database_url"],
        "DATABASE_SCHEMA": outputs["database_schema"],
    }
    # Numbers of a dynamic provider come back as floats: 384.0 is no dimension.
    return {key: str(int(value) if isinstance(value, float) else value) for key, value in values.items() if value}


def write_env(path: Path, outputs: dict[str, Any], key: str | None = None) -> None:
    lines = [f"{name}='{value}'\n" for name, value in variables(outputs, key).items()]
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(lines)
    part.replace(path)


if __name__ == "__main__":
    run(main)
