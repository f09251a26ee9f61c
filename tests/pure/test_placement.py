"""Where a model lies, from what Ollama says of it; and what a server's log says of the library it chose."""

from __future__ import annotations

import pytest

from components.models.placement import computes, library_fault, placement_fault

GIB = 1024**3
CPU = 'time=2026-11-24T10:00:00Z level=INFO source=types.go:60 msg="inference compute" id=cpu library=cpu compute=""'
CUDA = (
    'time=2026-11-24T10:00:00Z level=INFO source=types.go:42 msg="inference compute" id=GPU-5707 library=CUDA '
    'compute=8.6 name=CUDA0 description="NVIDIA A10G" total="22.3 GiB" available="22.0 GiB"'
)
START = 'time=2026-11-24T10:00:00Z level=INFO source=routes.go:1600 msg="Listening on [::]:11434 (version 0.17.4)"'


def entry(on_accelerator: int, size: int = 4 * GIB) -> dict[str, object]:
    return {"name": "llama3.1:8b", "size": size, "size_vram": on_accelerator}


@pytest.mark.parametrize("kind", ["nvidia", "rocm", "vulkan", "apple"])
def test_a_model_is_well_placed_only_when_all_of_it_is_on_the_accelerator(kind: str) -> None:
    assert placement_fault(kind, entry(4 * GIB)) is None
    assert "wholly in the machine's memory" in str(placement_fault(kind, entry(0)))
    assert "to 75 % on the accelerator (3072 of 4096 MiB)" in str(placement_fault(kind, entry(3 * GIB)))
    assert placement_fault(kind, entry(4 * GIB - 1)) is not None


def test_on_a_cpu_every_place_is_right() -> None:
    assert placement_fault("cpu", entry(0)) is None
    assert placement_fault("nvidia", {"name": "m", "size": 1}) is not None


def test_the_library_of_the_last_start_counts() -> None:
    log = f"{START}\n{CUDA}\n{START}\n{CPU}\n"
    assert [compute.library for compute in computes(log)] == ["cpu"]
    assert "found no cuda device" in str(library_fault("nvidia", log))
    assert library_fault("cpu", log) is None
    assert library_fault("nvidia", f"{START}\n{CPU}\n{START}\n{CUDA}\n") is None


def test_a_log_that_does_not_say_accuses_nobody() -> None:
    assert library_fault("nvidia", "") is None
    assert library_fault("nvidia", START) is None
