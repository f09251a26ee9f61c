"""What an update that died hard leaves behind, without an engine: its lock."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import StackError
from scripts.recovery import release_dead_lock


def lock(folder: Path, *, pid: int, hostname: str, stack: str = "dev") -> Path:
    file = folder / ".pulumi" / "locks" / "organization" / "ragstack" / stack / "1f0c.json"
    file.parent.mkdir(parents=True)
    file.write_text(
        json.dumps({"pid": pid, "username": "me", "hostname": hostname, "timestamp": "2026-01-01T00:00:00Z"})
    )
    return file


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_the_lock_of_a_dead_process_of_this_machine_is_released_aloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = lock(tmp_path, pid=dead_process(), hostname=socket.gethostname())
    release_dead_lock(tmp_path.as_uri(), "dev")
    assert not file.exists()
    assert "an earlier update of dev died without an end" in capsys.readouterr().out


@pytest.mark.parametrize(("pid", "hostname"), [(os.getpid(), socket.gethostname()), (1, "some-other-machine")])
def test_a_lock_that_may_be_alive_is_refused_and_stays(tmp_path: Path, pid: int, hostname: str) -> None:
    file = lock(tmp_path, pid=pid, hostname=hostname)
    with pytest.raises(StackError, match=f"Another update of dev is running \\(process {pid} on {hostname}\\)"):
        release_dead_lock(tmp_path.as_uri(), "dev")
    assert file.exists()


def test_the_lock_of_another_stack_and_a_backend_elsewhere_are_left_alone(tmp_path: Path) -> None:
    file = lock(tmp_path, pid=dead_process(), hostname=socket.gethostname(), stack="other")
    release_dead_lock(tmp_path.as_uri(), "dev")
    release_dead_lock("s3://bucket", "other")
    assert file.exists()
