"""A test double of the AWS CLI: `sts get-caller-identity`, `ssm start-session` and `ec2-instance-connect open-tunnel`.

It asks moto what the real one would have AWS ask - does the instance run, may it talk to Session Manager, is there an
Instance Connect Endpoint in its network - and then joins standard input and output to the machine's sshd.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import socket
import sys
import threading
from typing import Any

from tests.doubles.aws_provider import store
from tests.doubles.aws_provider.calls import Aws, CallError, ConfigurationError

# What the CLI ends with when AWS refuses; 253 when it knows no credentials ("AWS CLI return codes" in its user guide).
REFUSED, NO_CREDENTIALS = 254, 253
_CHUNK = 65536
_CONNECT_S = 10
_CHANNEL_ACTION = "ssmmessages:CreateControlChannel"


class RefusalError(Exception):
    """As AWS words it: (code, operation, message)."""

    def __init__(self, code: str, operation: str, message: str) -> None:
        super().__init__(f"An error occurred ({code}) when calling the {operation} operation: {message}")


def main() -> int:
    options = _parse()
    try:
        aws = Aws({"region": options.region, "profile": options.profile})
        if options.command == "sts":
            aws.call("sts", "GetCallerIdentity")
            arn = f"arn:aws:iam::{aws.account}:user/rehearsal"
            print(json.dumps({"UserId": "REHEARSAL", "Account": aws.account, "Arn": arn}))
            return 0
        instance = options.target if options.command == "ssm" else options.instance_id
        _require_way_in(aws, options.command, instance)
        return _join(instance)
    except ConfigurationError as error:
        missing = "No valid credential" in str(error)
        said = (
            'Unable to locate credentials. You can configure credentials by running "aws login".' if missing else error
        )
        print(f"\n{said}", file=sys.stderr)
        return NO_CREDENTIALS
    except (RefusalError, CallError) as error:
        print(f"\n{error}", file=sys.stderr)
        return REFUSED


def _parse() -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    # Suppressed, because a subparser's default would overwrite what was given in front of it.
    for option in ("--region", "--profile", "--output"):
        common.add_argument(option, default=argparse.SUPPRESS)
    parser = argparse.ArgumentParser(prog="aws", parents=[common])
    services = parser.add_subparsers(dest="command", required=True)
    sts = services.add_parser("sts").add_subparsers(dest="operation", required=True)
    sts.add_parser("get-caller-identity", parents=[common])
    session = services.add_parser("ssm").add_subparsers(dest="operation", required=True)
    start = session.add_parser("start-session", parents=[common])
    start.add_argument("--target", required=True)
    start.add_argument("--document-name", required=True, choices=["AWS-StartSSHSession"])
    start.add_argument(
        "--parameters", required=True, choices=["portNumber=22", "portNumber=[22]", '{"portNumber":["22"]}']
    )
    connect = services.add_parser("ec2-instance-connect").add_subparsers(dest="operation", required=True)
    tunnel = connect.add_parser("open-tunnel", parents=[common])
    tunnel.add_argument("--instance-id", required=True)
    tunnel.add_argument("--remote-port", default="22", choices=["22"])
    return parser.parse_args(namespace=argparse.Namespace(region=None, profile=None))


def _require_way_in(aws: Aws, command: str, id_: str) -> None:
    found = aws.find("ec2", "DescribeInstances", InstanceIds=[id_])
    instances: list[dict[str, Any]] = [
        item for group in (found or {}).get("Reservations", []) for item in group["Instances"]
    ]
    running = instances and instances[0]["State"]["Name"] == "running"
    if command == "ssm" and not (running and _may_talk_to_session_manager(aws, instances[0])):
        raise RefusalError("TargetNotConnected", "StartSession", f"{id_} is not connected.")
    if command != "ssm" and not (running and _has_endpoint(aws, instances[0])):
        raise RefusalError("ResourceNotFoundException", "OpenTunnel", f"no Instance Connect Endpoint leads to {id_}")


def _may_talk_to_session_manager(aws: Aws, instance: dict[str, Any]) -> bool:
    """By the policies of its role that were put there inline; a managed one counts by AWS's name for it."""
    arn = (instance.get("IamInstanceProfile") or {}).get("Arn", "")
    profile = aws.find("iam", "GetInstanceProfile", InstanceProfileName=arn.rpartition("/")[2]) if arn else None
    roles = profile["InstanceProfile"]["Roles"] if profile else []
    for role in (item["RoleName"] for item in roles):
        managed = aws.call("iam", "ListAttachedRolePolicies", RoleName=role)["AttachedPolicies"]
        if any(item["PolicyName"] == "AmazonSSMManagedInstanceCore" for item in managed):
            return True
        for name in aws.call("iam", "ListRolePolicies", RoleName=role)["PolicyNames"]:
            policy = aws.call("iam", "GetRolePolicy", RoleName=role, PolicyName=name)["PolicyDocument"]
            if any(_allows(statement, _CHANNEL_ACTION) for statement in policy["Statement"]):
                return True
    return False


def _allows(statement: dict[str, Any], action: str) -> bool:
    actions = statement.get("Action") or []
    listed = [actions] if isinstance(actions, str) else actions
    return statement.get("Effect") == "Allow" and bool({action, "ssmmessages:*", "*"} & set(listed))


def _has_endpoint(aws: Aws, instance: dict[str, Any]) -> bool:
    endpoints = store.everything(aws, "instance-connect-endpoint")
    return any(endpoint["vpcId"] == instance.get("VpcId") for endpoint in endpoints)


def _join(instance: str) -> int:
    if not os.environ.get("RAGSTACK_REHEARSAL"):
        print("the double of aws has no machines: RAGSTACK_REHEARSAL is not set", file=sys.stderr)
        return 1
    # Imported late: it needs Docker, and the other commands do not.
    machines = importlib.import_module("tests.doubles.machines")
    try:
        peer = socket.create_connection(machines.address(instance), timeout=_CONNECT_S)
    except OSError as error:
        raise RefusalError("TargetNotConnected", "StartSession", f"{instance} is not connected. ({error})") from error
    peer.settimeout(None)
    threading.Thread(target=_send, args=[peer], daemon=True).start()
    while data := peer.recv(_CHUNK):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    return 0


def _send(peer: socket.socket) -> None:
    while data := os.read(sys.stdin.fileno(), _CHUNK):
        peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    sys.exit(main())
