"""The script: settings, the parts that every run needs, and the steps that this machine needs."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from components.hosts.preparation.wanted import Preparation

_HERE = Path(__file__).parent
# Where the kernel shows an EBS volume: its model and serial number, which is the id without the dash
# (docs.aws.amazon.com/ebs/latest/userguide/identify-nvme-ebs-device.html).
_BY_ID = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_"
_HEREDOC = re.compile(r"<<-?\s*'?(\w+)'?")


def script(preparation: Preparation) -> str:
    """One self-contained bash script, to be run as root; a second run changes nothing.

    Exit code 0: the machine is ready. Otherwise the marker on the machine holds the failed step and the reason.
    """
    body = _body(preparation)
    return f"#!/bin/bash\n# Written by ragstack, whose docs/machine.md explains it.\nREVISION={_digest(body)}\n{body}"


def revision(preparation: Preparation) -> str:
    """12 hexadecimal digits that change with what the script does, and not with its comments."""
    return _digest(_body(preparation))


def steps_of(preparation: Preparation) -> tuple[str, ...]:
    """The steps that this machine needs, in order. What fails soonest and cheapest comes first."""
    wanted = {
        "system": True,
        "driver": preparation.accelerator != "cpu",
        "data": preparation.data_volume_id is not None,
        "docker": True,
        "toolkit": preparation.accelerator == "nvidia",
        "engine": True,
        "sshd": True,
        "updates": True,
        "cloudwatch": preparation.cloudwatch_agent,
    }
    return tuple(name for name, is_wanted in wanted.items() if is_wanted)


def _body(preparation: Preparation) -> str:
    steps = steps_of(preparation)
    calls = "\n".join(f"  begin {name}\n  step_{name}\n  end" for name in steps)
    parts = [
        "set -Eeuo pipefail",
        *(_constant(name, value) for name, value in _values(preparation).items()),
        *(_code(f"steps/{name}.sh") for name in ("lib", *steps, "main")),
        f"steps() {{\n{calls}\n}}",
        # Nothing may read the script itself, which is the input of `bash -s`; tee goes on when its reader is gone.
        'begin_run\nrun_steps 2>&1 </dev/null | tee -p -a "$LOG"',
    ]
    return "\n".join(parts) + "\n"


def _values(preparation: Preparation) -> dict[str, str]:
    """The script's constants. Only what one of its steps reads, so that nothing else changes its revision."""
    values: dict[str, object] = {
        "LOGIN_USER": preparation.user,
        "ACCELERATOR": preparation.accelerator,
        "LOG_MAX_SIZE": preparation.log_max_size,
        "LOG_MAX_FILE": preparation.log_max_file,
        "DOCKER_TIMEOUT_S": preparation.docker_timeout_s,
        "APT_LOCK_TIMEOUT_S": preparation.apt_lock_timeout_s,
        "APT_TRIES": preparation.apt_tries,
        "APT_PAUSE_S": preparation.apt_pause_s,
        "DAEMON_JSON_SCRIPT": _code("daemon_json.py"),
    }
    if preparation.accelerator == "nvidia":
        values |= {
            "DRIVER_FLOOR": preparation.driver_floor,
            "DRIVER_TIMEOUT_S": preparation.driver_timeout_s,
            "TOOLKIT_FLOOR": preparation.toolkit_floor,
            "TOOLKIT_PIN": preparation.toolkit_pin,
            "TOOLKIT_REPOSITORY": preparation.toolkit_repository,
            "TOOLKIT_KEY_URL": preparation.toolkit_key_url,
            "TOOLKIT_KEY_FINGERPRINT": preparation.toolkit_key_fingerprint,
        }
    if preparation.data_volume_id is not None:
        values |= {
            "DATA_VOLUME_ID": preparation.data_volume_id,
            "DATA_DEVICE": _BY_ID + preparation.data_volume_id.replace("-", ""),
            "DATA_TIMEOUT_S": preparation.data_timeout_s,
            "DATA_VOLUME_SCRIPT": _code("steps/data_volume.sh", shebang=True),
        }
    if preparation.cloudwatch_agent:
        values |= {
            "CLOUDWATCH_URL": preparation.cloudwatch_url,
            "CLOUDWATCH_KEY_FINGERPRINT": preparation.cloudwatch_key_fingerprint,
        }
    return {name: str(value) for name, value in values.items()}


def _constant(name: str, value: str) -> str:
    # A value of several lines is a script itself, whose variables are not this script's.
    lint = "# shellcheck disable=SC2016\n" if "\n" in value else ""
    return f"{lint}readonly {name}={shlex.quote(value)}"


def _code(name: str, *, shebang: bool = False) -> str:
    """A source file without its comments: a comment that changes must not replace machines."""
    source = (_HERE / name).read_text(encoding="utf-8")
    return ("#!/bin/bash\n" if shebang else "") + "\n".join(_without_comments(source))


def _without_comments(source: str) -> Iterator[str]:
    end = None
    for line in source.splitlines():
        if end is not None:
            end = None if line.strip() == end else end
            yield line
        elif line.strip() and not line.lstrip().startswith("#"):
            found = _HEREDOC.search(line.replace("<<<", ""))
            end = found[1] if found else None
            yield line


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
