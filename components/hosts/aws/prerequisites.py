"""What the deploying machine needs before AWS is asked anything: the aws command, a login, a key with its public half.

Looked at through the user's own `aws`, which the way into the machine needs anyhow: the provider would end the whole
program over a missing login before it could say what to run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from components.errors import StackError
from components.reach import require_ssh
from components.settings.aws import AwsHost

INSTALL_CLI = "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
INSTALL_PLUGIN = (
    "https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html"
)
# A single-sign-on token may be renewed on the way.
_TIMEOUT_S = 60


def require(aws: AwsHost) -> str:
    """The public key to send. Raises `StackError` when a command, the login or the key is missing."""
    require_ssh()
    if not shutil.which("aws"):
        raise StackError(
            "There is no aws command on this machine, and a machine on AWS is reached through it.",
            f"install the AWS CLI: {INSTALL_CLI}",
        )
    if aws.access == "session_manager" and not shutil.which("session-manager-plugin"):
        raise StackError(
            "There is no session-manager-plugin on this machine, and the machine is reached through Session Manager.",
            f"install it: {INSTALL_PLUGIN}",
        )
    _require_login(aws)
    return public_key(aws.key)


def _require_login(aws: AwsHost) -> None:
    profile = ["--profile", aws.profile] if aws.profile else []
    command = ["aws", "sts", "get-caller-identity", "--output", "json", "--region", aws.region, *profile]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
        said = done.stderr.strip().splitlines()
        if done.returncode == 0 and json.loads(done.stdout).get("Account"):
            return
    except subprocess.TimeoutExpired:
        said = [f"no answer within {_TIMEOUT_S} s"]
    except ValueError:
        said = ["its answer names no account"]
    name = aws.profile or os.environ.get("AWS_PROFILE") or ""
    option = f" --profile {name}" if name else ""
    raise StackError(
        f"AWS does not know who is asking: {said[-1] if said else 'aws sts get-caller-identity failed'}",
        f"aws sso login{option} (or aws configure{option} once, or export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)",
    )


def public_key(path: str) -> str:
    """The public half of the key pair at `path`. Neither half of a missing pair is made up here: it is the user's own.

    The private half is looked for and never read.
    """
    private = Path(path).expanduser()
    public = private.with_name(f"{private.name}.pub")
    if not private.is_file():
        raise StackError(
            f"The SSH key {path} of ragstack:host.aws.key is not there.",
            f"ssh-keygen -t ed25519 -f {path}, or name another: pulumi config set --path ragstack:host.aws.key <path>",
        )
    if not public.is_file():
        raise StackError(
            f"The public half {path}.pub of the SSH key is not there.", f"ssh-keygen -y -f {path} > {path}.pub"
        )
    words = public.read_text(encoding="utf-8").split()
    # EC2 takes these two kinds alone: "Amazon EC2 key pairs" in the EC2 user guide.
    if len(words) < 2 or words[0] not in ("ssh-ed25519", "ssh-rsa"):
        raise StackError(
            f"{path}.pub holds no ED25519 or RSA public key, and EC2 takes no other.",
            f"ssh-keygen -t ed25519 -f {path}",
        )
    # Without the comment, which may name a person: it would stand in the state and in AWS.
    return f"{words[0]} {words[1]}"
