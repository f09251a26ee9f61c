"""The pool as the gateway sees it: which servers get work, who waits, and how much each is given at once."""

from __future__ import annotations

from collections.abc import Iterator

from components.errors import StackError
from components.plan.pool import slots_of
from components.proxies.haproxy import BACKEND
from components.proxies.runtime import ask
from doctor.checks.engine import REACHABLE
from doctor.checks.ollama import ANSWERS
from doctor.finding import Check, Finding
from doctor.subject import Subject


def _concerns(subject: Subject) -> bool:
    return subject.settings.gateway.enabled


def _rows(subject: Subject) -> list[dict[str, str]]:
    """`show stat` of the pool: a row for each server (`svname`), and BACKEND for all."""
    subject.require_container(subject.names.gateway_container)
    container = subject.engine.containers.get(subject.names.gateway_container)
    lines = (ask(container, f"show stat {BACKEND} 6 -1") or "").splitlines()
    header = next((line.removeprefix("# ").split(",") for line in lines if line.startswith("# ")), [])
    rows = [dict(zip(header, line.split(","), strict=False)) for line in lines if line.startswith(f"{BACKEND},")]
    if not rows:
        raise StackError("The gateway says nothing of its pool.", subject.there("docker logs --tail 50 the gateway"))
    return rows


def _servers(subject: Subject) -> Iterator[Finding]:
    rows = {row["svname"]: row for row in _rows(subject)}
    for server in subject.serving:
        status = rows.get(server.name, {}).get("status", "not there")
        if status.startswith("UP"):
            yield Finding(seen=f"{server.name} gets work")
        elif status.startswith(("DRAIN", "MAINT")):
            name = subject.names.gateway_container
            yield Finding(
                seen=f"{server.name} gets nothing new to do ({status})",
                mend=f"{subject.up_command}, or {subject.there(f'docker restart {name}')}",
                fix=lambda server=server: _ready(subject, server.name),  # type: ignore[misc]
            )
        else:
            yield Finding(
                seen=f"the gateway holds {server.name} for {status}",
                mend=subject.there(f"docker logs --tail 50 {server.container}"),
            )


def _ready(subject: Subject, server: str) -> str:
    container = subject.engine.containers.get(subject.names.gateway_container)
    ask(container, f"set server {BACKEND}/{server} state ready")
    return f"the gateway gives {server} work again"


def _queue(subject: Subject) -> Iterator[Finding]:
    rows = _rows(subject)
    whole = next(row for row in rows if row["svname"] == "BACKEND")
    waiting = sum(int(row.get("qcur") or 0) for row in rows)
    length = subject.settings.pool.queue.length
    if waiting >= length / 2:
        yield Finding(
            seen=f"{waiting} requests wait, and {length} may",
            mend=f"more servers (pool.servers), or {subject.set_command('ollama.environment.num_parallel', '<more>')}",
        )
    else:
        yield Finding(
            seen=f"{waiting} of {length} places in the queue are taken, at most {whole.get('qmax') or 0} so far"
        )


def _slots(subject: Subject) -> Iterator[Finding]:
    wanted = slots_of(subject.settings)
    for row in _rows(subject):
        if row["svname"] == "BACKEND":
            continue
        has = int(row.get("slim") or 0)
        if has != wanted:
            yield Finding(
                seen=f"{row['svname']} is given {has or 'any number of'} requests at once, and {wanted} are planned",
                mend=subject.up_command,
            )
    yield Finding(seen=f"each server is given {wanted} requests at once")


_AFTER = (REACHABLE, ANSWERS)
CHECKS: tuple[Check, ...] = (
    Check(
        name="pool.servers",
        title="the gateway gives every server work",
        why="The others do its part, and answers take longer, without an error.",
        look=_servers,
        after=_AFTER,
        concerns=_concerns,
    ),
    Check(
        name="pool.queue",
        title="few requests wait",
        why="A full queue is a 503 for whoever comes next.",
        look=_queue,
        after=_AFTER,
        concerns=_concerns,
    ),
    Check(
        name="pool.slots",
        title="every server is given what it works on in parallel",
        why="With more it queues them itself, unseen; with less it idles.",
        look=_slots,
        after=_AFTER,
        concerns=_concerns,
    ),
)
