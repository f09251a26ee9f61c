"""Steps of the commands that are not Python's: none is silent for long, and none leaves half of its work behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Passes as a Python whose `-m venv` takes three seconds.
SLOW_PYTHON = """#!/bin/sh
[ "$1" = -m ] || exit 0
mkdir -p "$3/bin" && touch "$3/bin/python" && sleep 3
exit CODE
"""


@pytest.mark.parametrize("code", [0, 3])
def test_making_the_virtual_environment_shows_that_it_goes_on_and_leaves_a_whole_one_or_none(
    code: int, tmp_path: Path
) -> None:
    python, venv = tmp_path / "python", tmp_path / "venv"
    python.write_text(SLOW_PYTHON.replace("CODE", str(code)))
    python.chmod(0o755)
    command = ["sh", str(ROOT / "scripts" / "make_venv.sh"), str(python), str(venv)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code
    assert f"making the virtual environment {venv}\n" in done.stdout
    assert "making the virtual environment: 2 s\n" in done.stdout
    assert venv.exists() is (code == 0)


def test_no_step_of_the_makefile_is_told_to_be_quiet() -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    slow = [line for line in lines if " pip install " in line or " piptools compile " in line]
    assert len(slow) == 4
    assert not [line for line in slow if {"-q", "--quiet"} & set(line.split())]
