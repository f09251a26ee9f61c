"""Calls to the AWS API: the one place for clients, failures that are played, and the provider's wording of errors."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import boto3  # type: ignore[import-untyped]
import botocore.exceptions  # type: ignore[import-untyped]
from botocore import xform_name
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.validate import validate_parameters  # type: ignore[import-untyped]

GONE = ("NotFound", "NoSuchEntity", "NoSuchEntityException", "ResourceNotFoundException", "NotFoundException")
# What AWS says with the codes that tests play most; any other code is played with a sentence of its own.
MESSAGES = {
    "VcpuLimitExceeded": "You have requested more vCPU capacity than your current vCPU limit of 0 allows for the "
    "instance bucket that the specified instance type belongs to.",
    "InsufficientInstanceCapacity": "We currently do not have sufficient capacity in the Availability Zone you asked "
    "for.",
    "VolumeInUse": "The volume is already attached to an instance",
    "UnauthorizedOperation": "You are not authorized to perform this operation.",
}


class ConfigurationError(Exception):
    """The provider's own configuration cannot be used."""


class CallError(Exception):
    """One refused call, worded as the AWS SDK for Go words it."""

    def __init__(
        self, service: str, operation: str, code: str, message: str, *, status: int = 400, modeled: bool = False
    ):
        kind = code if modeled else f"api error {code}"
        super().__init__(
            f"operation error {service}: {operation}, https response error StatusCode: {status}, "
            f"RequestID: {uuid.uuid4()}, {kind}: {message}"
        )
        self.code = code

    @property
    def says_gone(self) -> bool:
        return self.code.endswith(GONE)


class Aws:
    """AWS as one configured provider sees it. Raises ConfigurationError without credentials, region or moto server."""

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL", ""))
        if endpoint.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ConfigurationError("this is a test double, and AWS_ENDPOINT_URL names no server on the loopback")
        region = configuration.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if not region:
            raise ConfigurationError("unable to validate AWS credentials.\nDetails: Missing region configuration")
        self.region = str(region)
        self.default_tags: dict[str, str] = dict((configuration.get("defaultTags") or {}).get("tags") or {})
        try:
            self._session = boto3.Session(profile_name=configuration.get("profile") or None, region_name=self.region)
            credentials = self._session.get_credentials()
        except botocore.exceptions.ProfileNotFound as error:
            raise ConfigurationError(f"unable to validate AWS credentials.\nDetails: {error}") from error
        if credentials is None:
            raise ConfigurationError("unable to validate AWS credentials.\nDetails: No valid credential sources found.")
        self._clients: dict[str, Any] = {}

    @cached_property
    def account(self) -> str:
        return str(self.call("sts", "GetCallerIdentity")["Account"])

    def tags(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """The tags of a resource: the provider's default ones, and its own over them."""
        return {**self.default_tags, **(inputs.get("tags") or {})}

    def arn(self, service: str, path: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{path}"

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """The answer, without the parameters that are None. Raises CallError."""
        given = {key: value for key, value in parameters.items() if value is not None}
        self._play_failure(service, operation)
        try:
            answer: dict[str, Any] = getattr(self._client(service), xform_name(operation))(**given)
        except botocore.exceptions.ClientError as error:
            raise self._worded(service, operation, error) from error
        except botocore.exceptions.BotoCoreError as error:
            raise self.refused(service, operation, "ValidationError", str(error)) from error
        return answer

    def find(self, service: str, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """As `call`, or None when AWS says that there is no such thing."""
        try:
            return self.call(service, operation, **parameters)
        except CallError as error:
            if error.says_gone:
                return None
            raise

    def validate(self, service: str, operation: str, **parameters: Any) -> None:
        """Only what botocore would refuse, for an operation that moto does not have."""
        given = {key: value for key, value in parameters.items() if value is not None}
        self._play_failure(service, operation)
        shape = self._client(service).meta.service_model.operation_model(operation).input_shape
        try:
            validate_parameters(given, shape)
        except botocore.exceptions.ParamValidationError as error:
            raise self.refused(service, operation, "ValidationError", str(error)) from error

    def refused(self, service: str, operation: str, code: str, message: str) -> CallError:
        return CallError(self._client(service).meta.service_model.service_id, operation, code, message)

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            # A refusal is what a test wants to see, at once.
            self._clients[service] = self._session.client(service, config=Config(retries={"total_max_attempts": 1}))
        return self._clients[service]

    def _play_failure(self, service: str, operation: str) -> None:
        played = dict(item.split(":", 1) for item in os.environ.get("RAGSTACK_AWS_FAILS", "").split(",") if item)
        if operation in played:
            code = played[operation]
            raise self.refused(service, operation, code, MESSAGES.get(code, "a failure that this test plays"))

    def _worded(self, service: str, operation: str, error: botocore.exceptions.ClientError) -> CallError:
        said = error.response["Error"]
        model = self._client(service).meta.service_model
        modeled = any(said["Code"] in (shape.error_code, shape.name) for shape in model.error_shapes)
        status = error.response["ResponseMetadata"].get("HTTPStatusCode", 400)
        return CallError(
            model.service_id, operation, said["Code"], said.get("Message", ""), status=status, modeled=modeled
        )
