"""A container's inputs as the Docker Engine API wants them. Pure; the API's names are those of its reference."""

from __future__ import annotations

import base64
import binascii
import io
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.errors import StackError

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what the engine and the provider take an absent address for
_MB = 1024 * 1024
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}


def duration(name: str, field: str, text: str | None) -> int:
    """A Go duration (`1m30s`) in nanoseconds; an absent one is 0, which lets the engine choose.

    Raises StackError naming the container and the field.
    """
    if not text or text == "0":
        return 0
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        raise StackError(f"{name}: {field} is {text!r}, which is no duration.", "write it like `30s` or `1m30s`")
    return int(sum(float(number) * _NANOSECONDS[unit] for number, unit in parts))


def config(
    name: str, given: Mapping[str, Any], labels: Mapping[str, str], api_version: tuple[int, ...]
) -> dict[str, Any]:
    """The body of `POST /containers/create`. Sizes in `given` are in MB (2**20), as the provider takes them."""
    ports = given.get("ports") or []
    attached = given.get("networksAdvanced") or []
    body = {
        "Image": given["image"],
        "Cmd": given.get("command"),
        "Entrypoint": given.get("entrypoints"),
        "Env": given.get("envs"),
        "Labels": dict(labels),
        "User": given.get("user"),
        "WorkingDir": given.get("workingDir"),
        "Hostname": given.get("hostname"),
        "Domainname": given.get("domainname"),
        "Tty": given.get("tty"),
        "OpenStdin": given.get("stdinOpen"),
        "StopSignal": given.get("stopSignal"),
        "StopTimeout": given.get("stopTimeout"),
        "Healthcheck": _healthcheck(name, given.get("healthcheck"), api_version),
        "ExposedPorts": {_port(item): {} for item in ports} or None,
        "Volumes": {item["containerPath"]: {} for item in given.get("volumes") or [] if _anonymous(item)} or None,
        "HostConfig": _present(_host_config(name, given)),
    }
    if attached:
        first = attached[0]
        body["NetworkingConfig"] = {"EndpointsConfig": {first["name"]: endpoint(first)}}
    return _present(body)


def _host_config(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    attached = given.get("networksAdvanced") or []
    capabilities = given.get("capabilities") or {}
    return {
        "NetworkMode": given.get("networkMode") or (attached[0]["name"] if attached else None),
        "PortBindings": _port_bindings(given.get("ports") or []),
        "PublishAllPorts": given.get("publishAllPorts"),
        "Binds": [_bind(name, item) for item in given.get("volumes") or [] if _bound(item)] or None,
        "VolumesFrom": [item["fromContainer"] for item in given.get("volumes") or [] if item.get("fromContainer")]
        or None,
        "Mounts": [_mount(item) for item in given.get("mounts") or []] or None,
        "Tmpfs": given.get("tmpfs"),
        "RestartPolicy": _present(
            {"Name": given.get("restart") or "no", "MaximumRetryCount": given.get("maxRetryCount")}
        ),
        "Memory": _bytes(given.get("memory")),
        "MemorySwap": -1 if given.get("memorySwap") == -1 else _bytes(given.get("memorySwap")),
        "MemoryReservation": _bytes(given.get("memoryReservation")),
        "ShmSize": _bytes(given.get("shmSize")),
        "NanoCpus": int(float(given["cpus"]) * 1e9) if given.get("cpus") else None,
        "CpuShares": given.get("cpuShares"),
        "CpusetCpus": given.get("cpuSet"),
        "CpuPeriod": given.get("cpuPeriod"),
        "CpuQuota": given.get("cpuQuota"),
        "LogConfig": _log_config(given),
        "CapAdd": capabilities.get("adds"),
        "CapDrop": capabilities.get("drops"),
        "SecurityOpt": given.get("securityOpts"),
        "ReadonlyRootfs": given.get("readOnly"),
        "Privileged": given.get("privileged"),
        "Init": given.get("init"),
        "GroupAdd": given.get("groupAdds"),
        "ExtraHosts": [f"{item['host']}:{item['ip']}" for item in given.get("hosts") or []] or None,
        "Devices": [_device(item) for item in given.get("devices") or []] or None,
        "DeviceCgroupRules": given.get("deviceCgroupRules"),
        "DeviceRequests": _device_requests(name, given),
        "Ulimits": [{"Name": u["name"], "Soft": u["soft"], "Hard": u["hard"]} for u in given.get("ulimits") or []]
        or None,
        "Sysctls": given.get("sysctls"),
        "Runtime": given.get("runtime"),
        "Dns": given.get("dns"),
        "DnsOptions": given.get("dnsOpts"),
        "DnsSearch": given.get("dnsSearches"),
        "IpcMode": given.get("ipcMode"),
        "PidMode": given.get("pidMode"),
        "UsernsMode": given.get("usernsMode"),
        "CgroupnsMode": given.get("cgroupnsMode"),
        "CgroupParent": given.get("cgroupParent"),
        "StorageOpt": given.get("storageOpts"),
    }


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _bytes(megabytes: Any) -> int | None:
    return None if megabytes is None else int(megabytes * _MB)


def _port(item: Mapping[str, Any]) -> str:
    return f"{item['internal']}/{item.get('protocol') or 'tcp'}"


def _port_bindings(ports: list[Mapping[str, Any]]) -> dict[str, list[dict[str, str]]] | None:
    bindings: dict[str, list[dict[str, str]]] = {}
    for item in ports:
        external = str(item["external"]) if item.get("external") else ""
        bindings.setdefault(_port(item), []).append({"HostIp": item.get("ip") or EVERYWHERE, "HostPort": external})
    return bindings or None


def _anonymous(item: Mapping[str, Any]) -> bool:
    return not (item.get("volumeName") or item.get("hostPath") or item.get("fromContainer"))


def _bound(item: Mapping[str, Any]) -> bool:
    return bool(item.get("volumeName") or item.get("hostPath"))


def _bind(name: str, item: Mapping[str, Any]) -> str:
    host = item.get("hostPath")
    if host and not str(host).startswith("/"):
        raise StackError(f"{name}: the host path {host!r} is not absolute.", "write the whole path, beginning with `/`")
    return f"{item.get('volumeName') or host}:{item['containerPath']}:{'ro' if item.get('readOnly') else 'rw'}"


def _mount(item: Mapping[str, Any]) -> dict[str, Any]:
    volume, tmpfs, bind = (item.get(key) for key in ("volumeOptions", "tmpfsOptions", "bindOptions"))
    driver = volume and _present({"Name": volume.get("driverName"), "Options": volume.get("driverOptions")})
    labels = volume and {label["label"]: label["value"] for label in volume.get("labels") or []}
    options = volume and {"NoCopy": volume.get("noCopy"), "Labels": labels or None, "DriverConfig": driver or None}
    return _present(
        {
            "Target": item["target"],
            "Type": item["type"],
            "Source": item.get("source"),
            "ReadOnly": item.get("readOnly"),
            "BindOptions": _present({"Propagation": bind.get("propagation")}) if bind else None,
            "TmpfsOptions": _present({"SizeBytes": tmpfs.get("sizeBytes"), "Mode": tmpfs.get("mode")})
            if tmpfs
            else None,
            "VolumeOptions": _present(options) if options else None,
        }
    )


def _log_config(given: Mapping[str, Any]) -> dict[str, Any] | None:
    if not given.get("logDriver") and not given.get("logOpts"):
        return None
    return {"Type": given.get("logDriver") or "json-file", "Config": given.get("logOpts") or {}}


def _device(item: Mapping[str, Any]) -> dict[str, str]:
    return {
        "PathOnHost": item["hostPath"],
        "PathInContainer": item.get("containerPath") or item["hostPath"],
        "CgroupPermissions": item.get("permissions") or "rwm",
    }


def _device_requests(name: str, given: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    requests = [
        _present(
            {
                "Driver": item.get("driver"),
                "Count": item.get("count"),
                "DeviceIDs": item.get("deviceIds"),
                "Capabilities": [item["capabilities"]] if item.get("capabilities") else None,
                "Options": item.get("options"),
            }
        )
        for item in given.get("deviceRequests") or []
    ]
    gpus = given.get("gpus")
    if gpus == "all":
        requests.append({"Count": -1, "Capabilities": [["gpu"]]})
    elif gpus:
        raise StackError(
            f"{name}: gpus is {gpus!r}, and only `all` is implemented.",
            "choose GPUs by `device_requests` with `device_ids`",
        )
    return requests or None


def _healthcheck(name: str, check: Mapping[str, Any] | None, api_version: tuple[int, ...]) -> dict[str, Any] | None:
    if not check:
        return None
    if check.get("startInterval") and api_version < (1, 44):
        raise StackError(
            f"{name}: this Docker engine is too old for healthcheck.startInterval.", "leave it out, or use Docker >= 25"
        )
    return _present(
        {
            "Test": check.get("tests"),
            "Interval": duration(name, "healthcheck.interval", check.get("interval")),
            "Timeout": duration(name, "healthcheck.timeout", check.get("timeout")),
            "StartPeriod": duration(name, "healthcheck.startPeriod", check.get("startPeriod")),
            "StartInterval": duration(name, "healthcheck.startInterval", check.get("startInterval")) or None,
            "Retries": check.get("retries"),
        }
    )


def endpoint(item: Mapping[str, Any]) -> dict[str, Any]:
    """One network's endpoint settings."""
    addresses = _present({"IPv4Address": item.get("ipv4Address"), "IPv6Address": item.get("ipv6Address")})
    return _present({"Aliases": item.get("aliases"), "IPAMConfig": addresses or None})


def upload_archive(name: str, uploads: list[Mapping[str, Any]]) -> bytes | None:
    """A tar of every uploaded file, to be unpacked at `/`; None when there is none.

    Mode 0644 unless `permissions` (octal) says otherwise; `executable` alone gives 0744. Owner and group are numbers.
    Raises StackError on a missing source, bad base64, bad permissions or an owner that is not a number.
    """
    if not uploads:
        return None
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for item in uploads:
            content = upload_content(name, item)
            info = tarfile.TarInfo(str(item["file"]).lstrip("/"))
            info.size = len(content)
            info.mode = _number(name, item, "permissions", 8, 0o744 if item.get("executable") else 0o644)
            info.uid = _number(name, item, "owner", 10, 0)
            info.gid = _number(name, item, "group", 10, 0)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def upload_content(name: str, item: Mapping[str, Any]) -> bytes:
    if item.get("contentBase64") is not None:
        try:
            return base64.b64decode(str(item["contentBase64"]), validate=True)
        except binascii.Error as error:
            raise StackError(f"{name}: content_base64 of {item['file']} is not base64.", "encode it anew") from error
    if item.get("source"):
        try:
            return Path(str(item["source"])).read_bytes()
        except OSError as error:
            raise StackError(
                f"{name}: {item['source']} cannot be read: {error.strerror}.", "correct `source`"
            ) from error
    return str(item.get("content") or "").encode()


def _number(name: str, item: Mapping[str, Any], field: str, base: int, default: int) -> int:
    text = item.get(field)
    if text in (None, ""):
        return default
    try:
        return int(str(text), base)
    except ValueError as error:
        kind = "an octal number such as 0644" if base == 8 else "a numeric id"
        raise StackError(f"{name}: {field} of {item['file']} is {text!r}.", f"write {kind}") from error
