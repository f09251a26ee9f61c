"""Images of the services: pulled by reference, or built on the host from one of the contexts under `images/`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pulumi
import pulumi_docker as docker

from components.plan.names import Names

CONTEXTS = Path(__file__).resolve().parents[2] / "images"


def pulled_image(name: str, reference: str, opts: pulumi.ResourceOptions) -> docker.RemoteImage:
    """An image the host pulls once. It stays on the host when the stack goes, as other stacks may use it."""
    return docker.RemoteImage(name, name=reference, keep_locally=True, opts=opts)


def built_image(
    name: str,
    context: str,
    build_args: dict[str, str],
    names: Names,
    opts: pulumi.ResourceOptions,
    *,
    extra_hosts: tuple[str, ...] = (),
) -> docker.RemoteImage:
    """An image built from `images/<context>`.

    Its tag is a digest over the context's files and the build arguments, so that any change makes another image and no
    change builds nothing.
    """
    folder = CONTEXTS / context
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    for key, value in sorted(build_args.items()):
        digest.update(f"{key}={value}\0".encode())
    return docker.RemoteImage(
        name,
        name=f"{names.image_repository(context)}:{digest.hexdigest()[:12]}",
        keep_locally=True,
        build=docker.RemoteImageBuildArgs(
            # Relative to the program, so that two checkouts of one stack agree.
            context=f"images/{context}",
            build_args=build_args,
            extra_hosts=list(extra_hosts) or None,
            # BuildKit resolves `host-gateway` on newer engines only ("host-gateway IP not found" on 20.10).
            use_legacy_builder=True if extra_hosts else None,
            remove=True,
        ),
        opts=opts,
    )
