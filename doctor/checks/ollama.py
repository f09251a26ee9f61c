"""The Ollama servers: that they answer, on what they compute, where the models lie, and what their logs explain."""

from __future__ import annotations

import re
from collections.abc import Iterator

from components.errors import StackError
from components.models.placement import computes, library_fault, placement_fault
from doctor.checks.engine import REACHABLE
from doctor.finding import Check, Finding
from doctor.subject import Subject

ANSWERS = "ollama.answers"
# Words of a log that explain a GPU which is not used, and what helps. Sources: issues of ollama/ollama (3417, 6736,
# 7006, 10026, 12352) and ggml-org/llama.cpp (7218).
_GPU_WORDS: tuple[tuple[str, str], ...] = (
    (r"CUDA driver version is insufficient|init failure: 35\b", "install a newer NVIDIA driver and reboot"),
    (r"(cuda driver library|cudart|nvcuda) init failure|failed to initialize CUDA", "restart the container, else "
     "sudo modprobe nvidia_uvm or reboot"),
    (r"Failed to initialize NVML", "restart the container, and take accelerator.nvidia_mode cdi"),
    (r"permission problems block access|/dev/kfd: permission denied", "see rocm.groups"),
    (r"kfd driver not loaded", "sudo modprobe amdgpu, and see rocm.devices"),
    (r"no compatible GPUs were discovered|GPU not available, falling back to CPU", "see the driver's own checks"),
)  # fmt: skip
# Words of a log that explain a model which does not load.
_LOAD_WORDS: tuple[tuple[str, str], ...] = (
    (r"cudaMalloc failed: out of memory|CUDA error: out of memory|out of memory", "not enough GPU memory"),
    (r"model requires more system memory", "not enough memory in its container"),
    (r"signal: killed", "the kernel ended a runner for its memory"),
    (r"timed out waiting for llama runner to start", "the load took longer than OLLAMA_LOAD_TIMEOUT"),
)


def _answers(subject: Subject) -> Iterator[Finding]:
    for server in subject.serving:
        try:
            with subject.ollama(server) as client:
                yield Finding(seen=f"{server.name} {client.version()}")
        except StackError as error:
            look = f"docker logs --tail 50 {server.container}" if server.container else "see its own log"
            yield Finding(seen=f"{server.name}: {error.cause}", mend=subject.there(look))


def _library(subject: Subject) -> Iterator[Finding]:
    kind = subject.settings.accelerator.kind
    for name, _ in subject.running_servers():
        log = subject.log(name)
        if fault := library_fault(kind, log):
            yield Finding(seen=f"{name}: {fault}", mend=_gpu_mend(subject))
            continue
        found = ", ".join(sorted({compute.library for compute in computes(log)}))
        yield Finding(seen=f"{name} computes with {found or 'what its log no longer says'}")


def _gpu_mend(subject: Subject) -> str:
    return (
        f"{subject.set_command('ollama.environment.debug', 2)}, {subject.up_command}, and read what the log says then"
    )


def _gpu_log(subject: Subject) -> Iterator[Finding]:
    for name, _ in subject.running_servers():
        for line, mend in _explained(subject.last_start(name), _GPU_WORDS):
            yield Finding(seen=f"{name} logged a reason", mend=subject.there(mend), details=(line,))
    yield Finding(seen="no server logged a failure of its GPU")


def _explained(log: str, words: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
    """The last line for each reason, with what belongs to it."""
    lines = log.splitlines()
    for pattern, said in words:
        if line := next((line for line in reversed(lines) if re.search(pattern, line)), None):
            yield line[:300], said


def _placement(subject: Subject) -> Iterator[Finding]:
    kind = subject.settings.accelerator.kind
    for server in subject.serving:
        with subject.ollama(server) as client:
            loaded = client.ps()
        for entry in loaded:
            if fault := placement_fault(kind, entry):
                smaller = subject.set_command("ollama.environment.kv_cache_type", "q8_0")
                yield Finding(
                    seen=f"{server.name}: {fault}",
                    mend=f"{smaller} with flash_attention true, or a smaller context, then {subject.up_command}",
                )
        where = "the CPU" if kind == "cpu" else kind
        yield Finding(seen=f"{server.name}: {len(loaded)} models on {where}")


def _load_failures(subject: Subject) -> Iterator[Finding]:
    for name, _ in subject.running_servers():
        for line, said in _explained(subject.last_start(name), _LOAD_WORDS):
            yield Finding(
                seen=f"{name} failed to load a model: {said}",
                mend=f"make preview STACK={subject.stack} shows what each takes; fewer at once: "
                f"{subject.set_command('ollama.environment.max_loaded_models', 1)}",
                details=(line,),
            )
    yield Finding(seen="no load has failed")


def _settings(subject: Subject) -> Iterator[Finding]:
    wanted = subject.settings.ollama.variables()
    for name, found in subject.running_servers():
        has = dict(line.partition("=")[::2] for line in found["Config"]["Env"] or ())
        other = sorted(variable for variable, value in wanted.items() if has.get(variable) != value)
        if other:
            yield Finding(
                seen=f"{name} runs with other settings than are declared: {', '.join(other)}", mend=subject.up_command
            )
    yield Finding(seen="the servers run with the declared settings")


CHECKS: tuple[Check, ...] = (
    Check(
        name=ANSWERS,
        title="every server answers",
        why="A server that is up and does not answer is no server.",
        look=_answers,
        after=(REACHABLE,),
    ),
    Check(
        name="ollama.library",
        title="every server chose the accelerator's library",
        why="A server that found no device when it started uses the CPU until it is started again.",
        look=_library,
        after=(REACHABLE,),
    ),
    Check(
        name="ollama.gpu_log",
        title="no server logged a failure of its GPU",
        why="Ollama answers from the CPU and explains it in its log alone.",
        look=_gpu_log,
        after=(REACHABLE,),
        concerns=lambda subject: subject.settings.accelerator.kind not in ("cpu", "apple"),
    ),
    Check(
        name="ollama.placement",
        title="loaded models lie wholly on the accelerator",
        why="Layers that do not fit are computed by the CPU, at a tenth of the speed, in silence.",
        look=_placement,
        after=(ANSWERS,),
    ),
    Check(
        name="ollama.load_failures",
        title="no model failed to load",
        why="Its requests are answered with an error, or by evicting another model first.",
        look=_load_failures,
        after=(REACHABLE,),
    ),
    Check(
        name="ollama.settings",
        title="the servers run with the declared settings",
        why="A context of another length cuts prompts, a preset that is not applied loads models again and again.",
        look=_settings,
        after=(REACHABLE,),
    ),
)
