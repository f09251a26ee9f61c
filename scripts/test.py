"""`make test`: every check and every tier of tests on this machine, each with its own count and time.

Tiers, in order: lint, pure, mocks, trial, live, rehearsal. `make test TIERS="lint pure"` runs some. What needs a Docker
engine starts one where that is allowed, and otherwise is skipped with the reason in the summary.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from components.errors import StackError
from scripts.command import PROJECT
from scripts.docker_engine import ensure_engine
from scripts.private_dir import private_dir
from scripts.say import run, say

NEEDS_ENGINE = ("trial", "live", "rehearsal")


@dataclass(frozen=True, kw_only=True)
class Result:
    """Counts of one tier, its wall time in seconds, and why it was skipped when it was."""

    tier: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    note: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiers", nargs="*", choices=[[], *TIERS], metavar="TIER", help=" ".join(TIERS))
    wanted = parser.parse_args().tiers or list(TIERS)
    results = [_timed(tier) for tier in TIERS if tier in wanted]
    print("\n== summary")
    for result in results:
        counts = f"{result.passed:5} passed {result.failed:3} failed {result.skipped:3} skipped"
        print(f"  {result.tier:<9} {counts}  {result.seconds:6.1f} s  {result.note}".rstrip())
    passed = sum(result.passed for result in results)
    failed = sum(result.failed for result in results)
    print(f"{passed} passed, {failed} failed, {sum(result.skipped for result in results)} skipped")
    if failed or not passed:
        raise SystemExit(1)


def _timed(tier: str) -> Result:
    print(f"\n== {tier}", flush=True)
    started = time.monotonic()
    result = _skipped_or_run(tier)
    return Result(**{**vars(result), "seconds": time.monotonic() - started})


def _skipped_or_run(tier: str) -> Result:
    if tier in NEEDS_ENGINE:
        try:
            ensure_engine()
        except (StackError, OSError, subprocess.CalledProcessError) as error:
            say(f"skipped: {error}")
            return Result(tier=tier, skipped=1, note=f"no Docker engine: {str(error).splitlines()[0]}")
    return TIERS[tier](tier)


def _lint(tier: str) -> Result:
    scripts = [str(path) for path in _tracked("*.sh", ".ci/run")]
    python = [sys.executable, "-m"]
    checks = [
        [*python, "ruff", "check", "."],
        [*python, "ruff", "format", "--check", "."],
        [*python, "mypy"],
        [*python, "yamllint", "--strict", *(str(path) for path in _tracked("*.yaml", "*.yml"))],
        [*_tool("shellcheck"), *scripts],
        [*python, "scripts.check_workflows"],
        [*_actionlint(), *(str(path) for path in _tracked(".github/workflows/*.yml"))],
    ]
    failed = 0
    for check in checks:
        say(" ".join(Path(word).name if word == sys.executable else word for word in check[:5]))
        failed += subprocess.run(check, cwd=PROJECT, check=False).returncode != 0
    return Result(tier=tier, passed=len(checks) - failed, failed=failed)


def _tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    found = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return [Path(line) for line in found.stdout.splitlines() if (PROJECT / line).exists()]


def _tool(name: str) -> list[str]:
    """A linter that is a Debian package. Missing and not installable is a failed check, not a passed one."""
    if not shutil.which(name) and os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing {name}")
        subprocess.run(["apt-get", "update", "-q"], check=False, stdout=subprocess.DEVNULL)
        subprocess.run(["apt-get", "install", "-y", "-q", name], check=False, stdout=subprocess.DEVNULL)
    return [name] if shutil.which(name) else ["sh", "-c", f"echo '{name} is not installed' >&2; exit 1"]


def _actionlint() -> list[str]:
    """actionlint from PATH, else built from its Go module, which needs a Docker engine."""
    if shutil.which("actionlint"):
        return ["actionlint"]
    try:
        ensure_engine()
    except StackError as error:
        return ["sh", "-c", f"echo 'actionlint is missing and cannot be built: {error.cause}' >&2; exit 1"]
    build = [sys.executable, "-m", "images.stand_ins", "tool", "actionlint"]
    built = subprocess.run(build, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False)
    return [built.stdout.strip()] if built.returncode == 0 else ["false"]


def _pytest(tier: str) -> Result:
    report = private_dir(PROJECT) / f"test-{tier}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", f"tests/{tier}", f"--junit-xml={report}", "-o", "junit_family=xunit2"]
    code = subprocess.run(command, cwd=PROJECT, check=False).returncode
    if not report.exists():
        return Result(tier=tier, failed=1, note=f"pytest ended with {code} and no report")
    suite = next(ElementTree.parse(report).iter("testsuite"))  # noqa: S314 - pytest wrote it a moment ago
    tests, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    # A run that broke off, or found no test at all, has failed whatever it counted.
    failed = failed or int(code != 0)
    return Result(tier=tier, passed=tests - failed - skipped, failed=failed, skipped=skipped)


TIERS: dict[str, Callable[[str], Result]] = {
    "lint": _lint,
    "pure": _pytest,
    "mocks": _pytest,
    "trial": _pytest,
    "live": _pytest,
    "rehearsal": _pytest,
}

if __name__ == "__main__":
    run(main)
