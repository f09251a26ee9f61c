"""NVIDIA: driver, toolkit and CDI on the machine, and whether each server's container still has its GPU."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from components.errors import StackError
from components.hosts.preparation.wanted import Preparation
from components.plan.drivers import RECOMMENDED, driver_fault, numbers
from doctor.checks.engine import REACHABLE, is_nvidia, uses_cdi
from doctor.finding import Check, Finding
from doctor.subject import Subject

# What nvidia-smi says in a container whose GPU was taken away while it ran (NVIDIA/nvidia-docker#1730).
LOST = "Failed to initialize NVML: Unknown Error"
# What nvidia-smi says in one whose libraries are of another driver than the kernel's, after an update without reboot.
MISMATCH = "Driver/library version mismatch"
_CDI_FOLDERS = "cat /etc/cdi/*.yaml /etc/cdi/*.json /var/run/cdi/*.yaml /var/run/cdi/*.json 2>/dev/null; true"
_PINS = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
_GENERATE = "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"


def _driver(subject: Subject) -> Iterator[Finding]:
    said = subject.shell.run("nvidia-smi", "-L")
    gpus = [line for line in said.text.splitlines() if line.startswith("GPU ")]
    if not said.succeeded or not gpus:
        last = (said.text.splitlines() or ["it printed nothing"])[0]
        mend = (
            "sudo reboot" if MISMATCH in said.text else f"install NVIDIA's driver ({RECOMMENDED} or later) and reboot"
        )
        yield Finding(seen=f"nvidia-smi shows no GPU: {last}", mend=subject.there(mend))
        return
    yield Finding(seen=f"{len(gpus)} GPUs: {gpus[0].partition(' (UUID')[0]}")


def _driver_version(subject: Subject) -> Iterator[Finding]:
    said = subject.shell.run("nvidia-smi", "--query-gpu=driver_version,compute_cap", "--format=csv,noheader")
    rows = [[cell.strip() for cell in line.split(",")] for line in said.text.splitlines() if "," in line]
    if not rows:
        raise StackError(f"nvidia-smi names no driver: {said.text[:200]}", subject.there("nvidia-smi"))
    ollama = subject.settings.ollama_version
    for version, capability in sorted({(row[0], row[1]) for row in rows}):
        if fault := driver_fault(version, ollama=ollama, capability=capability):
            yield Finding(
                seen=f"there is {fault}", mend=subject.there(f"install driver {RECOMMENDED} or later and reboot")
            )
        else:
            yield Finding(seen=f"driver {version} for compute capability {capability} and Ollama {ollama}")


def _toolkit(subject: Subject) -> Iterator[Finding]:
    said = subject.shell.run("nvidia-ctk", "--version")
    found = re.search(r"\d+(\.\d+)+", said.text) if said.succeeded else None
    floor = Preparation.toolkit_floor
    install = f"install nvidia-container-toolkit {floor} or later, or {_prepare(subject)}"
    if not found:
        yield Finding(seen=f"nvidia-ctk does not run: {said.text[:200]}", mend=subject.there(install))
    elif numbers(found[0]) < numbers(floor):
        yield Finding(
            seen=f"the NVIDIA Container Toolkit is {found[0]}, older than {floor}", mend=subject.there(install)
        )
    else:
        yield Finding(seen=f"NVIDIA Container Toolkit {found[0]}")


def _prepare(subject: Subject) -> str:
    return f"make prepare STACK={subject.stack}" if subject.is_remote else "see docs/prod.md"


def _cdi(subject: Subject) -> Iterator[Finding]:
    text = subject.shell.run("sh", "-c", _CDI_FOLDERS).text
    if "nvidia.com/gpu" not in text:
        yield Finding(seen="there is no CDI specification of nvidia.com/gpu", mend=subject.there(_GENERATE))
        return
    driver = subject.shell.run("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").text.split()
    # The specification names the driver's libraries with their version: libcuda.so.580.95.05.
    named = sorted(set(re.findall(r"libcuda\.so\.(\d+(?:\.\d+)+)", text)))
    if driver and named and driver[0] not in named:
        yield Finding(
            seen=f"the CDI specification is of driver {', '.join(named)}, and {driver[0]} runs",
            mend=subject.there(_GENERATE),
        )
    else:
        yield Finding(seen="a CDI specification of nvidia.com/gpu is there")


def _visible(subject: Subject) -> Iterator[Finding]:
    for name, found in subject.running_servers():
        if not found["HostConfig"].get("DeviceRequests"):
            yield Finding(seen=f"{name} was made without a GPU", mend=subject.up_command)
            continue
        code, said = subject.run_in(name, "nvidia-smi", "-L")
        gpus = [line for line in said.splitlines() if line.startswith("GPU ")]
        if code == 0 and gpus:
            yield Finding(seen=f"{name} sees {len(gpus)} GPUs")
        elif LOST in said:
            yield Finding(
                seen=f"{name} has lost its GPU while it ran: {LOST}",
                mend=f"{subject.there(f'docker restart {name}')} (for good: accelerator.nvidia_mode cdi)",
                fix=lambda name=name: subject.restart(name),  # type: ignore[misc]
            )
        elif MISMATCH in said:
            yield Finding(seen=f"{name}: {said.splitlines()[0]}", mend=subject.there("sudo reboot"))
        else:
            last = (said.splitlines() or ["it printed nothing"])[-1]
            yield Finding(seen=f"{name} sees no GPU: {last}", mend=subject.up_command)


def _pinned_twice(subject: Subject) -> Iterator[Finding]:
    given: Counter[str] = Counter()
    for name, found in subject.running_servers():
        requests = found["HostConfig"].get("DeviceRequests") or []
        given.update(_ids(requests))
        for pin in (pin for pin in found["Config"]["Env"] or () if pin.partition("=")[0] in _PINS):
            # The official image itself says that all that is handed over may be seen.
            if requests and pin != "NVIDIA_VISIBLE_DEVICES=all":
                yield Finding(
                    seen=f"{name} has {pin} besides its device request",
                    mend=f"take it out of ollama.extra_environment and of the image, then {subject.up_command}",
                )
    for gpu in sorted(gpu for gpu, count in given.items() if count > 1):
        yield Finding(
            seen=f"GPU {gpu} was given to {given[gpu]} servers", mend=f"correct pool.gpus, then {subject.up_command}"
        )
    yield Finding(seen="every GPU is chosen by one device request")


def _ids(requests: list[dict[str, Any]]) -> Iterator[str]:
    for request in requests:
        if request.get("Count") == -1:
            yield "all"
        yield from (gpu.rpartition("=")[2] for gpu in request.get("DeviceIDs") or ())


DRIVER = "nvidia.driver"
CHECKS: tuple[Check, ...] = (
    Check(
        name=DRIVER,
        title="the driver runs",
        why="Without it Ollama computes on the CPU and says so only in its log.",
        look=_driver,
        concerns=is_nvidia,
    ),
    Check(
        name="nvidia.driver_version",
        title="the driver is new enough for this Ollama",
        why="Ollama's CUDA libraries do not load with an older one, and the CPU takes over in silence.",
        look=_driver_version,
        after=(DRIVER,),
        concerns=is_nvidia,
    ),
    Check(
        name="nvidia.toolkit",
        title="the NVIDIA Container Toolkit is there",
        why="It is what hands a GPU to a container; releases before the floor let containers break out.",
        look=_toolkit,
        concerns=is_nvidia,
    ),
    Check(
        name="nvidia.cdi",
        title="the CDI specification fits the driver",
        why="A specification of another driver hands libraries over that are not there any more.",
        look=_cdi,
        after=(DRIVER,),
        concerns=uses_cdi,
    ),
    Check(
        name="nvidia.visible",
        title="every server's container sees its GPU",
        why="A server that has lost its GPU goes on answering, from the CPU.",
        look=_visible,
        after=(REACHABLE, DRIVER),
        concerns=is_nvidia,
    ),
    Check(
        name="nvidia.pinned_twice",
        title="no GPU is pinned twice",
        why="Containers number their GPUs from 0, so a second choice by index leaves none; two servers on one GPU push "
        "each other's models out.",
        look=_pinned_twice,
        after=(REACHABLE,),
        concerns=is_nvidia,
    ),
)
