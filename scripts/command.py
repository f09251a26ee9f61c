"""The part that all commands share: arguments, a running engine, the stack file to run with, and the runner."""

from __future__ import annotations

import argparse
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from components.settings import Settings
from scripts import closed_network
from scripts.backend import use_scratch_backend
from scripts.closed_network import config_file
from scripts.docker_engine import ensure_engine, require_engine
from scripts.private_dir import NAME, private_dir
from scripts.pulumi_cli import HOME, PULUMI_VERSION
from scripts.runner import Runner, Target, TrialRunner, choose_runner
from scripts.say import say
from scripts.stack_file import read_stack_file, settings_of

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a command works on."""

    stack: str
    settings: Settings
    runner: Runner


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--stack", default="dev", help="the stack, hence the file Pulumi.<stack>.yaml (default: dev)")
    return parser


def prepare(stack: str) -> Command:
    """For commands that may create: installs what is missing. Raises `StackError`, before anything is created."""
    own = PROJECT / f"Pulumi.{stack}.yaml"
    host = settings_of(PROJECT, own, stack).host
    is_local = host.type == "local"
    if is_local:
        ensure_engine(host)
    private_dir(PROJECT)
    file = config_file(PROJECT, stack)
    settings = settings_of(PROJECT, file, stack)
    target = Target(project=PROJECT, stack=stack, config_file=file, settings=settings)
    runner = choose_runner(target, is_local=is_local, may_install=True)
    return Command(stack=stack, settings=settings, runner=runner)


def look(stack: str, scratch: Path) -> Command:
    """For a preview: installs, builds and keeps nothing; copies and a new stack's state go to the folder `scratch`.

    Raises `StackError`, as where no engine answers.
    """
    own = PROJECT / f"Pulumi.{stack}.yaml"
    settings = settings_of(PROJECT, own, stack)
    is_local = settings.host.type == "local"
    if is_local:
        require_engine(settings.host)
    # A copy, because the engine writes its salt for secrets into the stack file it runs with.
    file = scratch / own.name
    last = _file_of_the_last_run(stack)
    if last == own or closed_network.is_never_stood_in(settings):
        shutil.copyfile(own, file)
    else:
        say(f"previewing {own.name} with the local registry and its images, as the last make up ran it")
        closed_network.write_stack_file(file, closed_network.stood_in(read_stack_file(own), settings, last))
    use_scratch_backend(PROJECT, own, scratch)
    settings = settings_of(PROJECT, file, stack)
    target = Target(project=PROJECT, stack=stack, config_file=file, settings=settings)
    runner = choose_runner(target, is_local=is_local, may_install=False)
    if isinstance(runner, TrialRunner) and os.environ.get("RUNNER") != "trial":
        say(f"no Pulumi CLI (make up would install {PULUMI_VERSION} into {HOME} if it can): previewing by trial")
    return Command(stack=stack, settings=settings, runner=runner)


def _file_of_the_last_run(stack: str) -> Path:
    generated = PROJECT / NAME / f"Pulumi.{stack}.yaml"
    return generated if generated.exists() else PROJECT / f"Pulumi.{stack}.yaml"


def existing(stack: str) -> Command:
    """For commands on a stack that is there: builds and installs nothing."""
    file = _file_of_the_last_run(stack)
    settings = settings_of(PROJECT, file, stack)
    target = Target(project=PROJECT, stack=stack, config_file=file, settings=settings)
    is_local = settings.host.type == "local"
    runner = choose_runner(target, is_local=is_local, may_install=False)
    return Command(stack=stack, settings=settings, runner=runner)
