"""Docker's settings are merged: what their owner has set stays, what the preparation wrote follows the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.hosts.preparation.daemon_json import main, merged

LOGS = {"log-driver": "json-file", "log-opts": {"max-size": "100m", "max-file": "5"}}
WANTED = {**LOGS, "features": {"cdi": True}, "exec-opts": ["native.cgroupdriver=cgroupfs"]}


def test_an_empty_machine_gets_all_of_it() -> None:
    assert merged({}, WANTED, {}) == WANTED


def test_a_second_merge_changes_nothing() -> None:
    once = merged({"data-root": "/x", "runtimes": {"nvidia": {}}}, WANTED, {})
    assert merged(once, WANTED, WANTED) == once


@pytest.mark.parametrize(
    "own",
    [
        {"log-driver": "journald"},
        {"log-opts": {"max-size": "1g", "max-file": "2"}},
        {"features": {"cdi": False, "buildkit": True}},
        {"exec-opts": ["native.cgroupdriver=systemd"]},
        {"insecure-registries": ["registry.lan:5000"], "live-restore": True},
    ],
    ids=str,
)
def test_what_the_owner_has_set_stays(own: dict[str, Any]) -> None:
    result = merged(own, WANTED, {})
    assert {key: result[key] for key in own} == own


def test_options_of_another_log_driver_are_not_mixed_with_ours() -> None:
    assert "log-opts" not in merged({"log-driver": "journald"}, WANTED, {})


def test_what_the_last_preparation_wrote_follows_the_settings() -> None:
    newer = {**LOGS, "log-opts": {"max-size": "10m", "max-file": "5"}}
    assert merged(LOGS, newer, LOGS)["log-opts"]["max-size"] == "10m"


def test_an_owners_other_options_stay_beside_the_cgroup_driver() -> None:
    assert merged({"exec-opts": ["a=b"]}, WANTED, {})["exec-opts"] == ["a=b", "native.cgroupdriver=cgroupfs"]


def test_a_file_that_is_no_object_is_an_error_and_not_overwritten(tmp_path: Path) -> None:
    for name, text in (("current", "[]"), ("wanted", json.dumps(WANTED))):
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="not an object"):
        main(["merge", *(str(tmp_path / name) for name in ("current", "wanted", "written", "result"))])
    assert not (tmp_path / "result").exists()


def test_files_are_compared_by_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "one").write_text('{"a": 1, "b": 2}')
    (tmp_path / "other").write_text('{\n "b": 2,\n "a": 1}\n')
    (tmp_path / "third").write_text('{"a": 1}')
    assert main(["same", str(tmp_path / "one"), str(tmp_path / "other")]) == 0
    assert main(["same", str(tmp_path / "one"), str(tmp_path / "third")]) == 1
    assert main(["same", str(tmp_path / "missing"), str(tmp_path / "third")]) == 1
