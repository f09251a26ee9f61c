"""`ragstack:pool`: how many Ollama servers share the models, which GPUs each has, and who gets which request."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.settings.base import RuleError, Section
from components.settings.types import GpuId, PositiveDuration

MOST_SERVERS = 16


class Queue(Section):
    """Requests that wait for a server: at most `length` in all, none longer than `wait`; beyond is 503."""

    length: Annotated[int, Field(ge=1, le=100_000)] = 128
    wait: PositiveDuration = "1m0s"


class Pool(Section):
    """`gpus` lists the GPUs of each server, such as [["0"], ["1"]]; left out, `accelerator`'s are dealt out evenly.

    `routing`: `conversation` keeps a conversation on the server that has its cache, `model` keeps a model on one server
    so that it is loaded once, `least_connections` only balances. `slots` are requests that a server is given at once:
    `auto` is what Ollama works on in parallel. `drain` is how long a server that is replaced may finish its answers.
    """

    servers: Annotated[int, Field(ge=1, le=MOST_SERVERS)] = 1
    gpus: Annotated[
        tuple[Annotated[tuple[GpuId, ...], Field(min_length=1)], ...],
        Field(description="a list of lists of indices or UUIDs"),
    ] = ()
    routing: Literal["conversation", "model", "least_connections"] = "conversation"
    slots: Literal["auto"] | Annotated[int, Field(ge=1, le=4096)] = Field(
        default="auto", description="auto, or a number of requests from 1 to 4096"
    )
    queue: Queue = Queue()
    drain: PositiveDuration = "5m0s"

    @model_validator(mode="after")
    def _a_group_for_each_server(self) -> Pool:
        if self.gpus and len(self.gpus) != self.servers:
            raise RuleError(
                f"lists GPUs for {len(self.gpus)} servers, but servers is {self.servers}; allowed: a list per server",
                field="gpus",
                mend=("servers", str(len(self.gpus))),
            )
        every = [gpu for group in self.gpus for gpu in group]
        if len(set(every)) != len(every):
            raise RuleError(
                "uses a GPU twice; allowed: each index or UUID for one server", field="gpus", mend=("gpus", None)
            )
        return self
