"""One question to a machine over SSH: how far its preparation is, and what Docker and the drivers say. Read-only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.reach import SshTarget, UnreachableError, run

MARKER = "/var/lib/ragstack/prepared.json"
LOG = "/var/log/ragstack-prepare.log"
LOG_LINES = 15
# Seconds for the whole question. `docker info` and `nvidia-smi` take about one each, the first after a boot ten.
_TIMEOUT_S = 60
_MARK = "@@ragstack"
# Plain sh, because nothing is known about the machine yet. Every section ends with the exit code of its command.
SCRIPT = f"""
section() {{ echo "{_MARK} $1"; shift; "$@" 2>&1; echo "{_MARK} end $?"; }}
section marker cat {MARKER}
section cloud-init cloud-init status --long
section log tail -n {LOG_LINES} {LOG}
section docker timeout 30 docker info --format '{{{{json .}}}}'
section nvidia timeout 30 nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
section devices sh -c 'for node in /dev/kfd /dev/dri /dev/dri/renderD*; do \
[ -e "$node" ] && stat -c "%n %g" "$node"; done; true'
section cdi sh -c 'cat /etc/cdi/* /var/run/cdi/* 2>/dev/null | grep -c nvidia.com/gpu'
"""


@dataclass(frozen=True, kw_only=True)
class Section:
    """What one command printed, both streams, and its exit code."""

    text: str
    code: int


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a machine answered. `marker` is the preparation's, None before or without one; `docker` is the engine's
    `docker info`, None when it gave none."""

    marker: Mapping[str, Any] | None
    docker: Mapping[str, Any] | None
    sections: Mapping[str, Section]

    def text(self, name: str) -> str:
        return self.sections[name].text

    def succeeded(self, name: str) -> bool:
        return self.sections[name].code == 0

    @property
    def gpus(self) -> tuple[tuple[str, str], ...]:
        """Name and driver version of every NVIDIA GPU; empty when nvidia-smi is missing or fails."""
        if not self.succeeded("nvidia"):
            return ()
        rows = [line.split(",") for line in self.text("nvidia").splitlines() if "," in line]
        return tuple((row[0].strip(), row[1].strip()) for row in rows)

    @property
    def device_groups(self) -> dict[str, int]:
        """The numeric group of each AMD or Vulkan device node that exists."""
        rows = [line.split() for line in self.text("devices").splitlines()]
        return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}

    @property
    def has_cdi(self) -> bool:
        """Whether a CDI specification of NVIDIA GPUs lies where Docker looks for one."""
        return self.succeeded("cdi")


def ask(target: SshTarget) -> Probe:
    """Puts the question. Raises `UnreachableError` when the machine gives no connection or no whole answer."""
    done = run(target, "sh", "-s", stdin=SCRIPT, timeout_s=_TIMEOUT_S)
    try:
        return parse(done.stdout)
    except ValueError:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise UnreachableError(
            f"{target.destination} gave no shell to look around with: {said}", "give the login user a POSIX shell"
        ) from None


def parse(answer: str) -> Probe:
    """The sections of an answer. Raises `ValueError` when one is missing, as in a connection that broke."""
    sections: dict[str, Section] = {}
    name, lines = "", list[str]()
    for line in answer.splitlines():
        if line.startswith(f"{_MARK} end "):
            sections[name] = Section(text="\n".join(lines), code=int(line.rsplit(" ", 1)[1]))
        elif line.startswith(f"{_MARK} "):
            name, lines = line.removeprefix(f"{_MARK} "), []
        else:
            lines.append(line)
    if "cdi" not in sections:
        raise ValueError("the answer is not whole")
    return Probe(marker=_object(sections["marker"]), docker=_engine(_object(sections["docker"])), sections=sections)


def _object(section: Section) -> dict[str, Any] | None:
    """The last line that is a JSON object; a warning may stand before it."""
    for line in reversed([section.text, *section.text.splitlines()] if section.code == 0 else []):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return None


def _engine(info: dict[str, Any] | None) -> dict[str, Any] | None:
    """`docker info` answers with the client's half alone when the engine is down or closed to the user."""
    return info if info and info.get("ServerVersion") else None
