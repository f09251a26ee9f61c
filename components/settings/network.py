"""`ragstack:network`: the two bridge networks of a stack."""

from __future__ import annotations

from pydantic import Field, model_validator

from components.settings.base import RuleError, Section
from components.settings.types import DockerName


class Network(Section):
    """`private` joins the services and has no way out; `edge` is for what publishes a port or pulls models.

    Left out, they are called `<project>-<stack>-private` and `<project>-<stack>-edge`.
    """

    private: DockerName | None = Field(default=None, examples=["ragstack-dev-private"])
    edge: DockerName | None = Field(default=None, examples=["ragstack-dev-edge"])

    @model_validator(mode="after")
    def _two_networks(self) -> Network:
        if self.private and self.private == self.edge:
            raise RuleError(
                "is the name of the private network too; allowed: two different names",
                field="edge",
                mend=("edge", None),
            )
        return self
