"""`ragstack:host`: the machine whose Docker engine runs the containers, and how that engine is reached."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from components.settings.base import RuleError, Section


class AwsHost(Section):
    """The AWS machine of a prod stack. Only what is needed to name it; the rest comes with the AWS host."""

    region: str = Field(
        default="us-east-1",
        pattern=r"^[a-z]{2}(-[a-z]+)+-\d$",
        examples=["us-east-1"],
        description="an AWS region such as us-east-1",
    )
    instance_type: str = Field(
        default="g5.xlarge",
        pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$",
        examples=["g5.xlarge"],
        description="an EC2 instance type such as g5.xlarge",
    )


class Host(Section):
    """`type: local` uses the engine at hand: `docker_host`, else `docker_context`, else $DOCKER_HOST or the default
    socket. A Podman socket works as `docker_host: unix:///run/user/1000/podman/podman.sock`."""

    type: Literal["local", "aws", "ssh"] = "local"
    docker_host: str | None = Field(
        default=None,
        pattern=r"^(unix:///|tcp://|npipe:////)\S+$",
        examples=["unix:///var/run/docker.sock"],
        description="unix:///path or tcp://127.0.0.1:port",
    )
    docker_context: str | None = Field(
        default=None,
        pattern=r"^[a-zA-Z0-9][\w.+-]*$",
        examples=["default"],
        description="a name that `docker context ls` shows",
    )
    aws: AwsHost | None = None

    @model_validator(mode="after")
    def _one_endpoint(self) -> Host:
        if self.docker_host and self.docker_context:
            raise RuleError(
                "names the Docker endpoint twice; allowed: docker_host or docker_context, not both",
                field="docker_context",
                mend=("docker_context", None),
            )
        if self.type != "aws" and self.aws is not None:
            raise RuleError(
                f"is set although type is {self.type}; allowed: with type: aws", field="aws", mend=("aws", None)
            )
        return self
