"""PostgreSQL with pgvector in a container. What is inside the database is declared by `components/database`.

The server runs as the image's own `postgres` user with no capability at all, so it never needs to change users.
"""

from __future__ import annotations

import pulumi
import pulumi_docker as docker
import pulumi_random as random

from components.services.container import REPLACE_ON_CHANGES, bridge, hardened_args
from components.services.images import CONTEXTS, pulled_image
from components.services.labels import volume_labels
from components.services.site import Site
from components.services.volume import kept_options

CONTAINER_PORT = 5432
ADMIN = "postgres"
PASSWORD_FILE = "/run/secrets/postgres-password"  # noqa: S105
START_SCRIPT = "/usr/local/bin/ragstack-start-postgres"
# The user and group `postgres` of the Debian-based PostgreSQL images.
POSTGRES_UID = "999:999"
# Seconds for a fast shutdown to write its checkpoint before Docker kills the server.
SHUTDOWN_GRACE_S = 60


class Pgvector(pulumi.ComponentResource):
    """`host` and `port`: as the machine itself reaches it; `internal_address`: `host:port` as containers reach it;
    `admin_password` is secret; `identity` changes whenever another container serves the data."""

    host: pulumi.Output[str]
    port: pulumi.Output[int]
    internal_address: pulumi.Output[str]
    admin_user: pulumi.Output[str]
    admin_password: pulumi.Output[str]
    identity: pulumi.Output[str]

    def __init__(self, name: str, args: Site, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ragstack:services:Pgvector", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        settings, plan = args.settings.postgres, args.plan
        password = random.RandomPassword(
            f"{name}-admin-password", length=32, special=False, opts=pulumi.ResourceOptions(parent=self)
        )
        volume = docker.Volume(
            f"{name}-data",
            name=plan.names.postgres_volume,
            labels=volume_labels(plan.names),
            opts=pulumi.ResourceOptions.merge(child, kept_options(args.settings)),
        )
        image = pulled_image(f"{name}-image", args.settings.pgvector_image, child)
        container = docker.Container(
            f"{name}-container",
            hardened_args(
                name=plan.names.postgres_container,
                image=image.image_id,
                names=plan.names,
                settings=settings.container,
                limits=plan.postgres_limits,
                # Over TCP: while the image initialises a new volume, its server listens on the socket alone.
                health_command=["pg_isready", "--quiet", "--host=127.0.0.1", f"--username={ADMIN}"],
                environment={"POSTGRES_USER": ADMIN, "POSTGRES_PASSWORD_FILE": PASSWORD_FILE},
                user=POSTGRES_UID,
                entrypoints=["/bin/bash", START_SCRIPT],
                command=["postgres", *parameters(plan.postgres_tuning.parameters)],
                shm_size=plan.postgres_tuning.shm_mib,
                destroy_grace_seconds=SHUTDOWN_GRACE_S,
                uploads=[
                    docker.ContainerUploadArgs(file=PASSWORD_FILE, content=password.result, permissions="0444"),
                    docker.ContainerUploadArgs(
                        file=START_SCRIPT,
                        content=(CONTEXTS / "pgvector" / "start.sh").read_text(encoding="utf-8"),
                        permissions="0555",
                    ),
                ],
                ports=[docker.ContainerPortArgs(internal=CONTAINER_PORT, external=settings.port, ip=settings.bind)],
                networks_advanced=[bridge(args.networks.edge, "postgres"), bridge(args.networks.private, "postgres")],
                volumes=[
                    docker.ContainerVolumeArgs(volume_name=volume.name, container_path=data_mount(settings.version))
                ],
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                replace_on_changes=REPLACE_ON_CHANGES,
                delete_before_replace=True,
            ),
        )
        self.host = pulumi.Output.from_input(settings.bind)
        self.port = pulumi.Output.from_input(settings.port)
        self.internal_address = container.name.apply(lambda host: f"{host}:{CONTAINER_PORT}")
        self.admin_user = pulumi.Output.from_input(ADMIN)
        self.admin_password = pulumi.Output.secret(password.result)
        self.identity = container.id
        self.register_outputs({"host": self.host, "port": self.port})


def data_mount(version: int) -> str:
    """Where the data volume goes: from 18 on the image keeps a directory per major version below the mount, and
    refuses to start when a volume lies at the path of the earlier images (docker-library/postgres)."""
    return "/var/lib/postgresql" if version >= 18 else "/var/lib/postgresql/data"


def parameters(values: dict[str, str]) -> list[str]:
    """Server parameters as command-line arguments."""
    return [argument for name, value in values.items() for argument in ("-c", f"{name}={value}")]
