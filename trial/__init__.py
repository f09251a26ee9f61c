"""Runs this project's Pulumi program on a Docker engine without the Pulumi engine, for development and live tests.

`python -m trial up|preview|refresh|destroy|outputs` from a shell; `trial.run(...)` from code.

Not here: previews of other providers, imports, aliases, transforms, policies, encrypted configuration, shared state.
Whoever needs one of these runs the engine, which runs the very same program.
"""

from __future__ import annotations

from trial.runner import Result, run

__all__ = ["Result", "run"]
