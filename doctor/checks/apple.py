"""A Mac: the server that uses its GPU runs outside Docker, and is not ours to start."""

from __future__ import annotations

from collections.abc import Iterator

from components.errors import StackError
from doctor.checks.engine import REACHABLE
from doctor.finding import Check, Finding
from doctor.subject import Subject


def _concerns(subject: Subject) -> bool:
    return subject.settings.accelerator.kind == "apple"


def _native(subject: Subject) -> Iterator[Finding]:
    server = subject.servers[0]
    try:
        with subject.ollama(server) as client:
            yield Finding(seen=f"native Ollama {client.version()} answers at {server.url}")
    except StackError as error:
        yield Finding(seen=error.cause, mend="brew install ollama && brew services start ollama")


def _not_in_docker(subject: Subject) -> Iterator[Finding]:
    for name in subject.containers:
        if name == subject.names.ollama_container:
            yield Finding(
                seen=f"{name} runs in Docker, which cannot reach a Mac's GPU",
                mend=subject.there(f"docker rm -f {name}"),
            )
    yield Finding(seen="no Ollama of this stack runs in Docker")


CHECKS: tuple[Check, ...] = (
    Check(
        name="apple.native",
        title="the native server answers",
        why="Docker on a Mac cannot reach the GPU, so inference depends on a server outside of it.",
        look=_native,
        concerns=_concerns,
    ),
    Check(
        name="apple.not_in_docker",
        title="no container answers in its place",
        why="It would answer from the CPU under the same name.",
        look=_not_in_docker,
        after=(REACHABLE,),
        concerns=_concerns,
    ),
)
