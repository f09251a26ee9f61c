"""`make up`: from whatever this machine has to a running stack and one RAG answer."""

from __future__ import annotations

from typing import Any

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
    """The endpoints without a secret: `make env` writes those to a file that only its owner can read."""
    shown = {key: value for key, value in outputs.items() if key not in ("api_keys", "database_url")}
    width = max(map(len, shown))
    print(f"\nThe stack {stack} is up.")
    for key, value in shown.items():
        print(f"  {key:<{width}}  {'-' if value is None else value}")
    print(f"  {'database_url':<{width}}  [secret] (make env STACK={stack} writes it to .env)")


if __name__ == "__main__":
    run(main)
