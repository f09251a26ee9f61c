"""The two networks of a stack: a private one without a way out, and an edge for what publishes a port or pulls."""

from __future__ import annotations

import pulumi
import pulumi_docker as docker

from components.plan.names import Names
from components.services.labels import network_labels

OLLAMA_PORT = 11434
# How a container finds the machine it runs on; Docker resolves `host-gateway` (docs of `docker run --add-host`).
HOST_GATEWAY = "host.docker.internal"


class Networks(pulumi.ComponentResource):
    """`private` and `edge` are the Docker names, known once the networks exist."""

    private: pulumi.Output[str]
    edge: pulumi.Output[str]

    def __init__(self, name: str, names: Names, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:services:Networks", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        private = docker.Network(
            f"{name}-private", name=names.private_network, internal=True, labels=network_labels(names), opts=child
        )
        # An internal network blocks published ports and model pulls; this one allows both.
        edge = docker.Network(f"{name}-edge", name=names.edge_network, labels=network_labels(names), opts=child)
        self.private, self.edge = private.name, edge.name
        self.register_outputs({"private": self.private, "edge": self.edge})
