"""What moto cannot keep is kept in moto's own parameter store, so that it lives as long as the rest of the account."""

from __future__ import annotations

import json
from typing import Any

from tests.doubles.aws_provider.calls import Aws

_PREFIX = "/ragstack-double"


def put(aws: Aws, kind: str, id_: str, value: dict[str, Any]) -> None:
    aws.call("ssm", "PutParameter", Name=_name(kind, id_), Value=json.dumps(value), Type="String", Overwrite=True)


def get(aws: Aws, kind: str, id_: str) -> dict[str, Any] | None:
    """The value, or None when there is none."""
    found = aws.find("ssm", "GetParameter", Name=_name(kind, id_))
    return None if found is None else dict(json.loads(found["Parameter"]["Value"]))


def delete(aws: Aws, kind: str, id_: str) -> None:
    aws.find("ssm", "DeleteParameter", Name=_name(kind, id_))


def _name(kind: str, id_: str) -> str:
    return f"{_PREFIX}/{kind}/{id_}"


def everything(aws: Aws, kind: str) -> list[dict[str, Any]]:
    """All values of a kind."""
    found = aws.call("ssm", "GetParametersByPath", Path=f"{_PREFIX}/{kind}", Recursive=True)
    return [dict(json.loads(item["Value"])) for item in found["Parameters"]]
