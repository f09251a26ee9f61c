"""RemoteImage: an image that is found, pulled, or built from a context folder."""

# ruff: noqa: ARG002 - every kind answers the whole protocol of trial/kinds.py

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import docker
from docker.auth import resolve_repository_name
from docker.errors import APIError, NotFound
from docker.utils import parse_repository_tag

from components.errors import StackError
from trial.docker_errors import explain_pull, explained
from trial.docker_simple import OnEngine
from trial.kinds import Change, Step
from trial.state import Entry
from trial.values import changed_keys, plain

REMOTE_IMAGE = "docker:index/remoteImage:RemoteImage"
_SAY_EVERY_SECONDS = 2.0


class RemoteImage(OnEngine):
    """As with the provider, an image that is on the engine already is not pulled again unless a trigger changes.

    Builds use the engine's classic builder always (`useLegacyBuilder` says no more), so BuildKit Dockerfiles fail here.
    """

    def diff(self, step: Step, old: Entry) -> tuple[Change, str]:
        changed = set(changed_keys(plain(old.inputs), step.inputs)) - {"keepLocally", "forceRemove"}
        if changed or not old.digest:
            return Change.REPLACE, ", ".join(sorted(changed)) or "left unfinished by the last run"
        found = _find(self._engines.client(step.provider), str(step.inputs["name"]))
        if found is None:
            return Change.CREATE, "not on the engine"
        if found.id != plain(old.outputs).get("imageId"):
            return Change.UPDATE, "the name stands for another image now"
        return Change.SAME, ""

    def create(self, step: Step, old: Entry | None) -> tuple[str, dict[str, Any]]:
        client, name = self._engines.client(step.provider), str(step.inputs["name"])
        build = step.inputs.get("build")
        if build:
            _build(client, name, build, step)
        elif old is not None or _find(client, name) is None:
            _pull(client, name, step)
        return self._result(client, step)

    def update(self, step: Step, old: Entry) -> dict[str, Any]:
        return self._result(self._engines.client(step.provider), step)[1]

    def delete(self, step: Step, old: Entry) -> None:
        inputs = plain(old.inputs)
        if inputs.get("keepLocally"):
            return
        client = self._engines.client(step.provider)
        with explained(f"image {inputs['name']}", client):
            try:
                client.images.remove(str(inputs["name"]), force=bool(inputs.get("forceRemove")))
            except NotFound:
                return
            except APIError as error:
                if error.status_code != 409:
                    raise
                step.say("left on the engine, because a container uses it")

    def read(self, step: Step, old: Entry) -> tuple[dict[str, Any], dict[str, Any]] | None:
        inputs = plain(old.inputs)
        found = _find(self._engines.client(step.provider), str(inputs["name"]))
        return None if found is None else (inputs, {**plain(old.outputs), **_outputs(found, str(inputs["name"]))})

    def delete_first(self, step: Step, old: Entry) -> bool:
        return False

    def _result(self, client: docker.DockerClient, step: Step) -> tuple[str, dict[str, Any]]:
        name = str(step.inputs["name"])
        found = _find(client, name)
        if found is None:
            raise StackError(f"{name} was made but is not on the Docker engine.", "run the command again")
        return f"{found.id}{name}", {**step.inputs, **_outputs(found, name)}


def _outputs(image: Any, name: str) -> dict[str, Any]:
    repository = resolve_repository_name(parse_repository_tag(name)[0])[1]
    digests = [text for text in image.attrs.get("RepoDigests") or [] if text.split("@")[0].endswith(repository)]
    return {"name": name, "imageId": image.id, "repoDigest": digests[0] if digests else ""}


def _find(client: docker.DockerClient, name: str) -> Any:
    with explained(f"image {name}", client):
        try:
            return client.images.get(name)
        except NotFound:
            return None


def _pull(client: docker.DockerClient, name: str, step: Step) -> None:
    repository, tag = parse_repository_tag(name)
    step.say(f"pulling {name}")
    try:
        events = client.api.pull(
            repository,
            tag=tag or "latest",
            stream=True,
            decode=True,
            platform=step.inputs.get("platform"),
            auth_config=_auth(repository, step.provider),
        )
        _follow_pull(events, step)
    except _StreamError as error:
        raise explain_pull(name, str(error)) from error
    except APIError as error:
        raise explain_pull(name, str(error.explanation or error)) from error


class _StreamError(Exception):
    """An error that the engine reported inside a stream that began well."""


def _follow_pull(events: Iterable[Mapping[str, Any]], step: Step) -> None:
    layers: dict[str, tuple[int, int]] = {}
    said = time.monotonic()
    for event in events:
        step.stop_if_asked()
        if event.get("error"):
            raise _StreamError(str(event["error"]))
        detail = event.get("progressDetail") or {}
        if event.get("id") and detail.get("total"):
            layers[event["id"]] = (int(detail.get("current") or 0), int(detail["total"]))
        if layers and time.monotonic() - said >= _SAY_EVERY_SECONDS:
            said = time.monotonic()
            done, total = (sum(pair[index] for pair in layers.values()) for index in (0, 1))
            step.say(f"{event.get('status', 'Pulling')}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")


def _auth(repository: str, provider: Mapping[str, Any]) -> dict[str, str] | None:
    # None lets the library look into the Docker command's own logins.
    registry = resolve_repository_name(repository)[0]
    for item in provider.get("registryAuth") or []:
        address = str(item.get("address") or "").removeprefix("https://").removeprefix("http://").rstrip("/")
        if address == registry and item.get("username"):
            return {"username": str(item["username"]), "password": str(item.get("password") or "")}
    return None


def _build(client: docker.DockerClient, name: str, build: Mapping[str, Any], step: Step) -> None:
    context = Path(str(build["context"])).resolve()
    if not context.is_dir():
        raise StackError(f"The build context {context} of {name} is not a folder.", "correct the build's `context`")
    step.say(f"building {name} from {context.name}/")
    lines: list[str] = []
    try:
        with explained(f"image {name}", client):
            for event in client.api.build(
                path=str(context),
                dockerfile=build.get("dockerfile") or "Dockerfile",
                tag=name,
                target=build.get("target"),
                buildargs=build.get("buildArgs"),
                labels={**(build.get("label") or {}), **(build.get("labels") or {})} or None,
                nocache=bool(build.get("noCache")),
                pull=bool(build.get("pullParent")),
                rm=build.get("remove", True) is not False,
                forcerm=bool(build.get("forceRemove")),
                platform=build.get("platform") or step.inputs.get("platform"),
                network_mode=build.get("networkMode"),
                extra_hosts=_extra_hosts(build.get("extraHosts") or []),
                decode=True,
            ):
                step.stop_if_asked()
                text = str(event.get("stream") or "").rstrip()
                if text:
                    lines.append(text)
                    step.say(text)
                if event.get("error"):
                    raise _StreamError(str(event["error"]))
    except _StreamError as error:
        tail = "\n    ".join(lines[-5:])
        raise StackError(f"Building {name} failed: {error}\n    {tail}", "mend the Dockerfile; run again") from error
    for extra in build.get("tags") or []:
        repository, tag = parse_repository_tag(str(extra))
        client.images.get(name).tag(repository, tag or "latest")


def _extra_hosts(items: list[str]) -> dict[str, str] | None:
    return {host: address for host, _, address in (item.partition(":") for item in items)} or None
