"""Brings the registry and everything in the catalogue up, touching only what is missing or out of date."""

from __future__ import annotations

import os

import docker

from components.errors import StackError

from . import base, cache, catalogue, engine, go_tools, models, registry
from .catalogue import StandInImage, StandInModel
from .progress import step


def up() -> None:
    """Builds, starts and pushes what is missing. A second run changes nothing.

    Raises:
        StackError: not run as root, no engine, or a step failed; what is done so far stays and is not repeated.
    """
    if os.geteuid() != 0:
        raise StackError("stand-ins are built as root (mmdebstrap and apt-get need it)", "run it as root or with sudo")
    client = engine.connect()
    with cache.exclusive():
        running = registry.ensure(client)
        changed = [_ensure_image(running, image) for image in catalogue.IMAGES]
        changed.append(_ensure_models(running))
        if any(changed) or not registry.snapshot().exists():
            running.save()
    print(f"Registry for images: {registry.IMAGES_AT}; for models, from containers: {registry.MODELS_AT}")


def down(*, volumes: bool) -> None:
    """Removes the registry's container, with `volumes` its data too; the cache stays."""
    client = engine.connect()
    with cache.exclusive():
        removed = registry.remove(client, volumes=volumes)
    print(f"Removed {', '.join(removed)}" if removed else "Nothing to remove")


def _ensure_image(running: registry.Registry, image: StandInImage) -> bool:
    """Builds and pushes an image unless the registry holds it; whether it had to."""
    if running.holds(image.repository, image.tag, image.key):
        print(f"==> {image.name} is up to date")
        return False
    client = running.client
    binaries = [go_tools.ensure(client, tool) for tool in image.binaries]
    arguments = {"BASE": base.ensure(client), **image.arguments}
    reference = f"{registry.IMAGES_AT}/{image.name}"
    with step(f"Building {image.name}") as note:
        engine.build(
            client, go_tools.DOCKERFILES / image.folder, reference, note, arguments=arguments, binaries=binaries
        )
    with step(f"Pushing {image.name}") as note:
        engine.watch(client.api.push(reference, stream=True, decode=True), note, failure=f"pushing {reference} failed")
        running.record(image.repository, image.tag, image.key)
    return True


def _ensure_models(running: registry.Registry) -> bool:
    """Imports and pushes the models that the registry lacks; whether there were any."""
    lacking = []
    for model in catalogue.MODELS:
        if running.holds(*_place(model), model.key):
            print(f"==> {model.name} is up to date ({model.says})")
        else:
            lacking.append(model)
    if not lacking:
        return False
    ollama = next(image for image in catalogue.IMAGES if image.setting == "ollama")
    with models.temporary_ollama(running.client, _pulled(running.client, ollama)) as url:
        for model in lacking:
            repository, tag = _place(model)
            with step(f"Importing and pushing {model.name} ({model.says})") as note:
                request = model.source.fetch(note)
                models.import_and_push(url, f"{registry.MODELS_AT}/{repository}:{tag}", request, note)
                running.record(repository, tag, model.key)
    return True


def _place(model: StandInModel) -> tuple[str, str]:
    """Repository and tag of a model; Ollama keeps models without a namespace under `library`."""
    name, tag = model.name.split(":")
    return f"library/{name}", tag


def _pulled(client: docker.DockerClient, image: StandInImage) -> str:
    reference = f"{registry.IMAGES_AT}/{image.name}"
    with step(f"Pulling {image.name}"):
        client.images.pull(f"{registry.IMAGES_AT}/{image.repository}", tag=image.tag)
    return reference
