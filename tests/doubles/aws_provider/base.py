"""What every mapped resource type says about itself, and does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from tests.doubles.aws_provider.calls import Aws

# moto changes states at once, a machine that boots does not.
_WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.2


class Resource:
    """One type. Inputs and states have the camelCase names of pulumi_aws; `tags` handed over include default ones.

    `replaces` are the inputs that the real provider marks ForceNew, as paths; `computed` the outputs that only a
    creation can tell; `autoname` the input that gets `<name>-<7 hex digits>` when the program leaves it out.
    """

    token: ClassVar[str] = ""
    noun: ClassVar[str] = ""
    mapped: ClassVar[frozenset[str]] = frozenset()
    replaces: ClassVar[frozenset[str]] = frozenset()
    computed: ClassVar[tuple[str, ...]] = ("arn",)
    defaults: ClassVar[Mapping[str, Any]] = {}
    autoname: ClassVar[str] = ""
    tagged: ClassVar[bool] = True
    verbs: ClassVar[Mapping[str, str]] = {
        "create": "creating", "read": "reading", "update": "updating", "delete": "deleting",
    }  # fmt: skip

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        """Makes it and waits as the real provider waits; gives its id."""
        raise NotImplementedError

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        """What AWS says about it, in the names of outputs, or None when it is gone."""
        raise NotImplementedError

    def update(self, aws: Aws, id_: str, state: dict[str, Any], new: dict[str, Any], changed: set[str]) -> None:
        """Changes in place what is named in `changed`; tags are not."""

    def replaced_as_well(self, new: Mapping[str, Any], changed: set[str]) -> list[str]:
        """Inputs that replace only together with another one."""
        return []

    def retag(self, aws: Aws, id_: str, tags: dict[str, str], removed: list[str]) -> None:
        """Sets these tags and takes the removed ones away."""
        retag_ec2(aws, id_, tags, removed)

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        """Takes it away; one that is gone already is success."""
        raise NotImplementedError


def retag_ec2(aws: Aws, id_: str, tags: dict[str, str], removed: list[str]) -> None:
    if removed:
        aws.call("ec2", "DeleteTags", Resources=[id_], Tags=[{"Key": key} for key in removed])
    if tags:
        aws.call("ec2", "CreateTags", Resources=[id_], Tags=listed(tags))


def listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def specification(type_: str, tags: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """EC2's parameter for tags at creation."""
    return [{"ResourceType": type_, "Tags": listed(tags)}] if tags else None


def pascal(value: Any) -> Any:
    """camelCase keys as the API has them: `httpTokens` -> `HttpTokens`, at every depth."""
    if isinstance(value, dict):
        return {key[0].upper() + key[1:]: pascal(item) for key, item in value.items() if item is not None}
    return [pascal(item) for item in value] if isinstance(value, list) else value


def wait(what: str, done: Callable[[], bool]) -> None:
    """Raises TimeoutError when it is not done in two minutes."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waiting for {what}: timeout after {_WAIT_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
