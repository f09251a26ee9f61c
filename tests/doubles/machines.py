"""A test double of EC2's hypervisor: each instance is a container that boots systemd, cloud-init, sshd and Docker.

Its user data is what the program gave to EC2, byte for byte; an EBS volume is a file behind a loop device, plugged into
the running machine under the name that AWS gives it. Everything lies in the folder $RAGSTACK_REHEARSAL.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound

from components.hosts.engine import endpoint_of, open_client
from components.settings.host import Host
from images.stand_ins import machine
from images.stand_ins.registry import HOST_ALIAS

# What systemd, sshd and a nested Docker engine need; `--privileged` is refused where CAP_SYS_RESOURCE is missing.
CAPABILITIES = (
    *("SYS_ADMIN", "NET_ADMIN", "SYS_MODULE", "SYS_PTRACE", "MKNOD", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("SYSLOG", "SYS_NICE", "SYS_TIME", "IPC_LOCK", "SYS_BOOT", "DAC_READ_SEARCH", "LINUX_IMMUTABLE"),
)
SSH_PORT = 22
_STOP_S = 60
LOOP_MAJOR = 7
# What an AMI's name has the stubs play, in the words of their file `settings`.
PLAYED = {"no driver": "DRIVER=broken", "old driver": "DRIVER=535.230.02", "toolkit broken": "TOOLKIT=broken"}
LABEL = "ragstack.rehearsal"


def name_of(instance_id: str) -> str:
    return f"ragstack-machine-{instance_id}"


def start(instance_id: str, *, user_data: str, public_key: str, ami: str) -> None:
    """Boots a machine, or starts one that was stopped. Returns at once; the boot goes on."""
    client = _client()
    try:
        found: Any = client.containers.get(name_of(instance_id))
    except NotFound:
        _create(client, instance_id, user_data, public_key, ami).start()
    else:
        found.start()
    finally:
        client.close()


def _create(client: docker.DockerClient, instance_id: str, user_data: str, public_key: str, ami: str) -> Any:
    folder = _folder(instance_id)
    (folder / "rehearsal").mkdir(parents=True)
    played = "".join(f"{line}\n" for name, line in PLAYED.items() if name in ami)
    (folder / "rehearsal" / "stubs").write_text(played)
    seed = folder / "seed"
    seed.mkdir()
    (seed / "user-data").write_bytes(_decoded(user_data))
    meta = {"instance-id": instance_id, "local-hostname": instance_id, "public-keys": [public_key]}
    (seed / "meta-data").write_text(json.dumps(meta))
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    # Packages come from where this machine gets its own.
    mirror = {str(sources): f"{sources}:ro"} if sources.exists() else {}
    volumes = {
        **mirror,
        f"{name_of(instance_id)}-docker": "/var/lib/docker",
        str(seed): "/var/lib/cloud/seed/nocloud:ro",
        str(folder / "rehearsal"): "/etc/rehearsal:ro",
    }
    flavour = next(flavour for flavour in machine.FLAVOURS if flavour in ami)
    options = {
        "--cap-add": CAPABILITIES,
        "--security-opt": ("seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined"),
        "--tmpfs": ("/run", "/tmp:exec"),
        "--volume": [f"{source}:{target}" for source, target in volumes.items()],
        "--add-host": [f"{name}:{address}" for name, address in HOST_ALIAS.items()],
    }
    # The command line, because the SDK knows no way to leave /proc and /sys unmasked.
    subprocess.run(
        [
            *("docker", "create", "--name", name_of(instance_id), "--hostname", instance_id, "--cgroupns", "private"),
            *("--env", "container=docker", "--device-cgroup-rule", f"b {LOOP_MAJOR}:* rwm"),
            *("--label", f"{LABEL}={_root()}"),
            *(word for option, values in options.items() for value in values for word in (option, value)),
            machine.ensure(client, flavour),
        ],
        check=True,
        capture_output=True,
    )
    return client.containers.get(name_of(instance_id))


def stop(instance_id: str) -> None:
    """A clean stop: systemd shuts everything down and writes it out."""
    client = _client()
    try:
        container: Any = client.containers.get(name_of(instance_id))
        container.stop(timeout=_STOP_S)
    finally:
        client.close()


def terminate(instance_id: str) -> None:
    """Takes the machine and its own disk away; its volumes are left unplugged."""
    client = _client()
    try:
        container: Any = client.containers.get(name_of(instance_id))
        container.stop(timeout=_STOP_S)
        container.remove(force=True)
        client.volumes.get(f"{name_of(instance_id)}-docker").remove()
    except NotFound:
        pass
    finally:
        client.close()
    for line in _plugged(instance_id):
        _release(line.split()[1])
    shutil.rmtree(_folder(instance_id), ignore_errors=True)


def attach(instance_id: str, volume_id: str, size_gib: int) -> None:
    """Plugs a volume in, and again at every start until it is detached."""
    file = _root() / f"{volume_id}.img"
    with file.open("ab") as disk:
        disk.truncate(size_gib * 1024**3)
    done = subprocess.run(["losetup", "--find", "--show", str(file)], capture_output=True, text=True, check=True)
    minor = int(done.stdout.strip().removeprefix("/dev/loop"))
    link = f"nvme-Amazon_Elastic_Block_Store_{volume_id.replace('-', '')}"
    device = f"nvme{len(_plugged(instance_id)) + 1}n1"
    with (_folder(instance_id) / "rehearsal" / "volumes").open("a") as volumes:
        volumes.write(f"{device} {link} {LOOP_MAJOR} {minor}\n")
    # A machine that is still booting may find the line above and make the same device first.
    script = (
        "mkdir -p /dev/disk/by-id && "
        f"{{ mknod -m 0660 /dev/{device} b {LOOP_MAJOR} {minor} || test -b /dev/{device}; }} && "
        f"ln -sfn ../../{device} /dev/disk/by-id/{link}"
    )
    subprocess.run(["docker", "exec", name_of(instance_id), "sh", "-c", script], check=True, capture_output=True)


def detach(instance_id: str, volume_id: str) -> None:
    link = f"nvme-Amazon_Elastic_Block_Store_{volume_id.replace('-', '')}"
    left = []
    for line in _plugged(instance_id):
        if line.split()[1] == link:
            _release(link)
        else:
            left.append(f"{line}\n")
    (_folder(instance_id) / "rehearsal" / "volumes").write_text("".join(left))


def delete_volume(volume_id: str) -> None:
    _release(f"nvme-Amazon_Elastic_Block_Store_{volume_id.replace('-', '')}")
    (_root() / f"{volume_id}.img").unlink(missing_ok=True)


def address(instance_id: str) -> tuple[str, int]:
    """Where the machine's sshd is reached by the double of Session Manager."""
    client = _client()
    try:
        container: Any = client.containers.get(name_of(instance_id))
        return str(container.attrs["NetworkSettings"]["IPAddress"]), SSH_PORT
    finally:
        client.close()


def release_all() -> None:
    """Takes away every machine and volume of this folder, whatever a broken test has left behind."""
    client = _client()
    try:
        label = {"label": f"{LABEL}={_root()}"}
        names = [str(found.name) for found in client.containers.list(all=True, filters=label)]
    finally:
        client.close()
    for name in names:
        terminate(name.removeprefix("ragstack-machine-"))
    for file in _root().glob("vol-*.img"):
        delete_volume(file.stem)


def _release(link: str) -> None:
    volume = link.removeprefix("nvme-Amazon_Elastic_Block_Store_vol")
    file = _root() / f"vol-{volume}.img"
    found = subprocess.run(["losetup", "--associated", str(file)], capture_output=True, text=True, check=True)
    for line in found.stdout.splitlines():
        subprocess.run(["losetup", "--detach", line.partition(":")[0]], check=True)


def _plugged(instance_id: str) -> list[str]:
    file = _folder(instance_id) / "rehearsal" / "volumes"
    return file.read_text().splitlines() if file.exists() else []


def _decoded(user_data: str) -> bytes:
    return user_data.encode() if user_data.startswith("#") else base64.b64decode(user_data)


def _folder(instance_id: str) -> Path:
    return _root() / instance_id


def _root() -> Path:
    return Path(os.environ["RAGSTACK_REHEARSAL"])


def _client() -> docker.DockerClient:
    return open_client(endpoint_of(Host()))
