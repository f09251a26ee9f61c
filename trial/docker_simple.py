"""Networks and volumes, and what all kinds of objects on a Docker engine share."""

# ruff: noqa: ARG002 - every kind answers the whole protocol of trial/kinds.py

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import docker
from docker.errors import NotFound
from docker.types import IPAMConfig, IPAMPool

from components.errors import StackError
from trial.docker_engine import Engines
from trial.docker_errors import explained
from trial.fields import check_fields
from trial.kinds import Change, Step
from trial.state import Entry
from trial.values import changed_keys, plain

STACK_LABEL = "ragstack.trial.stack"
NAME_LABEL = "ragstack.trial.name"
HASH_LABEL = "ragstack.trial.hash"
NETWORK = "docker:index/network:Network"
VOLUME = "docker:index/volume:Volume"
# Pulumi's automatic names end in seven hexadecimal digits.
_SUFFIX_DIGITS = 7


def object_name(step: Step, old: Entry | None) -> str:
    """The declared name, or an automatic one, which a replacement keeps."""
    if step.inputs.get("name"):
        return str(step.inputs["name"])
    kept = plain(old.outputs).get("name") if old and not plain(old.inputs).get("name") else None
    return str(kept or f"{step.name}-{secrets.token_hex(4)[:_SUFFIX_DIGITS]}")


def label_map(step: Step) -> dict[str, str]:
    declared = {item["label"]: item["value"] for item in step.inputs.get("labels") or []}
    return {**declared, **step.labels}


def by_inputs(step: Step, old: Entry) -> tuple[Change, str]:
    """REPLACE when the inputs or an unfinished creation ask for it, else SAME."""
    if not old.digest:
        return Change.REPLACE, "left unfinished by the last run"
    changed = changed_keys(plain(old.inputs), step.inputs)
    return (Change.REPLACE, ", ".join(changed)) if changed else (Change.SAME, "")


def check_owner(step: Step, labels: Mapping[str, str] | None, what: str, remove: str) -> None:
    """Raises StackError when the object that has the wanted name belongs to somebody else."""
    if (labels or {}).get(STACK_LABEL) != step.labels[STACK_LABEL]:
        raise StackError(
            f"{what} exists already and does not belong to this stack.",
            f"remove it with `{remove}`, or choose another name in the stack file",
        )


class OnEngine:
    """What every kind of object on a Docker engine begins with."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def check(self, step: Step, old: Entry | None) -> dict[str, Any]:
        check_fields(step)
        return step.inputs


class Network(OnEngine):
    """A network; every change replaces it, and with it the containers on it."""

    def diff(self, step: Step, old: Entry) -> tuple[Change, str]:
        change, why = by_inputs(step, old)
        if change is Change.SAME and self.read(step, old) is None:
            return Change.CREATE, "gone"
        return change, why

    def create(self, step: Step, old: Entry | None) -> tuple[str, dict[str, Any]]:
        client, name, given = self._engines.client(step.provider), object_name(step, old), step.inputs
        with explained(f"network {name}", client):
            for twin in client.networks.list(names=[name]):
                if twin.name == name:
                    remove = f"docker network rm {name}"
                    check_owner(step, twin.attrs.get("Labels"), f"A network named {name}", remove)
                    twin.remove()
            step.record(name, {**given, "name": name})
            network = client.networks.create(
                name,
                driver=given.get("driver") or "bridge",
                options=given.get("options"),
                ipam=_ipam(given),
                internal=bool(given.get("internal")),
                labels=label_map(step),
                enable_ipv6=bool(given.get("ipv6")),
                attachable=given.get("attachable"),
                ingress=given.get("ingress"),
            )
            network.reload()
        return str(network.id), {**given, **_network_outputs(network)}

    def update(self, step: Step, old: Entry) -> dict[str, Any]:
        return dict(plain(old.outputs))

    def delete(self, step: Step, old: Entry) -> None:
        client = self._engines.client(step.provider)
        with explained(f"network {plain(old.outputs).get('name', old.id)}", client):
            try:
                client.networks.get(old.id).remove()
            except NotFound:
                return

    def read(self, step: Step, old: Entry) -> tuple[dict[str, Any], dict[str, Any]] | None:
        client = self._engines.client(step.provider)
        with explained(f"network {old.id}", client):
            try:
                network = client.networks.get(old.id)
            except NotFound:
                return None
        return plain(old.inputs), {**plain(old.outputs), **_network_outputs(network)}

    def delete_first(self, step: Step, old: Entry) -> bool:
        return True


def _ipam(given: Mapping[str, Any]) -> IPAMConfig | None:
    pools = [
        IPAMPool(
            subnet=item.get("subnet"),
            iprange=item.get("ipRange"),
            gateway=item.get("gateway"),
            aux_addresses=item.get("auxAddress"),
        )
        for item in given.get("ipamConfigs") or []
    ]
    if not pools and not given.get("ipamDriver") and not given.get("ipamOptions"):
        return None
    return IPAMConfig(driver=given.get("ipamDriver") or "default", pool_configs=pools, options=given.get("ipamOptions"))


def _network_outputs(network: Any) -> dict[str, Any]:
    attrs = network.attrs
    configs = [
        {"subnet": item.get("Subnet"), "gateway": item.get("Gateway"), "ipRange": item.get("IPRange")}
        for item in (attrs.get("IPAM") or {}).get("Config") or []
    ]
    return {
        "name": network.name,
        "driver": attrs.get("Driver"),
        "scope": attrs.get("Scope"),
        "internal": bool(attrs.get("Internal")),
        "ipamConfigs": configs,
    }


class Volume(OnEngine):
    """A volume. One that exists under the declared name is adopted with its data, as the provider does."""

    def diff(self, step: Step, old: Entry) -> tuple[Change, str]:
        if not old.digest:
            return Change.CREATE, "left unfinished by the last run"
        change, why = by_inputs(step, old)
        if change is Change.SAME and self.read(step, old) is None:
            return Change.CREATE, "gone"
        return change, why

    def create(self, step: Step, old: Entry | None) -> tuple[str, dict[str, Any]]:
        client, name = self._engines.client(step.provider), object_name(step, old)
        with explained(f"volume {name}", client):
            volume = _find_volume(client, name)
            step.record(name, {**step.inputs, "name": name})
            if volume is None:
                driver = step.inputs.get("driver") or "local"
                options = step.inputs.get("driverOpts")
                volume = client.volumes.create(name, driver=driver, driver_opts=options, labels=label_map(step))
            else:
                step.say(f"the volume {name} exists already and is used with its data")
        return name, {**step.inputs, **_volume_outputs(volume)}

    def update(self, step: Step, old: Entry) -> dict[str, Any]:
        return dict(plain(old.outputs))

    def delete(self, step: Step, old: Entry) -> None:
        client = self._engines.client(step.provider)
        with explained(f"volume {old.id}", client):
            volume = _find_volume(client, old.id)
            if volume is not None:
                volume.remove()

    def read(self, step: Step, old: Entry) -> tuple[dict[str, Any], dict[str, Any]] | None:
        client = self._engines.client(step.provider)
        with explained(f"volume {old.id}", client):
            volume = _find_volume(client, old.id)
        return None if volume is None else (plain(old.inputs), {**plain(old.outputs), **_volume_outputs(volume)})

    def delete_first(self, step: Step, old: Entry) -> bool:
        return True


def _find_volume(client: docker.DockerClient, name: str) -> Any:
    try:
        return client.volumes.get(name)
    except NotFound:
        return None


def _volume_outputs(volume: Any) -> dict[str, Any]:
    return {"name": volume.name, "driver": volume.attrs.get("Driver"), "mountpoint": volume.attrs.get("Mountpoint")}
