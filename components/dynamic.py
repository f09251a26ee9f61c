"""What the dynamic providers of models and the database share: plain errors, progress, and diffs that bear unknowns.

Not here: anything about Ollama or PostgreSQL.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from components.errors import StackError

P = ParamSpec("P")
R = TypeVar("R")
Report = Callable[[str], None]
# Stands for the server's identity when a refresh could not ask it; no container has this id.
UNPROVEN = "unproven"


def plain_errors(method: Callable[P, R]) -> Callable[P, R]:
    """Let a StackError leave a provider method as its message alone; anything else keeps its traceback.

    Pulumi's dynamic plugin answers a failed call with `traceback.format_exc()`, and `sys.tracebacklimit` is the only
    knob on it. It is turned in the plugin process alone, so nobody else's tracebacks are touched.
    """

    @functools.wraps(method)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except StackError as error:
            _limit_traceback(0)
            error.__cause__ = None
            error.__suppress_context__ = True
            raise
        except Exception:
            _limit_traceback(None)
            raise

    return wrapped


def _limit_traceback(limit: int | None) -> None:
    if not _in_plugin_process():
        return
    if limit is not None:
        sys.tracebacklimit = limit
    elif hasattr(sys, "tracebacklimit"):
        del sys.tracebacklimit


def _in_plugin_process() -> bool:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return getattr(spec, "name", "").startswith("pulumi.dynamic")


def report(message: str) -> None:
    """Show one line on the update's status, through stderr where no engine is at hand, as in the plugin process."""
    import pulumi

    pulumi.log.info(message)


def warn(message: str) -> None:
    """As `report`, but as a warning that stays on screen after the update."""
    import pulumi

    pulumi.log.warn(message)


@contextmanager
def still_going(what: str, tell: Report, every: float = 2.0) -> Iterator[None]:
    """Tell every `every` seconds, for as long as the block runs, that `what` is still going on and for how long.

    Nothing is told when the block ends before the first interval is over.
    """
    with ticking(lambda passed: tell(f"{what}: {passed:.0f} s"), every):
        yield


@contextmanager
def ticking(tick: Callable[[float], None], every: float = 2.0) -> Iterator[None]:
    """Call `tick(seconds since the start)` every `every` seconds on a thread of its own while the block runs.

    After fifteen calls the pauses are five times as long: Pulumi lists every line again when the update is over.
    """
    done = threading.Event()
    started = time.monotonic()

    def run() -> None:
        pauses = itertools.chain([every] * 15, itertools.repeat(5 * every))
        while not done.wait(next(pauses)):
            tick(time.monotonic() - started)

    # pulumi.log finds its engine through context variables, which a new thread does not inherit.
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def is_unknown(value: Any) -> bool:
    """Whether a value, or anything inside it, is not known yet, as the inputs of a preview may be."""
    from pulumi.runtime import rpc

    if isinstance(value, Mapping):
        return any(is_unknown(inner) for inner in value.values())
    if isinstance(value, (list, tuple)):
        return any(is_unknown(inner) for inner in value)
    return bool(value == rpc.UNKNOWN) or type(value).__name__ == "Unknown"


def changed(olds: Mapping[str, Any], news: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """The keys whose value differs or is not known yet. A key that is absent equals one that is None."""
    return [key for key in keys if is_unknown(news.get(key)) or olds.get(key) != news.get(key)]
