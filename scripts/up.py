"""`make up`: from whatever this machine has to a running stack and one RAG answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from scripts.command import arguments, prepare
from scripts.say import run
from scripts.smoke import answer


def main() -> None:
    stack = arguments(str(__doc__)).parse_args().stack
    command = prepare(stack)
    command.runner.run("up")
    outputs = command.runner.outputs()
    print_endpoints(stack, outputs)
    answer(outputs)


def print_endpoints(stack: str, outputs: dict[str, Any]) -> None:
    """What a client connects to, without a secret: `make env` writes that to a file that only its owner can read."""
    print(f"\nThe stack {stack} is up.")
    if outputs.get("reach"):
        print(f"  machine    {outputs['host_address']}, reached by SSH alone; the addresses below are its loopback's,")
        print(f"             and make forward STACK={stack} brings them here")
    print(f"  ollama     {outputs['ollama_url']}")
    if outputs.get("gateway_url"):
        keys = ", ".join(sorted(outputs.get("api_keys") or {}))
        print(f"  gateway    {outputs['gateway_url']} (generated keys: {keys or 'none'})")
    print(f"  models     {', '.join(filter(None, [outputs.get('embedding_model'), *outputs['chat_models']]))}")
    print(f"  database   {without_password(outputs['database_url'])} (make env writes it with its password to .env)\n")


def without_password(url: str) -> str:
    """A connection string whose password is replaced by ***."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.username}:***@{parts.hostname}:{parts.port}{parts.path}"


if __name__ == "__main__":
    run(main)
