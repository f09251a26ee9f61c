"""Waiting until a machine can take containers, and refusing one that never will."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from components.dynamic import Report
from components.errors import StackError
from components.hosts.engine import facts_of_info
from components.hosts.readiness.probe import LOG, Probe, ask
from components.plan import HostFacts
from components.plan.accelerator import devices_of
from components.plan.drivers import refuse_old_driver
from components.reach import SshTarget, UnreachableError, close_shared, shown
from components.settings.accelerator import Accelerator

_PAUSE_S = 3.0
# A boot takes minutes; a line every twenty seconds shows that it goes on without filling the screen.
_TELL_EVERY_S = 20.0
REPEAT = "sudo ragstack-prepare"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """`prepared`: the machine prepares itself at its first boot, and nothing is taken for granted before its marker
    says so; otherwise a machine without a marker is taken as it is. `gpus`: how many NVIDIA GPUs the machine is paid
    for, 0 when nobody counted. `timeout_s`: seconds for boot and preparation together. `ollama`: its version, by which
    the driver is judged; empty counts as the newest."""

    accelerator: Accelerator
    prepared: bool
    gpus: int = 0
    timeout_s: float = 1800.0
    ollama: str = ""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a ready machine said of itself. `driver` is empty on a machine without an NVIDIA driver."""

    engine: str
    driver: str
    gpus: tuple[str, ...]
    system: str


def wait_until_ready(
    target: SshTarget,
    wanted: Wanted,
    tell: Report,
    *,
    look: Callable[[SshTarget], Probe] = ask,
    log_in_anew: Callable[[SshTarget], None] = close_shared,
) -> Ready:
    """Asks until the machine is ready. Raises `StackError` when its preparation failed, it lacks what the accelerator
    needs, or the time is up; tests put their own in place of `look` and `log_in_anew`."""
    started = time.monotonic()
    told, state = started, ""
    while True:
        try:
            probe = look(target)
            pending = unfinished(probe, target, wanted)
        except UnreachableError as error:
            probe, pending = None, error.cause
        if probe is not None and not pending:
            return _ready(probe, target, wanted)
        if "permission denied" in pending:
            # The preparation has put the user into the group docker since this connection logged in.
            log_in_anew(target)
        passed = time.monotonic() - started
        if passed > wanted.timeout_s:
            raise _too_late(target, wanted, pending)
        if pending != state or time.monotonic() - told >= _TELL_EVERY_S:
            told, state = time.monotonic(), pending
            tell(f"waiting for {target.destination} ({passed:.0f} s): {pending}")
        time.sleep(_PAUSE_S)


def unfinished(probe: Probe, target: SshTarget, wanted: Wanted) -> str:
    """What is still going on, empty when nothing is. Raises `StackError` when the preparation has failed."""
    marker = probe.marker or {}
    if marker.get("state") == "failed":
        raise _failed(probe, target, str(marker.get("step")), str(marker.get("reason")))
    if marker.get("state") == "running":
        return f"preparing, step {marker.get('step')}"
    if not wanted.prepared or marker.get("state") == "ready":
        return "" if probe.docker else _docker_missing(probe)
    if re.search(r"^status: (error|done|disabled)", probe.text("cloud-init"), re.MULTILINE):
        reason = next(iter(re.findall(r"^detail:\s*(.+)$", probe.text("cloud-init"), re.MULTILINE)), "no reason given")
        raise _failed(probe, target, "cloud-init", f"it ended without having prepared the machine: {reason}")
    return "booting"


def check(probe: Probe, accelerator: Accelerator, destination: str, *, ollama: str = "") -> HostFacts:
    """The facts of a machine that has all the accelerator needs for this version of Ollama. Raises `StackError` when it
    lacks something."""
    if probe.docker is None:
        raise StackError(f"{destination} has no Docker engine for this user: {_docker_missing(probe)}", _MEND_PREPARE)
    if accelerator.kind == "nvidia":
        if not probe.gpus:
            said = (probe.text("nvidia").strip() or "it printed nothing").splitlines()[0]
            raise StackError(
                f"{destination} shows no NVIDIA GPU: nvidia-smi says: {said}",
                "install NVIDIA's driver there (the preparation never touches it), reboot, and see nvidia-smi -L",
            )
        refuse_old_driver(destination, probe.gpus[0][1], ollama=ollama)
        if accelerator.nvidia_mode == "cdi" and not probe.has_cdi:
            raise StackError(
                f"{destination} has no CDI specification of its GPUs, so Docker cannot give them to a container.",
                "make prepare, or there: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
            )
    facts = facts_of_info(
        probe.docker,
        device_group_ids=tuple(sorted({group for path, group in probe.device_groups.items() if path != "/dev/dri"})),
        device_paths=tuple(path for path in ("/dev/kfd", "/dev/dri") if path in probe.device_groups),
    )
    devices_of(accelerator, facts)
    return facts


_MEND_PREPARE = "make prepare (or log in again after having joined the group docker)"


def _ready(probe: Probe, target: SshTarget, wanted: Wanted) -> Ready:
    check(probe, wanted.accelerator, target.destination, ollama=wanted.ollama)
    if wanted.accelerator.kind == "nvidia" and len(probe.gpus) < wanted.gpus:
        raise StackError(
            f"{target.destination} shows {len(probe.gpus)} of its {wanted.gpus} GPUs.",
            f"stop and start the machine, which moves it to other hardware; see `{shown(target)} nvidia-smi -L`",
        )
    engine = probe.docker or {}
    return Ready(
        engine=str(engine["ServerVersion"]),
        driver=probe.gpus[0][1] if probe.gpus else "",
        gpus=tuple(name for name, _ in probe.gpus),
        system=str(engine.get("OperatingSystem", "")),
    )


def _docker_missing(probe: Probe) -> str:
    lines = probe.text("docker").strip().splitlines()
    said = next((line for line in lines if "denied" in line or "Cannot connect" in line), lines[-1] if lines else "")
    found = re.search(r"(permission denied[^\"]*|Cannot connect[^\"]*)", said, re.IGNORECASE)
    return f"Docker does not answer: {found[1] if found else said[:200]}"


def _failed(probe: Probe, target: SshTarget, step: str, reason: str) -> StackError:
    lines = probe.text("log").strip() if probe.succeeded("log") else "(there is no log)"
    indented = "\n".join(f"    {line}" for line in lines.splitlines())
    return StackError(
        f"The preparation of {target.destination} failed in the step {step}: {reason}\n  the end of {LOG}:\n{indented}",
        f"mend it there and run `{REPEAT}` (a shell: {shown(target)}), then pulumi up again",
    )


def _too_late(target: SshTarget, wanted: Wanted, pending: str) -> StackError:
    return StackError(
        f"{target.destination} was not ready within {wanted.timeout_s:.0f} s; the last state: {pending}",
        f"see that it runs, then pulumi up again; a shell on it: {shown(target)}",
    )
