"""Runs the program's `__main__.py` once under the Pulumi runtime, with this runner's monitor in the engine's place."""

from __future__ import annotations

import asyncio
import contextvars
import os
import runpy
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pulumi.runtime
from pulumi.runtime.settings import Settings
from pulumi.runtime.stack import run_in_stack

from trial.config import Project
from trial.monitor import Engine, Monitor

# A step may block for minutes; the others must not wait for a thread.
_THREADS = 32
# Cancelled tasks end at once; this only bounds one that refuses.
_CANCEL_SECONDS = 1.0


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Makes the program's folder the working directory and the first place that imports look, as the engine does."""
    before, path = Path.cwd(), list(sys.path)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path


def run_program(project: Project, monitor: Monitor, engine: Engine, dry_run: bool) -> None:
    """Runs the program to its end, or raises what it or one of its resources raised.

    Pulumi keeps its state in context variables, so every run gets a fresh context and runs do not see each other.
    """
    contextvars.copy_context().run(_run, project, monitor, engine, dry_run)


def _run(project: Project, monitor: Monitor, engine: Engine, dry_run: bool) -> None:
    pulumi.runtime.configure(
        Settings(
            project=project.name,
            stack=project.stack,
            monitor=monitor,
            engine=engine,
            dry_run=dry_run,
            organization="organization",
            root_directory=str(project.folder),
        )
    )
    pulumi.runtime.set_all_config(project.config, project.secret_keys)

    def program() -> None:
        runpy.run_path(str(project.folder / "__main__.py"), run_name="__main__")

    loop = asyncio.new_event_loop()
    executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="trial")
    loop.set_default_executor(executor)
    # What failed is raised below; without this the loop prints every dependent's failure as well.
    loop.set_exception_handler(lambda _loop, _context: None)
    asyncio.set_event_loop(loop)
    interrupted = False
    try:
        loop.run_until_complete(run_in_stack(program))
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        executor.shutdown(wait=not interrupted, cancel_futures=True)
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=_CANCEL_SECONDS))
        asyncio.set_event_loop(None)
        loop.close()
