"""How the runner starts, speaks to and ends provider plugins."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
from google.protobuf import empty_pb2

from components.errors import StackError
from trial import order
from trial.plugins import Plugins, package_of
from trial.state import Entry

BIN = Path(__file__).resolve().parents[2] / "tests" / "doubles" / "bin"
# Nothing answers there, and nothing is asked: a configuration alone makes no call.
NOBODY = "http://127.0.0.1:9"


def ignore(_request: Any) -> empty_pb2.Empty:
    return empty_pb2.Empty()


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugins]:
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    for key, value in {
        "RAGSTACK_PYTHON": sys.executable,
        "AWS_ENDPOINT_URL": NOBODY,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
    }.items():
        monkeypatch.setenv(key, value)
    started = Plugins({"aws:region": "eu-central-1", "other:key": "value"}, ignore)
    yield started
    started.close()


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Plugins:
    path = folder / "pulumi-resource-fake"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return Plugins({}, ignore)


def test_one_process_serves_one_configuration_and_all_end_with_the_run(plugins: Plugins) -> None:
    first = plugins.process("aws", {"region": "us-east-1", "version": "7.51.1"})
    assert plugins.process("aws", {"region": "us-east-1", "version": "another"}) is first
    second = plugins.process("aws", {"region": "us-east-2"})
    assert second is not first
    # The stack's own configuration is that of the default provider.
    assert plugins.process("aws", {}) is plugins.process("aws", {"region": "eu-central-1"})
    plugins.close()
    assert first._process.poll() is not None
    assert second._process.poll() is not None


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waiting for any process to end needs Linux")
def test_a_plugin_ends_when_the_runner_was_killed(plugins: Plugins) -> None:
    code = (
        "import os, sys; from trial.plugins import Plugins; from google.protobuf import empty_pb2\n"
        "p = Plugins({}, lambda _: empty_pb2.Empty()).process('aws', {'region': 'us-east-1'})\n"
        "print(p._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=BIN.parents[2], check=False)
    assert done.returncode == -9
    try:
        ended = os.pidfd_open(int(done.stdout))
    except ProcessLookupError:
        return
    assert select.select([ended], [], [], 30)[0], "the plugin still runs"
    os.close(ended)


def test_a_package_without_a_plugin_is_named(plugins: Plugins) -> None:
    assert plugins.serves("aws")
    assert not plugins.serves("gcp")
    with pytest.raises(StackError, match="pulumi-resource-gcp"):
        plugins.process("gcp", {})


def test_a_plugin_that_does_not_start_says_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = fake(tmp_path, monkeypatch, "echo 'a library is missing' >&2; exit 3")
    with pytest.raises(StackError, match="did not start: a library is missing"):
        plugins.process("fake", {})
    plugins.close()


def test_a_plugin_that_prints_no_port_is_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = fake(tmp_path, monkeypatch, "echo hello; exec sleep 60")
    with pytest.raises(StackError, match="printed no port"):
        plugins.process("fake", {})
    plugins.close()


def test_a_plugin_that_dies_at_work_is_an_error_and_no_hang(plugins: Plugins) -> None:
    process = plugins.process("aws", {"region": "us-east-1"})
    process._process.kill()
    process._process.wait()
    with pytest.raises(pulumi.RunError, match="the plugin ended with code -9"):
        plugins.invoke("aws:index/getCallerIdentity:getCallerIdentity", {}, {"region": "us-east-1"}, dry_run=False)


def test_a_function_the_plugin_does_not_know_is_an_error_in_its_words(plugins: Plugins) -> None:
    with pytest.raises(pulumi.RunError, match="the double does not know the function aws:s3/getBucket:getBucket"):
        plugins.invoke("aws:s3/getBucket:getBucket", {}, {"region": "us-east-1"}, dry_run=True)


@pytest.mark.parametrize(
    ("type_", "package"),
    [("aws:ec2/vpc:Vpc", "aws"), ("pulumi:providers:aws", "aws"), ("pulumi-python:dynamic:Resource", "pulumi-python")],
)
def test_the_package_of_a_type(type_: str, package: str) -> None:
    assert package_of(type_) == package


def test_a_replaced_resource_and_its_replacement_are_both_deleted() -> None:
    """Both have one URN; the old machine goes before the group that it used."""

    def entry(urn: str, id_: str, *needs: str) -> Entry:
        return Entry(urn=urn, type="aws:x", name=urn, id=id_, inputs={}, outputs={}, dependencies=list(needs))

    old, new, group = entry("machine", "i-1", "group"), entry("machine", "i-2", "group"), entry("group", "sg-1")
    assert [item.id for item in order.deletion_order([old, group, new])] == ["i-2", "i-1", "sg-1"]
