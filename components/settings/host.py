"""`ragstack:host`: the machine whose Docker engine runs the containers, and how that engine is reached."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from components.settings.aws import AwsHost
from components.settings.base import RuleError, Section
from components.settings.ssh import SshHost


class Host(Section):
    """`type: local` uses the engine at hand: `docker_host`, else `docker_context`, else $DOCKER_HOST or the default
    socket. A Podman socket works as `docker_host: unix:///run/user/1000/podman/podman.sock`. `type: ssh` uses a machine
    that is already there, `type: aws` rents one."""

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
    ssh: SshHost | None = None

    @model_validator(mode="after")
    def _one_endpoint(self) -> Host:
        if self.docker_host and self.docker_context:
            raise RuleError(
                "names the Docker endpoint twice; allowed: docker_host or docker_context, not both",
                field="docker_context",
                mend=("docker_context", None),
            )
        for field in ("aws", "ssh"):
            if self.type != field and getattr(self, field) is not None:
                raise RuleError(
                    f"is set although type is {self.type}; allowed: with type: {field}", field=field, mend=(field, None)
                )
        for field in ("docker_host", "docker_context"):
            if self.type != "local" and getattr(self, field) is not None:
                raise RuleError(
                    f"is set although type is {self.type}; allowed: with type: local", field=field, mend=(field, None)
                )
        if self.type == "ssh" and self.ssh is None:
            raise RuleError(
                "is ssh without a machine; allowed: with ssh.address", field="type", mend=("ssh.address", "<name>")
            )
        return self
