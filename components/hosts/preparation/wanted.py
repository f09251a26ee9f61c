"""What a machine is prepared for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from components.errors import StackError
from components.plan.drivers import FLOOR

# Of a value that would be no user, volume or version, but could be a command: the script runs as root.
_FORMS = {
    "user": r"[a-z_][a-z0-9_.-]*\$?",
    "data_volume_id": r"vol-[0-9a-f]+",
    "log_max_size": r"[0-9]+[kmg]?",
    "driver_floor": r"[0-9]+(\.[0-9]+)*",
    "toolkit_floor": r"[0-9]+(\.[0-9]+)+",
    "toolkit_pin": r"[0-9]+(\.[0-9]+)+-[0-9]+",
    "toolkit_repository": r"https?://[^\s'\"]+",
    "toolkit_key_url": r"https?://[^\s'\"]+",
    "toolkit_key_fingerprint": r"[0-9A-F]{40}",
    "cloudwatch_url": r"https?://[^\s'\"]+",
    "cloudwatch_key_fingerprint": r"[0-9A-F]{40}",
}


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What is wanted of a machine. Raises `StackError` for a value that has not the form of what it names.

    user                 whom ssh logs in as; joins the group docker
    accelerator          whose driver has to be there, and for nvidia the toolkit
    data_volume_id       EBS volume with Docker's volumes, `vol-0123...`; None: they stay on the machine's own disk
    log_max_size, _file  rotation of a container's log that says nothing itself: bytes (k, m, g) and files
    cloudwatch_agent     report memory, disk and GPUs to CloudWatch
    *_timeout_s          seconds: the volume to appear, the driver and Docker to answer, apt's lock to be free
    apt_tries, _pause_s  how often packages are asked for, and the seconds in between
    """

    user: str
    accelerator: Literal["cpu", "nvidia", "rocm", "vulkan"]
    data_volume_id: str | None = None
    log_max_size: str = "100m"
    log_max_file: int = 5
    cloudwatch_agent: bool = False

    driver_floor: str = ".".join(map(str, FLOOR)).removesuffix(".0")
    # The first without the container escapes CVE-2025-23266 and CVE-2025-23267 (NVIDIA's security bulletin 5659).
    toolkit_floor: str = "1.17.8"
    # Renews the CDI specification itself (from 1.18); CUDA in containers was reported broken by 1.19.1 and 1.20.0
    # (NVIDIA/nvidia-container-toolkit#1967).
    toolkit_pin: str = "1.18.2-1"
    # docs.nvidia.com/datacenter/cloud-native/container-toolkit, "Installing with apt"; one folder per architecture.
    toolkit_repository: str = "https://nvidia.github.io/libnvidia-container/stable/deb"
    toolkit_key_url: str = "https://nvidia.github.io/libnvidia-container/gpgkey"
    # "NVIDIA CORPORATION (Open Source Projects)", the same since 2017; also in GoogleCloudDataproc's install script.
    toolkit_key_fingerprint: str = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
    # docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/verify-CloudWatch-Agent-Package-Signature.html has both.
    cloudwatch_url: str = "https://amazoncloudwatch-agent.s3.amazonaws.com"
    cloudwatch_key_fingerprint: str = "937616F3450B7D806CBD9725D58167303B789C72"

    data_timeout_s: int = 300
    driver_timeout_s: int = 60
    docker_timeout_s: int = 120
    apt_lock_timeout_s: int = 600
    apt_tries: int = 3
    apt_pause_s: int = 15

    def __post_init__(self) -> None:
        for name, form in _FORMS.items():
            value = getattr(self, name)
            if value is not None and not re.fullmatch(form, value):
                raise StackError(
                    f"The machine cannot be prepared for {name} {value!r}.", f"give one of the form {form}"
                )
