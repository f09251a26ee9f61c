"""Runs this project's Pulumi program on a Docker engine without the Pulumi engine, for development and live tests.

`python -m trial up|preview|refresh|destroy|outputs` from a shell; `trial.run(...)` from code.

Docker, random and dynamic resources are built in. Resources and functions of any other package need its plugin, an
executable `pulumi-resource-<package>` on PATH; for aws that is a test double of this repository (`tests/doubles/bin`).
Refused with a message: packages without a plugin, reading or importing resources, functions of the built-in packages,
encrypted configuration, and every input of a Docker resource that `trial/fields.py` does not list.
Accepted and without effect: aliases (a renamed resource is a new one) and custom timeouts.
Not here: policies, transforms, shared state. Whoever needs them runs the engine, which runs the very same program.
"""

from __future__ import annotations

from trial.runner import Result, run

__all__ = ["Result", "run"]
