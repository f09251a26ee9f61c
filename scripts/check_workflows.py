"""What actionlint does not see in `.github/workflows`: zizmor's security audits, and pins and limits checked here.

`python -m scripts.check_workflows [FILE ...]` prints every problem and ends with 1 when there is one, or no workflow.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from components.errors import StackError
from scripts.say import run

PROJECT = Path(__file__).resolve().parents[1]
_USES = re.compile(r"^\s*(?:-\s+)?uses:\s*[\"']?(?P<action>[^\s#\"']+)[\"']?\s*(?P<comment>#.*)?$")
_PINNED = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40}$")
_VERSION = re.compile(r"^# v\d+\.\d+\.\d+$")


def problems_of(text: str) -> list[str]:
    """What is wrong with the text of one workflow, each with its mend. Raises `yaml.YAMLError` when it is no YAML."""
    # Every scalar stays the text it is: YAML 1.1 would read the key `on` as true.
    workflow = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - BaseLoader makes nothing but text
    return [*_unpinned(text), *_unbounded(workflow["jobs"]), *_careless_checkouts(workflow["jobs"])]


def _unpinned(text: str) -> Iterator[str]:
    pins: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _USES.match(line)
        if not match or match["action"].startswith("./"):
            continue
        action, comment = match["action"], match["comment"] or ""
        if not _PINNED.match(action):
            yield f"line {number}: {action} is not pinned: name the commit by its 40 hex digits"
        elif not _VERSION.match(comment):
            yield f"line {number}: {action} does not say its version: end the line with `# vX.Y.Z`"
        elif pins.setdefault(action.partition("@")[0], f"{action} {comment}") != f"{action} {comment}":
            yield f"line {number}: {action} differs from an earlier pin of the same action: use one"


def _unbounded(jobs: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name, job in jobs.items():
        # A job that calls a workflow cannot have one; the jobs of that workflow have.
        if "uses" not in job and "timeout-minutes" not in job:
            yield f"job {name}: no timeout-minutes: without it a job may hang for six hours"


def _careless_checkouts(jobs: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name, job in jobs.items():
        for step in job.get("steps", []):
            is_checkout = step.get("uses", "").startswith("actions/checkout@")
            if is_checkout and (step.get("with") or {}).get("persist-credentials") != "false":
                yield f"job {name}: checkout leaves the token on disk: set persist-credentials: false"


def _zizmor(files: list[Path]) -> bool:
    """Whether zizmor found nothing. Raises `StackError` when it is not installed beside this Python."""
    program = Path(sys.executable).with_name("zizmor")
    if not program.exists():
        raise StackError("zizmor, which checks the workflows, is not installed.", "make .venv/ready-for-tests")
    # Offline: the audits that ask GitHub would make the result depend on the day and on a token.
    command = [str(program), "--offline", "--quiet", "--strict-collection", *map(str, files)]
    return subprocess.run(command, check=False, cwd=PROJECT).returncode == 0


def main() -> None:
    files = [Path(name) for name in sys.argv[1:]] or sorted((PROJECT / ".github" / "workflows").glob("*.y*ml"))
    if not files:
        raise StackError("There is no workflow to check.", "name one, or add it to .github/workflows")
    found = [f"{file.name}: {problem}" for file in files for problem in problems_of(file.read_text(encoding="utf-8"))]
    print("\n".join(found), end="\n" if found else "")
    if not _zizmor(files) or found:
        raise SystemExit(1)
    print(f"{len(files)} workflows: nothing found")


if __name__ == "__main__":
    run(main)
