"""Whether images can be pulled, and the honest way round where they cannot: a local registry of package-built images.

Settings that follow from it go to a generated stack file under `.ragstack/`; the user's own file is never changed.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from components.hosts.engine import endpoint_of, open_client
from components.settings import Settings
from components.settings.profiles import overlay
from scripts.private_dir import NAME
from scripts.say import say
from scripts.stack_file import namespaced, read_stack_file, settings_of

# What Go's network packages say, and the engine passes on, when a registry cannot be reached at all.
OUT_OF_REACH = (
    "dial tcp",
    "no such host",
    "connection refused",
    "i/o timeout",
    "TLS handshake timeout",
    "network is unreachable",
    "server misbehaving",
    "request canceled",
    "context deadline exceeded",
)


def config_file(project: Path, stack: str) -> Path:
    """The stack file to run with: the user's own, or a generated one where the image registry is out of reach."""
    own = project / f"Pulumi.{stack}.yaml"
    settings = settings_of(project, own, stack)
    generated = project / NAME / own.name
    if is_never_stood_in(settings) or _registry_answers(settings):
        # The network may have opened since an earlier run.
        generated.unlink(missing_ok=True)
        return own
    say("the image registry cannot be reached: building images from packages and serving them from a local registry")
    _install_builders(project)
    if subprocess.run([sys.executable, "-m", "images.stand_ins", "up"], check=False, cwd=project).returncode:
        raise SystemExit(1)
    write_stack_file(generated, stood_in(read_stack_file(own), settings, generated))
    say(f"running with {generated.relative_to(project)}: {own.name} with the local registry and its images")
    return generated


def is_never_stood_in(settings: Settings) -> bool:
    """Whether the stack has to do with what it names: noise must never answer where somebody means production."""
    return settings.host.type != "local" or bool(settings.registry.images) or settings.profile == "prod"


def _install_builders(project: Path) -> None:
    """What builds the stand-ins is no part of a stack, hence not in requirements.txt."""
    if importlib.util.find_spec("gguf") is None:
        say("installing what builds them: requirements-dev.txt")
        install = [sys.executable, "-m", "pip", "install", "--require-hashes", "-r", "requirements-dev.txt"]
        subprocess.run(install, check=True, cwd=project)


def _registry_answers(settings: Settings) -> bool:
    """Asks the engine, which alone knows its proxies and mirrors, for the images it does not have yet.

    A registry that answers "unknown" or "denied" answers: the update then names the reference that is wrong.
    """
    client = open_client(endpoint_of(settings.host))
    try:
        for reference in (settings.ollama_image, settings.pgvector_image):
            try:
                client.images.get(reference)
            except ImageNotFound:
                client.images.get_registry_data(reference)
    except NotFound:
        return True
    except APIError as error:
        return not any(sign in str(error.explanation) for sign in OUT_OF_REACH)
    except (DockerException, OSError):
        return False
    finally:
        client.close()
    return True


def stood_in(own: dict[str, Any], settings: Settings, generated: Path) -> dict[str, Any]:
    """The stack file `own` with the local registry, its images and its models; `generated` is the last such file."""
    from images.stand_ins import catalogue, registry

    available = {model.name: model for model in catalogue.MODELS}
    models: list[dict[str, Any]] = []
    for model in settings.models:
        stand_in = model.name
        if model.name not in available:
            substitute = next(one for one in catalogue.MODELS if one.purpose == model.purpose)
            stand_in = substitute.name
            say(f"the model {model.name} cannot be had here: {stand_in} stands in ({substitute.says})")
        if stand_in not in {entry["name"] for entry in models}:
            kept = model.model_dump(include={"preload", "keep_alive", "context"}, exclude_none=True)
            models.append({"name": stand_in, "purpose": model.purpose, **kept})
    standing_in = catalogue.overlay(registry.IMAGES_AT, registry.MODELS_AT)
    changes = namespaced({**standing_in, "models": models})
    merged: dict[str, Any] = overlay(own, {"config": changes})
    if generated.exists():
        # The engine's salt for this stack's secrets was written to the file of the first run.
        kept_salt = read_stack_file(generated).get("encryptionsalt")
        merged |= {"encryptionsalt": kept_salt} if kept_salt else {}
    return merged


def write_stack_file(path: Path, content: dict[str, Any]) -> None:
    """Writes a stack file's YAML, keys in their order."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
