"""`make prepare`: the preparation of a machine that is already there (host.type: ssh), as cloud-init does a new one's.

Sends the script to the machine, where it stays as `ragstack-prepare`, and runs it as root. A second run changes
nothing.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any, Literal, cast

from components.errors import StackError
from components.hosts.preparation import Preparation, script
from components.hosts.preparation.cloud_config import INSTALLED
from components.hosts.readiness.probe import MARKER
from components.hosts.ssh import required, target_of
from components.reach import SshTarget, open_shared
from components.reach import run as run_there
from components.settings import Settings
from scripts.command import PROJECT, arguments
from scripts.say import run, say
from scripts.stack_file import settings_of

_QUESTION_S = 30
# Moved into place whole: a connection that breaks half-way must not leave half a script to be run again.
INSTALL_AND_RUN = (
    f"umask 022; cat >{INSTALLED}.new && chmod 0755 {INSTALLED}.new && mv -f {INSTALLED}.new {INSTALLED} "
    f"&& exec {INSTALLED} </dev/null"
)


def main() -> None:
    stack = arguments(str(__doc__)).parse_args().stack
    settings = settings_of(PROJECT, PROJECT / f"Pulumi.{stack}.yaml", stack)
    if settings.host.type != "ssh":
        raise StackError(
            f"make prepare is for a machine that is already there, and host.type of the stack {stack} is "
            f"{settings.host.type}.",
            "nothing has to be done: an AWS machine prepares itself, and make up does what the local one needs",
        )
    prepare(settings)


def prepare(settings: Settings) -> None:
    """Prepares the machine of the settings. Raises `StackError` when it cannot be reached or the preparation fails."""
    target = target_of(required(settings))
    open_shared(target)
    text = script(preparation(settings, user=_login_user(target)))
    say(f"preparing {target.destination} (its log there: /var/log/ragstack-prepare.log)")
    code = subprocess.run(command(target), input=text.encode(), check=False).returncode
    marker = _marker(target)
    if code:
        reason = marker.get("reason") if marker.get("state") == "failed" else f"it ended with {code}, as said above"
        raise StackError(
            f"{target.destination} was not prepared: {reason}",
            "mend that, then make prepare again; it needs root without a password there (sudo -n true)",
        )
    changed = ", ".join(marker.get("steps_changed") or ()) or "nothing, it was prepared already"
    say(f"{target.destination} is ready; changed: {changed}")
    # Groups are taken on when a connection is opened, and the user may have joined docker a moment ago.
    subprocess.run([*target.command()[:-2], "-O", "exit", target.destination], capture_output=True, check=False)


def command(target: SshTarget) -> list[str]:
    """The ssh command line whose input is the script."""
    return target.command("sudo", "-n", "sh", "-c", shlex.quote(INSTALL_AND_RUN))


def preparation(settings: Settings, *, user: str) -> Preparation:
    """What the machine of these settings has to be prepared for."""
    log = settings.ollama.container.log
    return Preparation(
        user=user,
        # The settings refuse apple on a remote host.
        accelerator=cast(Literal["cpu", "nvidia", "rocm", "vulkan"], settings.accelerator.kind),
        log_max_size=log.max_size,
        log_max_file=log.max_file,
    )


def _login_user(target: SshTarget) -> str:
    """The machine knows; the settings may leave it to the user's ssh configuration."""
    return run_there(target, "id", "-un", timeout_s=_QUESTION_S).stdout.strip()


def _marker(target: SshTarget) -> dict[str, Any]:
    done = run_there(target, "cat", MARKER, timeout_s=_QUESTION_S)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    run(main)
