"""The part that all commands share: arguments, a running engine, the stack file to run with, and the runner."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from components.settings import Settings
from scripts.closed_network import config_file
from scripts.docker_engine import ensure_engine
from scripts.runner import Runner, Target, choose_runner
from scripts.stack_file import settings_of

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
    file = config_file(PROJECT, stack)
    target = Target(project=PROJECT, stack=stack, config_file=file)
    runner = choose_runner(target, is_local=is_local, may_install=True)
    return Command(stack=stack, settings=settings_of(PROJECT, file, stack), runner=runner)


def existing(stack: str) -> Command:
    """For commands on a stack that is there: builds and installs nothing."""
    generated = PROJECT / ".ragstack" / f"Pulumi.{stack}.yaml"
    file = generated if generated.exists() else PROJECT / f"Pulumi.{stack}.yaml"
    settings = settings_of(PROJECT, file, stack)
    target = Target(project=PROJECT, stack=stack, config_file=file)
    is_local = settings.host.type == "local"
    runner = choose_runner(target, is_local=is_local, may_install=False)
    return Command(stack=stack, settings=settings, runner=runner)
