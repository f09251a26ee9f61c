"""The EC2 machines that a stack may rent: what they have and what they cost.

vCPUs, memory and GPUs: "Amazon EC2 instance types" (docs.aws.amazon.com/ec2/latest/instancetypes), as of November 2026.
Prices: on demand, Linux, us-east-1, from public listings of AWS's price list; other regions are mostly dearer, and what
counts is the bill. Which regions and zones have a type is asked of AWS itself (`components/hosts/aws/lookups.py`).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from components.errors import StackError
from components.plan.facts import HostFacts
from components.settings import Settings
from components.settings.accelerator import Accelerator
from components.settings.aws import AwsHost

_MIB = 1024
# Firmware and kernel take 2 to 4 % of the nominal memory of machines of 16 GiB and more before Docker counts it.
_SEEN_BY_DOCKER = 0.95
# Ubuntu 24.04, which the driver AMI is built on, carries docker.io 28 in its updates.
_ENGINE = (28, 3)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`memory_mib` and `vram_mib` (of each GPU) as AWS states them; `hourly_usd` on demand in us-east-1; `quota`: the
    family that AWS counts its vCPUs with, `G and VT` or `Standard`."""

    type: str
    vcpus: int
    memory_mib: int
    hourly_usd: float
    gpus: int = 0
    gpu: str = ""
    vram_mib: int = 0
    compute_capability: str = ""
    architecture: str = "x86_64"

    @property
    def quota(self) -> str:
        return "G and VT" if self.gpus else "Standard"


# family -> GPU, GiB of VRAM each, CUDA compute capability (developer.nvidia.com/cuda-gpus)
_GPUS = {
    "g4dn": ("NVIDIA T4", 16, "7.5"),
    "g5": ("NVIDIA A10G", 24, "8.6"),
    "g6": ("NVIDIA L4", 24, "8.9"),
    "g6e": ("NVIDIA L40S", 48, "8.9"),
}
# type -> vCPUs, GiB, GPUs, USD per hour
_TYPES = {
    "g4dn.xlarge": (4, 16, 1, 0.526),
    "g4dn.2xlarge": (8, 32, 1, 0.752),
    "g4dn.4xlarge": (16, 64, 1, 1.204),
    "g4dn.8xlarge": (32, 128, 1, 2.176),
    "g4dn.12xlarge": (48, 192, 4, 3.912),
    "g4dn.16xlarge": (64, 256, 1, 4.352),
    "g5.xlarge": (4, 16, 1, 1.006),
    "g5.2xlarge": (8, 32, 1, 1.212),
    "g5.4xlarge": (16, 64, 1, 1.624),
    "g5.8xlarge": (32, 128, 1, 2.448),
    "g5.12xlarge": (48, 192, 4, 5.672),
    "g5.16xlarge": (64, 256, 1, 4.096),
    "g5.24xlarge": (96, 384, 4, 8.144),
    "g5.48xlarge": (192, 768, 8, 16.288),
    "g6.xlarge": (4, 16, 1, 0.8048),
    "g6.2xlarge": (8, 32, 1, 0.9776),
    "g6.4xlarge": (16, 64, 1, 1.3232),
    "g6.8xlarge": (32, 128, 1, 2.0144),
    "g6.12xlarge": (48, 192, 4, 4.6016),
    "g6.16xlarge": (64, 256, 1, 3.3968),
    "g6.24xlarge": (96, 384, 4, 6.6752),
    "g6.48xlarge": (192, 768, 8, 13.3504),
    "g6e.xlarge": (4, 32, 1, 1.861),
    "g6e.2xlarge": (8, 64, 1, 2.2421),
    "g6e.4xlarge": (16, 128, 1, 3.0042),
    "g6e.8xlarge": (32, 256, 1, 4.5286),
    "g6e.12xlarge": (48, 384, 4, 10.4926),
    "g6e.16xlarge": (64, 512, 1, 7.5772),
    "g6e.24xlarge": (96, 768, 4, 15.0656),
    "g6e.48xlarge": (192, 1536, 8, 30.1312),
    "c7i.xlarge": (4, 8, 0, 0.1785),
    "c7i.2xlarge": (8, 16, 0, 0.357),
    "c7i.4xlarge": (16, 32, 0, 0.714),
    "m7g.xlarge": (4, 16, 0, 0.1632),
    "m7g.2xlarge": (8, 32, 0, 0.3264),
    "m7i.large": (2, 8, 0, 0.1008),
    "m7i.xlarge": (4, 16, 0, 0.2016),
    "m7i.2xlarge": (8, 32, 0, 0.4032),
    "m7i.4xlarge": (16, 64, 0, 0.8064),
    "r7i.large": (2, 16, 0, 0.1323),
    "r7i.xlarge": (4, 32, 0, 0.2646),
    "r7i.2xlarge": (8, 64, 0, 0.5292),
    "t3.large": (2, 8, 0, 0.0832),
    "t3.xlarge": (4, 16, 0, 0.1664),
}
_ARM_FAMILIES = ("m7g",)


def _machine(name: str) -> Machine:
    vcpus, memory, gpus, price = _TYPES[name]
    family = name.partition(".")[0]
    gpu, vram, capability = _GPUS.get(family, ("", 0, ""))
    return Machine(
        type=name,
        vcpus=vcpus,
        memory_mib=memory * _MIB,
        hourly_usd=price,
        gpus=gpus,
        gpu=gpu,
        vram_mib=vram * _MIB,
        compute_capability=capability,
        architecture="arm64" if family in _ARM_FAMILIES else "x86_64",
    )


MACHINES = {name: _machine(name) for name in _TYPES}


def machine_of(settings: Settings, *, project: str, stack: str) -> Machine:
    """The machine of a stack on AWS. Raises `StackError` for a type that is not in the catalogue, and for an
    accelerator that the type does not have."""
    host = settings.host.aws or AwsHost()

    def command(path: str, value: str) -> str:
        return f"pulumi config set --stack {stack} --path '{project}:{path}' {value}"

    machine = MACHINES.get(host.instance_type)
    if machine is None:
        nearest = _nearest(host.instance_type)
        raise StackError(
            f"{project}:host.aws.instance_type is {host.instance_type}, which is not in the catalogue; the nearest is "
            f"{nearest}.",
            f"{command('host.aws.instance_type', nearest)} (all of them: components/plan/machines.py)",
        )
    _refuse_absent_devices(settings.accelerator, machine, project, command("accelerator.kind", "cpu"))
    return machine


def _nearest(wanted: str) -> str:
    """The type that reads most like the wanted one, of its family where there is one: `g5.large` -> `g5.xlarge`."""
    family = wanted.partition(".")[0]
    relatives = [name for name in _TYPES if name.partition(".")[0] == family]
    among = relatives or list(_TYPES)
    return (difflib.get_close_matches(wanted, among, n=1, cutoff=0.0) or ["g5.xlarge"])[0]


def _refuse_absent_devices(accelerator: Accelerator, machine: Machine, project: str, to_cpu: str) -> None:
    if accelerator.kind == "cpu":
        return
    if accelerator.kind != "nvidia":
        raise StackError(
            f"{project}:accelerator.kind is {accelerator.kind}, and no machine of the catalogue has such a GPU.", to_cpu
        )
    if not machine.gpus:
        raise StackError(
            f"{project}:accelerator.kind is nvidia, but {machine.type} has no GPU.",
            f"{to_cpu} (or a machine with one, such as g5.xlarge, in {project}:host.aws.instance_type)",
        )
    gpus = accelerator.gpus
    indices = [int(gpu) for gpu in gpus if gpu.isdigit()] if isinstance(gpus, tuple) else []
    most = gpus if isinstance(gpus, int) else max([index + 1 for index in indices], default=0)
    if most > machine.gpus:
        raise StackError(
            f"{project}:accelerator.gpus asks for {most} GPUs, but {machine.type} has {machine.gpus}.",
            f"set {project}:accelerator.gpus to all, or take a machine with more in {project}:host.aws.instance_type",
        )


def facts_of_machine(machine: Machine, accelerator: Accelerator) -> HostFacts:
    """What its Docker engine will say, known before it is there: the preparation brings engine, runtime and CDI about,
    and the readiness gate checks them."""
    runtimes = ("nvidia", "runc") if accelerator.kind == "nvidia" else ("runc",)
    return HostFacts(
        cpus=machine.vcpus,
        memory_mib=int(machine.memory_mib * _SEEN_BY_DOCKER),
        architecture=machine.architecture,
        engine_version=_ENGINE,
        runtimes=runtimes,
        cdi=True,
    )
