"""The group docker, whose members may use the engine's socket: joining it, and entering it without a new login."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import subprocess
import sys

from components.errors import StackError
from scripts.say import say

GROUP = "docker"
# Set for the command that runs inside the group, so that it never starts itself again.
_ENTERED = "RAGSTACK_ENTERED_GROUP"


def join(as_root: list[str]) -> None:
    """Puts this user into the group, by the command prefix that makes one root. Raises `StackError` when refused."""
    user = pwd.getpwuid(os.getuid()).pw_name
    command = ["usermod", "-aG", GROUP, user]
    say(f"adding {user} to the group {GROUP}, whose members may use Docker Engine: sudo {shlex.join(command)}")
    if subprocess.run([*as_root, *command], check=False).returncode:
        mend = f"sudo {shlex.join(command)}, then log in again"
        raise StackError(f"{user} cannot be added to the group {GROUP}.", mend)


def enter_if_member() -> None:
    """Starts the running command again inside the group, where this user is a member but this login is older than that.

    Returns for who is no member. Raises `StackError` where the group can only be entered by a new login.
    """
    try:
        group = grp.getgrnam(GROUP)
    except KeyError:
        return
    user = pwd.getpwuid(os.getuid()).pw_name
    if user not in group.gr_mem or group.gr_gid in os.getgroups() or os.environ.get(_ENTERED):
        return
    sg = shutil.which("sg")
    if sg is None:
        raise StackError(
            f"{user} is in the group {GROUP}, but this login is older than that.",
            f"log in again (or newgrp {GROUP}), then run the command again",
        )
    say(f"going on inside the group {GROUP} (other shells of this login know it after a new login, or newgrp {GROUP})")
    os.environ[_ENTERED] = "1"
    sys.stdout.flush()
    os.execv(sg, [sg, GROUP, "-c", shlex.join([sys.executable, *sys.orig_argv[1:]])])  # noqa: S606 - our own command
