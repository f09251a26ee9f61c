"""How ssh gets to a machine that listens to nobody: through Session Manager, or an Instance Connect Endpoint."""

from __future__ import annotations

import shlex

from components.hosts.remote import COMMON_OPTIONS, KNOWN_HOSTS
from components.settings.aws import AwsHost

# %h and %p are the instance's id and the port, filled in by ssh: "Allow and control permissions for SSH connections
# through Session Manager" in the Systems Manager user guide.
_SESSION_MANAGER = (
    "aws ssm start-session --target %h --document-name AWS-StartSSHSession --parameters portNumber=%p --region {region}"
)
_INSTANCE_CONNECT = "aws ec2-instance-connect open-tunnel --instance-id %h --remote-port %p --region {region}"


def ssh_options(host: AwsHost) -> tuple[str, ...]:
    """The arguments by which ssh reaches `user@instance-id`. The key is named, never read."""
    command = _SESSION_MANAGER if host.access == "session_manager" else _INSTANCE_CONNECT
    proxy = command.format(region=host.region) + (f" --profile {shlex.quote(host.profile)}" if host.profile else "")
    return (
        *COMMON_OPTIONS,
        "-o", "ConnectTimeout=30",
        "-o", "StrictHostKeyChecking=accept-new",
        "-o", f"UserKnownHostsFile={KNOWN_HOSTS}",
        "-o", "IdentitiesOnly=yes",
        "-i", host.key,
        "-o", f"ProxyCommand={proxy}",
    )  # fmt: skip
