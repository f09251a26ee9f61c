"""AMD: device nodes, the groups that may open them, and what the containers were given of both. Vulkan's too."""

from __future__ import annotations

from collections.abc import Iterator

from doctor.checks.engine import REACHABLE
from doctor.finding import Check, Finding
from doctor.subject import Subject

_PERMISSION = ("permission denied", "permission problems block access")


def _concerns(subject: Subject) -> bool:
    return subject.settings.accelerator.kind in ("rocm", "vulkan")


def _nodes(subject: Subject) -> dict[str, int]:
    """Node to the numeric group that may open it, by the machine itself."""
    return {node: group for node, group in subject.probe.device_groups.items() if node != "/dev/dri"}


def _devices(subject: Subject) -> Iterator[Finding]:
    nodes = _nodes(subject)
    wanted = ["/dev/dri/renderD"] + (["/dev/kfd"] if subject.settings.accelerator.kind == "rocm" else [])
    absent = [name for name in wanted if not any(node.startswith(name) for node in nodes)]
    if absent:
        yield Finding(
            seen=f"the machine has no {' and no '.join(absent)}",
            mend=subject.there("install the GPU's driver, then: sudo modprobe amdgpu && ls -l /dev/kfd /dev/dri"),
        )
    else:
        yield Finding(seen=", ".join(f"{node} (group {group})" for node, group in sorted(nodes.items())))


def _groups(subject: Subject) -> Iterator[Finding]:
    needed = {str(group) for group in _nodes(subject).values()} - {"0"}
    for name, found in subject.running_servers():
        given = {str(group) for group in found["HostConfig"].get("GroupAdd") or ()}
        named = sorted(group for group in given if not group.isdigit())
        missing = sorted(needed - given)
        if named:
            yield Finding(
                seen=f"{name} has the group {', '.join(named)} by name, which its image resolves, not the machine",
                mend=subject.up_command,
            )
        if missing:
            yield Finding(
                seen=f"{name} is not in the groups {', '.join(missing)} of the device nodes",
                mend="; ".join(
                    subject.set_command(f"accelerator.group_ids[{index}]", group)
                    for index, group in enumerate(sorted(needed))
                )
                + f"; {subject.up_command}",
            )
    yield Finding(seen=f"the containers are in the groups {', '.join(sorted(needed)) or 'of root'}")


def _permission(subject: Subject) -> Iterator[Finding]:
    for name, found in subject.running_servers():
        if found["HostConfig"].get("Privileged"):
            yield Finding(seen=f"{name} runs privileged, which no GPU needs", mend=subject.up_command)
        lines = [
            line
            for line in subject.last_start(name).splitlines()
            if any(words in line for words in _PERMISSION) and ("/dev/kfd" in line or "/dev/dri" in line)
        ]
        if lines:
            yield Finding(
                seen=f"{name} may not open its devices",
                mend=f"{subject.there('stat -c %g /dev/kfd /dev/dri/renderD*')}, name those numbers in "
                f"accelerator.group_ids, then {subject.up_command}",
                details=tuple(lines[-2:]),
            )
    yield Finding(seen="no server was denied a device")


DEVICES = "rocm.devices"
CHECKS: tuple[Check, ...] = (
    Check(
        name=DEVICES,
        title="the device nodes are there",
        why="A container cannot be given what the machine does not have.",
        look=_devices,
        concerns=_concerns,
    ),
    Check(
        name="rocm.groups",
        title="the containers are in the nodes' groups, by number",
        why="Docker resolves a group's name inside the image, where the machine's render group is another or none.",
        look=_groups,
        after=(REACHABLE, DEVICES),
        concerns=_concerns,
    ),
    Check(
        name="rocm.permission",
        title="no server was denied its devices",
        why="A server that may not open them computes on the CPU (ollama/ollama#2718); privileged mode is no cure.",
        look=_permission,
        after=(REACHABLE,),
        concerns=_concerns,
    ),
)
