"""What a machine must say before anything is declared on it, and what a user reads when it never will."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from components.errors import StackError
from components.hosts.readiness import wait
from components.hosts.readiness.probe import SCRIPT, Probe, parse
from components.hosts.readiness.wait import Wanted, wait_until_ready
from components.reach import SshTarget, UnreachableError
from components.settings.accelerator import Accelerator

TARGET = SshTarget(destination="ubuntu@i-0abc", options=("-i", "~/.ssh/key"))
ENGINE = {
    "ServerVersion": "28.3.1",
    "NCPU": 4,
    "MemTotal": 16 * 1024**3,
    "Architecture": "x86_64",
    "Runtimes": {"runc": {}, "nvidia": {}},
    "CDISpecDirs": ["/etc/cdi"],
    "OperatingSystem": "Ubuntu 24.04.3 LTS",
}
GPU = "NVIDIA A10G, 580.95.05"
READY = {"state": "ready", "revision": "1", "step": "", "versions": {}}


def answer(
    *,
    marker: dict[str, Any] | None = None,
    engine: str | None = json.dumps(ENGINE),
    nvidia: str | None = GPU,
    cdi: int = 1,
    devices: str = "",
    cloud_init: str = "status: running",
    log: str = "Reading package lists...\nE: no such package",
) -> str:
    """A whole answer as the machine's shell prints it; None for a command that fails."""
    sections = {
        "marker": ("cat: no such file", 1) if marker is None else (json.dumps(marker), 0),
        "cloud-init": (cloud_init, 0),
        "log": (log, 0),
        "docker": ("Cannot connect to the Docker daemon. Is it running?", 1) if engine is None else (engine, 0),
        "nvidia": ("sh: nvidia-smi: not found", 127) if nvidia is None else (nvidia, 0),
        "devices": (devices, 0),
        "cdi": (str(cdi), 0 if cdi else 1),
    }
    return "".join(f"@@ragstack {name}\n{text}\n@@ragstack end {code}\n" for name, (text, code) in sections.items())


def probe(**given: Any) -> Probe:
    return parse(answer(**given))


def wanted(kind: str = "cpu", *, prepared: bool = True, gpus: int = 0, timeout_s: float = 1e9, **more: Any) -> Wanted:
    accelerator = Accelerator.model_validate({"kind": kind, **more})
    return Wanted(accelerator=accelerator, prepared=prepared, gpus=gpus, timeout_s=timeout_s)


def waited(monkeypatch: pytest.MonkeyPatch, answers: list[Probe | Exception], want: Wanted) -> tuple[Any, list[str]]:
    """Waits with these answers, one per question, on a clock that moves by ten seconds a look."""
    now = iter(range(0, 10_000, 10))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    left, told = list(answers), list[str]()

    def look(_: SshTarget) -> Probe:
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return found

    return wait_until_ready(TARGET, want, told.append, look=look), told


def test_the_question_is_plain_sh_and_names_every_section_that_is_read() -> None:
    for name in ("marker", "cloud-init", "log", "docker", "nvidia", "devices", "cdi"):
        assert f"section {name} " in SCRIPT
    assert "sudo" not in SCRIPT


def test_an_answer_that_broke_off_is_no_answer() -> None:
    whole = answer(marker=READY)
    with pytest.raises(ValueError, match="not whole"):
        parse(whole[: whole.index("@@ragstack cdi")])


def test_a_warning_before_the_engines_answer_is_read_over() -> None:
    assert (probe(engine="WARNING: No swap limit support\n" + json.dumps(ENGINE)).docker or {})["NCPU"] == 4


def test_a_client_without_its_engine_is_no_engine() -> None:
    assert probe(engine=json.dumps({"ServerErrors": ["permission denied"], "ClientInfo": {}})).docker is None


def test_the_wait_goes_from_boot_over_every_step_to_ready_and_tells_each(monkeypatch: pytest.MonkeyPatch) -> None:
    ready, told = waited(
        monkeypatch,
        [
            UnreachableError("ubuntu@i-0abc cannot be reached by SSH: TargetNotConnected", ""),
            probe(),
            probe(marker={"state": "running", "step": "docker"}),
            probe(marker=READY, engine=None),
            probe(marker=READY),
        ],
        wanted(),
    )
    assert ready.engine == "28.3.1"
    assert ready.system == "Ubuntu 24.04.3 LTS"
    shown = " | ".join(told)
    for part in ("TargetNotConnected", "booting", "preparing, step docker", "Docker does not answer: Cannot connect"):
        assert part in shown


def test_a_user_who_has_just_joined_dockers_group_logs_in_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    denied = json.dumps({"ServerErrors": ["permission denied while trying to connect to the Docker daemon socket"]})
    answers = [probe(marker=READY, engine=denied), probe(marker=READY)]
    again: list[SshTarget] = []
    ready = wait_until_ready(TARGET, wanted(), lambda _: None, look=lambda _: answers.pop(0), log_in_anew=again.append)
    assert ready.engine == "28.3.1"
    assert again == [TARGET]


def test_a_failed_preparation_ends_the_wait_with_its_step_its_reason_and_the_end_of_its_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = probe(marker={"state": "failed", "step": "toolkit", "reason": "the key has another fingerprint"})
    with pytest.raises(StackError) as raised:
        waited(monkeypatch, [failed], wanted("nvidia"))
    for part in ("step toolkit", "the key has another fingerprint", "E: no such package", "sudo ragstack-prepare"):
        assert part in str(raised.value)


def test_a_first_boot_that_ended_without_a_marker_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = probe(cloud_init="status: error\ndetail: user data is not valid")
    with pytest.raises(StackError, match="user data is not valid"):
        waited(monkeypatch, [ended], wanted())


def test_a_machine_of_ones_own_needs_no_marker(monkeypatch: pytest.MonkeyPatch) -> None:
    ready, told = waited(monkeypatch, [probe(marker=None, cloud_init="")], wanted(prepared=False))
    assert ready.engine == "28.3.1"
    assert not told


def test_time_is_up_with_the_last_state_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match=r"not ready within 60 s; the last state: .*No route to host"):
        waited(monkeypatch, [UnreachableError("No route to host", "")], wanted(timeout_s=60))


def test_a_gpu_machine_without_a_driver_is_refused_with_what_nvidia_smi_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match=r"shows no NVIDIA GPU.*nvidia-smi: not found"):
        waited(monkeypatch, [probe(marker=READY, nvidia=None)], wanted("nvidia"))


def test_an_old_driver_is_refused_and_told_apart_from_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match=r"driver 535\.230\.02, and Ollama needs 550"):
        waited(monkeypatch, [probe(marker=READY, nvidia="NVIDIA A10G, 535.230.02")], wanted("nvidia"))
    ready, _ = waited(monkeypatch, [probe(marker=READY)], wanted("nvidia", gpus=1))
    assert (ready.driver, ready.gpus) == ("580.95.05", ("NVIDIA A10G",))


def test_a_gpu_that_the_machine_is_paid_for_and_does_not_show_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match="shows 1 of its 4 GPUs"):
        waited(monkeypatch, [probe(marker=READY)], wanted("nvidia", gpus=4))


def test_cdi_needs_a_specification_and_the_runtime_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match="no CDI specification"):
        waited(monkeypatch, [probe(marker=READY, cdi=0)], wanted("nvidia"))
    waited(monkeypatch, [probe(marker=READY, cdi=0)], wanted("nvidia", nvidia_mode="runtime"))


def test_an_amd_machine_gives_the_groups_of_its_nodes_and_not_of_their_folder() -> None:
    nodes = "/dev/kfd 993\n/dev/dri 0\n/dev/dri/renderD128 993\n/dev/dri/renderD129 44"
    facts = wait.check(probe(devices=nodes), Accelerator(kind="rocm"), "box")
    assert facts.device_group_ids == (44, 993)
    assert facts.device_paths == ("/dev/kfd", "/dev/dri")
    with pytest.raises(StackError, match="/dev/kfd"):
        wait.check(probe(), Accelerator(kind="rocm"), "box")
