"""A machine that is already there (`host.type: ssh`): refused unprepared, prepared, used, and left as it was found."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

from components.settings import Settings
from doctor.checks import CHECKS
from doctor.subject import Subject
from scripts.command import PROJECT
from scripts.smoke import RIGHT, answer
from tests.doubles import machines
from tests.pure.doctor_subject import results, wrong
from tests.rehearsal.conftest import Rehearsal

MACHINE = "i-00000000000000001"


def test_a_machine_of_ones_own_is_prepared_once_and_gives_a_rag_answer(rehearsal: Rehearsal) -> None:
    public_key = (rehearsal.folder / "id.pub").read_text().strip()
    machines.start(MACHINE, user_data="#cloud-config\n{}\n", public_key=public_key, ami="rehearsal plain")
    address, port = machines.address(MACHINE)
    _trust(rehearsal, address, port)
    ssh = {"address": address, "user": "ubuntu", "private_key": str(rehearsal.folder / "id")}
    rehearsal.settings["host"] = {"type": "ssh", "ssh": ssh}

    unprepared = rehearsal.run("up")
    assert unprepared.returncode == 1
    assert "make prepare" in unprepared.stdout

    assert "docker" in _prepared(rehearsal)
    assert "nothing" in _prepared(rehearsal)
    rehearsal.up()
    assert "unchanged\n" in rehearsal.up()
    with mock.patch.dict(os.environ, rehearsal.environment):
        outputs = rehearsal.outputs()
        assert answer(outputs)[0].text == RIGHT
        _assert_the_doctor_sees(rehearsal, outputs, {})
        # On the machine, beside all that the program uses.
        name = rehearsal.names.postgres_container
        _on_machine("docker", "pause", name)
        _assert_the_doctor_sees(rehearsal, outputs, {"containers.running": f"{name} is paused"})
        _on_machine("docker", "unpause", name)
    done = rehearsal.run("destroy", "--yes", "--ignore-protect")
    assert done.returncode == 0, done.stdout


def _on_machine(*command: str) -> None:
    subprocess.run(["docker", "exec", machines.name_of(MACHINE), *command], check=True, capture_output=True)


def _assert_the_doctor_sees(rehearsal: Rehearsal, outputs: dict[str, Any], problems: dict[str, str]) -> None:
    subject = Subject("rehearsal", Settings.model_validate(rehearsal.settings), outputs)
    found = results(subject, CHECKS)
    subject.close()
    assert wrong(found) == problems
    assert found["machine.clock"].status == "ok"
    assert "ok" in {result.status for name, result in found.items() if name.startswith("ollama.")} or problems


def _trust(rehearsal: Rehearsal, address: str, port: int) -> None:
    """Waits for the machine's sshd, and puts its key where the `ssh` of this test alone looks."""
    deadline = time.monotonic() + 60
    keys = ""
    while not keys.strip() and time.monotonic() < deadline:
        scan = ["ssh-keyscan", "-p", str(port), "-t", "ed25519", address]
        keys = subprocess.run(scan, capture_output=True, text=True, check=False).stdout
    known = rehearsal.folder / "known_hosts"
    known.write_text(keys)
    folder = rehearsal.folder / "bin"
    folder.mkdir()
    wrapper = folder / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -o UserKnownHostsFile={known} "$@"\n')
    wrapper.chmod(0o755)
    rehearsal.environment["PATH"] = f"{folder}{os.pathsep}{rehearsal.environment['PATH']}"
    while time.monotonic() < deadline and not _lets_in(rehearsal, address):
        time.sleep(0.5)


def _lets_in(rehearsal: Rehearsal, address: str) -> bool:
    """Whether the login user is there: cloud-init makes it a moment after sshd has started."""
    command = ["ssh", "-i", str(rehearsal.folder / "id"), "-o", "BatchMode=yes", f"ubuntu@{address}", "true"]
    return subprocess.run(command, env=rehearsal.environment, capture_output=True, check=False).returncode == 0


def _prepared(rehearsal: Rehearsal) -> str:
    """The last line of `make prepare`."""
    file = Path(PROJECT) / "Pulumi.rehearsal.yaml"
    try:
        file.write_bytes((rehearsal.folder / file.name).read_bytes())
        done = subprocess.run(
            [sys.executable, "-m", "scripts.prepare", "--stack", "rehearsal"],
            cwd=PROJECT,
            env=rehearsal.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    finally:
        file.unlink(missing_ok=True)
    assert done.returncode == 0, done.stdout
    return done.stdout.strip().splitlines()[-1]
