"""The Docker engine: that it answers, that it can give what the stack asks of it, and that its settings can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator

from components.errors import StackError
from components.hosts.engine import facts_of_info
from components.plan.accelerator import CDI_ENGINE
from doctor.finding import Check, Finding
from doctor.subject import Subject

DAEMON_JSON = "/etc/docker/daemon.json"
REACHABLE = "engine.reachable"
_CONFIGURE = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"


def is_nvidia(subject: Subject) -> bool:
    return subject.settings.accelerator.kind == "nvidia"


def uses_runtime(subject: Subject) -> bool:
    """Whether GPUs are handed over by the NVIDIA runtime instead of CDI."""
    return is_nvidia(subject) and subject.settings.accelerator.nvidia_mode == "runtime"


def uses_cdi(subject: Subject) -> bool:
    return is_nvidia(subject) and not uses_runtime(subject)


def _reachable(subject: Subject) -> Iterator[Finding]:
    try:
        version = subject.info["ServerVersion"]
    except StackError as error:
        # That nobody answers is the finding here, and for every other check a reason not to look.
        yield Finding(seen=error.cause, mend=error.mend)
        return
    yield Finding(seen=f"Docker {version} answers")


def _version(subject: Subject) -> Iterator[Finding]:
    facts = facts_of_info(subject.info, device_group_ids=(), device_paths=None)
    found = ".".join(map(str, facts.engine_version))
    if facts.engine_version < CDI_ENGINE:
        yield Finding(
            seen=f"Docker {found} cannot hand over devices by CDI, which takes {CDI_ENGINE[0]} or newer",
            mend=f"update Docker, or {subject.set_command('accelerator.nvidia_mode', 'runtime')}",
        )
    elif not facts.cdi:
        yield Finding(
            seen=f"Docker {found} has CDI switched off",
            mend=subject.there(
                f'add "features": {{"cdi": true}} to {DAEMON_JSON}, then: sudo systemctl restart docker'
            ),
        )
    else:
        yield Finding(seen=f"Docker {found} resolves CDI devices")


def _daemon_json(subject: Subject) -> Iterator[Finding]:
    said = subject.shell.run("cat", DAEMON_JSON)
    if not said.succeeded:
        if subject.shell.run("test", "-e", DAEMON_JSON).succeeded:
            raise StackError(f"{DAEMON_JSON} may not be read: {said.text}", subject.there(f"sudo cat {DAEMON_JSON}"))
        yield Finding(seen=f"{DAEMON_JSON} is not there, so all is default")
        return
    try:
        json.loads(said.text)
    except ValueError as error:
        yield Finding(
            seen=f"{DAEMON_JSON} is no JSON: {error}",
            mend=subject.there(f"correct {DAEMON_JSON} and check it: dockerd --validate --config-file {DAEMON_JSON}"),
        )
        return
    yield Finding(seen=f"{DAEMON_JSON} is valid JSON")


def _runtime(subject: Subject) -> Iterator[Finding]:
    runtimes = sorted(subject.info.get("Runtimes") or {})
    if "nvidia" in runtimes:
        yield Finding(seen="the engine has the runtime nvidia")
    else:
        yield Finding(
            seen=f"the engine has no runtime nvidia, only {', '.join(runtimes)}", mend=subject.there(_CONFIGURE)
        )


def _cgroup_driver(subject: Subject) -> Iterator[Finding]:
    driver = subject.info.get("CgroupDriver")
    if driver == "systemd":
        yield Finding(
            seen="the NVIDIA runtime together with the cgroup driver systemd",
            mend=f"{subject.set_command('accelerator.nvidia_mode', 'cdi')} (Docker 25 or newer), or "
            + subject.there(
                f'add "exec-opts": ["native.cgroupdriver=cgroupfs"] to {DAEMON_JSON}, then: '
                "sudo systemctl restart docker"
            ),
        )
    else:
        yield Finding(seen=f"the cgroup driver is {driver}")


CHECKS: tuple[Check, ...] = (
    Check(
        name=REACHABLE,
        title="the Docker engine answers",
        why="Everything but a Mac's native server is a container; without its engine nothing can be looked at.",
        look=_reachable,
    ),
    Check(
        name="engine.cdi",
        title="the engine can hand over GPUs by CDI",
        why="A container that is given a device its engine does not know does not start.",
        look=_version,
        after=(REACHABLE,),
        concerns=uses_cdi,
    ),
    Check(
        name="engine.daemon_json",
        title="the engine's settings can be read",
        why="An engine does not start again with settings it cannot read, so the next reboot ends the stack.",
        look=_daemon_json,
    ),
    Check(
        name="engine.nvidia_runtime",
        title="the engine knows the NVIDIA runtime",
        why="Without it no container gets a GPU in the mode runtime.",
        look=_runtime,
        after=(REACHABLE,),
        concerns=uses_runtime,
    ),
    Check(
        name="engine.cgroup_driver",
        title="a reload of systemd leaves containers their GPU",
        why="With it, any `systemctl daemon-reload`, hence any package update, takes the GPU from running containers "
        "(NVIDIA/nvidia-docker#1730).",
        look=_cgroup_driver,
        after=(REACHABLE,),
        concerns=uses_runtime,
    ),
)
