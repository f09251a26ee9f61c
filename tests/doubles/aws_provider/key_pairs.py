"""Key pairs: the half of a key that may be known."""

from __future__ import annotations

from typing import Any

from tests.doubles.aws_provider import store
from tests.doubles.aws_provider.base import Resource, retag_ec2, specification
from tests.doubles.aws_provider.calls import Aws


class KeyPair(Resource):
    token = "aws:ec2/keyPair:KeyPair"
    noun = "EC2 Key Pair"
    mapped = frozenset({"keyName", "publicKey", "tags"})
    replaces = frozenset({"keyName", "publicKey"})
    computed = ("arn", "keyPairId", "fingerprint", "keyType")
    autoname = "keyName"

    def create(self, aws: Aws, given: dict[str, Any], tags: dict[str, str]) -> str:
        name, key = given["keyName"], given["publicKey"]
        aws.call(
            "ec2", "ImportKeyPair", KeyName=name, PublicKeyMaterial=key.encode(),
            TagSpecifications=specification("key-pair", tags),
        )  # fmt: skip
        # moto does not give the key back, and a machine that boots needs it.
        store.put(aws, "public-key", name, {"publicKey": key})
        return str(name)

    def read(self, aws: Aws, id_: str, state: dict[str, Any]) -> dict[str, Any] | None:
        found = aws.find("ec2", "DescribeKeyPairs", KeyNames=[id_])
        if not found:
            return None
        pair = found["KeyPairs"][0]
        return {
            "arn": aws.arn("ec2", f"key-pair/{id_}"),
            "keyPairId": pair["KeyPairId"],
            "fingerprint": pair["KeyFingerprint"],
            "keyType": pair.get("KeyType", ""),
            "keyName": id_,
        }

    def retag(self, aws: Aws, id_: str, tags: dict[str, str], removed: list[str]) -> None:
        pair = aws.call("ec2", "DescribeKeyPairs", KeyNames=[id_])["KeyPairs"][0]["KeyPairId"]
        retag_ec2(aws, pair, tags, removed)

    def delete(self, aws: Aws, id_: str, state: dict[str, Any]) -> None:
        aws.find("ec2", "DeleteKeyPair", KeyName=id_)
        store.delete(aws, "public-key", id_)
