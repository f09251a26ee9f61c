"""Which inputs of the Docker provider's resources are implemented. What is not here is refused, never dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.errors import StackError
from trial.kinds import Step
from trial.values import UNKNOWN

# None stands for a plain value, a list of them, or a map with free keys; a dict for an object or a list of objects.
Schema = Mapping[str, "Schema | None"]


def _of(names: str, **nested: Schema) -> Schema:
    return {**dict.fromkeys(names.split()), **nested}


_LABEL = _of("label value")
SCHEMAS: Mapping[str, Schema] = {
    "docker:index/network:Network": _of(
        "name driver attachable ingress internal ipamDriver ipamOptions ipv6 options",
        labels=_LABEL,
        ipamConfigs=_of("auxAddress gateway ipRange subnet"),
    ),
    "docker:index/volume:Volume": _of("name driver driverOpts", labels=_LABEL),
    "docker:index/remoteImage:RemoteImage": _of(
        "name keepLocally forceRemove platform pullTriggers triggers",
        build=_of(
            "context dockerfile target buildArgs tags label labels noCache platform pullParent remove forceRemove"
            " networkMode extraHosts useLegacyBuilder"
        ),
    ),
    "docker:index/container:Container": _of(
        "image name command entrypoints envs restart maxRetryCount memory memorySwap memoryReservation cpus cpuShares"
        " cpuSet cpuPeriod cpuQuota shmSize logDriver logOpts securityOpts readOnly tmpfs init user groupAdds gpus"
        " stopTimeout stopSignal mustRun wait waitTimeout privileged workingDir sysctls runtime destroyGraceSeconds"
        " networkMode hostname domainname dns dnsOpts dnsSearches ipcMode pidMode usernsMode cgroupnsMode cgroupParent"
        " storageOpts tty stdinOpen publishAllPorts start removeVolumes platform deviceCgroupRules"
        " containerReadRefreshTimeoutMilliseconds",
        capabilities=_of("adds drops"),
        devices=_of("hostPath containerPath permissions"),
        deviceRequests=_of("capabilities count deviceIds driver options"),
        healthcheck=_of("interval retries startPeriod startInterval tests timeout"),
        hosts=_of("host ip"),
        labels=_LABEL,
        mounts=_of(
            "target type source readOnly",
            bindOptions=_of("propagation"),
            tmpfsOptions=_of("mode sizeBytes"),
            volumeOptions=_of("driverName driverOptions noCopy", labels=_LABEL),
        ),
        networksAdvanced=_of("name aliases ipv4Address ipv6Address"),
        ports=_of("internal external ip protocol"),
        ulimits=_of("name soft hard"),
        uploads=_of("file content contentBase64 source sourceHash executable permissions owner group"),
        volumes=_of("containerPath fromContainer hostPath readOnly volumeName"),
    ),
}
# Off is what these do here anyway; on is not implemented.
_ONLY_FALSE = {"attach", "logs", "rm"}


def check_fields(step: Step) -> None:
    """Raises StackError that names every input of the resource that is not implemented."""
    unknown = sorted(_unknown(step.inputs, SCHEMAS[step.type], ""))
    if unknown:
        raise StackError(
            f"{step.name} ({step.type.split(':')[-1]}) sets {', '.join(unknown)}, "
            "which the trial runner does not implement.",
            "leave it out of this stack, or run the stack with the engine: `pulumi up`",
        )


def _unknown(value: Any, schema: Schema, path: str) -> list[str]:
    found: list[str] = []
    for key, item in value.items():
        if item is None or item == UNKNOWN or (not path and key in _ONLY_FALSE and item is False):
            continue
        if key not in schema:
            found.append(path + key)
            continue
        nested = schema[key]
        if nested is not None:
            for part in item if isinstance(item, list) else [item]:
                if isinstance(part, dict):
                    found += _unknown(part, nested, f"{path}{key}.")
    return found
