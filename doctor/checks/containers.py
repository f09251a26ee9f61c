"""The stack's containers: there, running, calm, within their memory, healthy, and open to nobody they should not be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from components.settings.types import is_loopback
from doctor.checks.engine import REACHABLE
from doctor.finding import Check, Finding
from doctor.subject import Subject

PRESENT = "containers.present"
RUNNING = "containers.running"
# Restarts of a container that has run for less than these seconds are not history yet.
_CALM_S = 600
_RESTARTS = 3
_LAST_LINES = 10
# Exit codes of container runtimes and shells (docs.docker.com/engine/containers/run, "Exit status").
_EXITS = {126: "its command cannot be run", 127: "its command is not there", 137: "it was killed", 139: "it crashed"}
_SECTIONS = {"gateway": "gateway", "edge": "edge", "postgres": "postgres"}


def _present(subject: Subject) -> Iterator[Finding]:
    for name in subject.expected:
        if name not in subject.containers:
            yield Finding(seen=f"{name} is not there", mend=subject.up_command)
    yield Finding(seen=f"{len(subject.expected)} containers")


def _there(subject: Subject) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in subject.expected:
        if name in subject.containers:
            yield name, subject.containers[name]


def _running(subject: Subject) -> Iterator[Finding]:
    for name, found in _there(subject):
        state = found["State"]
        if state.get("Paused"):
            yield Finding(
                seen=f"{name} is paused",
                mend=subject.there(f"docker unpause {name}"),
                fix=lambda name=name: _unpause(subject, name),  # type: ignore[misc]
            )
        elif not state["Running"] and not state.get("Restarting"):
            code = state["ExitCode"]
            yield Finding(
                seen=f"{name} has ended with {code}{_explained(code)}{_error(state)}",
                mend=subject.there(f"docker start {name}"),
                details=_last_lines(subject, name),
                fix=lambda name=name: _start(subject, name),  # type: ignore[misc]
            )
    yield Finding(seen="all that are there run")


def _explained(code: int) -> str:
    return f" ({_EXITS[code]})" if code in _EXITS else ""


def _error(state: dict[str, Any]) -> str:
    return f": {state['Error']}" if state.get("Error") else ""


def _start(subject: Subject, name: str) -> str:
    subject.engine.containers.get(name).start()
    return f"started {name}"


def _unpause(subject: Subject, name: str) -> str:
    subject.engine.containers.get(name).unpause()
    return f"unpaused {name}"


def _last_lines(subject: Subject, name: str) -> tuple[str, ...]:
    return tuple(line[:300] for line in subject.log(name, _LAST_LINES).splitlines())


def _restarting(subject: Subject) -> Iterator[Finding]:
    for name, found in _there(subject):
        state, count = found["State"], int(found.get("RestartCount") or 0)
        if state.get("Restarting") or (count >= _RESTARTS and _age_s(state) < _CALM_S):
            code = state["ExitCode"]
            yield Finding(
                seen=f"{name} was restarted {count} times, last after ending with {code}{_explained(code)}",
                mend=f"{subject.there(f'docker logs --tail 50 {name}')}; correct it, then {subject.up_command}",
                details=_last_lines(subject, name),
            )
    yield Finding(seen="none restarts again and again")


def _age_s(state: dict[str, Any]) -> float:
    """Seconds since the last start, by the engine's own clock of this very moment."""
    started = datetime.fromisoformat(state["StartedAt"][:19]).replace(tzinfo=UTC)
    return (datetime.now(UTC) - started).total_seconds()


def _memory(subject: Subject) -> Iterator[Finding]:
    for name, found in _there(subject):
        if found["State"].get("OOMKilled"):
            limit = int(found["HostConfig"]["Memory"]) // 1024**2
            more = subject.set_command(f"{_section(subject, name)}.container.memory", f"{limit * 2}m")
            yield Finding(
                seen=f"the kernel ended {name}, which wanted more than its {limit} MiB",
                mend=f"{more}, then {subject.up_command}",
                details=_last_lines(subject, name),
            )
    yield Finding(seen="none was ended for its memory")


def _section(subject: Subject, name: str) -> str:
    return _SECTIONS.get(name.removeprefix(f"{subject.names.prefix}-"), "ollama")


def _health(subject: Subject) -> Iterator[Finding]:
    for name, found in _there(subject):
        health = found["State"].get("Health")
        # A paused one cannot answer its check, and has a finding already.
        if not found["State"]["Running"] or found["State"].get("Paused"):
            continue
        # One that is starting becomes either; restarting it then would keep it from both.
        if not health or health["Status"] != "unhealthy":
            continue
        logged = [entry for entry in health.get("Log") or () if entry.get("ExitCode")]
        said = logged[-1]["Output"].strip() if logged else "it has not said why"
        yield Finding(
            seen=f"{name} is unhealthy after {health.get('FailingStreak', 0)} failed checks",
            mend=subject.there(f"docker restart {name}"),
            details=(*said.splitlines()[-3:], *_last_lines(subject, name)),
            fix=lambda name=name: subject.restart(name),  # type: ignore[misc]
        )
    yield Finding(seen="all are healthy")


def _exposed(subject: Subject) -> Iterator[Finding]:
    public = {subject.names.gateway_container, subject.names.edge_container}
    for name, found in subject.containers.items():
        host = found["HostConfig"]
        if host.get("Privileged"):
            yield Finding(seen=f"{name} runs privileged", mend=subject.up_command)
        bindings = [one for ports in (host.get("PortBindings") or {}).values() for one in ports or ()]
        # Docker takes an address that is left out for every address.
        open_ones = sorted(f"{one['HostIp'] or '*'}:{one['HostPort']}" for one in bindings if not _is_closed(one))
        if open_ones and name not in public:
            yield Finding(seen=f"{name} listens on {', '.join(open_ones)}", mend=subject.up_command)
    yield Finding(seen="nothing but the gateway may listen beyond loopback, and nothing is privileged")


def _is_closed(binding: dict[str, str]) -> bool:
    return bool(binding["HostIp"]) and is_loopback(binding["HostIp"])


def _image(subject: Subject) -> Iterator[Finding]:
    settings, names = subject.settings, subject.names
    derived = settings.ollama.non_root or settings.ollama.models_from == "image"
    wanted = {server.container: settings.ollama_image for server in subject.servers if not derived}
    wanted |= {names.gateway_container: settings.haproxy_image, names.edge_container: settings.caddy_image}
    for name, found in _there(subject):
        reference = wanted.get(name)
        if reference is None:
            continue
        images = [image.id for image in subject.engine.images.list(name=reference)]
        if images and found["Image"] not in images:
            yield Finding(seen=f"{name} runs another image than {reference}", mend=subject.up_command)
    yield Finding(seen="all run the images that are declared")


CHECKS: tuple[Check, ...] = (
    Check(
        name=PRESENT,
        title="every container that is declared is there",
        why="Somebody removed it, or the last update broke off.",
        look=_present,
        after=(REACHABLE,),
    ),
    Check(
        name=RUNNING,
        title="every container runs",
        why="What does not run does not answer; the last lines of its log say why.",
        look=_running,
        after=(REACHABLE,),
    ),
    Check(
        name="containers.restarting",
        title="no container restarts again and again",
        why="It answers in between, so that clients see failures that come and go.",
        look=_restarting,
        after=(REACHABLE,),
    ),
    Check(
        name="containers.memory",
        title="no container was ended for its memory",
        why="A model that is larger than its container ends with every load, and the answer with it.",
        look=_memory,
        after=(REACHABLE,),
    ),
    Check(
        name="containers.health",
        title="every container is healthy",
        why="Its process is there and does not answer.",
        look=_health,
        after=(REACHABLE,),
    ),
    Check(
        name="containers.exposed",
        title="nothing listens that should not, nothing is privileged",
        why="Ollama asks nobody for a password: whoever reaches its port uses, replaces and deletes the models.",
        look=_exposed,
        after=(REACHABLE,),
    ),
    Check(
        name="containers.image",
        title="the containers run the declared images",
        why="Another version is another driver floor and other settings.",
        look=_image,
        after=(REACHABLE,),
    ),
)
