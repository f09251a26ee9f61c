"""Merges what the preparation wants into Docker's daemon.json.

Runs on the machine, hence of the standard library alone and for Python 3.8 (Ubuntu 20.04). A key that its owner has set
to something else stays as it is; what an earlier preparation wrote follows the settings.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Dict, List  # noqa: UP035 - see above

Settings = Dict[str, Any]  # noqa: UP006 - see above
CGROUP_DRIVER = "native.cgroupdriver="


def read(path: str) -> Settings:
    """The object in a file; empty when there is no file or nothing in it. Raises `ValueError` for anything else."""
    text = Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""
    value = json.loads(text) if text.strip() else {}
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def merged(current: Settings, wanted: Settings, written: Settings) -> Settings:
    """`current` with `wanted` in it. `written`: what the last preparation wanted."""
    result: Settings = json.loads(json.dumps(current))
    driver = wanted["log-driver"]
    if result.setdefault("log-driver", driver) == driver:
        fill(result.setdefault("log-opts", {}), wanted["log-opts"], written.get("log-opts", {}))
    if wanted.get("features"):
        fill(result.setdefault("features", {}), wanted["features"], written.get("features", {}))
    options = result.get("exec-opts", [])
    if wanted.get("exec-opts") and not any(option.startswith(CGROUP_DRIVER) for option in options):
        result["exec-opts"] = [*options, *wanted["exec-opts"]]
    return result


def fill(target: Settings, wanted: Settings, written: Settings) -> None:
    """Sets what is missing in `target`, and what is there because it was `written` before."""
    for key, value in wanted.items():
        if key not in target or (key in written and target[key] == written[key]):
            target[key] = value


def main(arguments: List[str]) -> int:  # noqa: UP006 - see above
    """`merge CURRENT WANTED WRITTEN RESULT` or `same ONE OTHER`, all of them files. Returns 1 when not the same."""
    if arguments[0] == "same":
        return int(read(arguments[1]) != read(arguments[2]))
    current, wanted, written, result = arguments[1:]
    text = json.dumps(merged(read(current), read(wanted), read(written)), indent=2) + "\n"
    Path(result).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
