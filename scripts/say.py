"""How the commands speak: one plain line per step, and one readable error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from components.errors import StackError


def say(message: str) -> None:
    print(f"==> {message}", flush=True)


def fail(error: StackError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr, flush=True)
    raise SystemExit(1)


def run(main: Callable[[], None]) -> None:
    """Runs a command's main function; what the user can mend ends it with one message and no traceback."""
    try:
        main()
    except StackError as error:
        fail(error)
    except KeyboardInterrupt:
        print("\ninterrupted: run the same command again, it goes on from where it is", file=sys.stderr)
        raise SystemExit(130) from None
