"""The Pulumi CLI: found on PATH or in the user's home, or installed there by its official installer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from components.dynamic import still_going
from scripts.say import say

PULUMI_VERSION = "3.272.0"
HOME = Path.home() / ".pulumi" / "versions" / PULUMI_VERSION


def find_pulumi() -> Path | None:
    """The CLI on PATH, else the one an earlier run installed, else None."""
    found = shutil.which("pulumi")
    if found:
        return Path(found)
    installed = HOME / "bin" / "pulumi"
    return installed if installed.exists() else None


def install_pulumi() -> Path | None:
    """The freshly installed CLI, or None where its installer cannot be reached or RAGSTACK_INSTALL=no forbids it."""
    if os.environ.get("RAGSTACK_INSTALL") == "no":
        return None
    from pulumi.automation import PulumiCommand
    from semver import VersionInfo

    say(f"the Pulumi CLI is missing: installing {PULUMI_VERSION} into {HOME} (RAGSTACK_INSTALL=no forbids it)")
    try:
        with still_going("downloading the Pulumi CLI", say):
            PulumiCommand.install(root=str(HOME), version=VersionInfo.parse(PULUMI_VERSION))
    except Exception as error:
        # The installer is a download and a shell script: whatever fails in it, the answer is the same.
        say(f"the Pulumi CLI cannot be installed here ({_first_line(error)})")
        return None
    return HOME / "bin" / "pulumi"


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
