"""The doctor on machines with GPUs, which are played: commands are STUBS, logs are those of public issues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.plan.drivers import FLOOR
from components.settings import parse
from doctor.checks import apple, engine, machine, nvidia, ollama, rocm
from doctor.detect import proposal
from tests.doubles.fake_ollama import FakeOllama
from tests.pure.doctor_subject import OLLAMA, PlayedSubject, container, played, results, wrong
from tests.pure.test_placement import CPU, CUDA, START

RUNTIME = {"kind": "nvidia", "nvidia_mode": "runtime"}
CDI = {"kind": "nvidia", "nvidia_mode": "cdi"}
SMI = """
case "$*" in
-L) echo "GPU 0: NVIDIA A10G (UUID: GPU-5707)" ;;
*name,driver_version,compute_cap,memory.total*) echo "NVIDIA A10G, ${DRIVER:-580.95.05}, 8.6, 23028" ;;
*driver_version,compute_cap*) echo "${DRIVER:-580.95.05}, 8.6" ;;
*driver_version*) echo "${DRIVER:-580.95.05}" ;;
esac
"""
SPEC = "kind: nvidia.com/gpu\n  hostPath: /usr/lib/libcuda.so.580.95.05"
HEALTHY = {
    "nvidia-smi": SMI,
    "nvidia-ctk": "echo 'NVIDIA Container Toolkit CLI version 1.18.2'",
    # Plays the machine's CDI folders, and the question of the readiness probe.
    "sh": f"case \"$*\" in *cdi*) printf '%s' '{SPEC}' ;; *) exec /bin/sh \"$@\" ;; esac",
}
CHECKS = (*engine.CHECKS[1:], *nvidia.CHECKS)
GPU_LOG = f"{START}\n{CUDA}"


def subject(tmp_path: Path, accelerator: dict[str, Any] | None = None, **more: Any) -> PlayedSubject:
    commands = {**HEALTHY, **more.pop("commands", {})}
    more.setdefault("logs", {OLLAMA: GPU_LOG})
    return played(tmp_path / "bin", commands, accelerator=accelerator or RUNTIME, **more)


def found(tmp_path: Path, accelerator: dict[str, Any] | None = None, **more: Any) -> dict[str, str]:
    checks = [
        check if not check.after else type(check)(**{**vars(check), "after": _inside(check.after)}) for check in CHECKS
    ]
    return wrong(results(subject(tmp_path, accelerator, **more), checks))


def _inside(after: tuple[str, ...]) -> tuple[str, ...]:
    """The engine itself is not played, so what stands on it alone stands on nothing here."""
    return tuple(name for name in after if name != engine.REACHABLE)


@pytest.mark.parametrize("accelerator", [RUNTIME, CDI])
def test_a_healthy_machine_gives_no_finding(tmp_path: Path, accelerator: dict[str, Any]) -> None:
    assert found(tmp_path, accelerator) == {}


def test_no_driver(tmp_path: Path) -> None:
    failed = 'echo "NVIDIA-SMI has failed because it couldn\'t communicate with the NVIDIA driver."; exit 9'
    problems = found(tmp_path, commands={"nvidia-smi": failed})
    assert problems.keys() == {"nvidia.driver"}
    assert "couldn't communicate" in problems["nvidia.driver"]


def test_a_driver_that_was_updated_without_a_reboot(tmp_path: Path) -> None:
    said = "Failed to initialize NVML: Driver/library version mismatch"
    done = results(subject(tmp_path, commands={"nvidia-smi": f"echo '{said}'; exit 18"}), nvidia.CHECKS)
    assert done["nvidia.driver"].findings[0].mend == "sudo reboot"


@pytest.mark.parametrize(("driver", "fine"), [(f"{FLOOR[0] - 1}.90", False), (f"{FLOOR[0]}.10", True)])
def test_a_driver_too_old_for_this_ollama(tmp_path: Path, driver: str, fine: bool) -> None:
    problems = found(tmp_path, commands={"nvidia-smi": SMI.replace("580.95.05", driver)})
    assert problems.keys() == (set() if fine else {"nvidia.driver_version"})


def test_the_floor_is_that_of_the_declared_ollama(tmp_path: Path) -> None:
    old = {"nvidia-smi": SMI.replace("580.95.05", "535.230.02")}
    assert found(tmp_path, commands=old).keys() == {"nvidia.driver_version"}
    assert found(tmp_path, commands=old, images={"ollama": "ollama/ollama:0.17.4"}) == {}


@pytest.mark.parametrize(
    ("said", "words"),
    [("exit 127", "does not run"), ("echo 'NVIDIA Container Toolkit CLI version 1.14.3'", "1.14.3, older than 1.17.8")],
)
def test_a_toolkit_that_is_missing_or_old(tmp_path: Path, said: str, words: str) -> None:
    problems = found(tmp_path, commands={"nvidia-ctk": said})
    assert problems.keys() == {"nvidia.toolkit"}
    assert words in problems["nvidia.toolkit"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [("", "no CDI specification"), (SPEC.replace("580.95.05", "570.86.10"), "is of driver 570.86.10")],
)
def test_a_cdi_specification_that_is_missing_or_of_another_driver(tmp_path: Path, spec: str, words: str) -> None:
    problems = found(tmp_path, CDI, commands={"sh": f"printf '%s' '{spec}'"})
    assert problems.keys() == {"nvidia.cdi"}
    assert words in problems["nvidia.cdi"]


@pytest.mark.parametrize(
    ("info", "words"),
    [({"ServerVersion": "24.0.7"}, "cannot hand over devices by CDI"), ({"CDISpecDirs": []}, "CDI switched off")],
)
def test_an_engine_without_cdi(tmp_path: Path, info: dict[str, Any], words: str) -> None:
    problems = found(tmp_path, CDI, info=info)
    assert problems.keys() == {"engine.cdi"}
    assert words in problems["engine.cdi"]


def test_an_engine_that_does_not_know_the_runtime(tmp_path: Path) -> None:
    assert found(tmp_path, info={"Runtimes": {"runc": {}}}).keys() == {"engine.nvidia_runtime"}
    assert found(tmp_path, CDI, info={"Runtimes": {"runc": {}}}) == {}


def test_a_cgroup_driver_that_loses_gpus_at_a_reload(tmp_path: Path) -> None:
    assert found(tmp_path, info={"CgroupDriver": "systemd"}).keys() == {"engine.cgroup_driver"}
    assert found(tmp_path, CDI, info={"CgroupDriver": "systemd"}) == {}


def test_a_gpu_that_was_lost_while_the_container_ran(tmp_path: Path) -> None:
    lost = {OLLAMA: (255, nvidia.LOST)}
    problems = found(tmp_path, said=lost)
    assert problems.keys() == {"nvidia.visible"}
    assert "has lost its GPU while it ran" in problems["nvidia.visible"]
    (finding,) = results(subject(tmp_path, said=lost), nvidia.CHECKS)["nvidia.visible"].findings
    assert finding.mend.startswith(f"docker restart {OLLAMA}")
    assert finding.fix is not None


def test_a_container_that_never_had_a_gpu(tmp_path: Path) -> None:
    problems = found(tmp_path, containers={OLLAMA: container(DeviceRequests=[])})
    assert problems == {"nvidia.visible": f"{OLLAMA} was made without a GPU"}
    absent = found(tmp_path, said={OLLAMA: (126, "exec: nvidia-smi: executable file not found in $PATH")})
    assert absent.keys() == {"nvidia.visible"}


@pytest.mark.parametrize("pin", ["CUDA_VISIBLE_DEVICES=0", "NVIDIA_VISIBLE_DEVICES=1"])
def test_a_gpu_that_is_pinned_twice(tmp_path: Path, pin: str) -> None:
    twice = {OLLAMA: container(env=[pin], DeviceRequests=[{"Count": -1}])}
    problems = found(tmp_path, containers=twice)
    assert problems == {"nvidia.pinned_twice": f"{OLLAMA} has {pin} besides its device request"}


def test_a_gpu_that_two_servers_were_given(tmp_path: Path) -> None:
    request = [{"Count": 0, "DeviceIDs": ["nvidia.com/gpu=0"]}]
    both = {name: container(DeviceRequests=request) for name in (OLLAMA, f"{OLLAMA}-2")}
    fine = (0, "GPU 0: NVIDIA A10G")
    problems = found(
        tmp_path,
        containers=both,
        said=dict.fromkeys(both, fine),
        pool={"servers": 2, "gpus": [["0"], ["1"]]},
        gateway={"enabled": True},
    )
    assert problems == {"nvidia.pinned_twice": "GPU 0 was given to 2 servers"}


@pytest.mark.parametrize(
    "text",
    [
        'msg="Unable to load cudart CUDA management library /usr/lib/libcudart.so: cudart init failure: 35"',
        'msg="cuda driver library init failure: 205"',
        "ggml_cuda_init: failed to initialize CUDA: unknown error",
        'msg="no compatible GPUs were discovered"',
        'msg="amdgpu devices detected but permission problems block access" error="open /dev/kfd: permission denied"',
    ],
)
def test_a_log_that_explains_why_the_gpu_is_not_used(tmp_path: Path, text: str) -> None:
    checks = [check for check in ollama.CHECKS if check.name in ("ollama.gpu_log", "ollama.library")]
    checks = [type(check)(**{**vars(check), "after": ()}) for check in checks]
    log = {OLLAMA: f"{START}\n{text}\n{CUDA}"}
    problems = results(subject(tmp_path, logs=log), checks)
    assert wrong(problems).keys() == {"ollama.gpu_log"}
    assert text in problems["ollama.gpu_log"].findings[0].details[0]
    before = {OLLAMA: f"{text}\n{START}\n{CUDA}"}
    assert wrong(results(subject(tmp_path, logs=before), checks)) == {}


def test_a_server_that_started_without_its_gpu(tmp_path: Path) -> None:
    checks = [type(check)(**{**vars(check), "after": ()}) for check in ollama.CHECKS if check.name == "ollama.library"]
    problems = wrong(results(subject(tmp_path, logs={OLLAMA: f"{START}\n{CPU}"}), checks))
    assert "found no cuda device when it started, but: cpu" in problems["ollama.library"]


@pytest.mark.parametrize(
    "text",
    [
        "ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory",
        'msg="model requires more system memory (8.0 GiB) than is available (2.0 GiB)"',
        'msg="llama runner terminated" error="signal: killed"',
    ],
)
def test_a_model_that_failed_to_load(tmp_path: Path, text: str) -> None:
    checks = [
        type(check)(**{**vars(check), "after": ()}) for check in ollama.CHECKS if check.name == "ollama.load_failures"
    ]
    problems = results(subject(tmp_path, logs={OLLAMA: f"{GPU_LOG}\n{text}"}), checks)
    assert wrong(problems).keys() == {"ollama.load_failures"}
    assert "max_loaded_models' 1" in problems["ollama.load_failures"].findings[0].mend
    assert wrong(results(subject(tmp_path), checks)) == {}


# Docker's half of the readiness probe's answer is of no interest here.
def amd_shell(nodes: dict[str, int]) -> str:
    devices = "".join(f"echo '{node} {group}';" for node, group in nodes.items())
    sections = "".join(
        f"echo '@@ragstack {name}'; {devices if name == 'devices' else ''} echo '@@ragstack end 0';"
        for name in ("marker", "cloud-init", "log", "docker", "nvidia", "devices", "cdi")
    )
    return f'case "$*" in *-s*) {sections} ;; *) exec /bin/sh "$@" ;; esac'


NODES = {"/dev/kfd": 993, "/dev/dri": 0, "/dev/dri/renderD128": 992}
DEVICES = {"group_ids": [992, 993]}


def amd(tmp_path: Path, nodes: dict[str, int], **more: Any) -> dict[str, str]:
    more.setdefault("containers", {OLLAMA: container(GroupAdd=["992", "993"])})
    given = played(tmp_path / "bin", {"sh": amd_shell(nodes)}, accelerator={"kind": "rocm", **DEVICES}, **more)
    checks = [type(check)(**{**vars(check), "after": _inside(check.after)}) for check in rocm.CHECKS]
    return wrong(results(given, checks))


def test_a_healthy_amd_machine_gives_no_finding(tmp_path: Path) -> None:
    assert amd(tmp_path, NODES) == {}


def test_amd_device_nodes_that_are_missing(tmp_path: Path) -> None:
    problems = amd(tmp_path, {"/dev/dri": 0, "/dev/dri/renderD128": 992})
    assert problems == {"rocm.devices": "the machine has no /dev/kfd"}


def test_a_container_outside_the_nodes_groups(tmp_path: Path) -> None:
    problems = amd(tmp_path, NODES, containers={OLLAMA: container(GroupAdd=["992"])})
    assert problems == {"rocm.groups": f"{OLLAMA} is not in the groups 993 of the device nodes"}


def test_a_group_by_name_which_the_image_resolves(tmp_path: Path) -> None:
    problems = amd(tmp_path, NODES, containers={OLLAMA: container(GroupAdd=["992", "993", "render"])})
    assert problems.keys() == {"rocm.groups"}
    assert "the group render by name" in problems["rocm.groups"]


def test_devices_that_a_server_may_not_open(tmp_path: Path) -> None:
    denied = 'msg="permission problems block access" error="open /dev/kfd: permission denied"'
    problems = amd(tmp_path, NODES, logs={OLLAMA: f"{START}\n{denied}"})
    assert problems == {"rocm.permission": f"{OLLAMA} may not open its devices"}


def test_privileged_mode_is_a_problem_and_no_cure(tmp_path: Path) -> None:
    problems = amd(tmp_path, NODES, containers={OLLAMA: container(GroupAdd=["992", "993"], Privileged=True)})
    assert problems == {"rocm.permission": f"{OLLAMA} runs privileged, which no GPU needs"}


def proposed(tmp_path: Path, commands: dict[str, str], **more: Any) -> list[str]:
    return proposal(played(tmp_path / "bin", {"uname": "echo Linux x86_64", **commands}, **more))


def settings_after(lines: list[str]) -> Any:
    """The accelerator of a stack that every proposed command was run on."""
    section: dict[str, Any] = {}
    for line in lines:
        if line.startswith("# "):
            continue
        path, value = line.split("ragstack:accelerator.")[1].split("' ")
        name, _, index = path.partition("[")
        if index:
            section.setdefault(name, []).append(int(value))
        else:
            section[name] = int(value) if value.isdigit() else value
    import json

    models = [{"name": "all-minilm:22m", "purpose": "embedding"}]
    config = {
        "ragstack:profile": "dev",
        "ragstack:models": json.dumps(models),
        "ragstack:accelerator": json.dumps(section),
    }
    return parse(config, project="ragstack", stack="dev").accelerator


def test_an_nvidia_machine_is_proposed_with_its_mode_count_and_memory(tmp_path: Path) -> None:
    lines = proposed(tmp_path, {**HEALTHY, "sh": amd_shell({})})
    accelerator = settings_after(lines)
    assert (accelerator.kind, accelerator.gpus, accelerator.vram) == ("nvidia", 1, 23028)
    assert accelerator.nvidia_mode == "cdi"
    old = proposed(tmp_path, {**HEALTHY, "sh": amd_shell({})}, info={"ServerVersion": "24.0.1"})
    assert settings_after(old).nvidia_mode == "runtime"


def test_several_gpus_come_with_a_remark_about_the_pool(tmp_path: Path) -> None:
    two = SMI.replace('23028" ;;', '23028"; echo "NVIDIA A10G, 580.95.05, 8.6, 23028" ;;')
    lines = proposed(tmp_path, {**HEALTHY, "nvidia-smi": two, "sh": amd_shell({})})
    assert settings_after(lines).gpus == 2
    assert any("'ragstack:pool.servers' 2" in line for line in lines if line.startswith("# "))


def test_a_driver_below_the_floor_is_no_reason_to_propose_the_cpu(tmp_path: Path) -> None:
    lines = proposed(tmp_path, {"nvidia-smi": SMI.replace("580.95.05", "470.10.1"), "sh": amd_shell({})})
    assert all(line.startswith("# ") for line in lines)
    assert any("470.10.1" in line for line in lines)


@pytest.mark.parametrize(
    ("nodes", "kind"), [(NODES, "rocm"), ({"/dev/dri": 0, "/dev/dri/renderD128": 992}, "vulkan"), ({}, "cpu")]
)
def test_other_machines_are_proposed_by_their_device_nodes(tmp_path: Path, nodes: dict[str, int], kind: str) -> None:
    accelerator = settings_after(proposed(tmp_path, {"sh": amd_shell(nodes)}))
    assert accelerator.kind == kind
    assert set(accelerator.group_ids) == ({992, 993} if kind == "rocm" else {992} if kind == "vulkan" else set())


def test_a_mac_is_proposed_with_what_metal_may_use(tmp_path: Path) -> None:
    lines = proposed(tmp_path, {"uname": "echo Darwin arm64", "sysctl": "echo 34359738368"})
    accelerator = settings_after(lines)
    assert (accelerator.kind, accelerator.vram) == ("apple", 24 * 1024)
    intel = settings_after(proposed(tmp_path, {"uname": "echo Darwin x86_64"}))
    assert intel.kind == "cpu"


def test_a_disk_that_is_full_or_too_small_for_what_is_still_to_be_pulled(tmp_path: Path) -> None:
    checks = [type(check)(**{**vars(check), "after": ()}) for check in machine.CHECKS if check.name == "machine.disk"]
    head = "echo 'Filesystem 1024-blocks Used Available Capacity Mounted on'"
    for free, fine in ((50_000_000, True), (1_000_000, False)):
        df = f"{head}; echo '/dev/x 100000000 1 {free} 1% /var/lib/docker'"
        problems = wrong(results(subject(tmp_path, commands={"df": df}), checks))
        assert problems.keys() == (set() if fine else {"machine.disk"})


def test_limits_beyond_the_machines_memory_and_a_machine_that_has_none_left(tmp_path: Path) -> None:
    checks = [type(check)(**{**vars(check), "after": ()}) for check in machine.CHECKS if check.name == "machine.memory"]
    fine = {"cat": "echo 'MemAvailable:   33554432 kB'"}
    assert wrong(results(subject(tmp_path, commands=fine), checks)) == {}
    much = {OLLAMA: container(Memory=65 * 1024**3)}
    assert "together, the machine has" in wrong(results(subject(tmp_path, containers=much), checks))["machine.memory"]
    little = {"cat": "echo 'MemAvailable:   1048576 kB'"}
    assert "is available" in wrong(results(subject(tmp_path, commands=little), checks))["machine.memory"]


@pytest.mark.parametrize(
    ("variables", "fine"),
    [
        (["HTTP_PROXY=http://proxy:3128"], False),
        (["https_proxy=http://proxy:3128", "no_proxy=example.org"], False),
        (["HTTP_PROXY=http://proxy:3128", "NO_PROXY=localhost,127.0.0.1"], True),
        (["HTTP_PROXY="], True),
        (["HTTP_PROXY=http://proxy:3128", "NO_PROXY=localhost, 127.0.0.1"], True),
        (["HTTP_PROXY=http://proxy:3128", "NO_PROXY=127.0.0.0/8"], True),
    ],
)
def test_a_proxy_that_stands_before_loopback(tmp_path: Path, variables: list[str], fine: bool) -> None:
    checks = [type(check)(**{**vars(check), "after": ()}) for check in machine.CHECKS if check.name == "machine.proxy"]
    problems = wrong(results(subject(tmp_path, containers={OLLAMA: container(env=variables)}), checks))
    assert problems.keys() == (set() if fine else {"machine.proxy"})


@pytest.mark.parametrize(("text", "fine"), [('{"runtimes": {}}', True), ('{"runtimes": {},}', False)])
def test_settings_that_the_engine_could_not_read_again(tmp_path: Path, text: str, fine: bool) -> None:
    problems = found(tmp_path, commands={"cat": f"printf '%s' '{text}'"})
    assert problems.keys() == (set() if fine else {"engine.daemon_json"})


APPLE = {"kind": "apple"}


def mac(tmp_path: Path, port: int, containers: dict[str, Any]) -> dict[str, str]:
    given = played(tmp_path / "bin", {}, accelerator=APPLE, ollama={"port": port})
    given.__dict__["containers"] = containers
    return wrong(results(given, [type(check)(**{**vars(check), "after": ()}) for check in apple.CHECKS]))


def test_a_native_server_that_answers_and_one_that_does_not(tmp_path: Path) -> None:
    with FakeOllama() as native:
        port = int(native.url.rpartition(":")[2])
        assert mac(tmp_path, port, {}) == {}
    problems = mac(tmp_path, port, {})
    assert problems.keys() == {"apple.native"}
    assert str(port) in problems["apple.native"]


def test_an_ollama_in_docker_in_place_of_the_native_one(tmp_path: Path) -> None:
    with FakeOllama() as native:
        problems = mac(tmp_path, int(native.url.rpartition(":")[2]), {OLLAMA: container()})
    assert problems == {"apple.not_in_docker": f"{OLLAMA} runs in Docker, which cannot reach a Mac's GPU"}


@pytest.mark.parametrize(("command", "fine"), [("exec /bin/date +%s", True), ("echo 1000000000", False)])
def test_a_clock_that_is_off(tmp_path: Path, command: str, fine: bool) -> None:
    clock = [type(check)(**{**vars(check), "concerns": lambda _: True}) for check in machine.CHECKS]
    problems = wrong(
        results(
            played(tmp_path / "bin", {"date": command}), [check for check in clock if check.name == "machine.clock"]
        )
    )
    assert problems.keys() == (set() if fine else {"machine.clock"})
