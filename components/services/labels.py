"""The one source of Docker labels: every object of a stack can be listed by `label=io.ragstack.stack=<prefix>`."""

from __future__ import annotations

import pulumi_docker as docker

from components.plan.names import Names

STACK_LABEL = "io.ragstack.stack"


def container_labels(names: Names) -> list[docker.ContainerLabelArgs]:
    return [docker.ContainerLabelArgs(label=STACK_LABEL, value=names.prefix)]


def network_labels(names: Names) -> list[docker.NetworkLabelArgs]:
    return [docker.NetworkLabelArgs(label=STACK_LABEL, value=names.prefix)]


def volume_labels(names: Names) -> list[docker.VolumeLabelArgs]:
    return [docker.VolumeLabelArgs(label=STACK_LABEL, value=names.prefix)]
