"""`python -m doctor detect`: what the machine has, as the commands that declare it."""

from __future__ import annotations

from components.errors import StackError
from components.hosts.engine import facts_of_info
from components.plan.accelerator import CDI_ENGINE
from components.plan.drivers import RECOMMENDED, driver_fault
from doctor.subject import Subject


def proposal(subject: Subject) -> list[str]:
    """Lines: remarks that begin with `# `, and `pulumi config set` commands, to be run as they are."""
    system = subject.shell.run("uname", "-sm").text
    if system.startswith("Darwin"):
        return _mac(subject, system)
    for look in (_nvidia, _amd):
        if lines := look(subject, system):
            return lines
    return [
        "# no GPU was found: no nvidia-smi, no /dev/kfd, no /dev/dri",
        subject.set_command("accelerator.kind", "cpu"),
    ]


def _mac(subject: Subject, system: str) -> list[str]:
    if "arm64" not in system:
        return ["# a Mac without Apple silicon: Ollama uses its CPU", subject.set_command("accelerator.kind", "cpu")]
    memory = subject.shell.run("sysctl", "-n", "hw.memsize").text
    lines = ["# Apple silicon: Ollama has to run outside Docker (brew services start ollama)"]
    lines.append(subject.set_command("accelerator.kind", "apple"))
    if memory.isdigit():
        lines.append("# Metal lets a program use about three quarters of the memory")
        lines.append(subject.set_command("accelerator.vram", f"{int(memory) * 3 // 4 // 1024**3}g"))
    return lines


def _nvidia(subject: Subject, _system: str) -> list[str]:
    query = "--query-gpu=name,driver_version,compute_cap,memory.total"
    said = subject.shell.run("nvidia-smi", query, "--format=csv,noheader,nounits")
    rows = [[cell.strip() for cell in line.split(",")] for line in said.text.splitlines() if line.count(",") == 3]
    if said.is_absent:
        return []
    if not said.succeeded or not rows:
        return [
            f"# nvidia-smi is there and shows no GPU: {(said.text.splitlines() or [''])[0]}",
            f"# install the driver ({RECOMMENDED} or later), reboot, and run this again",
        ]
    name, driver, capability, memory = rows[0]
    lines = [f"# {len(rows)} x {name}, driver {driver}, compute capability {capability}, {memory} MiB each"]
    ollama = subject.settings.ollama_version
    if fault := driver_fault(driver, ollama=ollama, capability=capability):
        return [*lines, f"# this will not do: {fault}", f"# install driver {RECOMMENDED} or later, and run this again"]
    lines += [
        subject.set_command("accelerator.kind", "nvidia"),
        subject.set_command("accelerator.nvidia_mode", _nvidia_mode(subject, lines)),
        subject.set_command("accelerator.gpus", len(rows)),
        subject.set_command("accelerator.vram", f"{min(int(row[3]) for row in rows if row[3].isdigit())}m"),
    ]
    if len(rows) > 1:
        lines.append("# a server for each GPU, behind the gateway:")
        lines.append(f"# {subject.set_command('pool.servers', len(rows))}")
        lines.append(f"# {subject.set_command('gateway.enabled', 'true')}")
    return lines


def _nvidia_mode(subject: Subject, remarks: list[str]) -> str:
    try:
        facts = facts_of_info(subject.info, device_group_ids=(), device_paths=None)
    except StackError as error:
        remarks.append(f"# the engine could not be asked: {error.cause}")
        return "cdi"
    if facts.engine_version >= CDI_ENGINE and facts.cdi and subject.probe.has_cdi:
        return "cdi"
    remarks.append("# Docker does not resolve CDI devices here, or there is no specification: the runtime is used")
    if "nvidia" not in facts.runtimes:
        remarks.append("# it is to be made known: sudo nvidia-ctk runtime configure --runtime=docker")
    return "runtime"


def _amd(subject: Subject, system: str) -> list[str]:
    nodes = {node: group for node, group in subject.probe.device_groups.items() if node != "/dev/dri"}
    if not any(node.startswith("/dev/dri/renderD") for node in nodes):
        return []
    kind = "rocm" if "/dev/kfd" in nodes and system.endswith("x86_64") else "vulkan"
    lines = [f"# {', '.join(f'{node} (group {group})' for node, group in sorted(nodes.items()))}"]
    if kind == "vulkan" and "/dev/kfd" in nodes:
        lines.append("# Ollama's ROCm image is amd64 only")
    lines.append(subject.set_command("accelerator.kind", kind))
    lines += [
        subject.set_command(f"accelerator.group_ids[{index}]", group)
        for index, group in enumerate(sorted(set(nodes.values()) - {0}))
    ]
    return lines
