"""The Pulumi CLI: found on PATH or in the user's home, or installed there by its official installer."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from pathlib import Path

from components.errors import StackError
from scripts.say import say

PULUMI_VERSION = "3.272.0"
HOME = Path.home() / ".pulumi" / "versions" / PULUMI_VERSION
_PASSPHRASE_BYTES = 24


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
        PulumiCommand.install(root=str(HOME), version=VersionInfo.parse(PULUMI_VERSION))
    except Exception as error:
        # The installer is a download and a shell script: whatever fails in it, the answer is the same.
        say(f"the Pulumi CLI cannot be installed here ({_first_line(error)})")
        return None
    return HOME / "bin" / "pulumi"


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def backend_environment(project: Path) -> dict[str, str]:
    """The variables that make the CLI keep its state in `.ragstack/`, encrypted by a passphrase file made on first use.

    What the user has set (a backend, a token, a passphrase) is left as it is. Raises `StackError` for a passphrase
    file that cannot be read.
    """
    environment = dict(os.environ)
    environment.setdefault("PULUMI_SKIP_UPDATE_CHECK", "true")
    if "PULUMI_BACKEND_URL" in environment or "PULUMI_ACCESS_TOKEN" in environment:
        return _checked(environment)
    state = project / ".ragstack" / "state"
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    environment["PULUMI_BACKEND_URL"] = state.as_uri()
    if "PULUMI_CONFIG_PASSPHRASE" not in environment and "PULUMI_CONFIG_PASSPHRASE_FILE" not in environment:
        environment["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(_passphrase_file(project / ".ragstack" / "passphrase"))
    return _checked(environment)


def _passphrase_file(path: Path) -> Path:
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(_PASSPHRASE_BYTES) + "\n")
        say(f"made the passphrase that encrypts this stack's secrets: {path} (mode 0600; keep a copy)")
    return path


def _checked(environment: dict[str, str]) -> dict[str, str]:
    named = environment.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if named is None or "PULUMI_CONFIG_PASSPHRASE" in environment:
        return environment
    path = Path(named)
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StackError(
            f"The passphrase file {path} cannot be read ({error.strerror}).",
            f"chmod 600 {path} as its owner, or name another by PULUMI_CONFIG_PASSPHRASE_FILE",
        ) from None
    if not content.strip():
        raise StackError(f"The passphrase file {path} is empty.", "restore it from your copy")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise StackError(f"The passphrase file {path} can be read by other users.", f"chmod 600 {path}")
    return environment
