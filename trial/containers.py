"""Containers: made, filled with their files, joined to their networks, started and waited for."""

# ruff: noqa: ARG002 - every kind answers the whole protocol of trial/kinds.py

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound

from components.errors import StackError
from trial import container_spec as spec
from trial.docker_errors import explained
from trial.docker_simple import HASH_LABEL, OnEngine, by_inputs, check_owner, label_map, object_name
from trial.kinds import Change, Step
from trial.state import Entry
from trial.values import UNKNOWN, plain

CONTAINER = "docker:index/container:Container"
_WAIT_SECONDS = 60  # the provider's default for wait_timeout
_SETTLE_SECONDS = 0.5  # a program that cannot start has exited by then
_POLL_SECONDS = 0.25
_RESTARTS_THAT_TELL = 3
_LOG_LINES = 15


class Container(OnEngine):
    """Every change replaces the container; one that merely stopped is started again."""

    def check(self, step: Step, old: Entry | None) -> dict[str, Any]:
        inputs = super().check(step, old)
        if not isinstance(inputs.get("uploads"), list):
            return inputs
        # A changed source file is a change of the container, though its path stays the same.
        return {**inputs, "uploads": [_with_hash(step.name, item) for item in inputs["uploads"]]}

    def diff(self, step: Step, old: Entry) -> tuple[Change, str]:
        client = self._engines.client(step.provider)
        found = _find(client, old.id)
        if found is None:
            return Change.CREATE, "gone"
        same_spec = found.labels.get(HASH_LABEL) == step.digest
        if not old.digest and same_spec and found.status == "running":
            return Change.UPDATE, "was not ready when the last run ended"
        change, why = by_inputs(step, old)
        if change is Change.SAME and step.inputs.get("mustRun", True) and step.inputs.get("start", True):
            return (Change.SAME, "") if found.status == "running" else (Change.UPDATE, f"was {found.status}")
        return change, why

    def create(self, step: Step, old: Entry | None) -> tuple[str, dict[str, Any]]:
        client, name, given = self._engines.client(step.provider), object_name(step, old), step.inputs
        what = f"container {name}"
        version = tuple(int(part) for part in str(client.api.api_version).split("."))
        body = spec.config(name, given, label_map(step), version)
        archive = spec.upload_archive(name, given.get("uploads") or [])
        with explained(what, client):
            _clear_name(client, name, step)
            step.record(name, {**given, "name": name})
            made: Any = client.api.create_container_from_config(body, name, given.get("platform"))
            container: Any = client.containers.get(made["Id"])
            step.record(container.id, {**given, "name": name})
            for item in (given.get("networksAdvanced") or [])[1:]:
                client.api.connect_container_to_network(
                    container.id,
                    item["name"],
                    aliases=item.get("aliases"),
                    ipv4_address=item.get("ipv4Address"),
                    ipv6_address=item.get("ipv6Address"),
                )
            if archive:
                container.put_archive("/", archive)
        if given.get("start", True):
            self._start(client, container, step)
        return str(container.id), self._outputs(container, given)

    def update(self, step: Step, old: Entry) -> dict[str, Any]:
        client = self._engines.client(step.provider)
        with explained(f"container {old.id[:12]}", client):
            container = client.containers.get(old.id)
        self._start(client, container, step)
        return self._outputs(container, step.inputs)

    def delete(self, step: Step, old: Entry) -> None:
        client, given = self._engines.client(step.provider), plain(old.inputs)
        container = _find(client, old.id)
        if container is not None:
            _remove(client, container, given)

    def read(self, step: Step, old: Entry) -> tuple[dict[str, Any], dict[str, Any]] | None:
        client = self._engines.client(step.provider)
        container = _find(client, old.id)
        if container is None:
            return None
        outputs = {**plain(old.outputs), **self._outputs(container, plain(old.inputs))}
        return plain(old.inputs), {**outputs, "status": container.status}

    def delete_first(self, step: Step, old: Entry) -> bool:
        return True

    @staticmethod
    def _start(client: docker.DockerClient, container: Any, step: Step) -> None:
        name = container.name
        with explained(f"container {name}", client):
            container.start()
            if step.inputs.get("wait"):
                _wait_healthy(container, step)
            elif step.inputs.get("mustRun", True):
                step.stopping.wait(_SETTLE_SECONDS)
                container.reload()
                _raise_if_stopped(container)
            container.reload()

    @staticmethod
    def _outputs(container: Any, given: dict[str, Any]) -> dict[str, Any]:
        attrs = container.attrs
        networks = (attrs.get("NetworkSettings") or {}).get("Networks") or {}
        datas = [
            {
                "networkName": network,
                "ipAddress": item.get("IPAddress") or "",
                "ipPrefixLength": item.get("IPPrefixLen") or 0,
                "gateway": item.get("Gateway") or "",
                "globalIpv6Address": item.get("GlobalIPv6Address") or "",
                "macAddress": item.get("MacAddress") or "",
            }
            for network, item in sorted(networks.items())
        ]
        outputs = {
            **given,
            "name": container.name,
            "hostname": attrs["Config"].get("Hostname"),
            "networkDatas": datas,
            "bridge": "",
            "exitCode": attrs["State"].get("ExitCode"),
        }
        if given.get("ports"):
            outputs["ports"] = [_published(item, attrs) for item in given["ports"]]
        return outputs


def _with_hash(name: str, item: Any) -> Any:
    if not isinstance(item, dict) or item.get("source") in (None, UNKNOWN):
        return item
    return {**item, "sourceHash": hashlib.sha256(spec.upload_content(name, item)).hexdigest()}


def _published(item: dict[str, Any], attrs: dict[str, Any]) -> dict[str, Any]:
    port = f"{item['internal']}/{item.get('protocol') or 'tcp'}"
    found = ((attrs.get("NetworkSettings") or {}).get("Ports") or {}).get(port) or []
    given = item.get("external") or (int(found[0]["HostPort"]) if found else None)
    return {
        **item,
        "external": given,
        "ip": item.get("ip") or spec.EVERYWHERE,
        "protocol": item.get("protocol") or "tcp",
    }


def _find(client: docker.DockerClient, key: str) -> Any:
    with explained(f"container {key[:32]}", client):
        try:
            return client.containers.get(key)
        except NotFound:
            return None


def _clear_name(client: docker.DockerClient, name: str, step: Step) -> None:
    found = _find(client, name)
    if found is not None and found.name == name:
        check_owner(step, found.labels, f"A container named {name}", f"docker rm -f {name}")
        _remove(client, found, step.inputs)


def _remove(client: docker.DockerClient, container: Any, given: dict[str, Any]) -> None:
    with explained(f"container {container.name}", client):
        try:
            if given.get("destroyGraceSeconds"):
                container.stop(timeout=int(given["destroyGraceSeconds"]))
            container.remove(force=True, v=given.get("removeVolumes", True) is not False)
        except NotFound:
            return
        except APIError as error:
            if "already in progress" not in str(error.explanation):
                raise
        _until(lambda: _find(client, container.id) is None)


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not done() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _wait_healthy(container: Any, step: Step) -> None:
    """Returns when the container is healthy, or running if it has no health check."""
    limit = float(step.inputs.get("waitTimeout") or _WAIT_SECONDS)
    deadline = time.monotonic() + limit
    while True:
        step.stop_if_asked()
        container.reload()
        _raise_if_stopped(container)
        health = (container.attrs["State"].get("Health") or {}).get("Status")
        if container.status == "running" and health in (None, "none", "healthy"):
            return
        if time.monotonic() > deadline:
            status = health or container.status
            raise StackError(
                f"The container {container.name} did not become healthy in {limit:.0f} s (it is {status})."
                + _last_lines(container) + _last_check(container),
                f"see `docker logs {container.name}`; if it needs longer, raise wait_timeout: the next run waits on",
            )  # fmt: skip
        step.stopping.wait(_POLL_SECONDS)


def _raise_if_stopped(container: Any) -> None:
    state = container.attrs["State"]
    looping = state.get("Restarting") and container.attrs.get("RestartCount", 0) >= _RESTARTS_THAT_TELL
    if container.status in ("exited", "dead") or looping:
        killed = " (out of memory)" if state.get("OOMKilled") else ""
        raise StackError(
            f"The container {container.name} stopped with exit code {state.get('ExitCode')}{killed}."
            + _last_lines(container),
            f"correct what its log complains of (`docker logs {container.name}`), then run the command again",
        )


def _last_lines(container: Any) -> str:
    try:
        text = container.logs(tail=_LOG_LINES).decode(errors="replace").strip()
    except DockerException:
        return ""
    return "".join(f"\n    | {line}" for line in text.splitlines())


def _last_check(container: Any) -> str:
    log = (container.attrs["State"].get("Health") or {}).get("Log") or []
    output = str(log[-1].get("Output") or "").strip() if log else ""
    return f"\n    its last health check said: {output[:300]}" if output else ""
