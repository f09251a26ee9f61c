"""IAM: roles, their policies, instance profiles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.doubles.aws_provider.base import Resource, listed
from tests.doubles.aws_provider.calls import Aws


class Role(Resource):
    token = "aws:iam/role:Role"
    noun = "IAM Role"
    mapped = frozenset(
        {"name", "path", "description", "assumeRolePolicy", "maxSessionDuration", "forceDetachPolicies", "tags"}
    )
    replaces = frozenset({"name", "path"})
    computed = ("arn", "uniqueId", "createDate")
    defaults: ClassVar[Mapping[str, Any]] = {"path": "/", "maxSessionDuration": 3600, "forceDetachPolicies": False}
    autoname = "name"

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        made = aws.call(
            "iam", "CreateRole", RoleName=given["name"], Path=given.get("path"), Description=given.get("description"),
            AssumeRolePolicyDocument=document(given["assumeRolePolicy"]),
            MaxSessionDuration=given["maxSessionDuration"], Tags=listed(tags),
        )  # fmt: skip
        return str(made["Role"]["RoleName"])

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        if "assumeRolePolicy" in changed:
            policy = document(new["assumeRolePolicy"])
            aws.call("iam", "UpdateAssumeRolePolicy", RoleName=id_, PolicyDocument=policy)
        if changed & {"description", "maxSessionDuration"}:
            about, duration = new.get("description") or "", new["maxSessionDuration"]
            aws.call("iam", "UpdateRole", RoleName=id_, Description=about, MaxSessionDuration=duration)

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        found = aws.find("iam", "GetRole", RoleName=id_)
        if not found:
            return None
        role = found["Role"]
        return {
            "arn": role["Arn"],
            "uniqueId": role["RoleId"],
            "createDate": role["CreateDate"].isoformat(),
            "name": role["RoleName"],
        }

    def retag(self, aws: Aws, id_: str, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            aws.call("iam", "UntagRole", RoleName=id_, TagKeys=removed)
        aws.call("iam", "TagRole", RoleName=id_, Tags=listed(tags))

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        aws.find("iam", "DeleteRole", RoleName=id_)


class RolePolicy(Resource):
    token = "aws:iam/rolePolicy:RolePolicy"
    noun = "IAM Role Policy"
    mapped = frozenset({"name", "role", "policy"})
    replaces = frozenset({"name", "role"})
    computed = ()
    autoname = "name"
    tagged = False

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        self._put(aws, given["role"], given)
        return f"{given['role']}:{given['name']}"

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        self._put(aws, id_.partition(":")[0], new)

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        role, _, name = id_.partition(":")
        found = aws.find("iam", "GetRolePolicy", RoleName=role, PolicyName=name)
        return {"role": role, "name": name} if found else None

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        role, _, name = id_.partition(":")
        aws.find("iam", "DeleteRolePolicy", RoleName=role, PolicyName=name)

    @staticmethod
    def _put(aws: Aws, role: str, given: dict[str, Any]) -> None:
        policy = document(given["policy"])
        aws.call("iam", "PutRolePolicy", RoleName=role, PolicyName=given["name"], PolicyDocument=policy)


class RolePolicyAttachment(Resource):
    token = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    noun = "IAM Role Policy Attachment"
    mapped = frozenset({"role", "policyArn"})
    replaces = frozenset({"role", "policyArn"})
    computed = ()
    tagged = False

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        aws.call("iam", "AttachRolePolicy", RoleName=given["role"], PolicyArn=given["policyArn"])
        return f"{given['role']}/{given['policyArn']}"

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        role, _, arn = id_.partition("/")
        found = aws.find("iam", "ListAttachedRolePolicies", RoleName=role)
        attached = {item["PolicyArn"] for item in found["AttachedPolicies"]} if found else set()
        return {} if arn in attached else None

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        role, _, arn = id_.partition("/")
        aws.find("iam", "DetachRolePolicy", RoleName=role, PolicyArn=arn)


class InstanceProfile(Resource):
    token = "aws:iam/instanceProfile:InstanceProfile"
    noun = "IAM Instance Profile"
    mapped = frozenset({"name", "path", "role", "tags"})
    replaces = frozenset({"name", "path"})
    computed = ("arn", "uniqueId", "createDate")
    defaults: ClassVar[Mapping[str, Any]] = {"path": "/"}
    autoname = "name"

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        name = given["name"]
        aws.call("iam", "CreateInstanceProfile", InstanceProfileName=name, Path=given.get("path"), Tags=listed(tags))
        self.update(aws, name, {}, given, {"role"})
        return str(name)

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        if "role" not in changed:
            return
        if state.get("role"):
            aws.find("iam", "RemoveRoleFromInstanceProfile", InstanceProfileName=id_, RoleName=state["role"])
        if new.get("role"):
            aws.call("iam", "AddRoleToInstanceProfile", InstanceProfileName=id_, RoleName=new["role"])

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        found = aws.find("iam", "GetInstanceProfile", InstanceProfileName=id_)
        if not found:
            return None
        profile = found["InstanceProfile"]
        roles = [role["RoleName"] for role in profile["Roles"]]
        return {
            "arn": profile["Arn"],
            "uniqueId": profile["InstanceProfileId"],
            "createDate": profile["CreateDate"].isoformat(),
            "name": profile["InstanceProfileName"],
            "role": roles[0] if roles else "",
        }

    def retag(self, aws: Aws, id_: str, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            aws.call("iam", "UntagInstanceProfile", InstanceProfileName=id_, TagKeys=removed)
        aws.call("iam", "TagInstanceProfile", InstanceProfileName=id_, Tags=listed(tags))

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        if state.get("role"):
            aws.find("iam", "RemoveRoleFromInstanceProfile", InstanceProfileName=id_, RoleName=state["role"])
        aws.find("iam", "DeleteInstanceProfile", InstanceProfileName=id_)


def document(policy: Any) -> str:
    """A policy as text: the SDK hands over what the program gave, text or an object."""
    return policy if isinstance(policy, str) else json.dumps(policy)
