"""A shell on the machine that runs the stack: this one, or another over SSH."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components import reach as ssh
from components.reach import SshTarget

# Seconds. The slowest question is nvidia-smi after a boot, which takes ten.
TIMEOUT_S = 30.0
# As a shell says it: the command is not there.
NOT_FOUND = 127


@dataclass(frozen=True, kw_only=True)
class Said:
    """Exit code and both output streams of a command, stripped."""

    code: int
    text: str

    @property
    def succeeded(self) -> bool:
        return self.code == 0

    @property
    def is_absent(self) -> bool:
        """Whether the command itself is not there."""
        return self.code == NOT_FOUND


@dataclass(frozen=True, kw_only=True)
class Shell:
    """`reach` as in `SshTarget.as_input`, None for the machine at hand; `environment` replaces the inherited one."""

    reach: Mapping[str, Any] | None = None
    environment: Mapping[str, str] | None = None

    def run(self, *command: str, stdin: str = "", timeout_s: float = TIMEOUT_S) -> Said:
        """Runs one command, without a shell around it here and with the login shell's quoting undone there.

        Raises `UnreachableError` when the machine gives no connection. A command that is not there, or does not end in
        time, is an exit code (127 or 124, as with timeout(1)) and no exception.
        """
        if self.reach:
            done = ssh.run(SshTarget.of(self.reach), "sh", "-s", timeout_s=timeout_s, stdin=_script(command, stdin))
            return Said(code=done.returncode, text=(done.stdout + done.stderr).strip())
        try:
            local = subprocess.run(
                list(command),
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=timeout_s,
                env=dict(self.environment) if self.environment is not None else None,
            )
        except FileNotFoundError:
            return Said(code=NOT_FOUND, text=f"{command[0]}: not found")
        except PermissionError as error:
            return Said(code=126, text=str(error))
        except subprocess.TimeoutExpired:
            return Said(code=124, text=f"{command[0]} did not end within {timeout_s:.0f} s")
        return Said(code=local.returncode, text=(local.stdout + local.stderr).strip())


def _script(command: tuple[str, ...], stdin: str) -> str:
    import shlex

    line = shlex.join(command)
    return f"printf %s {shlex.quote(stdin)} | {line}\n" if stdin else f"{line} </dev/null\n"
